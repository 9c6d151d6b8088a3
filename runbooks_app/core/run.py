"""Life cycle of a run, and of each of its cells.

    queued → diagnosing → diagnosed | failed | timed_out | cancelled | lost
    queued → cancelled | failed          failed: its runbook can no longer be read
    lost   → queued                      a new attempt, for read-only work alone

`lost` means that the worker went away. `diagnosed` may be *in part*: some cells failed, the others stand.
"""

from __future__ import annotations

from enum import StrEnum

from runbooks_app.core.errors import Conflict

MAX_ATTEMPTS = 3
"""How often a run is tried before `lost` is its last word."""


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    DIAGNOSING = "diagnosing"
    DIAGNOSED = "diagnosed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"


TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.DIAGNOSING, RunState.CANCELLED, RunState.FAILED}),
    RunState.DIAGNOSING: frozenset(
        {RunState.DIAGNOSED, RunState.FAILED, RunState.TIMED_OUT, RunState.CANCELLED, RunState.LOST}
    ),
    RunState.LOST: frozenset({RunState.QUEUED}),
    RunState.DIAGNOSED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.TIMED_OUT: frozenset(),
    RunState.CANCELLED: frozenset(),
}

ENDED = frozenset({RunState.DIAGNOSED, RunState.FAILED, RunState.TIMED_OUT, RunState.CANCELLED, RunState.LOST})


def move(current: RunState, to: RunState) -> RunState:
    """The next state, or `Conflict` where the table has no such step."""
    if to not in TRANSITIONS[current]:
        raise Conflict(f"The run is {current.replace('_', ' ')}; it cannot become {to.replace('_', ' ')}.")
    return to


class CellState(StrEnum):
    """What became of one cell, told as what it was."""

    WAITING = "waiting"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    DIED = "died"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    NEVER_RAN = "never_ran"


def outcome(cells: list[CellState]) -> tuple[RunState, bool]:
    """How a diagnosis ended, from its diagnostic cells: the state, and whether it is only in part.

    One good cell makes it diagnosed. With none, the first bad thing that happened names the end.
    """
    bad = [state for state in cells if state is not CellState.OK]
    if CellState.CANCELLED in cells:
        return RunState.CANCELLED, bool(bad)
    if not bad:
        return RunState.DIAGNOSED, False
    if CellState.OK in cells:
        return RunState.DIAGNOSED, True
    return (RunState.TIMED_OUT if bad[0] is CellState.TIMED_OUT else RunState.FAILED), True

"""Does an approved proposal still hold, what became of its remediation, did it work? Three pure verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState


@dataclass(frozen=True)
class Recheck:
    """Whether the proposal holds; if not, why, and the inputs with which it is proposed now, if it is."""

    holds: bool
    reason: str = ""
    successor: dict[str, Any] | None = None


def compare(
    gate: str,
    inputs: dict[str, Any],
    identity: Sequence[str],
    proposed: Sequence[tuple[str, dict[str, Any]]],
    state: RunState,
    *,
    in_part: bool,
    reason: str,
    by_hand: bool = False,
) -> Recheck:
    """Compare an approved proposal with what the diagnosis proposes now, by identity inputs alone.

    `proposed` lists gates with inputs. A re-check that did not diagnose in whole makes it stale, unless it
    proposes the very same all the same. One that somebody cancelled never holds: they wanted it stopped.
    What was proposed by hand no diagnosis proposes: it holds if the diagnosis could be made in whole.
    """
    if state is RunState.CANCELLED:
        return Recheck(holds=False, reason="The re-check was cancelled.")
    same_gate = [now for name, now in proposed if name == gate]
    if any(all(now.get(name) == inputs.get(name) for name in identity) for now in same_gate):
        return Recheck(holds=True)
    if state is not RunState.DIAGNOSED or in_part:
        how = "in part" if state is RunState.DIAGNOSED else str(state).replace("_", " ")
        return Recheck(holds=False, reason=f"The re-check ended {how}" + (f": {reason}" if reason else "."))
    if by_hand:
        return Recheck(holds=True)
    if not same_gate:
        return Recheck(holds=False, reason="The diagnosis no longer proposes this.")
    now = same_gate[0]
    changed = ", ".join(
        f"{name} was {inputs.get(name)!r}, is {now.get(name)!r}"
        for name in identity
        if now.get(name) != inputs.get(name)
    )
    return Recheck(holds=False, reason=f"The diagnosis now proposes something else: {changed}.", successor=now)


def verification(
    cells: Sequence[tuple[str, CellState, str]], checks: Sequence[tuple[str, bool]]
) -> tuple[Verification, str]:
    """The verdict of verification cells (id, state, reason) and their checks (name, held), with the reason.

    Without a single check nothing was verified, however well the cells ran.
    """
    failed = [name for name, held in checks if not held]
    if failed:
        return Verification.NOT_VERIFIED, "Did not hold: " + ", ".join(failed) + "."
    broken = [(cell, state, why) for cell, state, why in cells if state is not CellState.OK]
    if broken:
        cell, state, why = broken[0]
        told = f"Cell {cell} {str(state).replace('_', ' ')}" + (f": {why}" if why else ".")
        return (Verification.NOT_VERIFIED if checks else Verification.NOT_POSSIBLE), told
    if not checks:
        return Verification.NOT_POSSIBLE, "The verification cells check nothing."
    return Verification.VERIFIED, ""


def remediation_outcome(cell: CellState | None, reason: str) -> tuple[ProposalState, str]:
    """State of a proposal by what became of its one cell, and the reason to tell.

    A cell that raised has failed, and says itself how far it came. One that died, ran out of time or was
    cancelled may have done anything: unknown. One that never ran did nothing.
    """
    match cell:
        case CellState.OK:
            return ProposalState.APPLIED, ""
        case CellState.FAILED:
            return ProposalState.FAILED, reason or "The cell raised an error."
        case CellState.NEVER_RAN | CellState.SKIPPED | CellState.WAITING:
            return ProposalState.FAILED, f"Nothing was executed: {reason}"
        case _:
            return (
                ProposalState.UNKNOWN,
                reason or "The kernel ended while the cell ran; look at the system itself.",
            )

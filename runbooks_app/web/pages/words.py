"""How pages say things: states with symbol, word and tone; durations; times.

Tones are classes of the stylesheet (good, warn, bad, going, idle). A tone never stands without its symbol and word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runbooks_app.core import asking
from runbooks_app.core.connection_tests import Standing
from runbooks_app.core.policy import Floor, Policy, Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.core.runbook import Stage
from runbooks_app.core.wording import since

NOT = "–"  # noqa: RUF001 -- an en dash, which is no minus: it did not come about
"""The symbol of what did not come about."""


@dataclass(frozen=True)
class Shown:
    """A state as people see it."""

    symbol: str
    word: str
    tone: str = "idle"


_RUNS = {
    RunState.QUEUED: Shown("○", "queued"),
    RunState.DIAGNOSING: Shown("●", "diagnosing", "going"),
    RunState.DIAGNOSED: Shown("✓", "diagnosed", "good"),
    RunState.FAILED: Shown("✗", "failed", "bad"),
    RunState.TIMED_OUT: Shown("✗", "timed out", "bad"),
    RunState.CANCELLED: Shown(NOT, "cancelled"),
    RunState.LOST: Shown("?", "lost its worker", "bad"),
}
_CELLS = {
    CellState.WAITING: Shown("○", "waiting"),
    CellState.RUNNING: Shown("●", "running", "going"),
    CellState.OK: Shown("✓", "ok", "good"),
    CellState.FAILED: Shown("✗", "failed", "bad"),
    CellState.DIED: Shown("✗", "died", "bad"),
    CellState.TIMED_OUT: Shown("✗", "timed out", "bad"),
    CellState.CANCELLED: Shown(NOT, "cancelled"),
    CellState.SKIPPED: Shown(NOT, "skipped", "warn"),
    CellState.NEVER_RAN: Shown(NOT, "never ran", "warn"),
}
_PROPOSALS = {
    ProposalState.PROPOSED: Shown("◇", "waits for a decision", "warn"),
    ProposalState.APPROVED: Shown("●", "approved, about to run", "going"),
    ProposalState.DENIED: Shown(NOT, "denied"),
    ProposalState.EXPIRED: Shown(NOT, "expired"),
    ProposalState.WITHDRAWN: Shown(NOT, "withdrawn"),
    ProposalState.STALE: Shown(NOT, "stale", "warn"),
    ProposalState.EXECUTING: Shown("●", "executing", "going"),
    ProposalState.APPLIED: Shown("✓", "applied", "good"),
    ProposalState.FAILED: Shown("✗", "failed", "bad"),
    ProposalState.UNKNOWN: Shown("?", "outcome unknown", "bad"),
}
_VERIFICATIONS = {
    Verification.PENDING: Shown("●", "being verified", "going"),
    Verification.VERIFIED: Shown("✓", "verified", "good"),
    Verification.NOT_VERIFIED: Shown("✗", "not verified", "bad"),
    Verification.NOT_POSSIBLE: Shown("?", "could not be verified", "warn"),
}
_SEVERITIES = {
    "critical": Shown("▲", "critical", "bad"),
    "warning": Shown("△", "warning", "warn"),
    "info": Shown("·", "info"),
}
_RISKS = {
    Risk.LOW: Shown("▽", "low risk"),
    Risk.MEDIUM: Shown("△", "medium risk", "warn"),
    Risk.HIGH: Shown("▲", "high risk", "bad"),
}
_STANDINGS = {
    Standing.HOLDS: Shown("✓", "proved to only read", "good"),
    Standing.UNPROVED: Shown("△", "not proved", "warn"),
    Standing.WRITES: Shown("▲", "diagnosis can write", "bad"),
    Standing.AWAY: Shown("✗", "away", "bad"),
    Standing.UNTESTED: Shown("○", "not tested yet"),
}
_STAGES = {
    Stage.PARAMETERS: "parameters",
    Stage.SETUP: "setup",
    Stage.DIAGNOSTIC: "read-only",
    Stage.REMEDIATION: "gated",
}


def run_state(state: RunState, in_part: bool = False, *, asked: bool = False) -> Shown:
    """A run's state; a diagnosis in part says so, and an ask (`asked`) has words of its own."""
    shown = _RUNS[state]
    word = asking.STATES.get(state, shown.word) if asked else shown.word
    if state is RunState.DIAGNOSED and in_part:
        return Shown("◐", f"{word} in part", "warn")
    return replace(shown, word=word)


def cell_state(state: CellState) -> Shown:
    """A cell's state."""
    return _CELLS[state]


def proposal_state(state: ProposalState, verification: Verification | None = None) -> Shown:
    """A proposal's state, and what the verification said where that is the news."""
    shown = _PROPOSALS[state]
    if verification is None:
        return shown
    checked = _VERIFICATIONS[verification]
    tone = checked.tone if shown.tone == "good" else shown.tone
    symbol = checked.symbol if shown.tone == "good" else shown.symbol
    return Shown(symbol, f"{shown.word}, {checked.word}", tone)


def verification_state(verification: Verification) -> Shown:
    """What a verification said."""
    return _VERIFICATIONS[verification]


def severity(name: str) -> Shown:
    """A finding's severity."""
    return _SEVERITIES.get(name, _SEVERITIES["info"])


def risk(of: Risk) -> Shown:
    """How much harm an action can do."""
    return _RISKS[of]


def standing(of: Standing) -> Shown:
    """What a connection's latest test said."""
    return _STANDINGS[of]


def stage(of: str) -> str:
    """A cell's stage in a word."""
    return _STAGES.get(Stage(of), of)


def policy_sentences(policy: Policy, *, by_hand: bool = False) -> list[str]:
    """What binds a decision, as sentences."""
    count = "One person decides" if policy.approvals == 1 else f"{policy.approvals} different people have to approve"
    clauses = [" or ".join(clause) for clause in policy.approvers]
    who = " and also ".join(clauses) or "nobody"
    trouble = "cannot be made in whole" if by_hand else "no longer proposes this"
    return [
        f"{count}: an approver for {who}. Never somebody who asked for it.",
        f"Just before it runs, the diagnosis is made once more; if it {trouble}, nothing is executed."
        if policy.recheck
        else "It runs without another look at the system before.",
    ]


def floor_sentences(floor: Floor) -> list[str]:
    """The least that a connection asks of each action on it."""
    count = "One approval" if floor.approvals == 1 else f"{floor.approvals} approvals of different people"
    said = [f"{count}, by an approver for {' or '.join(floor.approvers)}."]
    if floor.risk is not Risk.LOW:
        said.append(f"It counts as {_RISKS[floor.risk].word}.")
    said.append(
        "Each action is checked again just before it runs."
        if floor.recheck
        else "A runbook may leave out the check just before it runs."
    )
    if floor.expires is not None:
        said.append(f"A proposal waits {told(float(floor.expires))} at most.")
    return said


def told(took: timedelta | float | None) -> str:
    """A duration as people say it; empty for None."""
    if took is None:
        return ""
    seconds = took.total_seconds() if isinstance(took, timedelta) else float(took)
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} days"


def ago(at: datetime, now: datetime | None = None) -> str:
    """A time as seen from now; the page's script says it in the same words."""
    return since(at, now or datetime.now(UTC))


def left(until: datetime, now: datetime | None = None) -> str:
    """Minutes and seconds that are left, for a countdown."""
    seconds = max(int((until - (now or datetime.now(UTC))).total_seconds()), 0)
    return f"{seconds // 60}:{seconds % 60:02d}"


def utc(at: datetime) -> str:
    """Day and time with zone."""
    return f"{at.astimezone(UTC):%d %b %Y %H:%M:%S} UTC"


def clock(at: datetime) -> str:
    """Time with zone."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


def size(count: int) -> str:
    """A number of bytes or characters, roughly."""
    return (
        f"{count:,}" if count < 10_000 else f"{count / 1000:,.0f} k" if count < 1_000_000 else f"{count / 1e6:,.1f} M"
    )


def value(given: Any) -> str:
    """A JSON value in full, on one line, as a person would write it."""
    if isinstance(given, bool):
        return "yes" if given else "no"
    if given is None:
        return "none"
    if isinstance(given, list):
        return ", ".join(value(item) for item in given) or "none"
    return str(given)


FILTERS: dict[str, Callable[..., Any]] = {
    "ago": ago,
    "cell_state": cell_state,
    "clock": clock,
    "floor_sentences": floor_sentences,
    "left": left,
    "policy_sentences": policy_sentences,
    "proposal_state": proposal_state,
    "risk": risk,
    "run_state": run_state,
    "severity": severity,
    "shown_value": value,
    "size": size,
    "stage_word": stage,
    "standing": standing,
    "told": told,
    "utc": utc,
    "verification_state": verification_state,
}
"""What templates call these by."""

"""How long the steps of an incident took, by its story: each between two events that entries prove."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from runbooks_app.core.incident import AuditRef, IncidentStory, ProposalStory
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import RunState

_Event = tuple[datetime, AuditRef | None]


@dataclass(frozen=True)
class Step:
    """How long one step took, never below zero, and the entries of the events between which it lies."""

    took: timedelta
    since: AuditRef | None = None
    until: AuditRef | None = None


@dataclass(frozen=True)
class Durations:
    """How long the steps of an incident took; None where the step did not happen (yet)."""

    acknowledge: Step | None = None
    diagnose: Step | None = None
    approve: Step | None = None
    mitigate: Step | None = None


def durations(story: IncidentStory) -> Durations:
    """How long the four steps took.

    - acknowledge: from the opening to the first act of a human (zero where a human opened the incident);
    - diagnose: from the opening to the end of the first run that was diagnosed, in part or whole;
    - approve: from the first proposal to the first approval that was enough for its proposal's policy;
    - mitigate: from the opening to the end of the first verification that held, of a remediation that was applied.

    None is below zero: a run may be older than the incident that it was joined to.
    """
    acts = [(item.at, item.entry) for item in story.items if item.human]
    diagnosed = [(r.ended_at, r.entry) for r in story.runs if r.state is RunState.DIAGNOSED and r.ended_at]
    approved = [(p.approved_at, _enough(p)) for p in story.proposals if p.approved_at]
    mitigated = [
        (p.verification.ended_at, p.verification.entry)
        for p in story.proposals
        if p.state is ProposalState.APPLIED
        and p.verification
        and p.verification.state is Verification.VERIFIED
        and p.verification.ended_at
    ]
    opening = (story.opened_at, story.opened)
    return Durations(
        acknowledge=_step(opening, acts),
        diagnose=_step(opening, diagnosed),
        approve=_step((story.proposals[0].proposed_at, story.proposals[0].entry), approved) if approved else None,
        mitigate=_step(opening, mitigated),
    )


def _enough(proposal: ProposalStory) -> AuditRef | None:
    """The entry of the decision with which the proposal became approved: the last approval that counted by then."""
    counted = [
        d
        for d in proposal.decisions
        if d.counted and d.decision == "approve" and proposal.approved_at and d.at <= proposal.approved_at
    ]
    return max(counted, key=lambda decision: decision.at).entry if counted else None


def _step(start: _Event, ends: list[_Event]) -> Step | None:
    if not ends:
        return None
    end = min(ends, key=lambda event: event[0])
    return Step(max(end[0] - start[0], timedelta(0)), start[1], end[1])

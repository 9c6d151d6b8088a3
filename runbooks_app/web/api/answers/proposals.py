"""Proposals."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from runbooks_app.core.deciding import Verdict
from runbooks_app.core.policy import Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.web.api.answers.base import Answer

if TYPE_CHECKING:
    from runbooks_app.store import records


class Policy(Answer):
    """Who may decide, how many of them, until when: as it was when the proposal was made."""

    risk: Risk
    approvals: int
    approvers: list[list[str]]
    """An AND of ORs of groups."""
    expires: int
    """Seconds."""
    recheck: bool


class Decision(Answer):
    """One person's verdict."""

    by: str
    subject: str
    verdict: Verdict
    signed: bool
    """Whether the provider's word for this very decision is kept with it."""
    break_glass: bool
    reason: str
    at: datetime


class Check(Answer):
    """What a verification looked at."""

    name: str
    ok: bool
    seconds: float | None
    detail: str


class Proposal(Answer):
    """A proposal with everything that a decision binds to."""

    id: str
    run: str
    gate: str
    cell: str
    title: str
    target: str
    inputs: dict[str, Any]
    identity: list[str]
    """Names of those inputs that tell what it acts on."""
    connections: list[dict[str, str]]
    policy: Policy
    reason: str
    evidence: list[dict[str, Any]]
    digest: str
    """What a decision is on: send it as it was shown."""
    by_hand: bool
    requesters: list[str]
    """Subjects of the humans behind it; none of them decides."""
    sponsor: str
    predecessor: str | None
    state: ProposalState
    state_reason: str
    verification: Verification | None
    verification_reason: str
    checks: list[Check]
    proposed_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    ended_at: datetime | None
    decisions: list[Decision]
    withheld: str = ""
    """To agents alone: that what it goes by is restricted, and where a person sees it."""

    @classmethod
    def of(cls, found: records.Proposal) -> Self:
        """A proposal."""
        return cls(**proposal_fields(found))


def proposal_fields(found: records.Proposal) -> dict[str, Any]:
    """The fields of `Proposal`, for it and for what holds more."""
    return {
        **Proposal.same(found, but={"run", "cell", "policy", "checks", "decisions", "withheld"}),
        "run": found.run_id,
        "cell": found.cell_id,
        "policy": Policy(**found.policy),
        "checks": [Check(**check) for check in found.checks],
        "decisions": [
            Decision(**Decision.same(d, but={"by", "signed"}), by=d.name, signed=bool(d.id_token))
            for d in found.decisions
        ],
    }


class WholeProposal(Proposal):
    """A proposal with what a person who decides is shown besides."""

    source: str | None
    """The cell that would run; null where it can no longer be read: then it can only be denied."""
    names: dict[str, str]
    """Names of those who stand behind it, by subject."""
    why_not: str
    """Why whoever asks may not decide, in a sentence; empty if they may."""


class Proposals(Answer):
    """A page of proposals that wait for a decision, those that expire first at the top."""

    proposals: list[Proposal]
    next: str | None
    """The cursor of the following page; null on the last."""

"""The one decision function: may this person approve or deny this proposal now, and what follows.

Every surface (page, API, chat) comes through `decide`. The rules, in the order in which a refusal is told:

1. the proposal is still open, and not past its expiry by the database's clock;
2. what the person saw is what is stored: the digest they send equals the proposal's;
3. nobody decides on what they asked for, by whatever road, nor on what they sponsored;
4. a high-risk proposal that no human asked for has a sponsor first;
5. the person is an approver for every clause of the policy that was copied onto the proposal;
6. nobody counts twice.

A deny wins at once, also over an approval that has not started. Approvals count distinct subjects.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runbooks_app.core.errors import Conflict, Refused
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import OPEN, ProposalState


class Verdict(StrEnum):
    """What a person says on a proposal."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True)
class Decision:
    """One person's verdict, as far as the rules need it."""

    subject: str
    name: str
    verdict: Verdict
    at: datetime


@dataclass(frozen=True)
class Asked:
    """A proposal, as far as the rules need it. `requesters` are subjects of humans; `sponsor` too, or empty."""

    state: ProposalState
    digest: str
    policy: Policy
    requesters: frozenset[str]
    sponsor: str
    expires_at: datetime
    decisions: tuple[Decision, ...] = ()
    state_reason: str = ""

    @property
    def needs_sponsor(self) -> bool:
        """Whether a human must answer for it before anybody may decide."""
        return not self.requesters and not self.sponsor and self.policy.risk is Risk.HIGH

    @property
    def approvers(self) -> tuple[str, ...]:
        """Distinct subjects who approved, in order."""
        return tuple(dict.fromkeys(d.subject for d in self.decisions if d.verdict is Verdict.APPROVE))


def closed_reason(asked: Asked, now: datetime) -> str:
    """Why nobody can decide any more; empty while somebody can."""
    if asked.state in OPEN and now >= asked.expires_at:
        return f"It expired at {asked.expires_at:%H:%M:%S %Z}."
    if asked.state in OPEN:
        return ""
    last = asked.decisions[-1] if asked.decisions else None
    by = f" by {last.name} at {last.at:%H:%M:%S %Z}" if last else ""
    return {
        ProposalState.DENIED: f"It was denied{by}.",
        ProposalState.EXPIRED: f"It expired at {asked.expires_at:%H:%M:%S %Z}.",
        ProposalState.WITHDRAWN: "It was withdrawn.",
        ProposalState.STALE: f"It is stale. {asked.state_reason}".strip(),
    }.get(asked.state, f"It was approved{by} and has started.")


def why_not(asked: Asked, person: Person, now: datetime) -> str:
    """Why this person may not decide now, in one sentence to show them; empty if they may."""
    closed = closed_reason(asked, now)
    if closed:
        return closed
    if person.subject in asked.requesters:
        return "You asked for this; somebody else has to decide."
    if person.subject == asked.sponsor:
        return "You sponsor this; somebody else has to decide."
    if asked.needs_sponsor:
        return "No human asked for this and its risk is high: somebody has to sponsor it first."
    if not person.may(Permission.DECIDE) or not asked.policy.may_be_decided_by(person.approver_groups):
        return f"Only approvers for {groups_text(asked.policy)} may decide this."
    return ""


def groups_text(policy: Policy) -> str:
    """The policy's clauses in words: `database and (payments or sre)`."""
    clauses = [" or ".join(clause) for clause in policy.approvers]
    return " and ".join(f"({c})" if " or " in c and len(clauses) > 1 else c for c in clauses) or "nobody"


def decide(asked: Asked, person: Person, verdict: Verdict, digest: str, now: datetime) -> ProposalState:
    """State of the proposal once this verdict stands; the same as before while approvals are missing.

    Raises `Conflict` where the proposal has moved on, `Refused` where this person may not.
    """
    closed = closed_reason(asked, now)
    if closed:
        raise Conflict(f"This proposal can no longer be decided. {closed}")
    if digest != asked.digest:
        raise Conflict("The proposal is not the one that you were shown; look at it again.")
    reason = why_not(asked, person, now)
    if reason:
        raise Refused(reason)
    if verdict is Verdict.DENY:
        return ProposalState.DENIED
    if asked.state is ProposalState.APPROVED:
        raise Conflict("The proposal is approved already; it is about to start.")
    if person.subject in asked.approvers:
        raise Conflict("Your approval counts already; another person has to approve too.")
    if len(asked.approvers) + 1 >= asked.policy.approvals:
        return ProposalState.APPROVED
    return asked.state


def may_start(asked: Asked, approvers: dict[str, frozenset[str]], digest: str, now: datetime) -> None:
    """Raise unless the approved proposal may start now: the last check, in the transaction of the start row.

    `approvers` maps each approver's subject to the groups that they are approvers for *today*; `digest` is
    computed anew from what is about to run.
    """
    if asked.state is not ProposalState.APPROVED:
        raise Conflict(f"The proposal is {asked.state}, not approved; nothing was executed.")
    if now >= asked.expires_at:
        raise Conflict("The proposal expired before it could start; nothing was executed.")
    if digest != asked.digest:
        raise Refused("What would run is not what was approved; nothing was executed.")
    standing = [
        subject
        for subject in asked.approvers
        if subject not in asked.requesters
        and subject != asked.sponsor
        and asked.policy.may_be_decided_by(approvers.get(subject, frozenset()))
    ]
    if len(standing) < asked.policy.approvals:
        raise Refused("Somebody who approved is no longer an approver; nothing was executed.")

"""The one decision function: may this person approve or deny this proposal now, and what follows.

Every surface (page, API, chat) comes through `decide`. The rules, in the order in which a refusal is told:

1. the proposal is still open, and not past its expiry by the database's clock;
2. what the person saw is what is stored: the digest they send equals the proposal's;
3. an agent never decides; and nobody decides on what they asked for, by whatever road, nor on what they sponsored;
4. a high-risk proposal that no human asked for has a sponsor first;
5. the person is an approver for every clause of the policy that was copied onto the proposal;
6. nobody counts twice;
7. approving what is of high risk wants a signed decision: the provider's word, in an id_token, that this person signed
   in just now for this proposal and this answer.

A deny wins at once, also over an approval that has not started, and never wants a signature: it only ever stops.
Approvals count distinct subjects. What a break-glass does instead is `core.break_glass`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runbooks_app.core.errors import Conflict, Refused
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import OPEN, ProposalState


class Unsigned(Refused):
    """Approving this wants a signed decision."""

    code = "signed_decision_required"


class TooFew(Refused):
    """Too few of the proposal's approvals count."""


class Verdict(StrEnum):
    """What a person says on a proposal."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True)
class Decision:
    """One person's verdict, as far as the rules need it; `break_glass` where they went by themselves."""

    subject: str
    name: str
    verdict: Verdict
    at: datetime
    break_glass: bool = False


@dataclass(frozen=True)
class Asked:
    """A proposal, as far as the rules need it. `requesters` are subjects of humans; `sponsor` too, or empty.

    `by_program`: proposed by a program that no human stands behind, or by what followed from what no human asked for.
    Requesters answer for what it came from and did not ask for this, though they do not decide it either.
    """

    state: ProposalState
    digest: str
    policy: Policy
    requesters: frozenset[str]
    sponsor: str
    expires_at: datetime
    decisions: tuple[Decision, ...] = ()
    state_reason: str = ""
    by_program: bool = False
    ended_at: datetime | None = None

    @property
    def nobody_asked(self) -> bool:
        """Whether no human asked for this: nor has any then for what follows from it."""
        return self.by_program or not self.requesters

    @property
    def behind(self) -> frozenset[str]:
        """Subjects of the humans who answer for it: they decide neither it nor what follows from it."""
        return self.requesters | ({self.sponsor} - {""})

    @property
    def needs_sponsor(self) -> bool:
        """Whether a human must answer for it before anybody may decide."""
        return self.nobody_asked and not self.sponsor and self.policy.risk is Risk.HIGH

    @property
    def approvers(self) -> tuple[str, ...]:
        """Distinct subjects who approved as approvers, in order."""
        said = (d for d in self.decisions if d.verdict is Verdict.APPROVE and not d.break_glass)
        return tuple(dict.fromkeys(d.subject for d in said))

    @property
    def broke_glass(self) -> str:
        """Subject of who broke the glass; empty where nobody did."""
        return next((d.subject for d in self.decisions if d.break_glass), "")

    @property
    def wants_signatures(self) -> bool:
        """Whether an approval counts with the provider's signature alone."""
        return self.policy.risk is Risk.HIGH


def closed_reason(asked: Asked, now: datetime) -> str:
    """Why nobody can decide any more; empty while somebody can."""
    if asked.state in OPEN and now >= asked.expires_at:
        return f"It expired at {asked.expires_at:%H:%M:%S %Z}."
    if asked.state in OPEN:
        return ""
    last = asked.decisions[-1] if asked.decisions else None
    by = f" by {last.name} at {last.at:%H:%M:%S %Z}" if last else ""
    at = f" at {asked.ended_at:%H:%M:%S %Z}" if asked.ended_at else ""
    return {
        ProposalState.DENIED: f"It was denied{by}.",
        ProposalState.EXPIRED: f"It expired at {asked.expires_at:%H:%M:%S %Z}.",
        ProposalState.WITHDRAWN: f"{(asked.state_reason or 'It was withdrawn').removesuffix('.')}{at}.",
        ProposalState.STALE: f"It went stale{at}. {asked.state_reason}".strip(),
    }.get(asked.state, f"{_let_through(asked)} and it has started.")


def _let_through(asked: Asked) -> str:
    said = [decision for decision in asked.decisions if decision.verdict is Verdict.APPROVE]
    if not said:
        return "It was approved"
    at = f"at {said[-1].at:%H:%M:%S %Z}"
    name = said[-1].name
    return f"{name} broke the glass {at}" if said[-1].break_glass else f"It was approved by {name} {at}"


def why_not(asked: Asked, person: Person, now: datetime) -> str:
    """Why this person may not decide now, in one sentence to show them; empty if they may."""
    closed = closed_reason(asked, now)
    if closed:
        return closed
    if person.agent:
        return "Agents ask and propose; a person has to decide."
    if person.subject in asked.requesters:
        return "You asked for this; somebody else has to decide."
    if person.subject == asked.sponsor:
        return "You sponsor this; somebody else has to decide."
    if asked.needs_sponsor:
        return "No human asked for this and its risk is high: somebody has to sponsor it first."
    if not person.may(Permission.DECIDE) or not asked.policy.may_be_decided_by(person.approver_groups):
        return f"Only approvers for {groups_text(asked.policy)} may decide this."
    return ""


def why_not_withdraw(asked: Asked, person: Person) -> str:
    """Why this person may not take it back, in one sentence; empty if they may, until it starts."""
    if person.agent:
        return "Agents withdraw nothing; whoever asked for it does so on its page."
    if person.subject not in asked.behind:
        return "Only who asked for it can withdraw it; approvers deny it."
    return ""


def why_not_in_chat(asked: Asked, allowed: str, *, restricted: bool) -> str:
    """Why this is not decided in a chat, in one sentence; empty where it may be, by whoever may decide it.

    `allowed` is the setting `slack_decide`. Of a `restricted` one nobody sees the evidence there.
    """
    if allowed != Risk.LOW:
        return "Nothing is decided in the chat here: decide it on its page."
    if asked.policy.risk is not Risk.LOW:
        return f"Its risk is {asked.policy.risk}: decide it on its page."
    if restricted:
        return "Its evidence stays on its page, so it is decided there."
    return ""


def groups_text(policy: Policy) -> str:
    """The policy's clauses in words: `database and (payments or sre)`."""
    clauses = [" or ".join(clause) for clause in policy.approvers]
    return " and ".join(f"({c})" if " or " in c and len(clauses) > 1 else c for c in clauses) or "nobody"


def decide(
    asked: Asked, person: Person, verdict: Verdict, digest: str, now: datetime, *, signed: bool
) -> ProposalState:
    """State of the proposal once this verdict stands; the same as before while approvals are missing.

    `signed`: there is an id_token that speaks of this verdict. Raises `Conflict` where the proposal has moved on,
    `Refused` where this person may not, `Unsigned` where nothing is missing but the signature.
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
    if asked.wants_signatures and not signed:
        raise Unsigned("Approving this wants a signed decision: its risk is high. Approve it on its page.")
    if len(asked.approvers) + 1 >= asked.policy.approvals:
        return ProposalState.APPROVED
    return asked.state


def may_start(
    asked: Asked, approvers: Mapping[str, frozenset[str]], digest: str, now: datetime, *, broke_glass: str = ""
) -> tuple[str, ...]:
    """On whose word the proposal may start now, or raise: the last check, in the transaction of the start row.

    `approvers` maps the subject of each approval that counts to the groups that they are approvers for *today*;
    `broke_glass` is the subject of a break-glass that counts; `digest` is computed anew from what is about to run.
    """
    if asked.state is not ProposalState.APPROVED:
        raise Conflict(f"The proposal is {asked.state}, not approved; nothing was executed.")
    if now >= asked.expires_at:
        raise Conflict("The proposal expired before it could start; nothing was executed.")
    if digest != asked.digest:
        raise Refused("What would run is not what was approved; nothing was executed.")
    standing = tuple(
        subject
        for subject in asked.approvers
        if subject not in asked.requesters
        and subject != asked.sponsor
        and asked.policy.may_be_decided_by(approvers.get(subject, frozenset()))
    )
    if broke_glass:
        return tuple(dict.fromkeys((*standing, broke_glass)))
    if asked.needs_sponsor:
        raise Refused("No human answers for it, though its risk is high; nothing was executed.")
    if len(standing) < asked.policy.approvals:
        raise TooFew("Somebody who approved is no longer an approver; nothing was executed.")
    return standing

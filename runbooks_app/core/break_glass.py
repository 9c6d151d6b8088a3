"""Break-glass: one person has a proposal start alone, and somebody else looks at it afterwards.

For the night in which no approver answers. It takes a role of its own, a reason, and a sign-in just now whose
id_token speaks of this proposal and of breaking the glass. Who asked for the action may do it too: that is the point.
All else stays: the digest, the expiry, the re-check, one start per proposal, and anybody's deny until the start.

It is open until somebody has reviewed it who neither used it nor asked for the action.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from runbooks_app.core.deciding import Asked, Unsigned, closed_reason
from runbooks_app.core.errors import Conflict, InvalidInput, Problem, Refused
from runbooks_app.core.id_tokens import LEEWAY
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.writing import LONGEST_REASON, kept

SAID = "break-glass"
"""What the nonce of a signed break-glass says in place of a verdict."""
LEAST_WORDS = 20
"""Characters that a reason, and a review, have at least."""
FRESH_SESSION = 15 * 60
"""Seconds since the provider's sign-in for which a session is fresh enough to do without the provider."""

_ASSESSORS = frozenset({"auditor", "admin"})


class Mode(StrEnum):
    """What an installation allows: nothing, a signed one, or also one by a fresh session while the provider is away."""

    OFF = "off"
    SIGNED = "signed"
    SESSION = "session"


def why_not(asked: Asked, person: Person, mode: Mode, now: datetime) -> str:
    """Why this person may not break the glass now, in one sentence to show them; empty if they may."""
    if mode is Mode.OFF:
        return "Break-glass is off on this installation (RUNBOOKS_BREAK_GLASS)."
    if not person.may(Permission.BREAK_GLASS):
        return "Breaking the glass takes the role break-glass."
    closed = closed_reason(asked, now)
    if closed:
        return closed
    if asked.broke_glass:
        return "The glass was broken for this already; it is about to start."
    return ""


def use(
    asked: Asked,
    person: Person,
    digest: str,
    reason: str,
    mode: Mode,
    now: datetime,
    *,
    signed: bool,
    without_provider: bool = False,
    auth_time: object = None,
) -> ProposalState:
    """State of the proposal once the glass is broken: approved. Raises `Refused`, `Conflict` or `InvalidInput`.

    `signed`: there is an id_token that speaks of it; raises `Unsigned` where nothing but this is missing.
    `without_provider`: go without one, by `auth_time`, when the session's person last signed in (seconds since the
    epoch); the installation has to allow it.
    """
    person.require(Permission.BREAK_GLASS)
    if digest != asked.digest:
        raise Conflict("The proposal is not the one that you were shown; look at it again.")
    fault = why_not(asked, person, mode, now)
    if fault:
        raise (Refused if mode is Mode.OFF else Conflict)(fault)
    words("reason", reason)
    if not signed and not without_provider:
        raise Unsigned("Breaking the glass wants a fresh sign-in. Do it on the proposal's page.")
    if not signed and mode is not Mode.SESSION:
        raise Refused("Breaking the glass takes the provider's sign-in here (RUNBOOKS_BREAK_GLASS=signed).")
    if not signed and not _fresh(auth_time, now):
        raise Refused(
            "You signed in more than 15 minutes ago. While the provider is away only a fresh session counts: it takes"
            " somebody who signed in within that time, or the provider's return."
        )
    return ProposalState.APPROVED


def why_not_review(asked: Asked, person: Person, *, reviewed: bool) -> str:
    """Why this person may not review the break-glass, in one sentence to show them; empty if they may."""
    if reviewed:
        return "It is reviewed already."
    if person.subject == asked.broke_glass:
        return "You broke the glass; somebody else has to review it."
    if person.subject in {*asked.requesters, asked.sponsor}:
        return "You asked for the action; somebody else has to review it."
    if not (person.roles & _ASSESSORS or asked.policy.may_be_decided_by(person.approver_groups)):
        return "Auditors, admins and those who could have approved the action review it."
    return ""


def review(asked: Asked, person: Person, text: str, *, reviewed: bool) -> None:
    """Raise unless this person may close the break-glass with these words."""
    person.require(Permission.REVIEW)
    fault = why_not_review(asked, person, reviewed=reviewed)
    if fault:
        raise (Conflict if reviewed else Refused)(fault)
    words("review", text)


def words(name: str, text: str) -> None:
    """Raise `InvalidInput` unless the text says something, and can be kept."""
    if not LEAST_WORDS <= len(text.strip()) <= LONGEST_REASON:
        raise InvalidInput(
            f"Say it in {LEAST_WORDS} to {LONGEST_REASON:,} characters: others read it when all is over.",
            problems=(Problem(name, f"has {len(text.strip()):,} characters."),),
        )
    kept(name, text, LONGEST_REASON)


def _fresh(auth_time: object, now: datetime) -> bool:
    return isinstance(auth_time, int) and -LEEWAY <= now.timestamp() - auth_time <= FRESH_SESSION

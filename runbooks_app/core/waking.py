"""Waking: whom a proposal that waits is told to directly, in which order, and when the next are.

    on call        those on call who may decide; where they are too few for what it takes, all who may
    everybody      all others who may decide
    break-glass    those who may break the glass are shown that way

Each step looks at the proposal again. Who may decide is `core.deciding`'s to say and nothing here changes it: being on
call gives no authority, and somebody who is woken is judged anew when they answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum

from runbooks_app.core import break_glass
from runbooks_app.core.break_glass import Mode
from runbooks_app.core.deciding import Asked
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.policy import Policy
from runbooks_app.core.proposal import ProposalState

MOST_WOKEN = 50
"""People whom one step wakes: those seen last."""


class Step(IntEnum):
    """How far waking has gone."""

    ON_CALL = 0
    EVERYBODY = 1
    BREAK_GLASS = 2


def waits(asked: Asked, now: datetime) -> bool:
    """Whether somebody has to decide still; whoever was woken for it may sleep on otherwise."""
    return asked.state is ProposalState.PROPOSED and now < asked.expires_at


def groups(policy: Policy) -> tuple[str, ...]:
    """The groups whose people on call are wanted."""
    return tuple(sorted({group for clause in policy.approvers for group in clause}))


def whom(
    asked: Asked,
    step: Step,
    known: Iterable[Person],
    *,
    on_call: frozenset[str],
    woken: frozenset[str],
    mode: Mode,
    now: datetime,
) -> tuple[Person, ...]:
    """Whom this step wakes, out of those who can be reached (`known`, those seen last first).

    `on_call` are e-mail addresses in small letters; `woken` the subjects of those whom a step before has woken already.
    """
    if not waits(asked, now):
        return ()
    if step is Step.BREAK_GLASS:
        return tuple(one for one in known if not break_glass.why_not(asked, one, mode, now))[:MOST_WOKEN]
    may = [one for one in known if _may_decide(asked, one)]
    if step is Step.ON_CALL:
        called = [one for one in may if one.email and one.email.casefold() in on_call]
        may = called if len(called) >= _wanted(asked) else may
    return tuple(one for one in may if one.subject not in woken)[:MOST_WOKEN]


def pause(asked: Asked, step: Step, escalate_after: int, now: datetime) -> int | None:
    """Seconds from this step to the next; None after the last one.

    What expires soon hurries: its steps share the time that is left.
    """
    if step is Step.BREAK_GLASS:
        return None
    left = int((asked.expires_at - now).total_seconds())
    return max(min(escalate_after, left // (len(Step) - step)), 1)


def _may_decide(asked: Asked, person: Person) -> bool:
    """Whether this person's word is wanted: also where a sponsor has to come first, whom they may become."""
    return (
        person.may(Permission.DECIDE)
        and asked.policy.may_be_decided_by(person.approver_groups)
        and person.subject not in {*asked.requesters, asked.sponsor, *asked.approvers}
    )


def _wanted(asked: Asked) -> int:
    """How many people it takes still."""
    return max(asked.policy.approvals - len(asked.approvers), 0) + asked.needs_sponsor

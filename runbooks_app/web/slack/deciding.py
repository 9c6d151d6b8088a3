"""Approve and Deny, pressed in Slack: for low risk, where the settings allow it, by whom signed in not long ago.

The button carries the proposal and the digest of what its message showed. Everything else is asked again here: a button
may be forged, or older than what it stands under.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.actions import deciding, people
from runbooks_app.actions.restricting import restricted
from runbooks_app.core.deciding import Verdict, why_not_in_chat
from runbooks_app.core.errors import Refused
from runbooks_app.core.people import Permission, Person
from runbooks_app.store import proposals, runs
from runbooks_app.store.database import reading
from runbooks_app.web.slack.asked import Answer, Asked

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service


def approve(service: Service, person: Person, asked: Asked) -> Answer:
    """Say yes to a proposal of low risk."""
    return _decide(service, person, asked, Verdict.APPROVE)


def deny(service: Service, person: Person, asked: Asked) -> Answer:
    """Say no to a proposal of low risk."""
    return _decide(service, person, asked, Verdict.DENY)


def _decide(service: Service, person: Person, asked: Asked, verdict: Verdict) -> Answer:
    person.require(Permission.DECIDE)
    hours = service.settings.slack_decide_hours
    fresh = people.person_of_chat(service, asked.team, asked.user, hours=hours)
    if fresh is None:
        raise Refused(f"You signed in more than {hours} hours ago: sign in again, or decide on its page.")
    proposal_id, _, digest = asked.value.partition(":")
    with reading(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id)
        hidden = restricted(tx, service, runs.get(tx, proposal.run_id), proposal)
    if why := why_not_in_chat(proposal.asked, service.settings.slack_decide, restricted=hidden):
        raise Refused(why)
    deciding.decide(service, fresh, asked.signed_in(), proposal_id, verdict, digest, delivery=asked.delivery)
    return Answer()  # the proposal's message tells the rest

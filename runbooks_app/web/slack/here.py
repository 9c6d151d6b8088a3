"""What "here" means: in a thread that tells of a run, that run and its incident; elsewhere, the channel's.

A thread may tell of an incident as well. Of a channel's open incidents the newest is meant, unless a number names one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.run import ENDED
from runbooks_app.store import incidents, runs
from runbooks_app.store.database import Transaction, reading

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.store.records import Incident, Run
    from runbooks_app.web.slack.asked import Asked


NAMELESS = frozenset({"directmessage", "privategroup", "mpdm"})
"""What a command calls channels whose name it does not tell."""


def run_of_thread(tx: Transaction, asked: Asked) -> Run | None:
    """The run that the thread tells of."""
    return runs.told_in(tx, asked.channel, asked.thread_ts) if asked.thread_ts else None


def open_incident_of_thread(service: Service, asked: Asked) -> int | None:
    """The incident that a run asked for in this thread joins; None where the channel's does."""
    if not asked.thread_ts:
        return None
    with reading(service.engine) as tx:
        found = incident_of_thread(tx, asked)
    return found.id if found and found.closed_at is None else None


def incident_of_thread(tx: Transaction, asked: Asked) -> Incident | None:
    """The incident that the thread tells of, itself or by a run."""
    return incidents.told_in(tx, asked.channel, asked.thread_ts) if asked.thread_ts else None


def open_incident(tx: Transaction, asked: Asked) -> Incident | None:
    """The incident of the thread, else the channel's newest that is open."""
    return incident_of_thread(tx, asked) or next(iter(incidents.open_in(tx, asked.channel)), None)


def incident(
    service: Service, person: Person, asked: Asked, number: int | None = None, *, closed_too: bool = False
) -> Incident:
    """The incident of this number, else the one that is meant here; where that is enough, its latest.

    Raises `InvalidInput` where there is none.
    """
    person.require(Permission.READ)
    with reading(service.engine) as tx:
        if number is not None:
            return incidents.get(tx, number)
        found = incident_of_thread(tx, asked) or incidents.latest_in(tx, asked.channel)
    if found is None or (found.closed_at is not None and not closed_too):
        raise InvalidInput(
            "No incident is open in this channel. Running a runbook here opens one, and so does `incident TITLE`."
        )
    return found


def named(found: Incident) -> str:
    """An incident as it is called: its number and title."""
    return f"#{found.id} {found.title}"


def channel_name(asked: Asked) -> str:
    """What Slack calls the channel; empty where it does not tell."""
    return "" if asked.channel_name in NAMELESS else asked.channel_name


def going(tx: Transaction, channel: str) -> list[Run]:
    """Runs of the channel's open incidents that have not ended, oldest first."""
    found = [
        run
        for incident in incidents.open_in(tx, channel)
        for run in runs.recent(tx, incident_id=incident.id, limit=200)
    ]
    return sorted((run for run in found if run.state not in ENDED), key=lambda run: run.requested_at)


def url_of(service: Service, path: str) -> str:
    """A page's whole address."""
    return service.settings.public_url + path

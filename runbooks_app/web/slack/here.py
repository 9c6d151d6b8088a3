"""What "here" means: in a thread that tells of a run, that run and its incident; elsewhere, the channel's."""

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


def run_of_thread(tx: Transaction, asked: Asked) -> Run | None:
    """The run that the thread tells of."""
    return runs.told_in(tx, asked.channel, asked.thread_ts) if asked.thread_ts else None


def open_incident_of_thread(service: Service, asked: Asked) -> int | None:
    """The incident that a run asked for in this thread joins; None where the channel's does."""
    if not asked.thread_ts:
        return None
    with reading(service.engine) as tx:
        found = run_of_thread(tx, asked)
        incident = incidents.get(tx, found.incident_id) if found else None
    return incident.id if incident and incident.closed_at is None else None


def open_incident(tx: Transaction, asked: Asked) -> Incident | None:
    """The incident of the thread's run, else the channel's newest that is open."""
    found = run_of_thread(tx, asked)
    if found is not None:
        return incidents.get(tx, found.incident_id)
    return next(iter(incidents.open_in(tx, asked.channel)), None)


def incident(service: Service, person: Person, asked: Asked, *, closed_too: bool = False) -> Incident:
    """The incident that is meant here; where that is enough, its latest. Raises `InvalidInput` where there is none."""
    person.require(Permission.READ)
    with reading(service.engine) as tx:
        of_thread = run_of_thread(tx, asked)
        found = incidents.get(tx, of_thread.incident_id) if of_thread else incidents.latest_in(tx, asked.channel)
    if found is None or (found.closed_at is not None and not closed_too):
        raise InvalidInput("No incident is open in this channel. Running a runbook here opens one.")
    return found


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

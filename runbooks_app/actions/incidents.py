"""Incidents: opened, noted, closed, exported."""

from __future__ import annotations

from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.actions.story import incident_story
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import Conflict, InvalidInput, Problem
from runbooks_app.core.incident import IncidentStory
from runbooks_app.core.people import Permission, Person
from runbooks_app.store import incidents
from runbooks_app.store.database import transaction
from runbooks_app.store.records import Incident, Note

EXPORTS = ("ipynb", "html", "md")


def open_incident(
    service: Service, person: Person, signed_in: dict[str, Any], title: str, channel: str = ""
) -> Incident:
    """Open an incident before anything has run."""
    person.require(Permission.NOTE)
    title = _text("title", title, 200)
    with transaction(service.engine) as tx:
        actor = person_actor(person, signed_in)
        incident = incidents.insert(tx, title, channel or service.settings.slack_channel, actor.as_json())
        tx.audit(
            actor,
            Event.INCIDENT_OPENED,
            {"incident": incident.id},
            {"title": title, "channel": incident.channel},
        )
        return incident


def close_incident(
    service: Service, person: Person, signed_in: dict[str, Any], incident_id: int, cause: str
) -> Incident:
    """Close an incident with its cause."""
    person.require(Permission.NOTE)
    cause = _text("cause", cause, 2_000)
    with transaction(service.engine) as tx:
        incident = incidents.get(tx, incident_id, lock=True)
        if incident.closed_at is not None:
            raise Conflict(f"Incident {incident_id} is closed already.")
        incidents.close(tx, incident_id, cause)
        tx.audit(
            person_actor(person, signed_in),
            Event.INCIDENT_CLOSED,
            {"incident": incident_id},
            {"cause": cause},
        )
        return incidents.get(tx, incident_id)


def add_note(service: Service, person: Person, signed_in: dict[str, Any], incident_id: int, text: str) -> Note:
    """Put a note on the timeline."""
    person.require(Permission.NOTE)
    text = _text("text", text, 10_000)
    with transaction(service.engine) as tx:
        incidents.get(tx, incident_id)
        note = incidents.add_note(tx, incident_id, person.subject, person.name, text)
        tx.audit(
            person_actor(person, signed_in),
            Event.NOTE_ADDED,
            {"incident": incident_id, "note": note.id},
            {"text": text},
        )
        return note


def export_postmortem(
    service: Service, person: Person, signed_in: dict[str, Any], incident_id: int, kind: str
) -> IncidentStory:
    """The incident's story, for a postmortem that leaves the service; that it left is entered."""
    person.require(Permission.EXPORT)
    if kind not in EXPORTS:
        raise InvalidInput(
            "A postmortem is ipynb, html or md.",
            problems=(Problem("kind", f"{kind[:20]!r} is none of them."),),
        )
    with transaction(service.engine) as tx:
        story = incident_story(tx, service, incident_id)
        tx.audit(
            person_actor(person, signed_in),
            Event.POSTMORTEM_EXPORTED,
            {"incident": incident_id},
            {"kind": kind},
        )
        return story


def _text(where: str, text: str, limit: int) -> str:
    text = text.strip()
    if not text:
        raise InvalidInput(f"Write a {where}.", problems=(Problem(where, "is empty."),))
    if len(text) > limit or "\x00" in text:
        raise InvalidInput(
            f"The {where} cannot be kept.",
            problems=(Problem(where, f"takes at most {limit:,} characters and no NUL."),),
        )
    return text

"""Changing what was written: one's own notes, and the prose of a postmortem."""

from __future__ import annotations

from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.writing import LONGEST_NOTE, LONGEST_SECTION, Section, changed, require_own, require_prose
from runbooks_app.store import incidents, writing
from runbooks_app.store.database import transaction


def edit_note(
    service: Service, person: Person, signed_in: dict[str, Any], incident_id: int, note_id: int, version: int, text: str
) -> None:
    """Have one's own note say something else; what it said stays as a version.

    `version` is the one that was changed: raises `Clash` where it is not the one that stands.
    """
    person.require(Permission.NOTE)
    if not text.strip():
        problem = Problem("text", "is empty.", "Say in it why it does not hold any more.")
        raise InvalidInput("A note is not taken back: what it said stays in the trail.", problems=(problem,))
    with transaction(service.engine) as tx:
        note = writing.note(tx, incident_id, note_id, lock=True)
        require_own(person, note.subject, note.said_by, (note.author or "somebody") if note.source else "")
        kept = changed(text, where="text", limit=LONGEST_NOTE, based_on=version, version=note.version, before=note.text)
        if kept is None:
            return
        writing.change_note(tx, note, kept, person.name)
        tx.audit(
            person_actor(person, signed_in),
            Event.NOTE_EDITED,
            {"incident": note.incident_id, "note": note_id},
            {"text": kept, "version": note.version + 1},
        )


def write_postmortem(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    section: Section,
    version: int,
    text: str,
) -> None:
    """Write a section of a postmortem's prose, in Markdown; what it said stays as a version.

    `version` is the one that was changed, 0 where there was none: raises `Clash` where it is not the one that stands.
    """
    require_prose(person)
    with transaction(service.engine) as tx:
        incidents.get(tx, incident_id, lock=True)  # two who write at the same moment come one after the other
        before = writing.prose(tx, incident_id).get(section)
        stands = before.version if before else 0
        kept = changed(
            text,
            where="text",
            limit=LONGEST_SECTION,
            based_on=version,
            version=stands,
            before=before.text if before else "",
        )
        if kept is None:
            return
        writing.write_prose(tx, incident_id, section, stands + 1, kept, (person.subject, person.name))
        tx.audit(
            person_actor(person, signed_in),
            Event.POSTMORTEM_EDITED,
            {"incident": incident_id},
            {"section": str(section), "text": kept, "version": stands + 1},
        )

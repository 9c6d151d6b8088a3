"""Texts that people change: notes with what they said before, and the prose of postmortems."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runbooks_app.core.errors import NotFound
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Note, Record


@dataclass(frozen=True)
class Version(Record):
    """What a text said in one version: `name` wrote it `at` that time."""

    version: int
    text: str
    name: str
    at: datetime


@dataclass(frozen=True)
class Written(Version):
    """The prose of one section as it stands."""

    section: str


def note(tx: Transaction, incident_id: int, note_id: int, *, lock: bool = False) -> Note:
    """A note of an incident or of what became part of it, or `NotFound`; `lock` holds its row until commit."""
    row = tx.execute(
        f"""SELECT * FROM notes WHERE id = :note
            AND incident_id IN (SELECT id FROM incidents WHERE id = :id OR merged_into = :id)
            {"FOR UPDATE" if lock else ""}""",
        note=note_id,
        id=incident_id,
    ).first()
    if row is None:
        raise NotFound(f"Incident {incident_id} has no note {note_id}.")
    return Note.of(row)


def notes(tx: Transaction, incident_id: int, limit: int, before: int | None = None) -> list[Note]:
    """Notes of an incident and of what became part of it, newest first; `before` is the id of the last one seen."""
    rows = tx.execute(
        """SELECT * FROM notes WHERE incident_id IN (SELECT id FROM incidents WHERE id = :id OR merged_into = :id)
           AND id < :before ORDER BY id DESC LIMIT :limit""",
        id=incident_id,
        before=before or 2**62,
        limit=limit,
    )
    return Note.every(rows)


def said_before(tx: Transaction, note_id: int, most: int) -> list[Version]:
    """What a note said before it was changed, the latest first."""
    rows = tx.execute(
        """SELECT version, text, name, at FROM note_versions WHERE note_id = :id
           ORDER BY version DESC LIMIT :most""",
        id=note_id,
        most=most,
    )
    return Version.every(rows)


def change_note(tx: Transaction, before: Note, text: str, name: str) -> None:
    """Keep what a locked note says as a version, and have it say this, by whoever has this name."""
    tx.execute(
        """INSERT INTO note_versions (note_id, version, text, subject, name, at)
           VALUES (:id, :version, :text, :subject, :name, :at)""",
        id=before.id,
        version=before.version,
        text=before.text,
        subject=before.subject,
        name=before.said_by,
        at=before.edited_at or before.at,
    )
    tx.execute(
        "UPDATE notes SET text = :text, edited_at = now(), edited_by = :name, version = version + 1 WHERE id = :id",
        id=before.id,
        text=text,
        name=name,
    )


def prose(tx: Transaction, incident_id: int) -> dict[str, Written]:
    """Sections of an incident's postmortem as they stand; what nobody has written is not there."""
    rows = tx.execute(
        """SELECT DISTINCT ON (section) section, version, text, name, at FROM postmortem_texts
           WHERE incident_id = :id ORDER BY section, version DESC""",
        id=incident_id,
    )
    return {row.section: Written.of(row) for row in rows}


def prose_before(tx: Transaction, incident_id: int, section: str, most: int) -> list[Version]:
    """What a section said before, the latest first."""
    rows = tx.execute(
        """SELECT version, text, name, at FROM postmortem_texts WHERE incident_id = :id AND section = :section
           ORDER BY version DESC OFFSET 1 LIMIT :most""",
        id=incident_id,
        section=section,
        most=most,
    )
    return Version.every(rows)


def write_prose(tx: Transaction, incident_id: int, section: str, version: int, text: str, who: tuple[str, str]) -> None:
    """Keep the next version of a section; `who` is the writer's subject and name."""
    tx.execute(
        """INSERT INTO postmortem_texts (incident_id, section, version, text, subject, name)
           VALUES (:id, :section, :version, :text, :subject, :name)""",
        id=incident_id,
        section=section,
        version=version,
        text=text,
        subject=who[0],
        name=who[1],
    )

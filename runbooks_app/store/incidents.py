"""Incidents and notes."""

from __future__ import annotations

from typing import Any

from runbooks_app.core.errors import NotFound
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Incident, Note


def insert(tx: Transaction, title: str, channel: str, opened_by: dict[str, Any]) -> Incident:
    """Open an incident."""
    row = tx.execute(
        "INSERT INTO incidents (title, channel, opened_by) VALUES (:title, :channel, :by) RETURNING *",
        title=title,
        channel=channel,
        by=opened_by,
    ).one()
    return Incident.of(row)


def get(tx: Transaction, incident_id: int, *, lock: bool = False) -> Incident:
    """The incident, or `NotFound`; `lock` holds its row until commit."""
    row = tx.execute(f"SELECT * FROM incidents WHERE id = :id {'FOR UPDATE' if lock else ''}", id=incident_id).first()
    if row is None:
        raise NotFound(f"There is no incident {incident_id}.")
    return Incident.of(row)


def open_in_channel(tx: Transaction, channel: str) -> Incident | None:
    """The latest open incident of a channel."""
    row = tx.execute(
        """SELECT * FROM incidents WHERE channel = :channel AND closed_at IS NULL
           ORDER BY opened_at DESC LIMIT 1""",
        channel=channel,
    ).first()
    return Incident.of(row) if row else None


def listed(tx: Transaction, *, only_open: bool = True, limit: int = 50) -> list[Incident]:
    """Incidents, newest first."""
    rows = tx.execute(
        """SELECT * FROM incidents WHERE NOT :only_open OR closed_at IS NULL
           ORDER BY opened_at DESC, id DESC LIMIT :limit""",
        only_open=only_open,
        limit=limit,
    )
    return [Incident.of(row) for row in rows]


def close(tx: Transaction, incident_id: int, cause: str) -> None:
    """Close an open incident with its cause."""
    tx.moved(
        f"Incident {incident_id}",
        "UPDATE incidents SET closed_at = now(), cause = :cause WHERE id = :id AND closed_at IS NULL",
        id=incident_id,
        cause=cause,
    )


def add_note(tx: Transaction, incident_id: int, subject: str, name: str, text: str) -> Note:
    """Store a note."""
    row = tx.execute(
        """INSERT INTO notes (incident_id, subject, name, text) VALUES (:id, :subject, :name, :text)
           RETURNING *""",
        id=incident_id,
        subject=subject,
        name=name,
        text=text,
    ).one()
    return Note.of(row)


def notes(tx: Transaction, incident_id: int) -> list[Note]:
    """Notes of an incident in order."""
    rows = tx.execute("SELECT * FROM notes WHERE incident_id = :id ORDER BY id", id=incident_id)
    return [Note.of(row) for row in rows]

"""Incidents, the channels in which they are worked, and notes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runbooks_app.core.errors import NotFound
from runbooks_app.store import cursors
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import AlertRow, Incident, IncidentChannel, Note, Record

_PARTS = "SELECT id FROM incidents WHERE id = :id OR merged_into = :id"
"""An incident and those that became part of it."""


@dataclass(frozen=True)
class RunElsewhere(Record):
    """A run of another incident: `incident_id` and `title` are that one's."""

    id: str
    runbook: str
    requested_at: datetime
    incident_id: int
    title: str


def insert(tx: Transaction, title: str, channel: str, opened_by: dict[str, Any]) -> Incident:
    """Open an incident; `channel`, if there is one, is where it is worked first."""
    row = tx.execute(
        "INSERT INTO incidents (title, channel, opened_by) VALUES (:title, :channel, :by) RETURNING *",
        title=title,
        channel=channel,
        by=opened_by,
    ).one()
    incident = Incident.of(row)
    if channel:
        attach(tx, incident.id, channel, opened_by)
    return incident


def rearrange(tx: Transaction) -> None:
    """Take no alerts until this transaction ends, which moves what belongs to incidents or closes one. Comes first."""
    tx.execute("SELECT pg_advisory_xact_lock(7226104)")


def keep_still(tx: Transaction) -> None:
    """Let nobody rearrange incidents until this transaction ends, which reads where alerts belong. Comes first."""
    tx.execute("SELECT pg_advisory_xact_lock_shared(7226104)")


def get(tx: Transaction, incident_id: int, *, lock: bool = False) -> Incident:
    """The incident, or `NotFound`; `lock` holds its row until commit."""
    row = tx.execute(f"SELECT * FROM incidents WHERE id = :id {'FOR UPDATE' if lock else ''}", id=incident_id).first()
    if row is None:
        raise NotFound(f"There is no incident {incident_id}.")
    return Incident.of(row)


def open_in(tx: Transaction, channel: str) -> list[Incident]:
    """Open incidents that are worked in a channel, newest first; none for no channel."""
    rows = tx.execute(
        """SELECT i.* FROM incident_channels c JOIN incidents i ON i.id = c.incident_id
           WHERE c.channel = :channel AND i.closed_at IS NULL ORDER BY i.opened_at DESC, i.id DESC""",
        channel=channel,
    )
    return Incident.every(rows)


def latest_in(tx: Transaction, channel: str) -> Incident | None:
    """The newest incident of a channel, open ones first; what became part of another is left out."""
    row = tx.execute(
        """SELECT i.* FROM incident_channels c JOIN incidents i ON i.id = c.incident_id
           WHERE c.channel = :channel AND i.merged_into IS NULL
           ORDER BY i.closed_at IS NULL DESC, i.opened_at DESC, i.id DESC LIMIT 1""",
        channel=channel,
    ).first()
    return Incident.of(row) if row else None


def told_in(tx: Transaction, channel: str, ts: str) -> Incident | None:
    """The incident that a message of ours tells of, itself or by a run; what it became part of, where it did."""
    row = tx.execute(
        """SELECT i.* FROM chat_messages m
           LEFT JOIN runs r ON m.about LIKE 'run:%' AND r.id = split_part(m.about, ':', 2)
           JOIN incidents told ON told.id = coalesce(r.incident_id,
               CASE WHEN m.about LIKE 'incident:%' THEN CAST(split_part(m.about, ':', 2) AS bigint) END)
           JOIN incidents i ON i.id = coalesce(told.merged_into, told.id)
           WHERE m.channel = :channel AND m.ts = :ts AND m.ts <> ''""",
        channel=channel,
        ts=ts,
    ).first()
    return Incident.of(row) if row else None


def listed(tx: Transaction, *, only_open: bool = True, before: int | None = None, limit: int = 50) -> list[Incident]:
    """Incidents, newest first; `before` is the id of the last one seen, refused if there is none such."""
    conditions = ["closed_at IS NULL"] if only_open else ["true"]
    if before is not None:
        cursors.known(tx, "incidents", before)
        conditions.append("(opened_at, id) < (SELECT opened_at, id FROM incidents WHERE id = :before)")
    rows = tx.execute(
        f"SELECT * FROM incidents WHERE {' AND '.join(conditions)} ORDER BY opened_at DESC, id DESC LIMIT :limit",
        **({} if before is None else {"before": before}),
        limit=limit,
    )
    return Incident.every(rows)


def search(tx: Transaction, *, words: str, closed: bool, before: int | None, limit: int) -> list[Incident]:
    """Open or closed incidents, newest first: those with these words in title or cause, opened before that one.

    A `before` that there is not is refused.
    """
    if before is not None:
        cursors.known(tx, "incidents", before)
    rows = tx.execute(
        """SELECT * FROM incidents
           WHERE (closed_at IS NOT NULL) = :closed
             AND (:words = '' OR position(lower(:words) IN lower(title || ' ' || cause)) > 0)
             AND (CAST(:before AS bigint) IS NULL
                  OR (opened_at, id) < (SELECT opened_at, id FROM incidents WHERE id = :before))
           ORDER BY opened_at DESC, id DESC LIMIT :limit""",
        words=words,
        closed=closed,
        before=before,
        limit=limit,
    )
    return Incident.every(rows)


def of_people(tx: Transaction, most: int) -> list[Incident]:
    """Open incidents that people opened, newest first."""
    rows = tx.execute(
        """SELECT * FROM incidents WHERE closed_at IS NULL AND opened_by ->> 'kind' <> 'alert'
           ORDER BY opened_at DESC, id DESC LIMIT :most""",
        most=most,
    )
    return Incident.every(rows)


def parts(tx: Transaction, incident_id: int) -> list[Incident]:
    """Incidents that became part of this one, in the order in which they were opened."""
    rows = tx.execute("SELECT * FROM incidents WHERE merged_into = :id ORDER BY opened_at, id", id=incident_id)
    return Incident.every(rows)


def channels(tx: Transaction, incident_id: int) -> list[IncidentChannel]:
    """Where an incident is worked, the first one first, with the names that the chat has told."""
    rows = tx.execute(
        """SELECT c.channel, coalesce(k.name, '') AS name, c.attached_at, c.attached_by
           FROM incident_channels c LEFT JOIN chat_channels k USING (channel)
           WHERE c.incident_id = :id ORDER BY c.attached_at, c.channel""",
        id=incident_id,
    )
    return IncidentChannel.every(rows)


def unentered(tx: Transaction, incident_id: int) -> tuple[int, int, str]:
    """What moves with all that is told of an incident and has no entry: its alerts, the names of its channels.

    Each delivery of an alert is counted: times would not tell of one that commits after one that began later.
    """
    row = tx.execute(
        """SELECT count(*) AS alerts, coalesce(sum(seen), 0) AS seen,
             (SELECT coalesce(string_agg(k.channel || ' ' || k.name, ' ' ORDER BY k.channel), '')
              FROM incident_channels c JOIN chat_channels k USING (channel) WHERE c.incident_id = :id) AS named
           FROM alerts WHERE incident_id = :id""",
        id=incident_id,
    ).one()
    return row.alerts, row.seen, row.named


def name_channel(tx: Transaction, channel: str, name: str) -> None:
    """Remember what the chat calls a channel, for people who would read its id. What is known locks nothing."""
    tx.execute(
        """INSERT INTO chat_channels (channel, name)
           SELECT :channel, :name
           WHERE NOT EXISTS (SELECT FROM chat_channels WHERE channel = :channel AND name = :name)
           ON CONFLICT (channel) DO UPDATE SET name = excluded.name""",
        channel=channel,
        name=name,
    )


def attach(tx: Transaction, incident_id: int, channel: str, by: dict[str, Any]) -> bool:
    """Work an incident in this channel too; whether it was not before."""
    done = tx.execute(
        """INSERT INTO incident_channels (incident_id, channel, attached_by) VALUES (:id, :channel, :by)
           ON CONFLICT DO NOTHING""",
        id=incident_id,
        channel=channel,
        by=by,
    )
    return done.rowcount == 1


def move_run(tx: Transaction, run_id: str, incident_id: int) -> None:
    """Have a run, its re-checks, what was asked of it and the alerts that it was for belong to another incident."""
    tx.execute(
        """UPDATE runs SET incident_id = :incident
           WHERE id = :run OR proposal_id IN (SELECT id FROM proposals WHERE run_id = :run)
             OR id IN (SELECT run_id FROM asks WHERE of_run = :run)""",
        incident=incident_id,
        run=run_id,
    )
    tx.execute("UPDATE alerts SET incident_id = :incident WHERE run_id = :run", incident=incident_id, run=run_id)


def runs_of_alerts(tx: Transaction, most: int) -> list[str]:
    """Ids of the latest runs whose open incident an alert opened: nobody has attached them yet."""
    rows = tx.execute(
        """SELECT r.id FROM incidents i JOIN runs r ON r.incident_id = i.id AND r.purpose = 'diagnosis'
           WHERE i.closed_at IS NULL AND i.opened_by ->> 'kind' = 'alert'
           ORDER BY r.requested_at DESC LIMIT :most""",
        most=most,
    )
    return list(rows.scalars())


def runs_of_others(tx: Transaction, incident_id: int, most: int) -> list[RunElsewhere]:
    """The latest runs of other incidents that are open, newest first."""
    rows = tx.execute(
        """SELECT r.id, r.runbook, r.requested_at, i.id AS incident_id, i.title
           FROM runs r JOIN incidents i ON i.id = r.incident_id
           WHERE r.purpose = 'diagnosis' AND i.closed_at IS NULL AND i.id <> :id
           ORDER BY r.requested_at DESC LIMIT :most""",
        id=incident_id,
        most=most,
    )
    return RunElsewhere.every(rows)


def has_runs(tx: Transaction, incident_id: int) -> bool:
    """Whether any run of a runbook belongs to an incident."""
    found = "SELECT EXISTS (SELECT FROM runs WHERE incident_id = :id AND purpose <> 'ask')"
    return bool(tx.execute(found, id=incident_id).scalar_one())


def merge(tx: Transaction, incident_id: int, into: int, cause: str) -> None:
    """Close an open incident as a part of another: what was part of it, and its alerts, go along."""
    tx.moved(
        f"Incident {incident_id}",
        """UPDATE incidents SET closed_at = now(), cause = :cause, merged_into = :into
           WHERE id = :id AND closed_at IS NULL""",
        id=incident_id,
        into=into,
        cause=cause,
    )
    tx.execute("UPDATE incidents SET merged_into = :into WHERE merged_into = :id", id=incident_id, into=into)
    tx.execute("UPDATE alerts SET incident_id = :into WHERE incident_id = :id", id=incident_id, into=into)


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


def add_pinned(
    tx: Transaction, incident_id: int, subject: str, name: str, text: str, *, source: str, author: str, link: str
) -> Note | None:
    """Store a pinned message as a note; None where it is one already. `source` says where it stands in the chat."""
    row = tx.execute(
        """INSERT INTO notes (incident_id, subject, name, text, source, author, link)
           VALUES (:id, :subject, :name, :text, :source, :author, :link)
           ON CONFLICT (incident_id, source) WHERE source <> '' DO NOTHING RETURNING *""",
        id=incident_id,
        subject=subject,
        name=name,
        text=text,
        source=source,
        author=author,
        link=link,
    ).first()
    return Note.of(row) if row else None


def notes(tx: Transaction, incident_id: int) -> list[Note]:
    """Notes of an incident, and of those that became part of it, in order."""
    rows = tx.execute(f"SELECT * FROM notes WHERE incident_id IN ({_PARTS}) ORDER BY id", id=incident_id)
    return Note.every(rows)


def alerts(tx: Transaction, incident_id: int) -> list[AlertRow]:
    """Alerts of an incident, in the order in which they came."""
    rows = tx.execute("SELECT * FROM alerts WHERE incident_id = :id ORDER BY id LIMIT 500", id=incident_id)
    return AlertRow.every(rows)

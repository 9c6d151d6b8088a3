"""Who was woken for a proposal, by which way; and who can be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from runbooks_app.core.people import Person
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Record

CHAT = "slack"
"""The way of a direct message; the others are kinds of paging services."""
GLASS = ":glass"
"""Ends the name of the direct message that offers break-glass."""


@dataclass(frozen=True)
class Waking(Record):
    """Somebody who was woken, or a service that pages: `whom` is a subject, or the service's name.

    Direct messages are told like all others, so what became of one stands with the chat. A page is `sent_at` once the
    service has taken it, and `ended_at` once it is resolved or given up; `trouble` is what the service said last.
    """

    id: int
    proposal_id: str
    step: int
    way: str
    whom: str
    name: str
    made_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None
    trouble: str


def insert(tx: Transaction, proposal_id: str, step: int, way: str, whom: str, name: str) -> bool:
    """Note that somebody is to be woken; False where they are already."""
    made = tx.execute(
        """INSERT INTO wakings (proposal_id, step, way, whom, name)
           VALUES (:proposal_id, :step, :way, :whom, :name) ON CONFLICT DO NOTHING""",
        proposal_id=proposal_id,
        step=step,
        way=way,
        whom=whom,
        name=name,
    )
    return made.rowcount == 1


def of_proposal(tx: Transaction, proposal_id: str) -> list[Waking]:
    """All of a proposal, in order; of a direct message, with the trouble that the chat has with it."""
    rows = tx.execute(
        """SELECT w.id, w.proposal_id, w.step, w.way, w.whom, w.name, w.made_at, w.sent_at, w.ended_at,
             coalesce(nullif(w.trouble, ''), t.trouble, '') AS trouble FROM wakings w
           LEFT JOIN chat_people c ON w.way = 'slack' AND c.subject = w.whom
           LEFT JOIN chat_threads t ON t.channel = c.chat_user
             AND t.about = 'waking:' || w.proposal_id || CASE w.step WHEN 2 THEN :glass ELSE '' END
           WHERE w.proposal_id = :id ORDER BY w.step, w.id""",
        id=proposal_id,
        glass=GLASS,
    )
    return list({row.id: Waking.of(row) for row in rows}.values())


def woken(tx: Transaction, proposal_id: str) -> frozenset[str]:
    """Subjects of those who have a direct message."""
    rows = tx.execute("SELECT whom FROM wakings WHERE proposal_id = :id AND way = 'slack'", id=proposal_id)
    return frozenset(row.whom for row in rows)


def ways(tx: Transaction, proposal_id: str) -> frozenset[str]:
    """The ways in which people were woken for it, those that are over left out."""
    rows = tx.execute("SELECT DISTINCT way FROM wakings WHERE proposal_id = :id AND ended_at IS NULL", id=proposal_id)
    return frozenset(row.way for row in rows)


def pages(tx: Transaction, proposal_id: str) -> list[Waking]:
    """Pages of a proposal that are not over."""
    rows = tx.execute(
        """SELECT * FROM wakings WHERE proposal_id = :id AND way <> 'slack' AND ended_at IS NULL
           ORDER BY id FOR UPDATE""",
        id=proposal_id,
    )
    return Waking.every(rows)


def sent(tx: Transaction, waking_id: int) -> None:
    """The service has taken the page: it is open now, also where somebody has resolved it in the meantime."""
    tx.execute("UPDATE wakings SET sent_at = now(), ended_at = NULL, trouble = '' WHERE id = :id", id=waking_id)


def ended(tx: Transaction, waking_id: int, trouble: str = "") -> None:
    """It is over: resolved, or with trouble that does not pass."""
    tx.execute("UPDATE wakings SET ended_at = now(), trouble = :trouble WHERE id = :id", id=waking_id, trouble=trouble)


def troubled(tx: Transaction, waking_id: int, trouble: str) -> None:
    """It did not work this time, or its answer was lost: it may be open, also where somebody has resolved it."""
    tx.execute("UPDATE wakings SET trouble = :trouble, ended_at = NULL WHERE id = :id", id=waking_id, trouble=trouble)


def failed(tx: Transaction) -> list[Row[Any]]:
    """Take steps that failed for good off the queue, where the proposal still waits: its `proposal_id` and `step`."""
    return list(
        tx.execute(
            """DELETE FROM procrastinate_jobs j USING proposals p
               WHERE j.task_name = 'wake' AND j.status = 'failed' AND p.id = j.args ->> 'proposal_id'
                 AND p.state = 'proposed' AND p.expires_at > now()
               RETURNING p.id AS proposal_id, CAST(j.args ->> 'step' AS int) AS step"""
        )
    )


def reachable(tx: Transaction, team: str) -> dict[Person, str]:
    """Those whose role lets them decide or break the glass and who have linked a chat account: its id for each.

    Those seen last come first.
    """
    rows = tx.execute(
        """SELECT p.subject, p.name, p.email, p.roles, c.chat_user FROM people p JOIN chat_people c USING (subject)
           WHERE c.team = :team AND EXISTS (SELECT FROM jsonb_array_elements_text(p.roles) AS r (role)
             WHERE role = 'break-glass' OR starts_with(role, 'approver:'))
           ORDER BY p.last_seen_at DESC, c.linked_at""",
        team=team,
    )
    return {Person(row.subject, row.name, row.email, frozenset(row.roles)): row.chat_user for row in rows}

"""Places beyond Slack that are told: each reads the audit trail from where it stands, one worker at a time.

So whatever commits is told, whoever committed it, in order; and a place that is new hears what happens from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from runbooks_app.core.audit import Entry
from runbooks_app.store.database import Transaction

HELD = 60
"""Seconds that a worker has a place to itself, from the last thing that it told there."""

LONGEST = 600
"""Seconds at most until a place that could not be told is tried again."""


def begin(tx: Transaction, place: str) -> None:
    """Have a place told of what happens from now on, where it is new."""
    tx.execute(
        """INSERT INTO elsewhere_places (place, seq) SELECT :place, seq FROM audit_head
           ON CONFLICT (place) DO NOTHING""",
        place=place,
    )


def claim(tx: Transaction, place: str) -> int | None:
    """Take a place for this worker: the sequence up to which it was told; None where it is held or has to wait."""
    return tx.execute(
        """UPDATE elsewhere_places SET due_at = now() + make_interval(secs => :held)
           WHERE place = :place AND due_at <= now() RETURNING seq""",
        place=place,
        held=HELD,
    ).scalar()


def entries(tx: Transaction, after: int, events: Iterable[str], limit: int = 100) -> list[Entry]:
    """Entries of these events after a sequence, in order."""
    rows = tx.execute(
        """SELECT seq, at, actor, event, objects, body, prev, hash FROM audit_entries
           WHERE seq > :after AND event = ANY(CAST(:events AS text[])) ORDER BY seq LIMIT :limit""",
        after=after,
        events="{" + ",".join(events) + "}",
        limit=limit,
    )
    return [Entry(**row._mapping) for row in rows]  # noqa: SLF001 -- public API in spite of its name


def told(tx: Transaction, place: str, seq: int) -> None:
    """Everything up to this sequence was told there, or wants no telling; the worker goes on with it.

    A worker that was away for longer than it may does not take back what another has told meanwhile.
    """
    tx.execute(
        """UPDATE elsewhere_places
           SET seq = :seq, told_at = now(), tries = 0, trouble = '', due_at = now() + make_interval(secs => :held)
           WHERE place = :place AND seq <= :seq""",
        place=place,
        seq=seq,
        held=HELD,
    )


def knows(tx: Transaction, place: str, since: datetime) -> bool:
    """Whether it was told there that Slack takes nothing since then."""
    query = "SELECT slack_gone_at = :since FROM elsewhere_places WHERE place = :place"
    return bool(tx.execute(query, place=place, since=since).scalar())


def knows_now(tx: Transaction, place: str, since: datetime) -> None:
    """Note that it was told there."""
    tx.execute("UPDATE elsewhere_places SET slack_gone_at = :since WHERE place = :place", place=place, since=since)


def failed(tx: Transaction, place: str, trouble: str) -> int:
    """It could not be told, and is tried again later, each time after a longer wait; how often that was in a row."""
    tries: int = tx.execute(
        """UPDATE elsewhere_places SET tries = tries + 1, trouble = :trouble,
             due_at = now() + make_interval(secs => least(5 * power(2, tries), :longest))
           WHERE place = :place RETURNING tries""",
        place=place,
        trouble=trouble,
        longest=LONGEST,
    ).scalar_one()
    return tries


def troubled(tx: Transaction) -> dict[str, tuple[int, str]]:
    """The places that take nothing just now: how often in a row, and what went wrong."""
    rows = tx.execute("SELECT place, tries, trouble FROM elsewhere_places WHERE tries > 0")
    return {row.place: (row.tries, row.trouble) for row in rows}


def release(tx: Transaction, place: str) -> None:
    """All is told: whichever worker looks next may."""
    tx.execute("UPDATE elsewhere_places SET due_at = now() WHERE place = :place", place=place)

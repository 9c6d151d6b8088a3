"""What is told where: conversations and who tells them just now, messages that stand, and when the chat takes more.

`Transaction.tell` raises what is wanted. Here are the steps of whoever tells: `claim` a conversation by lease, note
each thing that stands (`begin`, `stands`), and `told`, `later` or `give_up`. No transaction is open while the chat is
called, so each step asks whether the lease still holds, and raises `Conflict` where another took over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from runbooks_app.core.pacing import LEAST
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Record

LEASE = 60
"""Seconds without a step until another may take over. A step is one call to the chat."""

WORKSPACE = ""
"""Stands for the whole workspace where something is held back."""


@dataclass(frozen=True)
class Thread(Record):
    """A conversation that somebody tells: `about` what, in which channel. `wanted` is what will have been told."""

    about: str
    channel: str
    place: str
    wanted: int
    holder: str
    tries: int
    made_at: datetime
    shown_at: datetime | None
    turn_at: datetime | None

    @property
    def where(self) -> str:
        """The channel's id, as far as it is known."""
        return self.place or self.channel


@dataclass(frozen=True)
class Standing(Record):
    """A message, or a file, that was begun: `ts` is empty until it stands; `digest` is of what it said last."""

    key: str
    ts: str
    digest: str
    file: str
    begun_at: datetime


_HELD = "about = :about AND channel = :channel AND holder = :holder"
_IS_DUE = """wanted > told AND ended_at IS NULL AND due_at <= now() AND (held_until IS NULL OR held_until <= now())
    AND NOT EXISTS (SELECT FROM chat_channels WHERE channel = '' AND next_at > now())"""


def claim(tx: Transaction, holder: str) -> Thread | None:
    """The conversation that is due for longest, held for LEASE seconds by this holder, who has no other.

    Of those that are due since the same moment an incident's comes before its runs'.
    """
    row = tx.execute(
        f"""UPDATE chat_threads SET holder = :holder, held_until = now() + make_interval(secs => :lease)
            WHERE (about, channel) = (SELECT about, channel FROM chat_threads WHERE {_IS_DUE}
                ORDER BY due_at, about LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING *""",
        holder=holder,
        lease=LEASE,
    ).first()
    return Thread.of(row) if row else None


def due(tx: Transaction, most: int) -> int:
    """How many conversations are due and have nobody to tell them, up to `most`; 0 where a job is on its way."""
    found: int = tx.execute(
        f"""SELECT count(*) FROM (SELECT FROM chat_threads WHERE {_IS_DUE}
            AND NOT EXISTS (SELECT FROM procrastinate_jobs WHERE task_name = 'tell' AND status = 'todo'
                AND coalesce(scheduled_at, now()) <= now()) LIMIT :most) AS found""",
        most=most,
    ).scalar_one()
    return found


def renew(tx: Transaction, thread: Thread) -> None:
    """Hold it for longer; raises `Conflict` where another took over."""
    tx.moved(
        f"What is told of {thread.about}",
        f"UPDATE chat_threads SET held_until = now() + make_interval(secs => :lease) WHERE {_HELD}",
        lease=LEASE,
        **_holding(thread),
    )


def standing(tx: Transaction, thread: Thread) -> dict[str, Standing]:
    """What was begun in this conversation, by its key."""
    rows = tx.execute(
        """SELECT key, ts, digest, file, begun_at FROM chat_messages
           WHERE about = :about AND channel IN (:channel, :place)""",
        about=thread.about,
        channel=thread.channel,
        place=thread.where,
    )
    return {row.key: Standing.of(row) for row in rows}


def begin(tx: Transaction, thread: Thread, key: str) -> None:
    """Note that this is about to be posted: whoever comes later looks whether it was."""
    renew(tx, thread)
    tx.execute(
        """INSERT INTO chat_messages (key, channel, about, ts, digest) VALUES (:key, :where, :about, '', '')
           ON CONFLICT (key, channel) DO NOTHING""",
        key=key,
        where=thread.where,
        about=thread.about,
    )


def uploaded(tx: Transaction, thread: Thread, key: str, file: str) -> None:
    """Note the file that is about to be shared."""
    renew(tx, thread)
    _message(tx, thread, key, "file = :file", file=file)


def stands(tx: Transaction, thread: Thread, key: str, ts: str, digest: str, *, first: bool) -> None:
    """Note that it stands, or says something else now; `first`: it is what the pace goes by."""
    tx.moved(
        f"What is told of {thread.about}",
        f"""UPDATE chat_threads SET held_until = now() + make_interval(secs => :lease), turn_at = NULL,
            shown_at = CASE WHEN :first THEN now() ELSE shown_at END WHERE {_HELD}""",
        lease=LEASE,
        first=first,
        **_holding(thread),
    )
    _message(tx, thread, key, "ts = :ts, digest = :digest", ts=ts, digest=digest)


def forget(tx: Transaction, thread: Thread, key: str) -> None:
    """Note that it does not stand: it was never posted, or somebody has deleted it."""
    tx.execute(
        "DELETE FROM chat_messages WHERE key = :key AND channel IN (:channel, :place)",
        key=key,
        channel=thread.channel,
        place=thread.where,
    )


def found(tx: Transaction, thread: Thread, place: str) -> bool:
    """Note by which id the chat knows the channel; False where the same is told there already, under another name.

    Then this conversation has ended, without trouble: the other one goes on.
    """
    twin = tx.execute(
        """UPDATE chat_threads SET place = :place, told = wanted, ended_at = now(), holder = '', held_until = NULL
           WHERE about = :about AND channel = :channel AND holder = :holder
             AND EXISTS (SELECT FROM chat_threads t WHERE t.about = :about AND t.channel <> :channel
               AND t.ended_at IS NULL AND :place IN (t.channel, t.place))""",
        place=place,
        **_holding(thread),
    )
    if twin.rowcount:
        tx.execute(
            "DELETE FROM chat_messages WHERE about = :about AND channel = :channel",
            about=thread.about,
            channel=thread.channel,
        )
        return False
    tx.execute(
        f"UPDATE chat_threads SET place = :place WHERE {_HELD}",
        place=place,
        **_holding(thread),
    )
    tx.execute(
        "UPDATE chat_messages SET channel = :place WHERE about = :about AND channel = :channel",
        place=place,
        about=thread.about,
        channel=thread.channel,
    )
    return True


def told(tx: Transaction, thread: Thread, progress_from: datetime) -> None:
    """Let go of it: all that was wanted is told. Where more was wanted meanwhile, it is due when it is."""
    row = tx.execute(
        f"""UPDATE chat_threads SET told = :wanted, holder = '', held_until = NULL, turn_at = NULL, tries = 0,
            trouble = '',
            due_at = CASE WHEN wanted = :wanted THEN :progress ELSE greatest(due_at, shown_at + :least) END
            WHERE {_HELD} RETURNING wanted > told AS more, due_at""",
        wanted=thread.wanted,
        progress=progress_from,
        least=LEAST,
        **_holding(thread),
    ).first()
    if row is not None and row.more:
        tx.defer("tell", at=row.due_at)


def later(tx: Transaction, thread: Thread, at: datetime, *, trouble: str = "", turn: datetime | None = None) -> None:
    """Let go of it until then. With `trouble`, what the chat said, it counts as a try; `turn`: when it may post."""
    tx.execute(
        f"""UPDATE chat_threads SET holder = '', held_until = NULL, due_at = :at, turn_at = :turn,
            tries = CASE WHEN :trouble = '' THEN tries ELSE tries + 1 END, trouble = :trouble WHERE {_HELD}""",
        at=at,
        turn=turn,
        trouble=trouble,
        **_holding(thread),
    )
    tx.defer("tell", at=at)


def give_up(tx: Transaction, thread: Thread, trouble: str) -> None:
    """End it: it cannot be told here."""
    tx.moved(
        f"What is told of {thread.about}",
        f"""UPDATE chat_threads SET ended_at = now(), trouble = :trouble, holder = '', held_until = NULL
            WHERE {_HELD} AND ended_at IS NULL""",
        trouble=trouble,
        **_holding(thread),
    )


def turn(tx: Transaction, place: str) -> datetime:
    """Take the next turn to post in a channel, which nobody else has: one for each second."""
    row = tx.execute(
        """INSERT INTO chat_channels (channel, next_at) VALUES (:place, now() + :least)
           ON CONFLICT (channel) DO UPDATE SET next_at = greatest(chat_channels.next_at, now()) + :least
           RETURNING next_at - :least AS turn""",
        place=place,
        least=LEAST,
    ).one()
    turn_at: datetime = row.turn
    return turn_at


def hold_back(tx: Transaction, place: str, wait: timedelta, *, gone: str = "") -> datetime:
    """Nothing goes there for so long (a channel, a method, the workspace); those who wait there take new turns.

    `gone` says why nothing can be told there; that nobody answers for a moment does not take an earlier word back.
    """
    row = tx.execute(
        """INSERT INTO chat_channels (channel, next_at, gone, gone_at)
           VALUES (:place, now() + :wait, :gone, CASE WHEN :gone <> '' THEN now() END)
           ON CONFLICT (channel) DO UPDATE SET next_at = now() + :wait,
               gone = coalesce(nullif(:gone, ''), chat_channels.gone),
               gone_at = CASE WHEN :gone <> '' THEN coalesce(chat_channels.gone_at, now())
                   ELSE chat_channels.gone_at END
           RETURNING next_at""",
        place=place,
        wait=wait,
        gone=gone,
    ).one()
    at: datetime = row.next_at
    if place == WORKSPACE:  # all turns are over; new ones are given out from its end on
        tx.execute(
            "UPDATE chat_channels SET next_at = :at WHERE next_at > :at AND channel <> '' AND channel NOT LIKE '%.%'",
            at=at,
        )
    # In one order with whoever tells several: nobody waits in a circle.
    tx.execute(
        """UPDATE chat_threads SET turn_at = NULL WHERE (about, channel) IN (
               SELECT about, channel FROM chat_threads
               WHERE turn_at IS NOT NULL AND (:place = '' OR :place IN (channel, place))
               ORDER BY about, channel FOR UPDATE)""",
        place=place,
    )
    return at


def held_back(tx: Transaction) -> tuple[dict[str, datetime], set[str]]:
    """What is held back just now, and until when; and where nothing could be told when it was last tried."""
    rows = tx.execute(
        "SELECT channel, next_at, gone, now() AS now FROM chat_channels WHERE next_at > now() OR gone <> ''"
    )
    found = rows.all()
    return {row.channel: row.next_at for row in found if row.next_at > row.now}, {
        row.channel for row in found if row.gone
    }


def gone(tx: Transaction) -> tuple[str, datetime] | None:
    """Why nothing at all can be told, and since when; None where something can."""
    row = tx.execute("SELECT gone, gone_at FROM chat_channels WHERE channel = '' AND gone <> ''").first()
    return (row.gone, row.gone_at) if row else None


def troubles(tx: Transaction) -> list[Row[Any]]:
    """Where nothing can be told: `channel`, `gone` (why) and `gone_at`. A channel that is gone for a day is let be."""
    return list(
        tx.execute(
            """SELECT channel, gone, gone_at FROM chat_channels WHERE gone <> ''
               AND (channel = '' OR channel LIKE '%.%' OR gone_at > now() - interval '1 day')
               ORDER BY channel LIMIT 20"""
        )
    )


def troubles_of(tx: Transaction, about: str) -> list[Row[Any]]:
    """What the chat said where this could not be told: `channel`, `trouble`, and `ended_at` where that is for good."""
    return list(
        tx.execute(
            """SELECT channel, trouble, ended_at FROM chat_threads WHERE about = :about AND trouble <> ''
               ORDER BY channel""",
            about=about,
        )
    )


def untold(tx: Transaction, about: str) -> dict[str, str]:
    """The channels in which this cannot be told any more, and why."""
    rows = tx.execute(
        """SELECT channel, trouble FROM chat_threads WHERE about = :about AND ended_at IS NOT NULL AND trouble <> ''
           ORDER BY channel""",
        about=about,
    )
    return {row.channel: row.trouble for row in rows}


def people_behind(tx: Transaction, about: str, team: str) -> list[str]:
    """Who asked for it, as the chat knows them: the requesters of a run, and who opened an incident."""
    rows = tx.execute(
        """SELECT DISTINCT c.chat_user FROM chat_people c WHERE c.team = :team AND c.subject IN (
             SELECT jsonb_array_elements_text(requesters) FROM runs WHERE 'run:' || id = :about
             UNION ALL SELECT opened_by ->> 'subject' FROM incidents WHERE 'incident:' || id = :about)
           ORDER BY c.chat_user""",
        team=team,
        about=about,
    )
    return [row.chat_user for row in rows]


def told_in(tx: Transaction, about: str) -> set[str]:
    """Every channel in which this is told or was, by both its names."""
    rows = tx.execute("SELECT channel, place FROM chat_threads WHERE about = :about", about=about)
    return {name for row in rows for name in (row.channel, row.place) if name}


def back(tx: Transaction, *places: str) -> None:
    """Note that the chat takes what it is told there."""
    tx.execute(
        """UPDATE chat_channels SET gone = '', gone_at = NULL
           WHERE gone <> '' AND CAST(:places AS jsonb) ? channel""",
        places=list(places),
    )


def _message(tx: Transaction, thread: Thread, key: str, change: str, **values: str) -> None:
    tx.execute(
        f"UPDATE chat_messages SET {change} WHERE key = :key AND channel IN (:channel, :place)",
        key=key,
        channel=thread.channel,
        place=thread.where,
        **values,
    )


def _holding(thread: Thread) -> dict[str, str]:
    return {"about": thread.about, "channel": thread.channel, "holder": thread.holder}

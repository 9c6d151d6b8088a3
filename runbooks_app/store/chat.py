"""Where each thing that was told stands in the chat."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from runbooks_app.store.database import Transaction, transaction
from runbooks_app.store.records import Record


@dataclass(frozen=True)
class Told(Record):
    """A message that stands in a channel; `digest` is of what it said last."""

    channel: str
    ts: str
    digest: str


def lock(tx: Transaction, key: str) -> None:
    """Let nobody else tell this until the transaction ends."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7226100))", key=key)


def where(tx: Transaction, key: str) -> Told | None:
    """Where the message of a key stands, if it was posted."""
    row = tx.execute("SELECT channel, ts, digest FROM chat_messages WHERE key = :key AND ts <> ''", key=key).first()
    return Told.of(row) if row else None


def begun(engine: Engine, key: str) -> bool:
    """Note, in a transaction of its own, that somebody is about to post this; whether somebody was before."""
    with transaction(engine) as tx:
        first = tx.execute(
            "INSERT INTO chat_messages (key, channel, ts, digest) VALUES (:key, '', '', '') ON CONFLICT DO NOTHING",
            key=key,
        )
        return first.rowcount == 0


def remember(tx: Transaction, key: str, channel: str, ts: str, digest: str) -> None:
    """Note where a message stands, and what it says."""
    said = {"key": key, "channel": channel, "ts": ts, "digest": digest}
    known = tx.execute(
        """UPDATE chat_messages SET channel = :channel, ts = :ts, digest = :digest
           WHERE key = :key AND channel IN ('', :channel)""",
        **said,
    )
    if not known.rowcount:
        tx.execute("INSERT INTO chat_messages (key, channel, ts, digest) VALUES (:key, :channel, :ts, :digest)", **said)

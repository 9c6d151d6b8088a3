"""Requests that clients send under a key of their own, so that they may send them again."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Record


@dataclass(frozen=True)
class Before(Record):
    """What was sent under a key before: the digest of the request, and the id of what it made."""

    request: str
    location: str


def first(tx: Transaction, subject: str, key: str, request: str) -> Before | None:
    """Take the key, None; or what was sent under it before. Who comes at the same moment waits until that is known."""
    taken = tx.execute(
        "INSERT INTO idempotent_requests (subject, key, request) VALUES (:subject, :key, :request)"
        " ON CONFLICT DO NOTHING",
        subject=subject,
        key=key,
        request=request,
    )
    if taken.rowcount == 1:
        return None
    row = tx.execute(
        "SELECT request, location FROM idempotent_requests WHERE subject = :subject AND key = :key",
        subject=subject,
        key=key,
    ).one()
    return Before.of(row)


def made(tx: Transaction, subject: str, key: str, location: str) -> None:
    """Remember what the request made."""
    tx.execute(
        "UPDATE idempotent_requests SET location = :location WHERE subject = :subject AND key = :key",
        subject=subject,
        key=key,
        location=location,
    )


def forget(tx: Transaction) -> None:
    """Forget keys after a day."""
    tx.execute("DELETE FROM idempotent_requests WHERE made_at < now() - interval '1 day'")

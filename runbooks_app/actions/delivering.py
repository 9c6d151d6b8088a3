"""Taking a chat's delivery, or a client's request, once.

Its key goes into the transaction of what it asks for. So a second one changes nothing; and where a process dies in
between, neither stands, and the next try does it.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbooks_app.core.errors import Conflict, InvalidInput
from runbooks_app.store import idempotency, people
from runbooks_app.store.database import Transaction


@dataclass(frozen=True)
class Keyed:
    """A client's request with an `Idempotency-Key`: whose, the key, a digest of the request."""

    subject: str
    key: str
    request: str


Delivery = str | Keyed
"""What counts once: a chat's delivery by its key, or a client's request."""


class Taken(Conflict):
    """This was asked already."""

    code = "taken"


class Repeated(Taken):
    """This request was taken already; `made` is the id of what it made, empty where it made nothing new."""

    made = ""


class KeyReused(InvalidInput):
    """This Idempotency-Key was sent with another request; take a new one for each."""

    code = "idempotency_key_reused"


def once(tx: Transaction, delivery: Delivery | None) -> None:
    """Take a delivery in this transaction; raises `Taken` if it was taken. None is nobody's: nothing to take."""
    if isinstance(delivery, Keyed):
        before = idempotency.first(tx, delivery.subject, delivery.key, delivery.request)
        if before is None:
            return
        if before.request != delivery.request:
            raise KeyReused
        repeated = Repeated()
        repeated.made = before.location
        raise repeated
    if delivery is not None and not people.first_delivery(tx, delivery):
        raise Taken


def made(tx: Transaction, delivery: Delivery | None, what: object) -> None:
    """Remember the id of what a client's request made, for when it is sent again."""
    if isinstance(delivery, Keyed):
        idempotency.made(tx, delivery.subject, delivery.key, str(what))


def fresh(tx: Transaction, delivery: str) -> None:
    """Raise `Taken` if this delivery was taken, and leave it to whoever acts on it to take it."""
    if people.delivered(tx, delivery):
        raise Taken

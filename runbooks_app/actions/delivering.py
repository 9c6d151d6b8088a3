"""Taking a chat's delivery once.

Its key goes into the transaction of what it asks for. So a second delivery changes nothing; and where a process dies
in between, neither stands, and the chat's next try does it.
"""

from __future__ import annotations

from runbooks_app.core.errors import Conflict
from runbooks_app.store import people
from runbooks_app.store.database import Transaction


class Taken(Conflict):
    """This was asked already."""

    code = "taken"


def once(tx: Transaction, delivery: str | None) -> None:
    """Take a delivery in this transaction; raises `Taken` if it was taken. None is no chat's: nothing to take."""
    if delivery is not None and not people.first_delivery(tx, delivery):
        raise Taken


def fresh(tx: Transaction, delivery: str) -> None:
    """Raise `Taken` if this delivery was taken, and leave it to whoever acts on it to take it."""
    if people.delivered(tx, delivery):
        raise Taken

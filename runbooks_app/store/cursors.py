"""Cursors of lists: the id of the last one seen, behind which a list goes on (keyset pagination)."""

from __future__ import annotations

from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.store.database import Transaction


def known(tx: Transaction, table: str, cursor: str | int) -> None:
    """Refuse a cursor that names no row of this table: behind it, a list would seem to be at its end."""
    if tx.execute(f"SELECT FROM {table} WHERE id = :id", id=cursor).first() is None:
        fix = "Send `next` of the page before as it was given, or none for the first page."
        raise InvalidInput(
            "The list cannot go on from there.", problems=(Problem("before", f"names none of the {table}.", fix),)
        )

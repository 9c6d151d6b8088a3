"""Reading the audit trail. It is written by `Transaction.audit` alone."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from runbooks_app.core.audit import Entry
from runbooks_app.core.errors import NotFound
from runbooks_app.store.database import Transaction

_COLUMNS = "seq, at, actor, event, objects, body, prev, hash"


def entries(tx: Transaction) -> Iterator[Entry]:
    """The whole trail in order, streamed."""
    query = text(f"SELECT {_COLUMNS} FROM audit_entries ORDER BY seq")  # noqa: S608
    with tx.connection.execute(query, execution_options={"yield_per": 2_000}) as rows:
        for row in rows:
            yield Entry(*row)


def head(tx: Transaction) -> tuple[int, str]:
    """Sequence and hash of the last entry, as the head row has them."""
    row = tx.execute("SELECT seq, hash FROM audit_head").one()
    return row.seq, row.hash


def get(tx: Transaction, seq: int) -> Entry:
    """One entry, or `NotFound`."""
    row = tx.execute(f"SELECT {_COLUMNS} FROM audit_entries WHERE seq = :seq", seq=seq).first()  # noqa: S608
    if row is None:
        raise NotFound(f"There is no audit entry {seq}.")
    return Entry(*row)


def search(
    tx: Transaction, *, event: str = "", words: str = "", before: int | None = None, limit: int = 100
) -> list[Entry]:
    """Entries newest first, by event and by words in actor, objects or body; `before` is a sequence."""
    rows = tx.execute(
        f"""SELECT {_COLUMNS} FROM audit_entries
            WHERE (:event = '' OR event = :event OR event LIKE :event || '.%')
              AND (:words = '' OR position(lower(:words) IN lower(actor || objects || body)) > 0)
              AND (CAST(:before AS bigint) IS NULL OR seq < :before)
            ORDER BY seq DESC LIMIT :limit""",  # noqa: S608
        event=event,
        words=words,
        before=before,
        limit=limit,
    )
    return [Entry(*row) for row in rows]


def about(tx: Transaction, objects: dict[str, object]) -> list[Entry]:
    """Entries about these objects (`{"run": "…"}`), in order."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM audit_entries WHERE (objects::jsonb) @> :objects ORDER BY seq",  # noqa: S608
        objects=objects,
    )
    return [Entry(*row) for row in rows]

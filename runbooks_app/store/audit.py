"""Reading the audit trail. It is written by `Transaction.audit` alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, text

from runbooks_app.core.audit import Entry
from runbooks_app.core.errors import NotFound
from runbooks_app.store.database import Transaction

_COLUMNS = "seq, at, actor, event, objects, body, prev, hash"


def _entry(row: Row[Any]) -> Entry:
    return Entry(**row._mapping)  # noqa: SLF001 -- public API in spite of its name


def entries(tx: Transaction) -> Iterator[Entry]:
    """The whole trail in order, streamed."""
    query = text(f"SELECT {_COLUMNS} FROM audit_entries ORDER BY seq")
    with tx.connection.execute(query, execution_options={"yield_per": 2_000}) as rows:
        for row in rows:
            yield _entry(row)


def head(tx: Transaction) -> tuple[int, str]:
    """Sequence and hash of the last entry, as the head row has them."""
    row = tx.execute("SELECT seq, hash FROM audit_head").one()
    return row.seq, row.hash


def get(tx: Transaction, seq: int) -> Entry:
    """One entry, or `NotFound`."""
    row = tx.execute(f"SELECT {_COLUMNS} FROM audit_entries WHERE seq = :seq", seq=seq).first()
    if row is None:
        raise NotFound(f"There is no audit entry {seq}.")
    return _entry(row)


def search(
    tx: Transaction, *, event: str = "", words: str = "", before: int | None = None, limit: int = 100
) -> list[Entry]:
    """Entries newest first, by event and by words in actor, objects or body; `before` is a sequence."""
    rows = tx.execute(
        f"""SELECT {_COLUMNS} FROM audit_entries
            WHERE (:event = '' OR event = :event OR event LIKE :event || '.%')
              AND (:words = '' OR position(lower(:words) IN lower(actor || objects || body)) > 0)
              AND (CAST(:before AS bigint) IS NULL OR seq < :before)
            ORDER BY seq DESC LIMIT :limit""",
        event=event,
        words=words,
        before=before,
        limit=limit,
    )
    return [_entry(row) for row in rows]


def about(tx: Transaction, objects: dict[str, object]) -> list[Entry]:
    """Entries about these objects (`{"run": "…"}`), in order."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM audit_entries WHERE (objects::jsonb) @> :objects ORDER BY seq",
        objects=objects,
    )
    return [_entry(row) for row in rows]


def of_incident(tx: Transaction, incident_id: int) -> list[Entry]:
    """Entries about an incident and what became part of it, its runs and their proposals, in order."""
    rows = tx.execute(
        f"""
        WITH run AS (SELECT id FROM runs WHERE incident_id = :id),
             wanted AS (
                SELECT jsonb_build_object('incident', id) AS about FROM incidents WHERE id = :id OR merged_into = :id
                UNION ALL SELECT jsonb_build_object('from', CAST(:id AS bigint))
                UNION ALL SELECT jsonb_build_object('run', id) FROM run
                UNION ALL SELECT jsonb_build_object('proposal', p.id) FROM proposals p JOIN run ON run.id = p.run_id)
        SELECT DISTINCT {", ".join("e." + c for c in _COLUMNS.split(", "))}
        FROM wanted JOIN audit_entries e ON (e.objects::jsonb) @> wanted.about ORDER BY e.seq
        """,
        id=incident_id,
    )
    return [_entry(row) for row in rows]

"""Reading the audit trail. It is written by `Transaction.audit` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, text

from runbooks_app.core.audit import Entry
from runbooks_app.core.errors import NotFound
from runbooks_app.store.database import Transaction

_COLUMNS = ", ".join(field.name for field in fields(Entry))


def _entry(row: Row[Any]) -> Entry:
    return Entry(*tuple(row))  # its columns: by their names it takes twice as long, and incidents have thousands


def entries(tx: Transaction) -> Iterator[Entry]:
    """The whole trail in order, streamed."""
    query = text(f"SELECT {_COLUMNS} FROM audit_entries ORDER BY seq")
    with tx.connection.execute(query, execution_options={"yield_per": 2_000}) as rows:
        for row in rows:
            yield _entry(row)


def following(tx: Transaction, after: int, most: int) -> list[Entry]:
    """The next entries behind a sequence, in order: for who takes the trail along and holds no session meanwhile."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM audit_entries WHERE seq > :after ORDER BY seq LIMIT :most", after=after, most=most
    )
    return [_entry(row) for row in rows]


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
    tx: Transaction,
    *,
    event: str = "",
    words: str = "",
    about: Sequence[Mapping[str, object]] = (),
    by: Sequence[str] = (),
    before: int | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Entry]:
    """Entries newest first, between the sequences `after` and `before`, neither included.

    By event; by words in actor, objects or body; by objects, one of which they are about; by subjects, who did it.
    Only what is asked for stands in the statement: each but the words has an index.
    """
    conditions = ["seq > :after"]
    given: dict[str, Any] = {"after": after}
    if event:
        conditions.append("event = :event")
        given["event"] = event
    if words:
        conditions.append("position(lower(:words) IN lower(actor || objects || body)) > 0")
        given["words"] = words
    if about:
        conditions.append(f"({' OR '.join(f'(objects::jsonb) @> :about{n}' for n in range(len(about)))})")
        given |= {f"about{n}": dict(one) for n, one in enumerate(about)}
    if before is not None:
        conditions.append("seq < :before")
        given["before"] = before
    latest = f"FROM audit_entries WHERE {' AND '.join(conditions)}"
    newest = "ORDER BY seq DESC LIMIT :limit"
    if by:
        # The latest of each: of one who acted a million times no more is read than is shown.
        latest = f"""FROM jsonb_array_elements_text(:by) AS subject CROSS JOIN LATERAL (
            SELECT {_COLUMNS} {latest} AND (actor::jsonb ->> 'subject') = subject {newest}) found"""
        given["by"] = list(by)
    rows = tx.execute(f"SELECT {_COLUMNS} {latest} {newest}", limit=limit, **given)
    return [_entry(row) for row in rows]


def first_since(tx: Transaction, at: str) -> int:
    """The number of the first entry that is not earlier than this (a time as entries hold it), or behind the last.

    Entries are numbered in the order of their times, which have no index: so it is found by halving.
    """
    first, behind = 1, head(tx)[0] + 1
    while first < behind:
        middle = (first + behind) // 2
        found = following(tx, middle - 1, 1)
        if found and found[0].at < at:
            first = found[0].seq + 1
        else:
            behind = middle
    return first


def subjects(tx: Transaction, typed: str, most: int) -> list[str]:
    """Whom somebody may mean by what they typed: people whose names hold it, and who or what has it as subject."""
    rows = tx.execute(
        """SELECT subject FROM people WHERE position(lower(:typed) IN lower(name)) > 0 AND subject <> :typed
           ORDER BY last_seen_at DESC LIMIT :most""",
        typed=typed,
        most=most,
    )
    return [typed, *rows.scalars()]


def about(tx: Transaction, objects: dict[str, object]) -> list[Entry]:
    """Entries about these objects (`{"run": "…"}`), in order."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM audit_entries WHERE (objects::jsonb) @> :objects ORDER BY seq",
        objects=objects,
    )
    return [_entry(row) for row in rows]


_OF_INCIDENT = """
    WITH run AS (SELECT id FROM runs WHERE incident_id = :id),
         wanted AS (
            SELECT jsonb_build_object('incident', id) AS about FROM incidents WHERE id = :id OR merged_into = :id
            UNION ALL SELECT jsonb_build_object('from', CAST(:id AS bigint))
            UNION ALL SELECT jsonb_build_object('run', id) FROM run
            UNION ALL SELECT jsonb_build_object('proposal', p.id) FROM proposals p JOIN run ON run.id = p.run_id),
         found AS (SELECT e.seq FROM wanted JOIN audit_entries e ON (e.objects::jsonb) @> wanted.about)"""
"""Entries about an incident and what became part of it, its runs and their proposals."""


def of_incident(tx: Transaction, incident_id: int) -> list[Entry]:
    """Entries about an incident and what became part of it, its runs and their proposals, in order."""
    rows = tx.execute(
        f"{_OF_INCIDENT} SELECT {_COLUMNS} FROM audit_entries WHERE seq IN (SELECT seq FROM found) ORDER BY seq",
        id=incident_id,
    )
    return [_entry(row) for row in rows]


def last_of_incident(tx: Transaction, incident_id: int) -> int:
    """The number of the latest of these entries; while it is the same, so is all that has an entry."""
    last: int | None = tx.execute(f"{_OF_INCIDENT} SELECT max(seq) FROM found", id=incident_id).scalar_one()
    return last or 0

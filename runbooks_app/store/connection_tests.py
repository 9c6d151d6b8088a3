"""The latest test of each connection."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from runbooks_app.core.connection_tests import Outcome, Tested
from runbooks_app.store.database import Transaction


def latest(tx: Transaction) -> dict[str, Tested]:
    """By connection; also of those that are configured no longer."""
    return {row.connection: _tested(row) for row in tx.execute("SELECT * FROM connection_tests")}


def locked(tx: Transaction, connection: str) -> Tested | None:
    """The latest of one connection, until the transaction ends."""
    row = tx.execute("SELECT * FROM connection_tests WHERE connection = :name FOR UPDATE", name=connection).first()
    return _tested(row) if row else None


def put(tx: Transaction, connection: str, outcome: Outcome, *, entered: bool) -> None:
    """Keep this outcome in the place of the one before."""
    tx.execute(
        """INSERT INTO connection_tests (connection, configured, reachable, holds, says, tried, entered_at)
           VALUES (:connection, :configured, :reachable, :holds, :says, :tried, now())
           ON CONFLICT (connection) DO UPDATE SET configured = excluded.configured, reachable = excluded.reachable,
             holds = excluded.holds, says = excluded.says, tried = excluded.tried, tested_at = now(),
             entered_at = CASE WHEN :entered THEN now() ELSE connection_tests.entered_at END""",
        connection=connection,
        configured=outcome.configured,
        reachable=outcome.reachable,
        holds=outcome.holds,
        says=outcome.says,
        tried=list(outcome.tried),
        entered=entered,
    )


def _tested(row: Row[Any]) -> Tested:
    outcome = Outcome(row.configured, row.reachable, row.holds, row.says, tuple(row.tried))
    return Tested(outcome, row.tested_at, row.entered_at)

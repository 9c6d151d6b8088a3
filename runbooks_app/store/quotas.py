"""Runs that wait for a place: how many have not ended, which of them a quota holds, and which have a job."""

from __future__ import annotations

from runbooks_app.core.quotas import Quotas, Unfinished
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Run


def unfinished(tx: Transaction, *, up_to: Run | None = None, enough_for: Quotas | None = None) -> list[Unfinished]:
    """Diagnoses and asks that have not ended, in the order of asking; with `up_to`, of the queued none behind it.

    With `enough_for` those queued are left out of which these quotas say beforehand that they may not begin: however
    many one person asks for, deciding who begins stays as quick for all others.
    """
    rows = tx.execute(
        """
        WITH found AS (
            SELECT id, runbook, requested_at, state = 'diagnosing' AS going,
                   CASE WHEN requested_by ->> 'kind' IN ('person', 'agent')
                        THEN requested_by ->> 'subject' ELSE '' END AS person
            FROM runs WHERE state IN ('queued', 'diagnosing') AND purpose <> 'recheck'
              AND (CAST(:id AS text) IS NULL OR state = 'diagnosing'
                   OR (requested_at, id) <= (CAST(:at AS timestamptz), CAST(:id AS text)))),
        numbered AS (
            SELECT *, row_number() OVER (PARTITION BY going, person, runbook ORDER BY requested_at, id) AS nth
            FROM found)
        SELECT id, runbook, going, person FROM numbered
        WHERE going
           OR coalesce(nth <= CASE person WHEN '' THEN CAST(:of_nobody AS int) ELSE CAST(:of_person AS int) END, true)
        ORDER BY requested_at, id
        """,
        id=up_to.id if up_to else None,
        at=up_to.requested_at if up_to else None,
        of_nobody=enough_for.enough("") if enough_for else None,
        of_person=enough_for.enough("anybody") if enough_for else None,
    )
    return [Unfinished(row.id, row.person, row.runbook, row.going) for row in rows]


def count_unfinished(tx: Transaction, person: str, runbook: str) -> tuple[int, int]:
    """How many diagnoses and asks have not ended, of this person and of this runbook."""
    counted = tx.execute(
        """
        SELECT count(*) FILTER (WHERE requested_by ->> 'kind' IN ('person', 'agent')
                                  AND requested_by ->> 'subject' = :person) AS of_person,
               count(*) FILTER (WHERE runbook = :runbook) AS of_runbook
        FROM runs WHERE state IN ('queued', 'diagnosing') AND purpose <> 'recheck'
        """,
        person=person,
        runbook=runbook,
    ).one()
    return counted.of_person, counted.of_runbook


def hold(tx: Transaction, run: Run) -> None:
    """Note that a quota holds this queued run: its job is done, and whoever frees a place wakes it."""
    tx.execute("UPDATE runs SET held = true WHERE id = :id", id=run.id)


def any_held(tx: Transaction) -> bool:
    """Whether some queued run was held by a quota when a worker wanted to begin it."""
    return bool(tx.execute("SELECT EXISTS (SELECT FROM runs WHERE held AND state = 'queued')").scalar_one())


def lock_places(tx: Transaction) -> None:
    """From here to commit nobody else looks who may begin. Taken after the lock on a run's row, never before."""
    tx.execute("SELECT pg_advisory_xact_lock(7226102)")


def with_job(tx: Transaction, run_ids: list[str], *, any_state: bool = False) -> set[str]:
    """Those of these runs for which a job is queued that no worker has taken yet; or one that goes or has failed."""
    if not run_ids:
        return set()
    rows = tx.execute(
        """SELECT DISTINCT args ->> 'run_id' AS id FROM procrastinate_jobs
           WHERE task_name = 'diagnose' AND (status = 'todo' OR :any_state)
           AND CAST(:ids AS jsonb) ? (args ->> 'run_id')""",
        ids=run_ids,
        any_state=any_state,
    )
    return {row.id for row in rows}

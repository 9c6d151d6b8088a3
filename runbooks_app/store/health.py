"""What the tables say of how the service does. Each query looks at a bounded number of rows, however many there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from runbooks_app.core.health import LOOKED_BACK, MOST_RUNS, LastRuns, Seen
from runbooks_app.core.run import RunState
from runbooks_app.store.database import Transaction

MOST_REPEATED = 200
MOST_REFUSED = 5_000

_SEEN = """
WITH sample AS MATERIALIZED (
    SELECT id, runbook, state, in_part, requested_at FROM runs
    WHERE purpose = 'diagnosis' AND requested_at >= :since ORDER BY requested_at DESC LIMIT :most)
SELECT s.*, coalesce(a.kernels, 0) AS kernels, coalesce(a.lost, 0) + CAST(s.state = 'lost' AS integer) AS lost, a.ended,
    a.ok, a.took, extract(epoch FROM a.first - s.requested_at)::float8 AS first, a.large, a.large_lost
FROM sample s CROSS JOIN LATERAL (
    SELECT count(DISTINCT a.id) AS kernels,
        count(DISTINCT a.id) FILTER (WHERE c.state = 'died' OR a.number < (
            SELECT max(number) FROM attempts l WHERE l.run_id = s.id AND l.stage = 'diagnose')) AS lost,
        count(*) FILTER (WHERE c.state IN ('ok', 'failed', 'died', 'timed_out')) AS ended,
        count(*) FILTER (WHERE c.state = 'ok') AS ok,
        array_agg(extract(epoch FROM c.ended_at - c.started_at)::float8) FILTER (WHERE c.state = 'ok') AS took,
        min(c.ended_at) FILTER (WHERE c.state = 'ok' AND c.stage = 'diagnostic') AS first,
        count(*) FILTER (WHERE c.artifact <> '' OR c.whole IS NOT NULL) AS large,
        count(*) FILTER (WHERE c.artifact = '' AND c.whole ->> 'artifact' = '') AS large_lost
    FROM attempts a LEFT JOIN cells c ON c.attempt_id = a.id WHERE a.run_id = s.id AND a.stage = 'diagnose') a
ORDER BY s.requested_at"""

_REPEATED = """
WITH again AS MATERIALIZED (
    SELECT r.id, CASE WHEN r.purpose = 'recheck' THEN p.run_id ELSE r.rerun_of END AS base, r.revision, r.parameters
    FROM runs r LEFT JOIN proposals p ON p.id = r.proposal_id
    WHERE (r.purpose = 'recheck' OR r.rerun_of IS NOT NULL) AND r.requested_at >= :since AND r.state = 'diagnosed'
    ORDER BY r.requested_at DESC LIMIT :most),
found AS (
    SELECT f.run_id, array_agg(DISTINCT cell_id || ' ' || severity ORDER BY cell_id || ' ' || severity) AS said
    FROM findings f JOIN attempts a ON a.id = f.attempt_id AND a.stage = 'diagnose'
    WHERE f.run_id IN (SELECT id FROM again UNION SELECT base FROM again) GROUP BY f.run_id)
SELECT count(*) AS every, count(*) FILTER (WHERE mine.said IS NOT DISTINCT FROM theirs.said) AS same
FROM again JOIN runs base ON base.id = again.base AND base.state = 'diagnosed'
    AND base.revision = again.revision AND base.parameters = again.parameters
LEFT JOIN found mine ON mine.run_id = again.id LEFT JOIN found theirs ON theirs.run_id = again.base"""

# BETWEEN and not =: where one runbook has nearly all runs, a rare one's would be looked for among all by their time.
_LAST = """
SELECT name, r.ended_at, r.state, r.in_part
FROM jsonb_array_elements_text(:names) AS name CROSS JOIN LATERAL (
    SELECT ended_at, state, in_part, requested_at FROM runs
    WHERE runbook BETWEEN name AND name AND purpose = 'diagnosis' ORDER BY runbook, requested_at DESC LIMIT :most) r
WHERE r.ended_at IS NOT NULL AND r.state <> 'cancelled' ORDER BY name, r.requested_at DESC"""


def seen(tx: Transaction, since: datetime) -> list[Seen]:
    """The latest runs since then, in the order of asking."""
    rows = tx.execute(_SEEN, since=since, most=MOST_RUNS)
    return [
        Seen(
            runbook=row.runbook,
            requested_at=row.requested_at,
            state=RunState(row.state),
            in_part=row.in_part,
            kernels=row.kernels,
            lost=row.lost,
            ended=row.ended,
            ok=row.ok,
            took=tuple(took for took in row.took or () if took is not None),
            first=row.first,
            large=row.large,
            large_lost=row.large_lost,
        )
        for row in rows
    ]


def repeated(tx: Transaction, since: datetime) -> tuple[int, int]:
    """Of the latest runs that repeat another with the same code and parameters: how many found the same, of how many.

    Cells and severities of findings are compared: numbers in their sentences may move.
    """
    row = tx.execute(_REPEATED, since=since, most=MOST_REPEATED).one()
    return row.same, row.every


def refused(tx: Transaction, since: datetime) -> tuple[int, bool]:
    """How many accesses were refused, people's, cells' and nobody's, and whether there may be more than that."""
    row = tx.execute(
        """SELECT count(*) AS entries, coalesce(sum((SELECT sum(CAST(value AS bigint))
               FROM jsonb_each_text(body::jsonb -> 'counts') WHERE kind = 'access.refusals_counted')), 0)
               + count(*) FILTER (WHERE kind <> 'access.refusals_counted') AS every
           FROM unnest(ARRAY['access.refused', 'gateway.refused', 'access.refusals_counted']) AS kind
           CROSS JOIN LATERAL (SELECT at, body FROM audit_entries WHERE event = kind ORDER BY seq DESC LIMIT :most) e
           WHERE at >= to_char(CAST(:since AS timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
        since=since,
        most=MOST_REFUSED,
    ).one()
    return int(row.every), row.entries >= MOST_REFUSED


def last_runs(tx: Transaction, names: Iterable[str]) -> dict[str, LastRuns]:
    """How each of these runbooks did lately; what never ran is not there."""
    found: dict[str, LastRuns] = {}
    for row in tx.execute(_LAST, names=list(names), most=LOOKED_BACK):
        before, good = found.get(row.name), row.state == RunState.DIAGNOSED and not row.in_part
        if before is None:
            before = LastRuns(row.ended_at)
        if before.good_at is None:
            before = replace(before, good_at=row.ended_at if good else None, failing=before.failing + (not good))
        found[row.name] = before
    return found


def count(tx: Transaction, name: str, worker: str, many: int) -> None:
    """Add to what this worker counts in this hour."""
    tx.execute(
        """INSERT INTO service_counts (name, hour, worker, count)
           VALUES (:name, date_trunc('hour', now(), 'UTC'), :worker, :many)
           ON CONFLICT (name, hour, worker) DO UPDATE SET count = service_counts.count + excluded.count""",
        name=name,
        worker=worker,
        many=many,
    )


def counted(tx: Transaction, name: str, since: datetime) -> int:
    """What all workers counted since then; whole hours."""
    total = tx.execute(
        """SELECT coalesce(sum(count), 0) FROM service_counts
           WHERE name = :name AND hour >= date_trunc('hour', CAST(:since AS timestamptz), 'UTC')""",
        name=name,
        since=since,
    ).scalar_one()
    return int(total)

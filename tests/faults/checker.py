"""What must hold after every fault, whatever it was: read from the databases alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from whole_stage import until

from runbooks_app.core import audit
from runbooks_app.store import audit as stored
from runbooks_app.store.database import connect, reading

if TYPE_CHECKING:
    from whole_stage import Drill

    from runbooks_app.main.demo.stage import Stage

AT_REST = 60.0
"""Seconds within which everything has an outcome."""

UNFINISHED = """
SELECT 'run ' || id || ' is ' || state AS what FROM runs WHERE state IN ('queued', 'diagnosing')
UNION ALL
SELECT 'proposal ' || id || ' is ' || state FROM proposals WHERE state IN ('approved', 'executing')
UNION ALL
SELECT 'proposal ' || id || ' has verification ' || coalesce(verification, 'none') FROM proposals
WHERE state IN ('applied', 'failed', 'unknown') AND verification IS DISTINCT FROM 'verified'
  AND verification IS DISTINCT FROM 'not_verified' AND verification IS DISTINCT FROM 'not_possible'
UNION ALL
SELECT 'attempt ' || id || ' (' || stage || ') has not ended' FROM attempts WHERE ended_at IS NULL
UNION ALL
SELECT 'cell ' || cell_id || ' of ended attempt ' || attempt_id || ' is ' || c.state
FROM cells c JOIN attempts a ON a.id = c.attempt_id WHERE a.ended_at IS NOT NULL AND c.state IN ('waiting', 'running')
UNION ALL
SELECT 'credential ' || identity || ' is held' FROM credentials WHERE ended_at IS NULL
UNION ALL
SELECT 'job ' || id || ' (' || task_name || ') is ' || status FROM procrastinate_jobs
WHERE status IN ('todo', 'doing') AND queue_name <> 'upkeep' AND NOT (task_name = 'wake' AND scheduled_at > now())
"""

STARTS = """
SELECT p.id AS proposal, p.state,
       (SELECT count(*) FROM attempts a WHERE a.proposal_id = p.id AND a.stage = 'remediate') AS starts,
       (SELECT count(*) FROM audit_entries e WHERE e.event = 'remediation.started'
           AND e.objects::jsonb ->> 'proposal' = p.id) AS started,
       (SELECT count(*) FROM audit_entries e WHERE e.event = 'remediation.ended'
           AND e.objects::jsonb ->> 'proposal' = p.id) AS ended,
       (SELECT min(seq) FROM audit_entries e WHERE e.event = 'remediation.started'
           AND e.objects::jsonb ->> 'proposal' = p.id) AS started_at,
       (SELECT min(seq) FROM audit_entries e WHERE e.event = 'proposal.approved'
           AND e.objects::jsonb ->> 'proposal' = p.id) AS approved_at
FROM proposals p
"""


def attempts(stage: Stage, run_id: str, stage_name: str = "diagnose") -> list[str]:
    """The workers that tried this stage of a run, in order."""
    query = "SELECT worker FROM attempts WHERE run_id = %s AND stage = %s ORDER BY number"
    with psycopg.connect(stage.database.url(database="runbooks")) as session:
        return [worker for (worker,) in session.execute(query, [run_id, stage_name]).fetchall()]


def entries(stage: Stage, event: str, **objects: str) -> list[dict[str, Any]]:
    """Bodies of the audit entries of this kind about these objects, in order."""
    query = "SELECT body::jsonb FROM audit_entries WHERE event = %s AND objects::jsonb @> %s ORDER BY seq"
    with psycopg.connect(stage.database.url(database="runbooks")) as session:
        return [body for (body,) in session.execute(query, [event, Jsonb(objects)]).fetchall()]


def check(stage: Stage, drill: Drill) -> None:
    """Wait until everything is at rest, then fail with all that does not hold."""
    left: list[str] = []

    def at_rest() -> bool:
        left[:] = _unfinished(stage, drill)
        return not left

    try:
        until("everything to be at rest", at_rest, AT_REST)
    finally:
        assert left == []
    assert wrong(stage) == []


def wrong(stage: Stage) -> list[str]:
    """Sentences about starts without an approval before them, second starts, ends without start, a broken chain."""
    found = []
    with psycopg.connect(stage.database.url(database="runbooks"), row_factory=dict_row) as session:
        for row in session.execute(STARTS).fetchall():
            proposal = f"proposal {row['proposal']}"
            if row["starts"] > 1 or row["started"] != row["starts"] or row["ended"] != row["starts"]:
                found.append(f"{proposal}: {row['starts']} starts, entered {row['started']}, ended {row['ended']}")
            if row["starts"] and (row["approved_at"] is None or row["approved_at"] > row["started_at"]):
                found.append(f"{proposal} was started without an approval before it")
            if (row["state"] in {"executing", "applied", "failed", "unknown"}) != bool(row["starts"]):
                found.append(f"{proposal} is {row['state']} with {row['starts']} starts")
    verdict = chain(stage)
    return found if verdict.ok else [*found, verdict.reason]


def chain(stage: Stage) -> audit.Verdict:
    """The verdict on the whole audit trail."""
    url = f"postgresql://runbooks_app@127.0.0.1:{stage.database.port}/runbooks"
    engine = connect(url, stage.secret("runbooks_app"), pool_size=1)
    try:
        with reading(engine) as tx:
            return audit.verify(stored.entries(tx), stored.head(tx))
    finally:
        engine.dispose()


def _unfinished(stage: Stage, drill: Drill) -> list[str]:
    with psycopg.connect(stage.database.url(database="runbooks")) as session:
        found = [what for (what,) in session.execute(UNFINISHED).fetchall()]
    return [*found, *(f"role {name} is still there" for name in drill.minted())]

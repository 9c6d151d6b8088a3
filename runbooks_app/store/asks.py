"""What people asked in cells of their own; each is a run of its own too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runbooks_app.core.errors import NotFound
from runbooks_app.store import cursors
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Record, Run

_ASKED = """SELECT r.*, to_jsonb(a) AS ask, a.concluded_at FROM runs r JOIN asks a ON a.run_id = r.id
    WHERE r.purpose = 'ask' AND r.incident_id IN (SELECT id FROM incidents WHERE id = :id OR merged_into = :id)"""


@dataclass(frozen=True)
class Ask(Record):
    """One ask, by the id of its run. `of_run` is the run whose parameters and setup it took; None: of the incident.

    `source` and `hypothesis` are as they were typed. `conclusion` is empty until somebody writes one: `concluded_by`,
    an actor, at `concluded_at`.
    """

    run_id: str
    of_run: str | None
    source: str
    hypothesis: str
    conclusion: str
    concluded_by: dict[str, Any] | None
    concluded_at: datetime | None


@dataclass(frozen=True)
class AskedRun:
    """An ask with its run."""

    ask: Ask
    run: Run


def insert(tx: Transaction, run_id: str, of_run: str | None, source: str, hypothesis: str) -> None:
    """Write what was asked, beside its run."""
    tx.execute(
        "INSERT INTO asks (run_id, of_run, source, hypothesis) VALUES (:run, :of_run, :source, :hypothesis)",
        run=run_id,
        of_run=of_run,
        source=source,
        hypothesis=hypothesis,
    )


def find(tx: Transaction, run_id: str) -> Ask | None:
    """What was asked in this run, if it is an ask."""
    row = tx.execute("SELECT * FROM asks WHERE run_id = :id", id=run_id).first()
    return Ask.of(row) if row else None


def get(tx: Transaction, run_id: str) -> Ask:
    """What was asked in this run, or `NotFound`."""
    found = find(tx, run_id)
    if found is None:
        raise NotFound(f"Run {run_id[:40]} is no ask.")
    return found


def conclude(tx: Transaction, ask: Ask, conclusion: str, by: dict[str, Any]) -> None:
    """Keep what it showed; `Conflict` where somebody has written something else since `ask` was read."""
    tx.moved(
        "The conclusion",
        """UPDATE asks SET conclusion = :conclusion, concluded_by = :by, concluded_at = now()
           WHERE run_id = :id AND conclusion = :was""",
        id=ask.run_id,
        conclusion=conclusion,
        by=by,
        was=ask.conclusion,
    )


def of_incident(tx: Transaction, incident_id: int, limit: int = 500, before: str = "") -> list[AskedRun]:
    """What was asked in an incident, and in those that became part of it, newest first.

    `before` is the id of the last one seen; refused if there is none such.
    """
    if before:
        cursors.known(tx, "runs", before)
    after = "AND (r.requested_at, r.id) < (SELECT requested_at, id FROM runs WHERE id = :before)" if before else ""
    rows = tx.execute(
        f"{_ASKED} {after} ORDER BY r.requested_at DESC, r.id DESC LIMIT :limit",
        id=incident_id,
        limit=limit,
        **({"before": before} if before else {}),
    )
    return [_asked(row) for row in rows]


def those(tx: Transaction, incident_id: int, run_ids: Iterable[str]) -> list[AskedRun]:
    """These of an incident's asks, oldest first; `NotFound` for one that it has not."""
    wanted = set(run_ids)
    rows = tx.execute(
        f"""{_ASKED} AND r.id = ANY(ARRAY(SELECT jsonb_array_elements_text(:ids)))
            ORDER BY r.requested_at, r.id""",
        id=incident_id,
        ids=sorted(wanted),
    )
    found = [_asked(row) for row in rows]
    if missing := wanted - {asked.run.id for asked in found}:
        raise NotFound(f"Incident {incident_id} has no ask {min(missing)[:40]!r}.")
    return found


def _asked(row: Any) -> AskedRun:
    return AskedRun(Ask(**{**row.ask, "concluded_at": row.concluded_at}), Run.of(row))

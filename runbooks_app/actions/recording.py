"""A worker's side of a segment's cells: what became of them, and what they found, stored while the segment goes on.

Cells come in batches: of those that began and ended between two writes only the end is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.diagnosing import Claim, Said
from runbooks_app.actions.running import tell_run
from runbooks_app.core import bundles
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import Problem
from runbooks_app.core.run import CellState
from runbooks_app.store import runs
from runbooks_app.store.database import Transaction, transaction

INLINE_OUTPUT = 256_000
"""Bytes of a cell's outputs that stay in its row; larger ones go to the artifact store."""


@dataclass(frozen=True)
class CellTold:
    """How a cell stands: it runs since `started_at`, or it ended; `reason` says why it did not end well."""

    cell_id: str
    state: CellState
    started_at: datetime | None
    ended_at: datetime | None = None
    outputs: tuple[dict[str, Any], ...] = ()
    execution_count: int | None = None
    reason: str = ""


def record_cells(service: Service, claim: Claim, told: Sequence[CellTold], said: Said, *, tell: bool = False) -> None:
    """Store how these cells stand, and what they found; what else they said is added to `said`.

    `tell`: have the run's message brought up to date. Raises `Conflict` if the attempt was fenced off: then nothing
    of any of them is kept.
    """
    latest = {cell.cell_id: cell for cell in told}
    read = {cell.cell_id: bundles.read(list(cell.outputs)) for cell in latest.values()}
    artifacts = {cell.cell_id: _artifact(service, cell) for cell in latest.values()}
    with transaction(service.engine) as tx:
        runs.record_cells(tx, claim.attempt.id, [_row(cell, artifacts[cell.cell_id]) for cell in latest.values()])
        for cell in latest.values():
            for finding in read[cell.cell_id].findings:
                _find(tx, claim, cell.cell_id, finding)
        if tell:
            tell_run(tx, claim.run.id, claim.run.channel)
    for cell_id, found in read.items():
        said.proposed += found.proposed
        said.kept |= dict(found.kept)
        said.checks += found.checks
        said.problems += [Problem(cell_id, problem.message, problem.fix) for problem in found.problems]


def _artifact(service: Service, cell: CellTold) -> str:
    """Address of the outputs where they are too large for a row; else empty."""
    text = json.dumps(cell.outputs)
    return service.artifacts.put(text.encode()) if len(text) > INLINE_OUTPUT else ""


def _row(cell: CellTold, artifact: str) -> runs.RecordedCell:
    return runs.RecordedCell(
        cell.cell_id,
        str(cell.state),
        [] if artifact else list(cell.outputs),
        artifact,
        cell.execution_count,
        cell.started_at,
        cell.ended_at,
        cell.reason,
    )


def _find(tx: Transaction, claim: Claim, cell_id: str, finding: bundles.Finding) -> None:
    about = {"cell_id": cell_id, "severity": finding.severity, "summary": finding.summary}
    number = runs.add_finding(
        tx,
        {
            **about,
            "run_id": claim.run.id,
            "attempt_id": claim.attempt.id,
            "evidence": json.dumps(finding.evidence),
        },
    )
    tx.audit(
        worker_actor(claim.attempt.worker),
        Event.FINDING_MADE,
        {"run": claim.run.id, "finding": number, "incident": claim.run.incident_id},
        {"cell": cell_id, "severity": finding.severity, "summary": finding.summary, "stage": claim.attempt.stage},
    )

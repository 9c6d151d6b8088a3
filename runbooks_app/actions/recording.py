"""A worker's side of a segment's cells: what became of them, and what they found, stored while the segment goes on.

Cells come in batches: of those that began and ended between two writes only the end is written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from typing import Any

from runbooks_app.actions import telling
from runbooks_app.actions.context import Service
from runbooks_app.actions.diagnosing import Claim, Said, store_rest
from runbooks_app.core import bundles
from runbooks_app.core.errors import Problem, Unavailable
from runbooks_app.core.run import CellState
from runbooks_app.store import runs
from runbooks_app.store.database import transaction

INLINE_OUTPUT = 256_000
"""Bytes of a cell's outputs that stay in its row; larger ones go to the artifact store."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Whole:
    """All the text that a cell printed, redacted: `size` bytes in `file`; `lost` bytes more are kept nowhere."""

    file: FileIO
    size: int
    lost: int


@dataclass(frozen=True)
class CellTold:
    """How a cell stands: it runs since `started_at`, or it ended; `reason` says why it did not end well.

    `whole` where it printed more than its `outputs` hold. `redacted`: places where a secret was taken out.
    """

    cell_id: str
    state: CellState
    started_at: datetime | None
    ended_at: datetime | None = None
    outputs: tuple[dict[str, Any], ...] = ()
    execution_count: int | None = None
    reason: str = ""
    whole: Whole | None = None
    redacted: int = 0


def gather(
    service: Service, told: Sequence[CellTold], said: Said, updates: Mapping[str, tuple[dict[str, Any], ...]]
) -> None:
    """Add to `said` how these cells stand and what they said; whoever ends the attempt stores it along.

    `updates`: what cells show that had ended before, by their ids; findings in it are none. What is too large for a
    row is in the artifact store when this returns.
    """
    latest = {cell.cell_id: cell for cell in told}
    said.unstored.cells += [_row(service, cell) for cell in latest.values()]
    said.unstored.redacted += sum(cell.redacted for cell in latest.values())
    said.unstored.updates += [(cell_id, *_place(service, outputs)) for cell_id, outputs in updates.items()]
    for cell_id, cell in latest.items():
        found = bundles.read(list(cell.outputs))
        said.unstored.findings += [(cell_id, finding) for finding in found.findings]
        said.proposed += found.proposed
        said.kept |= dict(found.kept)
        said.checks += found.checks
        said.problems += [Problem(cell_id, problem.message, problem.fix) for problem in found.problems]


def record_cells(
    service: Service,
    claim: Claim,
    told: Sequence[CellTold],
    said: Said,
    *,
    updates: Mapping[str, tuple[dict[str, Any], ...]] | None = None,
    tell: bool = False,
) -> None:
    """Gather and store it at once; with `tell`, have the run's message brought up to date.

    Raises `Conflict` if the attempt was fenced off: then nothing of it is kept.
    """
    gather(service, told, said, updates or {})
    with transaction(service.engine) as tx:
        store_rest(tx, claim, said)
        if tell:
            telling.tell(tx, f"run:{claim.run.id}", progress=True)


def _place(service: Service, outputs: tuple[dict[str, Any], ...]) -> tuple[list[dict[str, Any]], str]:
    """The outputs for a row and, where they are too large for it, none and the address of an artifact."""
    text = json.dumps(outputs)
    return ([], service.artifacts.put(text.encode())) if len(text) > INLINE_OUTPUT else (list(outputs), "")


def _row(service: Service, cell: CellTold) -> runs.RecordedCell:
    outputs, artifact = _place(service, cell.outputs)
    return runs.RecordedCell(
        cell.cell_id,
        str(cell.state),
        outputs,
        artifact,
        cell.execution_count,
        cell.started_at,
        cell.ended_at,
        cell.reason,
        _whole(service, cell),
    )


def _whole(service: Service, cell: CellTold) -> dict[str, Any] | None:
    """Store the whole text of a cell; what its row says of it."""
    if cell.whole is None:
        return None
    address = ""
    try:
        address = service.artifacts.put_file(cell.whole.file)
    except (Unavailable, OSError):
        # The beginning of it is in the row: a diagnosis does not fail for want of the rest.
        log.exception("the whole output of cell %s could not be stored and is lost", cell.cell_id)
    return {"artifact": address, "size": cell.whole.size, "lost": cell.whole.lost}

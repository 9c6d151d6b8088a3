"""One segment of a run: cells into a kernel, what they print to the viewers, what became of them to the store."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import Any

from runbooks_app.actions.diagnosing import Claim, Said, cell_ended, cell_started
from runbooks_app.core.errors import Conflict
from runbooks_app.core.kernel_limits import AMOUNTS
from runbooks_app.core.parameters import typed
from runbooks_app.core.runbook import Cell, Section, Stage
from runbooks_app.kernels.events import CellEnded, CellStarted, Printed, SegmentEnded
from runbooks_app.kernels.limits import Limits
from runbooks_app.kernels.segment import Code, Segment
from runbooks_app.worker.context import Hold, Worker

log = logging.getLogger(__name__)

TELL_EVERY = 1.0
"""Seconds between two updates of a running run's message."""


class FencedError(Exception):
    """The attempt is no longer ours: the kernel is gone, nothing more is written."""


def execute(
    worker: Worker,
    claim: Claim,
    stage: str,
    connections: dict[str, dict[str, Any]],
    hold: Hold,
    *,
    timeout: float,
    section: Section | None = None,
    inputs: dict[str, Any] | None = None,
    kept: dict[str, Any] | None = None,
) -> tuple[Said, str, dict[str, CellEnded]]:
    """Execute the claimed cells in a fresh kernel; what they said, why not all had their turn, how each ended.

    Raises `FencedError` when another worker has taken over in the meantime, or this one shuts down.
    """
    said, reason = Said(), ""
    ends: dict[str, CellEnded] = {}
    channel_told = time.monotonic()
    if hold.abandoned:  # while its credentials were minted
        raise FencedError
    segment = _segment(worker, claim, stage, connections, timeout, section, inputs or {}, kept or {})
    try:
        with closing(worker.engine.run(segment, hold.stop)) as events:  # ends the kernel, however this ends
            for event in events:
                if hold.abandoned:
                    raise FencedError
                match event:
                    case CellStarted():
                        cell_started(worker.service, claim.attempt, event.cell_id, event.at)
                        worker.live.publish(claim.run.id, {"kind": "changed"})
                    case Printed():
                        worker.live.publish(
                            claim.run.id,
                            {
                                "kind": "output",
                                "attempt": claim.attempt.id,
                                "cell": event.cell_id,
                                "output": event.output,
                                "display_id": event.display_id,
                            },
                        )
                    case CellEnded():
                        ends[event.cell_id] = event
                        tell = stage == "diagnose" and time.monotonic() - channel_told > TELL_EVERY
                        channel_told = time.monotonic() if tell else channel_told
                        cell_ended(
                            worker.service,
                            claim,
                            event.cell_id,
                            state=event.state,
                            outputs=list(event.outputs),
                            execution_count=event.execution_count,
                            started_at=event.started_at,
                            ended_at=event.ended_at,
                            reason=event.reason,
                            said=said,
                            tell=tell,
                        )
                        worker.live.publish(claim.run.id, {"kind": "changed"})
                    case SegmentEnded():
                        reason = event.reason
    except Conflict as conflict:
        log.warning(
            "Attempt %d of run %s was taken over; its kernel is ended.",
            claim.attempt.number,
            claim.run.id,
        )
        raise FencedError from conflict
    return said, reason, ends


def _segment(
    worker: Worker,
    claim: Claim,
    stage: str,
    connections: dict[str, dict[str, Any]],
    timeout: float,
    section: Section | None,
    inputs: dict[str, Any],
    kept: dict[str, Any],
) -> Segment:
    limits = worker.service.settings.limits_of(claim.runbook.limits)

    def code(cell: Cell) -> Code:
        limit = cell.timeout or (timeout if stage == "verify" else limits["cell"])
        return Code(cell.id, cell.source, float(limit), cell.defines, cell.needs)

    by_stage = {
        wanted: tuple(
            code(cell) for cell in claim.cells if (cell.stage is wanted) or (wanted is None and cell.stage in _OWN)
        )
        for wanted in (Stage.PARAMETERS, Stage.SETUP, None)
    }
    return Segment(
        run_id=claim.run.id,
        stage=stage,
        parameters=next(iter(by_stage[Stage.PARAMETERS]), None),
        values=typed(claim.runbook.parameters, claim.run.parameters),
        setup=by_stage[Stage.SETUP],
        inputs=typed(section.inputs, inputs) if section else {},
        cells=by_stage[None],
        kept=kept,
        connections=connections,
        secrets=worker.secrets,
        timeout=timeout,
        limits=Limits(**{name: limits[name] for name in AMOUNTS}, idle=limits["idle"] or None),
    )


_OWN = frozenset({Stage.DIAGNOSTIC, Stage.REMEDIATION})

"""One segment of a run: cells into a kernel, what they print to the viewers, what became of them to the store.

What is printed goes out at once, and waits for no database. What became of cells is stored a moment later, together
with what came meanwhile: a transaction for each beginning and each end took three times as long as the cells of a
short diagnosis.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from runbooks_app.actions.diagnosing import Claim, Said
from runbooks_app.actions.recording import CellTold, Whole, gather, record_cells
from runbooks_app.actions.refusals import gateway_refused
from runbooks_app.core.errors import Conflict
from runbooks_app.core.kernel_limits import AMOUNTS
from runbooks_app.core.parameters import typed
from runbooks_app.core.run import CellState
from runbooks_app.core.runbook import Cell, Section, Stage
from runbooks_app.kernels.course import Course
from runbooks_app.kernels.events import (
    CellEnded,
    CellStarted,
    CellUpdated,
    GatewayRefused,
    Pause,
    Printed,
    SegmentEnded,
)
from runbooks_app.kernels.limits import Limits
from runbooks_app.kernels.segment import Code, Segment
from runbooks_app.worker.context import Hold, Worker
from runbooks_app.worker.holding import Granted

log = logging.getLogger(__name__)

TELL_EVERY = 1.0
"""Seconds between two updates of a running run's message."""

GATHER = 0.1
"""Seconds that the beginning or end of a cell may wait to be stored: what a worker that is killed may not have told."""


class FencedError(Exception):
    """The attempt is no longer ours: the kernel is gone, nothing more is written."""


@contextmanager
def begun(
    worker: Worker,
    claim: Claim,
    stage: str,
    hold: Hold,
    *,
    timeout: float,
    section: Section | None = None,
    inputs: dict[str, Any] | None = None,
    kept: dict[str, Any] | None = None,
) -> Iterator[Course]:
    """A fresh kernel for the claimed cells, which is made while their credentials are minted, and ends with this."""
    segment = _segment(worker, claim, stage, timeout, section, inputs or {}, kept or {})
    with closing(worker.engine.begin(segment, hold.stop, pauses=GATHER)) as course:
        yield course


def execute(
    worker: Worker, claim: Claim, course: Course, granted: Granted, hold: Hold
) -> tuple[Said, str, dict[str, CellEnded]]:
    """Execute the claimed cells; what they said, why not all had their turn, how each ended. The kernel is gone then.

    What the last of them did is not stored yet: whoever ends the attempt stores it along, in one transaction.
    Raises `FencedError` when another worker has taken over in the meantime, or this one shuts down.
    """
    reason = ""
    cells = _Cells(worker, claim, tells=claim.attempt.stage == "diagnose")
    if hold.abandoned:  # while its credentials were minted
        raise FencedError
    course.grant(granted.connections, granted.routes)
    try:
        with closing(course):
            for event in course:
                if hold.abandoned:
                    raise FencedError
                match event:
                    case CellStarted() | CellEnded() | CellUpdated():
                        cells.take(event)
                    case Printed():
                        cells.show(event)
                    case GatewayRefused():
                        gateway_refused(
                            worker.service,
                            claim,
                            event.connection,
                            cell=event.cell_id,
                            method=event.method,
                            path=event.path,
                            reason=event.reason,
                            more=event.more,
                        )
                    case SegmentEnded():
                        reason = event.reason
                        break
                if not course.waits:
                    cells.tell()
                if cells.due() or isinstance(event, Pause):
                    cells.store()
        cells.hand_over()
    except Conflict as conflict:
        log.warning(
            "Attempt %d of run %s was taken over; its kernel is ended.",
            claim.attempt.number,
            claim.run.id,
        )
        raise FencedError from conflict
    return cells.said, reason, cells.ends


@dataclass
class _Cells:
    """What became of the cells and what they printed: the one is gathered to be stored, the other to be shown."""

    worker: Worker
    claim: Claim
    tells: bool
    said: Said = field(default_factory=Said)
    ends: dict[str, CellEnded] = field(default_factory=dict)
    waiting: list[CellTold] = field(default_factory=list)
    updates: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    printed: list[dict[str, Any]] = field(default_factory=list)
    since: float = 0.0
    channel_told: float = field(default_factory=time.monotonic)

    def take(self, event: CellStarted | CellEnded | CellUpdated) -> None:
        """Have it stored soon."""
        self._begin()
        if isinstance(event, CellUpdated):
            self._update(event)
            return
        if isinstance(event, CellStarted):
            self.waiting.append(CellTold(event.cell_id, CellState.RUNNING, event.at))
            return
        self.ends[event.cell_id] = event
        self.waiting.append(
            CellTold(
                event.cell_id,
                event.state,
                event.started_at,
                event.ended_at,
                event.outputs,
                event.execution_count,
                event.reason,
                Whole(event.rest.file, event.rest.size, event.rest.lost) if event.rest else None,
                event.redacted,
            )
        )

    def _update(self, event: CellUpdated) -> None:
        """A cell that has ended shows something else, be its end stored already or not."""
        stored = True
        for at, told in enumerate(self.waiting):
            if told.cell_id == event.cell_id and told.ended_at:
                self.waiting[at] = replace(told, outputs=event.outputs)
                stored = False
        if stored:
            self.updates[event.cell_id] = event.outputs

    def show(self, event: Printed) -> None:
        """Have viewers see what a cell printed."""
        self.printed.append(
            {
                "kind": "output",
                "attempt": self.claim.attempt.id,
                "cell": event.cell_id,
                "output": event.output,
                "display_id": event.display_id,
                "clears": event.clears,
            }
        )

    def tell(self) -> None:
        """Let viewers know what there is to see."""
        printed, self.printed = self.printed, []
        if printed:
            self.worker.live.publish(self.claim.run.id, *printed)

    def due(self) -> bool:
        """Whether something has waited long enough to be stored."""
        return bool(self.waiting or self.updates) and time.monotonic() - self.since >= GATHER

    def store(self) -> None:
        """Store what waits, and let viewers know."""
        if self.waiting or self.updates:
            now = time.monotonic()
            ended = any(cell.ended_at for cell in self.waiting)
            tell = self.tells and ended and now - self.channel_told > TELL_EVERY
            self.channel_told = now if tell else self.channel_told
            told, self.waiting = self.waiting, []
            updates, self.updates = self.updates, {}
            record_cells(self.worker.service, self.claim, told, self.said, updates=updates, tell=tell)
            self.printed.append({"kind": "changed"})
        self.tell()

    def hand_over(self) -> None:
        """Show what was printed last; what waits to be stored goes with what the cells said."""
        gather(self.worker.service, self.waiting, self.said, self.updates)
        self.tell()

    def _begin(self) -> None:
        if not self.waiting and not self.updates:
            self.since = time.monotonic()


def _segment(
    worker: Worker,
    claim: Claim,
    stage: str,
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
        connections={},
        reaches=tuple(claim.runbook.connections_used(claim.run.parameters)),
        secrets=worker.secrets,
        timeout=timeout,
        limits=Limits(**{name: limits[name] for name in AMOUNTS}, idle=limits["idle"] or None),
        urgent=bool(claim.attempt.proposal_id or claim.run.proposal_id),
    )


_OWN = frozenset({Stage.DIAGNOSTIC, Stage.REMEDIATION})

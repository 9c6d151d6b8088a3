"""A run as it goes: `/runs/<id>/events`, server-sent events whose data is JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Response

from runbooks_app.core.errors import NotFound, Refused
from runbooks_app.core.people import Permission
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import ENDED, CellState
from runbooks_app.store import proposals as proposal_rows
from runbooks_app.store import runs as run_rows
from runbooks_app.store.database import reading
from runbooks_app.store.records import CellOutline
from runbooks_app.web import live
from runbooks_app.web.api import answers
from runbooks_app.web.api.contract import blueprint, tells
from runbooks_app.web.api.withholding import require_tellable
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard

_GOING = {CellState.WAITING, CellState.RUNNING}
_UNDER_WAY = {ProposalState.APPROVED, ProposalState.EXECUTING}


@blueprint.get("/runs/<run_id>/events")
@guard(Permission.READ)
@tells(media=("text/event-stream",), problems=(NotFound, Refused, live.TooManyStreams))
def get_events(run_id: str) -> Response:
    """A run as it goes, as server-sent events.

    `run`: the run (`Run`), at first and whenever it changes. `cell`: a cell (`Cell`, without outputs) with the number
    of its `attempt`, likewise. `output`: what a cell prints while it runs: `attempt`, `cell`, an nbformat `output`, and
    `display_id` and `clears` where a display is replaced; what cells that have ended printed is read from the run.
    `end`: the run has ended, and nothing that was approved is under way. The stream ends after ten minutes, or with the
    session or token: connect anew.
    """
    require_tellable(run_id)
    run = _RunStream(run_id)
    run.read()
    return live.answer(run, run_id)


@dataclass(frozen=True)
class _Look:
    """A run and its cells as they are sent, in JSON; `going` are those cells that have not ended."""

    run: str
    cells: dict[tuple[int, str], str]
    going: frozenset[tuple[int, str]]
    at_rest: bool


def _look(run_id: str) -> _Look:
    """A run for all programs that watch it. What its cells printed is not read."""
    with reading(service().engine) as tx:
        found = run_rows.get(tx, run_id)
        proposals = proposal_rows.of_run(tx, run_id)
        attempts = run_rows.attempts(tx, run_id)
        cells = [cell for attempt in attempts for cell, _ in run_rows.outlines(tx, attempt.id)]
    return _Look(
        answers.Run.of(found, {}).model_dump_json(exclude_unset=True),
        {(cell.attempt_id, cell.cell_id): _told(run_id, cell) for cell in cells},
        frozenset((cell.attempt_id, cell.cell_id) for cell in cells if cell.state in _GOING),
        found.state in ENDED
        and all(attempt.ended_at for attempt in attempts)
        and not any(p.state in _UNDER_WAY or p.verification is Verification.PENDING for p in proposals),
    )


def _told(run_id: str, cell: CellOutline) -> str:
    told = answers.Cell.of(run_id, cell).model_dump(mode="json", exclude_unset=True)
    return json.dumps({"attempt": cell.attempt_id, **told})


class _RunStream(live.Page):
    """A run and its cells, of which those are sent that are not as they were sent last."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._looks = live.looks(f"api:run:{run_id}", lambda _: _look(run_id))

    def read(self) -> None:
        self._seen: _Look = self._looks.now()
        self.at_rest = self._seen.at_rest

    def events(self) -> Iterator[str]:
        for told in self.news({"run": self._seen.run}):
            yield live.event("run", told)
        for told in self.news({f"{attempt} {cell}": told for (attempt, cell), told in self._seen.cells.items()}):
            yield live.event("cell", told)

    def knows(self, event: dict[str, Any]) -> bool:
        return _key(event) in self._seen.cells

    def output(self, event: dict[str, Any]) -> str:
        if _key(event) not in self._seen.going or "output" not in event:
            return ""
        kept = {name: event[name] for name in ("attempt", "cell", "output", "display_id", "clears") if name in event}
        return live.event("output", json.dumps(kept))


def _key(event: dict[str, Any]) -> tuple[Any, Any]:
    return event.get("attempt"), event.get("cell")

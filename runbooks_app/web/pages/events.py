"""Which pages are live, and what each of them sends: `/now/events`, and `events` of runs, proposals and incidents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, Response, g, request

from runbooks_app.core.people import Permission
from runbooks_app.core.run import CellState
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard
from runbooks_app.web.live import Page, answer, looks, output, parts
from runbooks_app.web.pages import incident_view, now_view, proposal_view, run_view
from runbooks_app.web.pages.evidence import CellView

blueprint = Blueprint("events", __name__)

SLACK = 30.0
"""Seconds before the page was made whose changes are sent once more: clocks and commits lie apart."""


@blueprint.get("/now/events")
@guard(Permission.READ)
def now_events() -> Response:
    """Stream the page Now."""
    page = _NowPage()
    page.read()
    return answer(page)


@blueprint.get("/incidents/<int:incident_id>/events")
@guard(Permission.READ)
def incident_events(incident_id: int) -> Response:
    """Stream an incident's page."""
    page = _IncidentPage(incident_id)
    page.read()
    return answer(page)


@blueprint.get("/runs/<run_id>/events")
@guard(Permission.READ)
def run_events(run_id: str) -> Response:
    """Stream a run's page."""
    page = _RunPage(run_id, _since())
    page.read()
    return answer(page, run_id)


@blueprint.get("/proposals/<proposal_id>/events")
@guard(Permission.READ)
def proposal_events(proposal_id: str) -> Response:
    """Stream an approval page."""
    page = _ProposalPage(proposal_id)
    page.read()
    return answer(page, page.run_id)


class _RunPage(Page):
    """A run's page. Of its cells, those that changed since the page was made are sent, one by one."""

    def __init__(self, run_id: str, since: float) -> None:
        super().__init__()
        self._looks = looks(f"run:{run_id}", lambda before: _look(run_id, before))
        self._since = since
        self._shape: tuple[int, ...] | None = None
        self._states: dict[tuple[int, str], CellState] = {}
        self._updates: dict[tuple[int, str], int] = {}

    def read(self) -> None:
        self._seen: run_view.Rendered = self._looks.now()
        self.at_rest = self._seen.view.at_rest

    def changed(self) -> list[str]:
        fresh = self.news(dict(run_view.parts(self._seen, g.person, g.session.csrf)))
        shape = run_view.shape(self._seen.view)
        states = {key: self._state(key, cell) for key, cell in self._seen.cells.items()}
        if shape != self._shape and (self._shape is not None or self._began_since()):
            fresh.append(self._seen.segments)
        else:
            for key, cell in self._seen.cells.items():
                first = key not in self._states
                same = self._states.get(key) == states[key] and self._updates.get(key) == cell.cell.updates
                if not same and not (first and not self._is_new(cell)):
                    fresh.append(self._seen.cell(key))
        self._shape = shape
        self._states = states
        self._updates = {key: cell.cell.updates for key, cell in self._seen.cells.items()}
        return fresh

    def output(self, event: dict[str, Any]) -> str:
        try:
            key = (int(event["attempt"]), str(event["cell"]))
            printed = event["output"]
        except (KeyError, TypeError, ValueError):
            return ""
        begins = ""
        if self._states.get(key) is CellState.WAITING:
            # What it prints tells that it runs; that this is stored as well comes a moment later.
            self._states[key] = CellState.RUNNING
            begins = parts(self._seen.begun(key))
        if self._states.get(key) is not CellState.RUNNING:
            return ""
        display = event.get("display_id")
        return begins + output(
            f"live-{key[0]}-{key[1]}",
            printed,
            display=display if isinstance(display, str) else "",
            clears=event.get("clears") is True,
        )

    def knows(self, event: dict[str, Any]) -> bool:
        return (event.get("attempt"), event.get("cell")) in self._states

    def _state(self, key: tuple[int, str], cell: CellView) -> CellState:
        """Its state as stored, or as it showed itself since."""
        begun = cell.cell.state is CellState.WAITING and self._states.get(key) is CellState.RUNNING
        return CellState.RUNNING if begun else cell.cell.state

    def _is_new(self, cell: CellView) -> bool:
        """Whether the cell may have changed after the page was made; a running one counts: its output begins anew."""
        if cell.cell.state is CellState.RUNNING:
            return True
        return any(_after(at, self._since) for at in (cell.cell.started_at, cell.cell.ended_at))

    def _began_since(self) -> bool:
        return any(_after(s.attempt.started_at, self._since) for s in self._seen.view.segments)


def _look(run_id: str, before: run_view.Rendered | None) -> run_view.Rendered:
    """A run's page for all who watch it. A cell that ended under their eyes stays open until they come back."""
    with reading(service().engine) as tx:
        return run_view.Rendered(run_view.read(tx, run_id, before=before.cells if before else {}))


class _ProposalPage(Page):
    """An approval page: where it stands, and who may do what about it."""

    def __init__(self, proposal_id: str) -> None:
        super().__init__()
        self._proposal_id = proposal_id
        self.run_id = ""

    def read(self) -> None:
        with reading(service().engine) as tx:
            self._view = proposal_view.read_state(tx, self._proposal_id, g.person)
        self.run_id = self._view.proposal.run_id
        self.at_rest = self._view.at_rest

    def changed(self) -> list[str]:
        return self.news(dict(proposal_view.parts(self._view, g.session.csrf)))


class _NowPage(Page):
    """The page Now.

    Its reader's proposals stand in the look that all share. Only where a great many wait are they read for each reader,
    and then when something was entered into the trail, and not before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._looks = now_view.looks()
        self._head = -1
        self._mine: now_view.Mine = []

    def read(self) -> None:
        self._seen: now_view.Rendered = self._looks.now()
        view = self._seen.view
        among = now_view.mine_among(view, g.person)
        if among is not None:
            self._mine = among
        elif view.head != self._head:
            with reading(service().engine) as tx:
                self._mine = now_view.mine_now(tx, g.person)
        self._head = view.head

    def changed(self) -> list[str]:
        return self.news(dict(now_view.parts(self._seen, self._mine, g.person)))


class _IncidentPage(Page):
    """An incident's page, until it is closed."""

    def __init__(self, incident_id: int) -> None:
        super().__init__()
        self._looks = incident_view.looks(incident_id)

    def read(self) -> None:
        self._seen: incident_view.Rendered = self._looks.now()
        self.at_rest = self._seen.view.at_rest

    def changed(self) -> list[str]:
        return self.news(dict(incident_view.parts(self._seen, g.person)))


def _since() -> float:
    """When the page was made, in seconds since the epoch; 0 where the address does not say it."""
    given = request.args.get("since", "")
    return int(given) / 1000 if given.isascii() and given.isdigit() and len(given) < 16 else 0.0


def _after(at: datetime | None, since: float) -> bool:
    return at is not None and at.timestamp() >= since - SLACK

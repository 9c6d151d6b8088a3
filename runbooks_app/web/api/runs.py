"""Runs: asked for, read, stopped; what their cells printed; what is proposed from them."""

from __future__ import annotations

import json
from http import HTTPStatus

from flask import Response, g

from runbooks_app.actions import deciding, running, waiting
from runbooks_app.actions.outputs import outputs_of
from runbooks_app.core.errors import BrokenRunbook, Conflict, InvalidInput, Misconfigured, NotFound, Refused
from runbooks_app.core.people import Permission
from runbooks_app.core.run import RunState
from runbooks_app.store import asks as ask_rows
from runbooks_app.store import proposals as proposal_rows
from runbooks_app.store import runs as run_rows
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import Attempt, CellOutline, Run
from runbooks_app.web.api import answers, asked
from runbooks_app.web.api.answers.runs import run_fields
from runbooks_app.web.api.contract import Created, blueprint, once, tells
from runbooks_app.web.api.proposals import as_it_stands as proposal_as_it_stands
from runbooks_app.web.api.withholding import require_tellable
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages.cells import whole_response

MOST_OUTPUTS = 8_000_000
"""Bytes of outputs, as JSON, that come with a run: those of its first cells. Of the others stands where they are."""


@blueprint.get("/runs")
@guard(Permission.READ)
@tells(answers.Runs, query=asked.RunsQuery)
def list_runs(wanted: asked.RunsQuery) -> answers.Runs:
    """Runs, newest first."""
    with reading(service().engine) as tx:
        found = run_rows.recent(
            tx, runbook=wanted.runbook, incident_id=wanted.incident, before=wanted.before, limit=wanted.limit + 1
        )
        line = waiting.line(tx, service())
    shown = found[: wanted.limit]
    return answers.Runs(
        runs=[answers.Run.of(run, line) for run in shown], next=shown[-1].id if len(found) > wanted.limit else None
    )


@blueprint.post("/runs")
@guard(Permission.RUN)
@tells(
    answers.Run,
    body=asked.NewRun,
    status=HTTPStatus.CREATED,
    problems=(InvalidInput, BrokenRunbook, NotFound, Refused, Conflict),
)
def ask_for_run(wanted: asked.NewRun) -> Created:
    """Ask for a run; answered once it is kept."""
    run = once(
        lambda key: running.request_run(
            service(),
            g.person,
            signed_in(),
            wanted.runbook,
            wanted.parameters,
            incident_id=wanted.incident,
            rerun_of=wanted.rerun_of,
            delivery=key,
        ),
        run_as_it_stands,
    )
    # Its place is told by whoever asks next: what is kept is acknowledged without another look that could fail.
    return Created(answers.Run.of(run, {}), f"/api/v1/runs/{run.id}")


@blueprint.get("/runs/<run_id>")
@guard(Permission.READ)
@tells(answers.WholeRun, query=asked.RunQuery, problems=(NotFound,))
def get_run(wanted: asked.RunQuery, run_id: str) -> answers.WholeRun:
    """One run with cells, findings, proposals, and what was asked in it; `?outputs=true` for what cells printed.

    Of outputs it tells the first 8 MB; cells whose outputs have no room any more say where these are (`outputs_at`).
    """
    with reading(service().engine) as tx:
        found = run_rows.get(tx, run_id)
        latest: dict[tuple[str, str | None], Attempt] = {}
        for attempt in run_rows.attempts(tx, run_id):
            latest[attempt.stage, attempt.proposal_id] = attempt
        line = waiting.line(tx, service()) if found.state is RunState.QUEUED else {}
        ask = ask_rows.find(tx, run_id) if found.purpose == "ask" else None
        room = _Room() if wanted.outputs else None
        return answers.WholeRun(
            **run_fields(found, line),
            ask=answers.Ask.of(ask) if ask else None,
            attempts=[_attempt(tx, attempt, room) for attempt in latest.values()],
            findings=[answers.Finding.of(finding) for finding in run_rows.findings(tx, run_id)],
            proposals=[answers.Proposal.of(proposal) for proposal in proposal_rows.of_run(tx, run_id)],
        )


@blueprint.get("/runs/<run_id>/cells/<int:attempt_id>/<cell_id>")
@guard(Permission.READ)
@tells(answers.Cell, problems=(NotFound, Refused))
def get_cell(run_id: str, attempt_id: int, cell_id: str) -> answers.Cell:
    """One cell of one attempt, with all outputs that are kept of it."""
    require_tellable(run_id)
    with reading(service().engine) as tx:
        cell = run_rows.cell(tx, run_id, attempt_id, cell_id)
    return answers.Cell.of(run_id, cell, outputs_of(service(), cell))


@blueprint.get("/runs/<run_id>/cells/<int:attempt_id>/<cell_id>/whole")
@guard(Permission.READ)
@tells(media=("text/plain; charset=utf-8",), problems=(NotFound, Refused))
def get_whole_text(run_id: str, attempt_id: int, cell_id: str) -> Response:
    """All the text that a cell printed, where the run has only its beginning."""
    require_tellable(run_id)
    return whole_response(run_id, attempt_id, cell_id, download=True)


@blueprint.post("/runs/<run_id>/cancel")
@guard(Permission.READ)
@tells(answers.Run, body=asked.Nothing, problems=(NotFound, Refused))
def cancel_run(run_id: str) -> answers.Run:
    """Stop a run; the action knows who may: whoever asked for it, and who may cancel."""
    # What is stopped waits no longer, whatever its place was.
    run = once(
        lambda key: running.cancel_run(service(), g.person, signed_in(), run_id, delivery=key),
        lambda _: run_as_it_stands(run_id),
    )
    return answers.Run.of(run, {})


@blueprint.post("/runs/<run_id>/proposals")
@guard(Permission.PROPOSE)
@tells(
    answers.Proposal,
    body=asked.NewProposal,
    status=HTTPStatus.CREATED,
    problems=(InvalidInput, BrokenRunbook, NotFound, Conflict, Misconfigured),
)
def propose(wanted: asked.NewProposal, run_id: str) -> Created:
    """Propose a remediation cell by hand."""
    about = (service(), g.person, signed_in(), run_id, wanted.gate, wanted.inputs, wanted.reason)
    made = once(lambda key: deciding.propose_by_hand(*about, delivery=key), proposal_as_it_stands)
    return Created(answers.Proposal.of(made), f"/api/v1/proposals/{made.id}")


def run_as_it_stands(run_id: str) -> Run:
    """The run as it is stored now."""
    with reading(service().engine) as tx:
        return run_rows.get(tx, run_id)


class _Room:
    """What an answer has room for: outputs are read one cell after another, until they are too many."""

    def __init__(self) -> None:
        self._left = MOST_OUTPUTS

    def fill(self, tx: Transaction, run_id: str, cell: CellOutline) -> answers.Cell:
        if self._left < 0:
            return answers.Cell.of(run_id, cell, left_out=True)
        outputs = outputs_of(service(), run_rows.cell(tx, run_id, cell.attempt_id, cell.cell_id))
        self._left -= len(json.dumps(outputs))
        return answers.Cell.of(run_id, cell, outputs, left_out=self._left < 0)


def _attempt(tx: Transaction, attempt: Attempt, room: _Room | None) -> answers.Attempt:
    run_id = attempt.run_id
    return answers.Attempt(
        stage=attempt.stage,
        number=attempt.number,
        proposal=attempt.proposal_id,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        cells=[
            room.fill(tx, run_id, cell) if room else answers.Cell.of(run_id, cell)
            for cell, _ in run_rows.outlines(tx, attempt.id)
        ],
    )

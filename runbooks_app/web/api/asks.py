"""Asks: cells of one's own on a run or an incident, and what they showed. They are read with the run that answers."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from flask import g

from runbooks_app.actions import asking, waiting
from runbooks_app.actions.delivering import Keyed
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound, Refused
from runbooks_app.core.people import Permission
from runbooks_app.store import asks, incidents, runs
from runbooks_app.store.database import reading
from runbooks_app.store.records import Run
from runbooks_app.web.api import answers, asked
from runbooks_app.web.api.contract import Created, blueprint, once, tells
from runbooks_app.web.api.runs import run_as_it_stands
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in


@blueprint.post("/runs/<run_id>/asks")
@guard(Permission.ASK)
@tells(answers.Run, body=asked.NewAsk, status=HTTPStatus.CREATED, problems=(InvalidInput, NotFound, Refused, Conflict))
def ask_of_run(wanted: asked.NewAsk, run_id: str) -> Created:
    """Ask with the parameters and the setup of a run; answered once it is kept."""
    about = (service(), g.person, signed_in(), run_id, wanted.source, wanted.hypothesis)
    return _asked(lambda key: asking.ask_of_run(*about, rerun_of=wanted.rerun_of, delivery=key))


@blueprint.get("/incidents/<int:incident_id>/asks")
@guard(Permission.READ)
@tells(answers.Asks, query=asked.AsksQuery, problems=(NotFound,))
def list_asks(wanted: asked.AsksQuery, incident_id: int) -> answers.Asks:
    """What was asked in an incident and in what became part of it, newest first."""
    with reading(service().engine) as tx:
        incidents.get(tx, incident_id)
        found = asks.of_incident(tx, incident_id, wanted.limit + 1, wanted.before)
        line = waiting.line(tx, service())
    shown = found[: wanted.limit]
    return answers.Asks(
        asks=[answers.AskedRun.of_asked(one, line) for one in shown],
        next=shown[-1].run.id if len(found) > wanted.limit else None,
    )


@blueprint.post("/incidents/<int:incident_id>/asks")
@guard(Permission.ASK)
@tells(answers.Run, body=asked.NewAsk, status=HTTPStatus.CREATED, problems=(InvalidInput, NotFound, Refused, Conflict))
def ask_of_incident(wanted: asked.NewAsk, incident_id: int) -> Created:
    """Ask with nothing but the kit at hand; answered once it is kept."""
    about = (service(), g.person, signed_in(), incident_id, wanted.source, wanted.hypothesis)
    return _asked(lambda key: asking.ask_of_incident(*about, rerun_of=wanted.rerun_of, delivery=key))


@blueprint.post("/runs/<run_id>/conclusion")
@guard(Permission.ASK)
@tells(answers.AskedRun, body=asked.NewConclusion, problems=(InvalidInput, NotFound, Conflict))
def conclude(wanted: asked.NewConclusion, run_id: str) -> answers.AskedRun:
    """Write down what an ask showed, in the place of what stood there."""
    about = (service(), g.person, signed_in(), run_id, wanted.conclusion, wanted.was)
    once(lambda key: asking.conclude(*about, delivery=key), lambda _: None)
    with reading(service().engine) as tx:
        return answers.AskedRun.of_asked(asks.AskedRun(asks.get(tx, run_id), runs.get(tx, run_id)), {})


def _asked(act: Callable[[Keyed | None], Run]) -> Created:
    run = once(act, run_as_it_stands)
    return Created(answers.Run.of(run, {}), f"/api/v1/runs/{run.id}")

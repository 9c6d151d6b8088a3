"""`/runs/<id>/ask` and `/incidents/<id>/ask`: a question in cells of one's own, what it showed, a draft of several."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import asking
from runbooks_app.actions.running import usable_connections
from runbooks_app.core.errors import InvalidInput, Problem, RunbooksError
from runbooks_app.core.people import Permission
from runbooks_app.store import asks, incidents, runs
from runbooks_app.store.database import reading
from runbooks_app.store.records import Run
from runbooks_app.web.context import service
from runbooks_app.web.errors import beside_the_form, or_the_form
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages.run import page as run_page
from runbooks_app.web.pages.run_view import Tried

blueprint = Blueprint("ask", __name__)

MOST_SHOWN = 50
"""Asks of the same incident that are offered to be asked again."""

_FIELDS = ("source", "hypothesis")


@blueprint.get("/runs/<run_id>/ask")
@guard(Permission.ASK)
def of_run(run_id: str) -> str:
    """Show the form, for cells with the run's parameters and setup; `?again=` brings an earlier ask along."""
    return _of_run(run_id)


@blueprint.post("/runs/<run_id>/ask")
@guard(Permission.ASK)
def ask_of_run(run_id: str) -> Response:
    """Ask it and go to the run that answers."""
    source, hypothesis = _typed()
    return _asked(
        lambda: asking.ask_of_run(service(), g.person, signed_in(), run_id, source, hypothesis, rerun_of=_again()),
        lambda problems: _of_run(run_id, problems),
    )


@blueprint.get("/incidents/<int:incident_id>/ask")
@guard(Permission.ASK)
def of_incident(incident_id: int) -> str:
    """Show the form, for cells with the kit alone; `?again=` brings an earlier ask along."""
    return _page(incident_id, None)


@blueprint.post("/incidents/<int:incident_id>/ask")
@guard(Permission.ASK)
def ask_of_incident(incident_id: int) -> Response:
    """Ask it and go to the run that answers."""
    source, hypothesis = _typed()
    return _asked(
        lambda: asking.ask_of_incident(
            service(), g.person, signed_in(), incident_id, source, hypothesis, rerun_of=_again()
        ),
        lambda problems: _page(incident_id, None, problems),
    )


@blueprint.post("/runs/<run_id>/conclusion")
@guard(Permission.ASK)
def conclude(run_id: str) -> Response:
    """Write down what an ask showed."""
    text, was = request.form.get("conclusion", ""), request.form.get("was", "")

    def act() -> Response:
        asking.conclude(service(), g.person, signed_in(), run_id, text, was)
        return make_response(redirect(url_for("pages.run.show", run_id=run_id), HTTPStatus.SEE_OTHER))

    def form(error: RunbooksError) -> str:
        told = " ".join(f"It {problem.message} {problem.fix}" for problem in error.problems) or error.message
        return run_page(run_id, tried=Tried(text, told))

    return or_the_form(act, form)


@blueprint.post("/incidents/<int:incident_id>/asks/draft")
@guard(Permission.EXPORT)
def draft(incident_id: int) -> Response:
    """Answer with a runbook's draft as a file. That it left is entered in the trail, so this is no GET."""
    chosen, title = request.form.getlist("asks"), request.form.get("title", "")
    try:
        made = asking.draft(service(), g.person, signed_in(), incident_id, chosen, title)
    except InvalidInput as error:
        page = _page(incident_id, None, error.problems)
        return make_response(page, HTTPStatus.UNPROCESSABLE_ENTITY)
    response = Response(json.dumps(made.notebook, indent=1), content_type="application/x-ipynb+json")
    response.headers["Content-Disposition"] = f'attachment; filename="{made.stem}.ipynb"'
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def _typed() -> tuple[str, ...]:
    return tuple(request.form.get(name, "").replace("\r\n", "\n") for name in _FIELDS)


def _again() -> str | None:
    """The ask that is asked again, edited perhaps."""
    return request.values.get("again") or None


def _asked(act: Callable[[], Run], again: Callable[[tuple[Problem, ...]], str]) -> Response:
    return or_the_form(
        lambda: make_response(redirect(url_for("pages.run.show", run_id=act().id), HTTPStatus.SEE_OTHER)),
        lambda error: again(beside_the_form(error)),
    )


def _of_run(run_id: str, problems: tuple[Problem, ...] = ()) -> str:
    with reading(service().engine) as tx:
        run = runs.get(tx, run_id)
        base = asking.base_of(tx, run_id)
    return _page(run.incident_id, base, problems)


def _page(incident_id: int, base: Run | None, problems: tuple[Problem, ...] = ()) -> str:
    with reading(service().engine) as tx:
        incident = incidents.get(tx, incident_id)
        recent = asks.of_incident(tx, incident_id, MOST_SHOWN)
        before = asks.get(tx, again) if (again := _again()) else None
    source, hypothesis = _typed()
    if before and request.method == "GET":
        source, hypothesis = before.source, before.hypothesis
    fields = {problem.where: problem for problem in problems if problem.where in {*_FIELDS, "asks", "title"}}
    # A first look at the list shows one's own before those of others.
    recent.sort(key=lambda asked: g.person.subject not in asked.run.requesters)
    return render_template(
        "ask.html",
        incident=incident,
        base=base,
        source=source,
        hypothesis=hypothesis,
        recent=recent,
        chosen=request.form.getlist("asks"),
        title=request.form.get("title", ""),
        again=before.run_id if before else "",
        errors=fields,
        refused=bool(problems),
        problems=[problem for problem in problems if problem.where not in fields],
        connections=usable_connections(service(), g.person),
        off=service().settings.ask == "off",
        action=f"/runs/{base.id}/ask" if base else f"/incidents/{incident.id}/ask",
    )

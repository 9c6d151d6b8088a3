"""`/runbooks/<name>`: what a runbook does, how it went, and the form that starts it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import connections
from runbooks_app.actions.running import request_run, usable_connections
from runbooks_app.core import gates
from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.core.forms import fields
from runbooks_app.core.people import Permission
from runbooks_app.core.runbook import Runbook, Section, Stage
from runbooks_app.documents import markdown
from runbooks_app.store import incidents, runs
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.errors import beside_the_form, or_the_form
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import forms
from runbooks_app.web.pages.evidence import highlighted

blueprint = Blueprint("runbook", __name__)

NEW = "new"
"""What the form sends for an incident of its own; one where nothing is chosen joins that of the channel."""


@blueprint.get("/runbooks/<name>")
@guard(Permission.READ)
def show(name: str) -> Response:
    """Show the runbook; a link may bring values for its form along (`?database=orders-db`)."""
    broken = service().library.broken().get(name)
    if broken is not None:
        return make_response(render_template("broken.html", name=name, broken=broken))
    runbook = service().library.get(name)
    return make_response(_page(runbook, forms.asked(runbook.parameters, request.args), request.args))


@blueprint.post("/runbooks/<name>")
@guard(Permission.RUN)
def start(name: str) -> Response:
    """Start a run and go to it; what cannot be used stands beside its field, with all values kept."""
    runbook = service().library.get(name)
    given, chosen = forms.given(runbook.parameters, request.form), request.form.get("incident", "")

    def act() -> Response:
        about = (service(), g.person, signed_in(), name, given)
        run = request_run(*about, incident_id=_incident_id(chosen), joins=chosen != NEW)
        return make_response(redirect(url_for("pages.run.show", run_id=run.id), HTTPStatus.SEE_OTHER))

    return or_the_form(act, lambda error: _page(runbook, given, request.form, beside_the_form(error)))


def _page(
    runbook: Runbook, values: Mapping[str, Any], query: Mapping[str, str], problems: tuple[Problem, ...] = ()
) -> str:
    usable = usable_connections(service(), g.person)
    with reading(service().engine) as tx:
        recent = runs.recent(tx, runbook=runbook.name, limit=10)
        open_incidents = incidents.listed(tx)
        joined = incidents.open_in(tx, service().settings.slack_channel)
        known = connections.seen(tx, service().connections)
    named = {parameter.name for parameter in runbook.parameters}
    kinds = {p.type.connection for p in runbook.parameters if p.type.kind == "connection"}
    return render_template(
        "runbook.html",
        runbook=runbook,
        fields=fields(runbook.parameters, usable, values, problems),
        problems=[problem for problem in problems if problem.where not in named],
        refused=bool(problems),
        connections={
            connection_name: seen
            for connection_name, seen in known.items()
            if connection_name in runbook.connections or seen.connection.kind in kinds
        },
        recent=recent,
        incidents=open_incidents,
        incident=query.get("incident", "") or (str(joined[0].id) if joined else NEW),
        bands=bands(runbook),
        may_run=g.person.may(Permission.RUN),
    )


def bands(runbook: Runbook) -> list[dict[str, Any]]:
    """The cells in order, as the page shows them: text rendered, code highlighted, what a gate asks for."""
    sections = {section.cell.id: section for section in runbook.sections}
    return [
        {
            "id": cell.id,
            "stage": str(cell.stage),
            "text": markdown.render(cell.source, deeper=2) if cell.stage is Stage.TEXT else None,
            "lines": None if cell.stage is Stage.TEXT else highlighted(cell.source),
            "section": sections.get(cell.id),
            "title": _title(runbook, sections[cell.id]) if cell.id in sections else cell.id,
        }
        for cell in runbook.cells
    ]


def _title(runbook: Runbook, section: Section) -> str:
    """What an action is called before a run: what its inputs and the run's parameters will say stands open."""
    names = {parameter.name for parameter in runbook.parameters} | {given.name for given in section.inputs}
    return gates.render(section.gate.title, dict.fromkeys(names, "…"))


def _incident_id(given: str) -> int | None:
    if given in {"", NEW}:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 12:
        raise InvalidInput("This is no incident.", problems=(Problem("incident", "is no incident's number."),))
    return int(given)

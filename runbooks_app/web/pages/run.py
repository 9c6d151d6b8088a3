"""`/runs/<id>`: one run, live while it goes on; stopping it and repeating it."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions.running import cancel_run, request_run
from runbooks_app.core.people import Permission
from runbooks_app.store import chat, incidents, runs
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import run_view
from runbooks_app.web.pages.evidence import Key, cell_view

blueprint = Blueprint("run", __name__)


@blueprint.get("/runs/<run_id>")
@guard(Permission.READ)
def show(run_id: str) -> str:
    """Show the run: findings first, worst first; `?cell=` opens a cell that is folded otherwise."""
    attempt, _, cell_id = request.args.get("cell", "").partition("-")
    wanted = (int(attempt), cell_id) if attempt.isascii() and attempt.isdigit() and len(attempt) < 19 else None
    if wanted and request.headers.get("HX-Request"):  # the cell alone: it takes the place of its line
        with reading(service().engine) as tx:
            return str(run_view.cell_part(cell_view(run_id, runs.cell(tx, run_id, *wanted))))
    return page(run_id, {wanted} if wanted else ())


def page(run_id: str, unfolded: Collection[Key] = (), tried: run_view.Tried | None = None) -> str:
    """The run's page, with these cells open; `tried` is what its form was sent and cannot take."""
    with reading(service().engine) as tx:
        view = run_view.read(tx, run_id, unfolded)
        untold = chat.troubles_of(tx, f"run:{run_id}")
    rendered = run_view.Rendered(view)
    parts = run_view.parts(rendered, g.person, g.session.csrf, tried)
    return render_template("run.html", view=view, parts=parts, segments=rendered.segments, untold=untold)


@blueprint.post("/runs/<run_id>/cancel")
@guard()
def cancel(run_id: str) -> Response:
    """Stop the run; who asked for it may, and who holds the permission."""
    cancel_run(service(), g.person, signed_in(), run_id)
    return make_response(redirect(url_for("pages.run.show", run_id=run_id), HTTPStatus.SEE_OTHER))


@blueprint.post("/runs/<run_id>/again")
@guard(Permission.RUN)
def again(run_id: str) -> Response:
    """Run the same runbook with the same parameters, as it stands in the library now."""
    with reading(service().engine) as tx:
        run = runs.get(tx, run_id)
        is_open = incidents.get(tx, run.incident_id).closed_at is None
    repeated = request_run(
        service(),
        g.person,
        signed_in(),
        run.runbook,
        run.parameters,
        channel=run.channel,
        incident_id=run.incident_id if is_open else None,
        rerun_of=run.id,
    )
    return make_response(redirect(url_for("pages.run.show", run_id=repeated.id), HTTPStatus.SEE_OTHER))

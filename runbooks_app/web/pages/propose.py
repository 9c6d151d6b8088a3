"""`/runs/<id>/propose/<gate>`: a remediation that the diagnosis does not propose, with inputs of one's own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions.deciding import propose_by_hand
from runbooks_app.actions.proposing import revision
from runbooks_app.core import gates
from runbooks_app.core.errors import InvalidInput, NotFound, Problem
from runbooks_app.core.forms import fields
from runbooks_app.core.people import Permission
from runbooks_app.core.runbook import Section
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.store.records import Run
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import forms
from runbooks_app.web.pages.evidence import highlighted

blueprint = Blueprint("propose", __name__)


@blueprint.get("/runs/<run_id>/propose/<gate>")
@guard(Permission.PROPOSE)
def show(run_id: str, gate: str) -> str:
    """Show the form."""
    run, section = _section(run_id, gate)
    return _page(run, section, forms.asked(section.inputs, request.args))


@blueprint.post("/runs/<run_id>/propose/<gate>")
@guard(Permission.PROPOSE)
def propose(run_id: str, gate: str) -> Response:
    """Make the proposal and go to it; what cannot be used stands beside its field."""
    run, section = _section(run_id, gate)
    given = forms.given(section.inputs, request.form)
    reason = request.form.get("reason", "").strip()
    if not reason or len(reason) > 2_000:
        said = Problem("reason", "is what approvers go by: write one, of at most 2,000 characters.")
        return make_response(_page(run, section, given, reason, (said,)), HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        made = propose_by_hand(service(), g.person, signed_in(), run_id, gate, given, reason)
    except InvalidInput as error:
        page = _page(run, section, given, reason, error.problems or (Problem("", error.message),))
        return make_response(page, HTTPStatus.UNPROCESSABLE_ENTITY)
    return make_response(redirect(url_for("pages.proposal.show", proposal_id=made.id), HTTPStatus.SEE_OTHER))


def _page(
    run: Run, section: Section, given: dict[str, Any], reason: str = "", problems: tuple[Problem, ...] = ()
) -> str:
    names = {item.name for item in section.inputs}
    # What the inputs will say stands open until they are given.
    title = gates.render(section.gate.title, dict.fromkeys(names, "…") | dict(run.parameters))
    kinds = {name: connection.kind for name, connection in service().connections.items()}
    return render_template(
        "propose.html",
        run=run,
        section=section,
        title=title,
        fields=fields(section.inputs, kinds, given, problems),
        reason=reason,
        reason_error=next((p.message for p in problems if p.where == "reason"), ""),
        problems=[p for p in problems if p.where not in names and p.where != "reason"],
        refused=bool(problems),
        lines_of=highlighted(section.cell.source),
    )


def _section(run_id: str, gate: str) -> tuple[Run, Section]:
    with reading(service().engine) as tx:
        run = runs.get(tx, run_id)
        section = revision(tx, service(), run.revision).section(gate)
    if section is None:
        raise NotFound(f"Runbook {run.runbook} has no gate {gate[:64]!r}.")
    return run, section

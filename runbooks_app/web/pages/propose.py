"""`/runs/<id>/propose/<gate>`: a remediation that the diagnosis does not propose, with inputs of one's own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions.deciding import propose_by_hand
from runbooks_app.actions.proposing import revision
from runbooks_app.core import gates
from runbooks_app.core.errors import NotFound, Problem
from runbooks_app.core.forms import fields
from runbooks_app.core.people import Permission
from runbooks_app.core.runbook import Runbook, Section
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.store.records import Run
from runbooks_app.web.context import service
from runbooks_app.web.errors import beside_the_form, or_the_form
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import forms
from runbooks_app.web.pages.evidence import highlighted

blueprint = Blueprint("propose", __name__)


@blueprint.get("/runs/<run_id>/propose/<gate>")
@guard(Permission.PROPOSE)
def show(run_id: str, gate: str) -> str:
    """Show the form."""
    run, runbook, section = _section(run_id, gate)
    return _page(run, runbook, section, forms.asked(section.inputs, request.args))


@blueprint.post("/runs/<run_id>/propose/<gate>")
@guard(Permission.PROPOSE)
def propose(run_id: str, gate: str) -> Response:
    """Make the proposal and go to it; what cannot be used stands beside its field."""
    run, runbook, section = _section(run_id, gate)
    given = forms.given(section.inputs, request.form)
    reason = request.form.get("reason", "")

    def act() -> Response:
        made = propose_by_hand(service(), g.person, signed_in(), run_id, gate, given, reason)
        return make_response(redirect(url_for("pages.proposal.show", proposal_id=made.id), HTTPStatus.SEE_OTHER))

    return or_the_form(act, lambda error: _page(run, runbook, section, given, reason, beside_the_form(error)))


def _page(
    run: Run,
    runbook: Runbook,
    section: Section,
    given: dict[str, Any],
    reason: str = "",
    problems: tuple[Problem, ...] = (),
) -> str:
    names = {item.name for item in section.inputs}
    # What the inputs will say stands open until they are given.
    title = gates.render(section.gate.title, dict.fromkeys(names, "…") | dict(run.parameters))
    # A remediation reaches what its run reaches.
    kinds = runbook.connections_used(run.parameters)
    return render_template(
        "propose.html",
        run=run,
        section=section,
        title=title,
        fields=fields(section.inputs, kinds, given, problems),
        reason=reason,
        reason_error=next((f"{p.message} {p.fix}" for p in problems if p.where == "reason"), ""),
        problems=[p for p in problems if p.where not in names and p.where != "reason"],
        refused=bool(problems),
        lines_of=highlighted(section.cell.source),
    )


def _section(run_id: str, gate: str) -> tuple[Run, Runbook, Section]:
    with reading(service().engine) as tx:
        run = runs.get(tx, run_id)
        runbook = revision(tx, service(), run.revision)
    section = runbook.section(gate)
    if section is None:
        raise NotFound(f"Runbook {run.runbook} has no gate {gate[:64]!r}.")
    return run, runbook, section

"""`/proposals/<id>`: the approval page. Looking changes nothing; the one form sends the digest of what was shown."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import break_glass, deciding
from runbooks_app.actions.proposing import revision
from runbooks_app.core.break_glass import SAID
from runbooks_app.core.deciding import Unsigned
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.people import Permission
from runbooks_app.core.runbook import Input, Runbook, Stage
from runbooks_app.documents import source
from runbooks_app.library import read_revision
from runbooks_app.store import proposals, revisions
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import Proposal, Run
from runbooks_app.web import stepup
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import proposal_view
from runbooks_app.web.pages.evidence import finding, highlighted

blueprint = Blueprint("proposal", __name__)


@blueprint.get("/proposals/<proposal_id>")
@guard(Permission.READ)
def show(proposal_id: str) -> str:
    """Show what would be done, to what, why, and who may say yes."""
    with reading(service().engine) as tx:
        view = proposal_view.read_state(tx, proposal_id, g.person)
        code = _code(tx, view.proposal, view.run)
        page_parts = proposal_view.parts(view, g.session.csrf)
    return render_template(
        "proposal.html",
        view=view,
        proposal=view.proposal,
        policy=view.proposal.asked.policy,
        parts=page_parts,
        code=code,
        connections=_connections(view.proposal),
        inputs=_inputs(view.proposal, code.get("inputs", {})),
        evidence=[
            (finding(f["severity"], f["summary"], f["evidence"]), f.get("cell_id", "")) for f in view.proposal.evidence
        ],
    )


@blueprint.post("/proposals/<proposal_id>/decision")
@guard(Permission.DECIDE)
def decide(proposal_id: str) -> Response:
    """Record this person's verdict on the proposal as the form showed it; where it wants a signature, get one first."""
    verdict, digest = request.form.get("verdict", ""), request.form.get("digest", "")
    reason = request.form.get("reason", "").strip()
    try:
        deciding.decide(service(), g.person, signed_in(), proposal_id, verdict, digest, reason)
    except Unsigned:
        return _sign(proposal_id, verdict, digest, reason)
    return _back(proposal_id)


@blueprint.post("/proposals/<proposal_id>/break-glass")
@guard(Permission.BREAK_GLASS)
def use_break_glass(proposal_id: str) -> Response:
    """Have the proposal start on this one person's word, once they have signed in afresh."""
    digest, reason = request.form.get("digest", ""), request.form.get("reason", "").strip()
    alone = request.form.get("how") == "without-provider"
    try:
        break_glass.use(service(), g.person, signed_in(), proposal_id, digest, reason, without_provider=alone)
    except Unsigned:
        return _sign(proposal_id, SAID, digest, reason)
    return _back(proposal_id)


def _sign(proposal_id: str, said: str, digest: str, reason: str) -> Response:
    """On to the provider, whose id_token will speak of what is said here by its nonce."""
    ref, nonce = deciding.begin_signed(service(), g.person, proposal_id, said, digest, reason)
    return stepup.begin("decision", ref, nonce, f"/proposals/{proposal_id}")


def _signed(ref: str, id_token: str, _claims: dict[str, Any]) -> Response:
    """Back from the provider: say what was about to be said, by the one function that every decision goes through."""
    said = deciding.take_signed(service(), g.person, ref)
    about = (service(), g.person, signed_in(), said.proposal_id)
    if said.verdict == SAID:
        break_glass.use(*about, said.digest, said.reason, id_token=id_token)
    else:
        deciding.decide(*about, said.verdict, said.digest, said.reason, id_token=id_token)
    return _back(said.proposal_id)


stepup.FINISHERS["decision"] = _signed


@blueprint.post("/proposals/<proposal_id>/sponsor")
@guard(Permission.SPONSOR)
def sponsor(proposal_id: str) -> Response:
    """Answer for a proposal that no human asked for."""
    deciding.sponsor(service(), g.person, signed_in(), proposal_id)
    return _back(proposal_id)


@blueprint.post("/proposals/<proposal_id>/withdraw")
@guard()
def withdraw(proposal_id: str) -> Response:
    """Take the proposal back."""
    deciding.withdraw(service(), g.person, signed_in(), proposal_id)
    return _back(proposal_id)


def _back(proposal_id: str) -> Response:
    return make_response(redirect(url_for("pages.proposal.show", proposal_id=proposal_id), HTTPStatus.SEE_OTHER))


def _connections(proposal: Proposal) -> list[dict[str, Any]]:
    """The systems that it will reach, with the role; what the connections file no longer names is told so."""
    return [
        {
            "name": held["connection"],
            "role": held["role"],
            "connection": service().connections.get(held["connection"]),
        }
        for held in proposal.connections
    ]


def _inputs(proposal: Proposal, declared: dict[str, Input]) -> list[tuple[str, Any, Input | None]]:
    """The frozen inputs in the order in which the cell declares them, those first that say what it is done to."""
    order = {name: place for place, name in enumerate(declared)}
    names = sorted(proposal.inputs, key=lambda name: (name not in proposal.identity, order.get(name, len(order)), name))
    return [(name, proposal.inputs[name], declared.get(name)) for name in names]


def _code(tx: Transaction, proposal: Proposal, run: Run) -> dict[str, Any]:
    """The cell as it will run, what runs before it, and how it differs from the last one that was approved and ran."""
    try:
        runbook = revision(tx, service(), run.revision)
    except RunbooksError as error:
        return {"trouble": error.message}
    section = runbook.section(proposal.gate)
    if section is None:
        return {"trouble": "The runbook as it ran has no such cell any more; nothing can be approved."}
    before = [cell for cell in runbook.cells if cell.stage in {Stage.PARAMETERS, Stage.SETUP}]
    earlier = _earlier(tx, proposal, run)
    old_section = earlier.section(proposal.gate) if earlier else None
    old_before = {cell.id: cell.source for cell in earlier.cells} if earlier else {}
    return {
        "lines": highlighted(section.cell.source),
        "inputs": {item.name: item for item in section.inputs},
        "verified": len(section.verification),
        "compared": old_section is not None,
        "difference": source.unified(old_section.cell.source, section.cell.source) if old_section else (),
        "before": [
            {
                "id": cell.id,
                "lines": highlighted(cell.source),
                "difference": source.unified(old_before.get(cell.id, ""), cell.source) if earlier else (),
            }
            for cell in before
        ],
    }


def _earlier(tx: Transaction, proposal: Proposal, run: Run) -> Runbook | None:
    """The runbook as it was when this action was last approved and applied; None where it never was."""
    last = proposals.last_applied(tx, run.runbook, proposal.gate, proposal.id)
    if last is None:
        return None
    try:
        name, notebook = revisions.get(tx, last[0])
        return read_revision(name, notebook, last[0])
    except RunbooksError:
        return None

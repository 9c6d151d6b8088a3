"""`/proposals/<id>`: the approval page. Looking changes nothing; the one form sends the digest of what was shown."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import break_glass, deciding
from runbooks_app.core.break_glass import SAID
from runbooks_app.core.deciding import Unsigned
from runbooks_app.core.people import Permission
from runbooks_app.store.database import reading
from runbooks_app.web import stepup
from runbooks_app.web.context import service
from runbooks_app.web.errors import beside_the_form, or_the_form
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import proposal_view
from runbooks_app.web.pages.proposal_view import Tried
from runbooks_app.web.pages.proposal_whole import read_whole

blueprint = Blueprint("proposal", __name__)


@blueprint.get("/proposals/<proposal_id>")
@guard(Permission.READ)
def show(proposal_id: str) -> str:
    """Show what would be done, to what, why, and who may say yes."""
    return _page(proposal_id)


def _page(proposal_id: str, tried: Tried | None = None) -> str:
    with reading(service().engine) as tx:
        view = proposal_view.read_state(tx, proposal_id, g.person)
        whole = read_whole(tx, view.proposal, view.run)
        page_parts = proposal_view.parts(view, g.session.csrf, tried)
    return render_template(
        "proposal.html", view=view, proposal=view.proposal, parts=page_parts, whole=whole, tried=tried
    )


@blueprint.post("/proposals/<proposal_id>/decision")
@guard(Permission.DECIDE)
def decide(proposal_id: str) -> Response:
    """Record this person's verdict on the proposal as the form showed it; where it wants a signature, get one first."""
    verdict, digest = request.form.get("verdict", ""), request.form.get("digest", "")
    reason = request.form.get("reason", "").strip()

    def act() -> Response:
        try:
            deciding.decide(service(), g.person, signed_in(), proposal_id, verdict, digest, reason)
        except Unsigned:
            return _sign(proposal_id, verdict, digest, reason)
        return _back(proposal_id)

    return _said("decision", proposal_id, reason, act)


@blueprint.post("/proposals/<proposal_id>/break-glass")
@guard(Permission.BREAK_GLASS)
def use_break_glass(proposal_id: str) -> Response:
    """Have the proposal start on this one person's word, once they have signed in afresh."""
    digest, reason = request.form.get("digest", ""), request.form.get("reason", "").strip()
    alone = request.form.get("how") == "without-provider"

    def act() -> Response:
        try:
            break_glass.use(service(), g.person, signed_in(), proposal_id, digest, reason, without_provider=alone)
        except Unsigned:
            return _sign(proposal_id, SAID, digest, reason)
        return _back(proposal_id)

    return _said(SAID, proposal_id, reason, act)


def _said(form: str, proposal_id: str, reason: str, act: Callable[[], Response]) -> Response:
    """Act; where it is not taken, the page as it stands by now, with the reason that came along."""
    return or_the_form(act, lambda error: _page(proposal_id, Tried(form, reason, beside_the_form(error))))


def _sign(proposal_id: str, said: str, digest: str, reason: str) -> Response:
    """On to the provider, whose id_token will speak of what is said here by its nonce."""
    ref, nonce = deciding.begin_signed(service(), g.person, {proposal_id: digest}, said, reason)
    return stepup.begin("decision", ref, nonce, f"/proposals/{proposal_id}")


def _signed(ref: str, id_token: str, claims: dict[str, Any]) -> Response:
    """Back from the provider: say what was about to be said, by the one function that every decision goes through."""
    (said,) = deciding.take_signed(service(), g.person, ref, claims["nonce"])
    about = (service(), g.person, signed_in(), said.proposal_id)
    form = SAID if said.verdict == SAID else "decision"

    def act() -> Response:
        if form == SAID:
            break_glass.use(*about, said.digest, said.reason, id_token=id_token)
        else:
            deciding.decide(*about, said.verdict, said.digest, said.reason, id_token=id_token)
        return _back(said.proposal_id)

    return _said(form, said.proposal_id, said.reason, act)


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

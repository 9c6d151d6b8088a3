"""`/incidents/<id>/decide`: several proposals of an incident, each shown whole, decided with one sign-in.

Whoever decides ticks each that their answer is for; the form sends the digest of each as it was shown. The page is also
where they land afterwards: what was decided stands under the others by then, with what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import deciding, deciding_several
from runbooks_app.core.deciding import Unsigned, why_not
from runbooks_app.core.digests import MOST_TOGETHER
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.people import Permission
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store import incidents, proposals, runs
from runbooks_app.store.database import reading
from runbooks_app.web import stepup
from runbooks_app.web.context import service
from runbooks_app.web.errors import or_the_form
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import proposal_view
from runbooks_app.web.pages.now_view import waits_for
from runbooks_app.web.pages.proposal_whole import read_whole

blueprint = Blueprint("deciding_several", __name__)


@blueprint.get("/incidents/<int:incident_id>/decide")
@guard(Permission.READ)
def show(incident_id: int) -> str:
    """Show each proposal of the incident that waits for this person, whole; those that expire first at the top."""
    return _shown(incident_id)


def _shown(incident_id: int, reason: str = "", chosen: Collection[str] = (), error: RunbooksError | None = None) -> str:
    """The page, with what was typed and ticked, and what is wrong with it, if anything is.

    A tick is for what was shown: what reads otherwise by now has to be ticked anew.
    """
    with reading(service().engine) as tx:
        incident = incidents.get(tx, incident_id)
        found = proposals.of_incident(tx, incident_id)
        mine = sorted(
            (one for one in found if one.state is ProposalState.PROPOSED and waits_for(one, g.person, tx.now)),
            key=lambda one: (one.expires_at, one.id),
        )
        shown = [
            (
                proposal_view.read_state(tx, proposal.id, g.person),
                read_whole(tx, proposal, runs.get(tx, proposal.run_id)),
            )
            for proposal in mine[:MOST_TOGETHER]
        ]
        others = [
            (one, why_not(one.asked, g.person, tx.now) if one.state is ProposalState.PROPOSED else "")
            for one in found
            if one not in mine
        ]
    return render_template(
        "deciding_several.html",
        incident=incident,
        shown=shown,
        later=len(mine) - len(shown),
        others=others,
        signs=any(view.proposal.asked.wants_signatures for view, _ in shown),
        reason=reason,
        chosen=chosen,
        error=error,
    )


@blueprint.post("/incidents/<int:incident_id>/decide")
@guard(Permission.DECIDE)
def decide(incident_id: int) -> Response:
    """Give one answer to the chosen ones; where one of them wants a signature, get one that speaks of them all."""
    verdict, reason = request.form.get("verdict", ""), request.form.get("reason", "").strip()
    shown = dict(value.partition(":")[::2] for value in request.form.getlist("chosen"))

    def act() -> Response:
        try:
            deciding_several.decide_several(service(), g.person, signed_in(), incident_id, verdict, shown, reason)
        except Unsigned:
            ref, nonce = deciding.begin_signed(service(), g.person, shown, verdict, reason)
            return stepup.begin("decisions", f"{incident_id}:{ref}", nonce, _page(incident_id))
        return make_response(redirect(_page(incident_id), HTTPStatus.SEE_OTHER))

    return _said(incident_id, reason, shown, act)


def _said(incident_id: int, reason: str, shown: Mapping[str, str], act: Callable[[], Response]) -> Response:
    """Act; where it is not taken, the page as it stands by now, with the reason and the ticks that came along."""
    chosen = [f"{proposal_id}:{digest}" for proposal_id, digest in shown.items()]
    return or_the_form(act, lambda error: _shown(incident_id, reason, chosen, error))


def _signed(told: str, id_token: str, claims: dict[str, Any]) -> Response:
    """Back from the provider: say what was about to be said, of each by the one function that decides."""
    number, _, ref = told.partition(":")
    incident_id = int(number)
    said = deciding.take_signed(service(), g.person, ref, claims["nonce"])

    def act() -> Response:
        deciding_several.decide_signed(service(), g.person, signed_in(), said, id_token)
        return make_response(redirect(_page(incident_id), HTTPStatus.SEE_OTHER))

    return _said(incident_id, said[0].reason, {one.proposal_id: one.digest for one in said}, act)


stepup.FINISHERS["decisions"] = _signed


def _page(incident_id: int) -> str:
    return url_for("pages.deciding_several.show", incident_id=incident_id)

"""`/break-glass`: what one person had start alone, and what somebody else said of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import break_glass
from runbooks_app.core.break_glass import LEAST_WORDS, why_not_review
from runbooks_app.core.errors import Problem
from runbooks_app.core.people import Permission, Person
from runbooks_app.store import break_glass as rows
from runbooks_app.store import proposals
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import BreakGlass, Proposal
from runbooks_app.web.context import service
from runbooks_app.web.errors import beside_the_form, or_the_form
from runbooks_app.web.guards import guard, signed_in

blueprint = Blueprint("break_glass", __name__)

EARLIER = 50
"""Reviewed ones that the page shows; the audit trail has all."""


@dataclass(frozen=True)
class Shown:
    """A break-glass with its proposal; `why_not` says why the reader may not review it."""

    glass: BreakGlass
    proposal: Proposal
    why_not: str


@blueprint.get("/break-glass")
@guard(Permission.READ)
def show() -> str:
    """Show the open ones first."""
    return _page()


def _page(tried: str = "", review: str = "", problems: tuple[Problem, ...] = ()) -> str:
    """`tried` is the proposal whose break-glass was sent this review, which was not taken."""
    with reading(service().engine) as tx:
        unreviewed = [_shown(tx, glass, g.person) for glass in rows.unreviewed(tx)]
        reviewed = [_shown(tx, glass, g.person) for glass in rows.reviewed(tx, EARLIER)]
    return render_template(
        "break_glass.html",
        unreviewed=unreviewed,
        reviewed=reviewed,
        least_words=LEAST_WORDS,
        tried=tried,
        review=review,
        problems=problems,
        still=any(shown.proposal.id == tried and not shown.why_not for shown in unreviewed),
    )


@blueprint.post("/break-glass/<proposal_id>/review")
@guard(Permission.REVIEW)
def review(proposal_id: str) -> Response:
    """Close it with a review."""
    text = request.form.get("review", "").strip()

    def act() -> Response:
        break_glass.review(service(), g.person, signed_in(), proposal_id, text)
        return make_response(redirect(url_for("pages.break_glass.show"), HTTPStatus.SEE_OTHER))

    return or_the_form(act, lambda error: _page(proposal_id, text, beside_the_form(error)))


def _shown(tx: Transaction, glass: BreakGlass, person: Person) -> Shown:
    proposal = proposals.get(tx, glass.proposal_id)
    return Shown(glass, proposal, why_not_review(proposal.asked, person, reviewed=glass.reviewed_at is not None))

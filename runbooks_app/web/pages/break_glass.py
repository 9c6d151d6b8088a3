"""`/break-glass`: what one person had start alone, and what somebody else said of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import break_glass
from runbooks_app.core.break_glass import LEAST_WORDS, why_not_review
from runbooks_app.core.people import Permission, Person
from runbooks_app.store import break_glass as rows
from runbooks_app.store import proposals
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import BreakGlass, Proposal
from runbooks_app.web.context import service
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
    with reading(service().engine) as tx:
        unreviewed = [_shown(tx, glass, g.person) for glass in rows.unreviewed(tx)]
        reviewed = [_shown(tx, glass, g.person) for glass in rows.reviewed(tx, EARLIER)]
    return render_template("break_glass.html", unreviewed=unreviewed, reviewed=reviewed, least_words=LEAST_WORDS)


@blueprint.post("/break-glass/<proposal_id>/review")
@guard(Permission.REVIEW)
def review(proposal_id: str) -> Response:
    """Close it with a review."""
    break_glass.review(service(), g.person, signed_in(), proposal_id, request.form.get("review", "").strip())
    return make_response(redirect(url_for("pages.break_glass.show"), HTTPStatus.SEE_OTHER))


def reviewable(tx: Transaction, person: Person) -> list[Shown]:
    """The open ones that this person may review."""
    if not person.may(Permission.REVIEW):
        return []
    found = [_shown(tx, glass, person) for glass in rows.unreviewed(tx)]
    return [shown for shown in found if not shown.why_not]


def _shown(tx: Transaction, glass: BreakGlass, person: Person) -> Shown:
    proposal = proposals.get(tx, glass.proposal_id)
    return Shown(glass, proposal, why_not_review(proposal.asked, person, reviewed=glass.reviewed_at is not None))

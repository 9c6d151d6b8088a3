"""`/`: what goes on now, what waits for me, and every runbook."""

from __future__ import annotations

from http import HTTPStatus

from flask import (
    Blueprint,
    Response,
    g,
    get_template_attribute,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
)

from runbooks_app.core.people import Permission
from runbooks_app.core.runbook import Runbook
from runbooks_app.store import incidents
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard
from runbooks_app.web.pages import now_view

blueprint = Blueprint("now", __name__)

MOST_DIGITS = 12
"""Digits of an incident's number in an address; whatever is longer is none."""


@blueprint.get("/")
@guard(Permission.READ)
def show() -> str | Response:
    """Show what waits for this person first. `?incident=7`: a runbook is looked for that is run for this one."""
    library, chosen = service().library, request.args.get("incident", "")
    chosen = chosen if chosen.isascii() and chosen.isdigit() and len(chosen) <= MOST_DIGITS else ""
    kept = f"?incident={chosen}" if chosen else ""
    words = request.args.get("q", "").strip()
    found = {n: runbook for n, runbook in sorted(library.runbooks().items()) if fits(runbook, words)}
    if request.headers.get("HX-Target") == "div#found":  # while one types in the search, the list alone is wanted
        return str(get_template_attribute("parts/library.html", "found")(found, words, kept))
    if request.args.get("open") == "only" and len(found) == 1:  # Enter in the search leads to the one that is found
        return make_response(redirect(f"/runbooks/{next(iter(found))}{kept}", HTTPStatus.SEE_OTHER))
    with reading(service().engine) as tx:
        view, mine = now_view.read(tx), now_view.mine_now(tx, g.person)
        incident = incidents.get(tx, int(chosen)) if chosen else None
    return render_template(
        "now.html",
        title=now_view.title(view, mine),
        parts=now_view.parts(now_view.Rendered(view), mine, g.person),
        runbooks=found,
        broken=dict(sorted(library.broken().items())),
        words=words,
        incident=incident,
        kept=kept,
    )


@blueprint.get("/waiting")
@guard(Permission.READ)
def waits() -> Response:
    """What waits for this person, for a page of theirs that tells them of what is new."""
    with reading(service().engine) as tx:
        mine = now_view.mine_now(tx, g.person)
    told = [
        {"id": one.id, "title": one.title, "risk": str(one.asked.policy.risk), "expires": one.expires_at.isoformat()}
        for one, _ in mine
    ]
    return jsonify(waiting=told)


def fits(runbook: Runbook, words: str) -> bool:
    """Whether each word stands somewhere in the runbook's name, title, description or owner."""
    text = f"{runbook.name} {runbook.title} {runbook.description} {runbook.owner}".lower()
    return all(word in text for word in words.lower().split())

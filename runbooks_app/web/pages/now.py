"""`/`: what goes on now, what waits for me, and every runbook."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from flask import Blueprint, Response, g, jsonify, render_template, request

from runbooks_app.actions import waiting
from runbooks_app.core.deciding import why_not
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.quotas import in_line
from runbooks_app.core.run import RunState
from runbooks_app.core.runbook import Runbook
from runbooks_app.store import chat, incidents, proposals, runs
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import Proposal
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard
from runbooks_app.web.pages.break_glass import reviewable

blueprint = Blueprint("now", __name__)

RECENT = 8

MOST_MINE = 50
"""Proposals that are shown to who may decide them; those that expire later follow when these are decided."""


@blueprint.get("/")
@guard(Permission.READ)
def show() -> str:
    """Show what waits for this person first."""
    library = service().library
    with reading(service().engine) as tx:
        undecided = proposals.waiting(tx)
        going = runs.going(tx)
        line = waiting.line(tx, service()) if any(run.state is RunState.QUEUED for run in going) else {}
        recent = [run for run in runs.recent(tx, limit=RECENT + len(going)) if run not in going][:RECENT]
        open_incidents = incidents.listed(tx)
        to_review = reviewable(tx, g.person)
        untold = chat.troubles(tx)
        waiting_now = mine_now(tx, g.person)
    mine = [proposal for proposal, _ in waiting_now]
    others = [proposal for proposal in undecided if proposal not in mine]
    together = {incident_id: count for incident_id, count in Counter(at for _, at in waiting_now).items() if count > 1}
    words = request.args.get("q", "").strip()
    found = {n: runbook for n, runbook in sorted(library.runbooks().items()) if fits(runbook, words)}
    return render_template(
        "now.html",
        mine=mine,
        together=together,
        to_review=to_review,
        untold=untold,
        others=others,
        going=going,
        in_line={run_id: in_line(place.place) for run_id, place in line.items() if not place.may_begin},
        recent=recent,
        incidents=open_incidents,
        runbooks=found,
        broken=dict(sorted(library.broken().items())),
        words=words,
    )


@blueprint.get("/waiting")
@guard(Permission.READ)
def waits() -> Response:
    """What waits for this person, for a page of theirs that tells them of what is new."""
    with reading(service().engine) as tx:
        mine = mine_now(tx, g.person)
    told = [
        {"id": one.id, "title": one.title, "risk": str(one.asked.policy.risk), "expires": one.expires_at.isoformat()}
        for one, _ in mine
    ]
    return jsonify(waiting=told)


def mine_now(tx: Transaction, person: Person) -> list[tuple[Proposal, int]]:
    """Proposals that wait for this person, with their incidents."""
    if not person.approver_groups:
        return []
    found = proposals.waiting_for(tx, person.subject, person.approver_groups, MOST_MINE)
    return [(proposal, incident_id) for proposal, incident_id in found if waits_for(proposal, person, tx.now)]


def waits_for(proposal: Proposal, person: Person, now: datetime) -> bool:
    """Whether it is this person's turn: they may decide and have not yet."""
    return not why_not(proposal.asked, person, now) and person.subject not in proposal.asked.approvers


def fits(runbook: Runbook, words: str) -> bool:
    """Whether each word stands somewhere in the runbook's name, title, description or owner."""
    text = f"{runbook.name} {runbook.title} {runbook.description} {runbook.owner}".lower()
    return all(word in text for word in words.lower().split())

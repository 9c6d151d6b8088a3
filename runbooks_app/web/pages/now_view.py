"""What the page Now shows, and its parts as HTML: the page and its live stream send the same parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import get_template_attribute
from markupsafe import Markup
from sqlalchemy import Row

from runbooks_app.actions import waiting
from runbooks_app.core.break_glass import why_not_review
from runbooks_app.core.deciding import why_not
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.quotas import in_line
from runbooks_app.core.run import RunState
from runbooks_app.store import audit, break_glass, chat, incidents, proposals, runs
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import BreakGlass, Incident, Proposal, Run
from runbooks_app.web import live
from runbooks_app.web.context import service
from runbooks_app.web.looks import Looks
from runbooks_app.web.pages.elements import Elements

RECENT = 8

MOST_MINE = 50
"""Proposals that are shown to who may decide them; those that expire later follow when these are decided."""

MOST_OTHERS = 20
"""Proposals that are shown to those who only see that they wait."""

COUNTED = 1_000
"""Proposals up to which these are counted."""

Mine = list[tuple[Proposal, int]]


@dataclass(frozen=True)
class Everybodys:
    """What goes on at `now`, whoever looks; `head` is the number of the audit entry up to which it tells.

    `undecided` are the proposals that expire first, `incident_of` their incidents, `waiting` how many wait in all.
    """

    now: datetime
    head: int
    going: list[Run]
    in_line: dict[str, str]
    recent: list[Run]
    incidents: list[Incident]
    undecided: list[Proposal]
    incident_of: dict[str, int]
    waiting: int
    unreviewed: list[tuple[BreakGlass, Proposal]]
    untold: list[Row[Any]]

    @property
    def counted(self) -> bool:
        """Whether `waiting` is all that wait, and not only as many as were counted."""
        return self.waiting < COUNTED


class Rendered(Elements):
    """The parts of one look, each made once for all who are shown the same."""

    def __init__(self, view: Everybodys) -> None:
        super().__init__("parts/now.html", view)
        self.view = view


def looks() -> Looks[Rendered]:
    """The looks at the page Now, for all who watch it."""
    return live.looks("now", _look, live.KEPT)


def _look(_: Rendered | None) -> Rendered:
    with reading(service().engine) as tx:
        return Rendered(read(tx))


def read(tx: Transaction) -> Everybodys:
    """How things stand."""
    head, _ = audit.head(tx)
    going = runs.going(tx)
    undecided = proposals.waiting(tx, limit=MOST_OTHERS + MOST_MINE)
    line = waiting.line(tx, service()) if any(run.state is RunState.QUEUED for run in going) else {}
    return Everybodys(
        now=tx.now,
        head=head,
        going=going,
        in_line={run_id: in_line(place.place) for run_id, place in line.items() if not place.may_begin},
        recent=[run for run in runs.recent(tx, limit=RECENT + len(going)) if run not in going][:RECENT],
        incidents=incidents.listed(tx),
        undecided=undecided,
        incident_of=proposals.incidents_of(tx, undecided),
        waiting=proposals.count_waiting(tx, COUNTED),
        unreviewed=[(glass, proposals.get(tx, glass.proposal_id)) for glass in break_glass.unreviewed(tx)],
        untold=chat.troubles(tx),
    )


def mine_now(tx: Transaction, person: Person) -> Mine:
    """Proposals that wait for this person, with their incidents."""
    if not person.approver_groups:
        return []
    found = proposals.waiting_for(tx, person.subject, person.approver_groups, MOST_MINE)
    return [(proposal, incident_id) for proposal, incident_id in found if waits_for(proposal, person, tx.now)]


def mine_among(view: Everybodys, person: Person) -> Mine | None:
    """Those that wait for this person in a look that has all that wait; None where more wait than it has."""
    if not person.approver_groups:
        return []
    if len(view.undecided) < view.waiting:
        return None
    mine = [proposal for proposal in view.undecided if waits_for(proposal, person, view.now)]
    return [(proposal, view.incident_of[proposal.id]) for proposal in mine[:MOST_MINE]]


def waits_for(proposal: Proposal, person: Person, now: datetime) -> bool:
    """Whether it is this person's turn: they may decide and have not yet."""
    return not why_not(proposal.asked, person, now) and person.subject not in proposal.asked.approvers


def title(view: Everybodys, mine: Mine) -> str:
    """What the browser's tab says."""
    if mine:
        return f"◇ {len(mine)} to decide — Runbooks"
    return f"● {len(view.going)} going — Runbooks" if view.going else "Runbooks"


def parts(rendered: Rendered, mine: Mine, person: Person) -> dict[str, Markup]:
    """The page's parts that change, by their ids; those that are the same for all are made once."""
    view = rendered.view
    own = {proposal.id for proposal, _ in mine}
    others = tuple(proposal.id for proposal in view.undecided if proposal.id not in own)[:MOST_OTHERS]
    further = view.waiting - len(own) - len(others)
    counts = Counter(incident_id for _, incident_id in mine)
    together = {incident_id: count for incident_id, count in counts.items() if count > 1}
    shown = title(view, mine), [proposal for proposal, _ in mine], together, person.may(Permission.DECIDE)
    review = [
        glass.proposal_id
        for glass, proposal in view.unreviewed
        if person.may(Permission.REVIEW) and not why_not_review(proposal.asked, person, reviewed=False)
    ]
    return {
        "now-mine": Markup(get_template_attribute("parts/now.html", "mine")(*shown)),  # noqa: S704 -- macros escape
        "now-review": rendered.element("to_review", tuple(review)),
        "now-untold": rendered.element("untold"),
        "now-going": rendered.element("going", others, max(further, 0)),
        "now-open": rendered.element("open"),
        "now-recent": rendered.element("recent"),
    }

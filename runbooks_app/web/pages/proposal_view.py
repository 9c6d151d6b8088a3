"""A proposal as the approval page shows it: where it stands, what happened, who may decide and if not, why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import get_template_attribute
from markupsafe import Markup

from runbooks_app.core import break_glass
from runbooks_app.core.break_glass import SAID, Mode
from runbooks_app.core.deciding import closed_reason, why_not, why_not_withdraw
from runbooks_app.core.errors import Problem
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.proposal import OPEN, ProposalState, Verification
from runbooks_app.core.runbook import Stage
from runbooks_app.store import break_glass as break_glass_rows
from runbooks_app.store import people, proposals, runs, wakings
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Attempt, BreakGlass, Proposal, Run
from runbooks_app.store.wakings import Waking
from runbooks_app.web.context import service
from runbooks_app.web.pages.evidence import CellView, cell_views
from runbooks_app.web.pages.words import Shown, proposal_state


@dataclass(frozen=True)
class ProposalView:
    """Where a proposal stands, for one person, read in one snapshot at `now`."""

    proposal: Proposal
    run: Run
    now: datetime
    names: dict[str, str]
    rechecks: list[Run]
    remediation: Attempt | None
    cells: list[CellView]
    verification_cells: list[CellView]
    successor: Proposal | None
    why_not: str
    closed: str
    approved_already: bool
    may_sponsor: bool
    may_withdraw: bool
    diagnose_only: bool
    may_break_glass: bool
    without_provider: bool
    glass: BreakGlass | None
    woken: list[Waking]
    least_words: int = break_glass.LEAST_WORDS

    @property
    def at_rest(self) -> bool:
        """Whether nothing can change any more."""
        state = self.proposal.state
        return (
            state not in OPEN
            and state is not ProposalState.EXECUTING
            and (self.proposal.verification is not Verification.PENDING)
        )

    @property
    def missing(self) -> int:
        """How many approvals are missing still."""
        return max(self.proposal.asked.policy.approvals - len(self.proposal.asked.approvers), 0)

    @property
    def shown(self) -> Shown:
        """Its state as people see it: over is over, also while no worker has entered yet that its time is up."""
        state = self.proposal.state
        over = bool(self.closed) and state in OPEN
        return proposal_state(ProposalState.EXPIRED if over else state, self.proposal.verification)

    @property
    def executed(self) -> bool:
        """Whether its cell has begun."""
        return any(view.cell.stage == Stage.REMEDIATION and view.cell.started_at for view in self.cells)

    @property
    def page_title(self) -> str:
        """What the browser's tab says."""
        return f"{self.shown.symbol} {self.shown.word} — {self.proposal.title}"

    def name(self, subject: str) -> str:
        """Name of a person; the subject where nobody by it has signed in here."""
        return self.names.get(subject, subject)

    @property
    def asked_by(self) -> str:
        """Who stands behind it, by name."""
        names = ", ".join(self.name(subject) for subject in self.proposal.requesters)
        if self.proposal.by_program:
            return f"a program by itself, from what {names or 'nobody'} answered for"
        return names or "nobody: it came by itself"


@dataclass(frozen=True)
class Tried:
    """A reason that one of the two forms was sent with, `decision` or `break-glass`, and why it was not taken."""

    form: str
    reason: str
    problems: tuple[Problem, ...]

    @property
    def error(self) -> str:
        """What is wrong with the reason itself."""
        return " ".join(f"{told.message} {told.fix}".strip() for told in self.problems if told.where == "reason")

    @property
    def others(self) -> list[Problem]:
        """What else is wrong."""
        return [told for told in self.problems if told.where != "reason"]

    def fits(self, view: ProposalView) -> bool:
        """Whether the form is there still."""
        return view.may_break_glass if self.form == SAID else not (view.closed or view.why_not)


def read_state(tx: Transaction, proposal_id: str, person: Person) -> ProposalView:
    """The proposal as it stands; `NotFound` if there is none."""
    proposal = proposals.get(tx, proposal_id)
    asked = proposal.asked
    run = runs.get(tx, proposal.run_id)
    attempts = [attempt for attempt in runs.attempts(tx, run.id) if attempt.proposal_id == proposal_id]
    last = {attempt.stage: attempt for attempt in attempts}
    successors = [other for other in proposals.of_run(tx, run.id) if other.predecessor == proposal_id]
    found = {subject: people.get(tx, subject) for subject in asked.behind}
    diagnose_only = service().settings.remediation == "off"
    mode = Mode(service().settings.break_glass)
    return ProposalView(
        proposal=proposal,
        run=run,
        now=tx.now,
        names={str(run.requested_by["subject"]): str(run.requested_by["name"])}
        | {subject: somebody.name for subject, somebody in found.items() if somebody},
        rechecks=runs.rechecks(tx, proposal_id),
        remediation=last.get("remediate"),
        cells=_cells(tx, last.get("remediate")),
        verification_cells=_cells(tx, last.get("verify")),
        successor=successors[-1] if successors else None,
        why_not=why_not(asked, person, tx.now),
        closed=closed_reason(asked, tx.now),
        approved_already=person.subject in asked.approvers,
        may_sponsor=asked.needs_sponsor and proposal.state in OPEN and person.may(Permission.SPONSOR),
        may_withdraw=proposal.state in OPEN and not why_not_withdraw(asked, person),
        diagnose_only=diagnose_only,
        may_break_glass=not diagnose_only and not break_glass.why_not(asked, person, mode, tx.now),
        without_provider=mode is Mode.SESSION,
        glass=break_glass_rows.find(tx, proposal_id),
        woken=wakings.of_proposal(tx, proposal_id),
    )


def parts(view: ProposalView, csrf: str, tried: Tried | None = None) -> dict[str, Markup]:
    """The page's parts that change, by their ids; `tried` is what a form was sent and not taken."""
    return {
        "proposal-state": _macro("standing", view),
        "proposal-decide": _macro("decide", view, csrf, tried),
    }


def _macro(name: str, *values: Any) -> Markup:
    return Markup(get_template_attribute("parts/decide.html", name)(*values))  # noqa: S704 -- macros escape


def _cells(tx: Transaction, attempt: Attempt | None) -> list[CellView]:
    """What the attempt's own cells did; preparations only where they went wrong."""
    if attempt is None:
        return []
    return [view for view in cell_views(tx, attempt) if not view.prepares or not view.went_well]

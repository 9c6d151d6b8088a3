"""A run as its page shows it, and its parts as HTML: the page and the live stream send the same parts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import get_template_attribute
from markupsafe import Markup

from runbooks_app.actions import waiting
from runbooks_app.actions.proposing import revision
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.quotas import Place, in_line, said
from runbooks_app.core.run import ENDED, CellState
from runbooks_app.core.runbook import Runbook, Stage
from runbooks_app.documents import markdown
from runbooks_app.store import incidents, proposals, runs
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Attempt, Incident, Proposal, Run
from runbooks_app.web.context import service
from runbooks_app.web.pages import words
from runbooks_app.web.pages.evidence import CellView, Told, cell_views, told

_MOVING = {ProposalState.PROPOSED, ProposalState.APPROVED, ProposalState.EXECUTING}
_NOT_YET = {CellState.WAITING, CellState.RUNNING}
_STAGES = {"diagnose": "Diagnosis", "remediate": "Remediation", "verify": "Verification"}


@dataclass(frozen=True)
class Segment:
    """The cells of one attempt; `proposal` is the one that a remediation or verification is of."""

    attempt: Attempt
    cells: list[CellView]
    proposal: Proposal | None = None

    @property
    def title(self) -> str:
        """What the attempt was for."""
        name = _STAGES[self.attempt.stage]
        return f"{name}: {self.proposal.title}" if self.proposal else name


@dataclass(frozen=True)
class RunView:
    """Everything that a run's page shows, read in one snapshot at `now`."""

    run: Run
    title: str
    incident: Incident
    segments: list[Segment]
    earlier: list[Attempt]
    findings: list[Told]
    proposals: list[Proposal]
    gates: list[tuple[str, str]]
    now: datetime
    place: Place | None = None

    @property
    def going(self) -> bool:
        """Whether the diagnosis has not ended."""
        return self.run.state not in ENDED

    @property
    def at_rest(self) -> bool:
        """Whether nothing can change any more by itself or by a decision."""
        return not self.going and not any(
            p.state in _MOVING or p.verification is Verification.PENDING for p in self.proposals
        )

    @property
    def cells(self) -> list[CellView]:
        """Cells of the diagnosis."""
        return self.segments[0].cells if self.segments and self.segments[0].attempt.stage == "diagnose" else []

    @property
    def diagnostic(self) -> list[CellView]:
        """Those of them that diagnose, and do not only prepare."""
        return [view for view in self.cells if view.cell.stage == Stage.DIAGNOSTIC]

    @property
    def done(self) -> int:
        """How many of these have ended."""
        return sum(view.cell.state not in _NOT_YET for view in self.diagnostic)

    @property
    def began(self) -> datetime | None:
        """When its latest attempt began."""
        return self.segments[0].attempt.started_at if self.segments else None

    @property
    def page_title(self) -> str:
        """What the browser's tab says."""
        name = self.run.runbook
        if self.place is not None and not self.place.may_begin:
            return f"○ {in_line(self.place.place)} — {name}"
        if self.going:
            return f"● {self.done} of {len(self.diagnostic)} — {name}" if self.diagnostic else f"○ queued — {name}"
        for proposal in reversed(self.proposals):
            if proposal.state in _MOVING or proposal.verification is not None:
                shown = words.proposal_state(proposal.state, proposal.verification)
                return f"{shown.symbol} {shown.word} — {name}"
        shown = words.run_state(self.run.state, self.run.in_part)
        return f"{shown.symbol} {shown.word} — {name}"


def waits(view: RunView, person: Person) -> str:
    """Where a queued run stands and what for, to this person; empty where it does not wait, or is the very next."""
    if view.place is None or (view.place.may_begin and view.place.place == 1):
        return ""
    by = view.run.requested_by
    return said(view.place, "your" if by["subject"] == person.subject else f"{by['name']}'s", view.run.runbook)


def read(tx: Transaction, run_id: str) -> RunView:
    """The run as it stands; `NotFound` if there is none."""
    run = runs.get(tx, run_id)
    own_proposals = proposals.of_run(tx, run_id) if run.purpose == "diagnosis" else []
    runbook = _runbook(tx, run)
    shown, earlier = _latest(runs.attempts(tx, run_id))
    by_id = {proposal.id: proposal for proposal in own_proposals}
    segments = [
        Segment(
            attempt,
            cell_views(attempt, runs.cells(tx, attempt.id), _texts(runbook) if attempt.stage == "diagnose" else None),
            by_id.get(attempt.proposal_id or ""),
        )
        for attempt in shown
    ]
    return RunView(
        run=run,
        title=runbook.title if runbook else run.runbook,
        incident=incidents.get(tx, run.incident_id),
        segments=segments,
        earlier=earlier,
        findings=told(runs.findings(tx, run_id)),
        proposals=own_proposals,
        gates=[(section.gate.name, section.gate.title) for section in runbook.sections] if runbook else [],
        now=tx.now,
        place=waiting.place(tx, service(), run),
    )


def _runbook(tx: Transaction, run: Run) -> Runbook | None:
    """The runbook as it ran; None where this version of the service can no longer read it: its outputs still stand."""
    try:
        return revision(tx, service(), run.revision)
    except RunbooksError:
        return None


def _latest(attempts: list[Attempt]) -> tuple[list[Attempt], list[Attempt]]:
    """The last attempt at each stage of each proposal, the diagnosis first; and the attempts before them."""
    last = {(attempt.stage, attempt.proposal_id): attempt for attempt in attempts}
    shown = sorted(last.values(), key=lambda attempt: (attempt.stage != "diagnose", attempt.id))
    return shown, [attempt for attempt in attempts if attempt not in shown]


def _texts(runbook: Runbook | None) -> dict[str, tuple[Markup, ...]]:
    """The text cells that stand right before each code cell of the diagnosis."""
    found: dict[str, tuple[Markup, ...]] = {}
    waiting: list[Markup] = []
    for cell in runbook.cells if runbook else ():
        if cell.stage is Stage.REMEDIATION:
            break
        if cell.stage is Stage.TEXT:
            waiting.append(markdown.render(cell.source, deeper=2))
        else:
            found[cell.id], waiting = tuple(waiting), []
    return found


@dataclass(frozen=True)
class Slice:
    """One cell in the time bar: `start` and `width` in thousandths of its length."""

    key: str
    label: str
    tone: str
    start: float
    width: float


def bar(view: RunView) -> tuple[list[Slice], float]:
    """The cells of the diagnosis along time, and how many seconds the bar stands for."""
    ran = [c for c in view.cells if c.cell.started_at is not None and c.cell.state is not CellState.NEVER_RAN]
    if not ran:
        return [], 0.0
    starts = [c.cell.started_at for c in ran if c.cell.started_at]
    ends = [c.cell.ended_at or max(view.now, c.cell.started_at or view.now) for c in ran]
    first = min(starts)
    whole = max((max(ends) - first).total_seconds(), 0.001)
    slices = []
    for cell, start, end in zip(ran, starts, ends, strict=True):
        shown = words.cell_state(cell.cell.state)
        width = max((end - start).total_seconds() / whole * 1000, 3.0)
        at = min((start - first).total_seconds() / whole * 1000, 1000 - width)
        label = f"{cell.cell.cell_id}: {shown.word}, {words.told(cell.took) or 'so far'}"
        slices.append(Slice(cell.key, label, "" if shown.tone == "good" else shown.tone, round(at, 1), round(width, 1)))
    return slices, whole


def parts(view: RunView, person: Person, csrf: str) -> dict[str, Markup]:
    """The page's parts above its cells, by their ids: each one element, whose place a later one can take."""
    macro = _macro
    found = {
        "run-head": macro("head")(
            view,
            csrf,
            may_cancel=view.going and (person.may(Permission.CANCEL) or person.subject in view.run.requesters),
            may_run=person.may(Permission.RUN),
            waits=waits(view, person),
        ),
        "run-findings": macro("findings")(view),
        "run-proposals": macro("proposals")(view, may_propose=person.may(Permission.PROPOSE)),
        "run-bar": macro("bar")(*bar(view)),
    }
    return {name: Markup(html) for name, html in found.items()}  # noqa: S704 -- macros escape


def segments_part(view: RunView) -> Markup:
    """All cells of all segments, as the element `run-segments`."""
    return Markup(_macro("segments")(view))  # noqa: S704 -- macros escape


def cell_part(view: CellView) -> Markup:
    """One cell, as it stands within `run-segments`."""
    return Markup(_macro("cell")(view))  # noqa: S704 -- macros escape


def shape(view: RunView) -> tuple[int, ...]:
    """Which attempts are shown: while these are the same, single cells can take the place of their earlier selves."""
    return tuple(segment.attempt.id for segment in view.segments)


def _macro(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- Flask has no type for macros
    return get_template_attribute("parts/run.html", name)

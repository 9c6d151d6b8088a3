"""A run as its page shows it, and its parts as HTML: the page and the live stream send the same parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType

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
from runbooks_app.store import asks, incidents, proposals, runs
from runbooks_app.store.asks import Ask
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Attempt, Incident, Proposal, Run
from runbooks_app.web.context import service
from runbooks_app.web.pages import words
from runbooks_app.web.pages.elements import TOKEN, Elements
from runbooks_app.web.pages.evidence import CellView, Key, Told, cell_views, told

_MOVING = {ProposalState.PROPOSED, ProposalState.APPROVED, ProposalState.EXECUTING}
_NOT_YET = {CellState.WAITING, CellState.RUNNING}
_TONES = ("", "good", "idle", "warn", "going", "bad")
"""Tones of states, the one that a slice of several cells shows last."""

MOST_SLICES = 100
"""Slices of the time bar: of more cells than that some share one."""

_STAGES = {"diagnose": "Diagnosis", "remediate": "Remediation", "verify": "Verification"}


@dataclass(frozen=True)
class Segment:
    """The cells of one attempt; `proposal` is the one that a remediation or verification is of; `asked`: of an ask."""

    attempt: Attempt
    cells: list[CellView]
    proposal: Proposal | None = None
    asked: bool = False

    @property
    def title(self) -> str:
        """What the attempt was for."""
        name = "What was asked" if self.asked else _STAGES[self.attempt.stage]
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
    ask: Ask | None = None
    askable: bool = False

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
    def state(self) -> words.Shown:
        """The run's state as people see it."""
        return words.run_state(self.run.state, self.run.in_part, asked=self.ask is not None)

    @property
    def page_title(self) -> str:
        """What the browser's tab says."""
        name = self.title if self.ask else self.run.runbook
        if self.place is not None and not self.place.may_begin:
            return f"○ {in_line(self.place.place)} — {name}"
        if self.going:
            return f"● {self.done} of {len(self.diagnostic)} — {name}" if self.diagnostic else f"○ queued — {name}"
        for proposal in reversed(self.proposals):
            if proposal.state in _MOVING or proposal.verification is not None:
                shown = words.proposal_state(proposal.state, proposal.verification)
                return f"{shown.symbol} {shown.word} — {name}"
        shown = self.state
        return f"{shown.symbol} {shown.word} — {name}"


def waits(view: RunView, person: Person) -> str:
    """Where a queued run stands and what for, to this person; empty where it does not wait, or is the very next."""
    if view.place is None or (view.place.may_begin and view.place.place == 1):
        return ""
    by = view.run.requested_by
    return said(view.place, "your" if by["subject"] == person.subject else f"{by['name']}'s", view.run.runbook)


def read(
    tx: Transaction,
    run_id: str,
    unfolded: Collection[Key] = (),
    before: Mapping[Key, CellView] = MappingProxyType({}),
) -> RunView:
    """The run as it stands; which cells are at length, `cell_views` says. `NotFound` if there is none."""
    run = runs.get(tx, run_id)
    incident = incidents.get(tx, run.incident_id)
    own_proposals = proposals.of_run(tx, run_id) if run.purpose == "diagnosis" else []
    runbook = _runbook(tx, run)
    shown, earlier = _latest(runs.attempts(tx, run_id))
    by_id = {proposal.id: proposal for proposal in own_proposals}
    segments = [
        Segment(
            attempt,
            cell_views(tx, attempt, _texts(runbook) if attempt.stage == "diagnose" else {}, unfolded, before),
            by_id.get(attempt.proposal_id or ""),
            run.purpose == "ask",
        )
        for attempt in shown
    ]
    return RunView(
        run=run,
        title=runbook.title if runbook else run.runbook,
        incident=incident,
        segments=segments,
        earlier=earlier,
        findings=told(runs.findings(tx, run_id)),
        proposals=own_proposals,
        gates=[(section.gate.name, section.gate.title) for section in runbook.sections] if runbook else [],
        now=tx.now,
        place=waiting.place(tx, service(), run),
        ask=asks.find(tx, run_id) if run.purpose == "ask" else None,
        askable=service().settings.ask == "on" and incident.closed_at is None,
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
            waiting.append(_prose(cell.source))
        else:
            found[cell.id], waiting = tuple(waiting), []
    return found


@lru_cache(maxsize=2048)
def _prose(source: str) -> Markup:
    """A text cell as HTML; the same ones are shown again and again."""
    return markdown.render(source, deeper=2)


@dataclass(frozen=True)
class Slice:
    """A cell in the time bar, or some that follow each other: `start` and `width` in thousandths of its length.

    `key` is the one that it leads to.
    """

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
    spans = [_span(cell, view.now) for cell in ran]
    first = min(start for start, _ in spans)
    whole = max((max(end for _, end in spans) - first).total_seconds(), 0.001)
    step = -(-len(ran) // MOST_SLICES)
    slices = []
    for at in range(0, len(ran), step):
        cells, times = ran[at : at + step], spans[at : at + step]
        start, end = min(start for start, _ in times), max(end for _, end in times)
        worst = max(cells, key=lambda cell: _TONES.index(words.cell_state(cell.cell.state).tone))
        tone = words.cell_state(worst.cell.state).tone
        width = max((end - start).total_seconds() / whole * 1000, 3.0)
        place = min((start - first).total_seconds() / whole * 1000, 1000 - width)
        tone = "" if tone == "good" else tone
        slices.append(Slice(worst.key, _label(cells), tone, round(place, 1), round(width, 1)))
    return slices, whole


def _span(view: CellView, now: datetime) -> tuple[datetime, datetime]:
    """When a cell that has begun did so, and its end, or how far it is."""
    began = view.cell.started_at or now
    return began, view.cell.ended_at or max(now, began)


def _label(cells: list[CellView]) -> str:
    """What a slice of the bar says."""
    if len(cells) == 1:
        shown = words.cell_state(cells[0].cell.state)
        return f"{cells[0].cell.cell_id}: {shown.word}, {words.told(cells[0].took) or 'so far'}"
    counted = Counter(words.cell_state(view.cell.state).word for view in cells)
    states = ", ".join(f"{count} {word}" for word, count in counted.most_common())
    return f"{cells[0].cell.cell_id} to {cells[-1].cell.cell_id}: {states}"


class Rendered(Elements):
    """The elements of one look at a run, each made once for all who are shown it."""

    def __init__(self, view: RunView) -> None:
        super().__init__("parts/run.html", view)
        self.view = view
        self.cells = {(c.cell.attempt_id, c.cell.cell_id): c for segment in view.segments for c in segment.cells}

    @property
    def segments(self) -> Markup:
        """All cells of all segments, as the element `run-segments`."""
        return self.element("segments")

    def cell(self, key: Key) -> Markup:
        """One cell, as it stands within `run-segments`."""
        return self.once(("one cell", key), lambda: cell_part(self.cells[key]))

    def begun(self, key: Key) -> Markup:
        """A cell that waited when it was read, and has printed since: it runs."""

        def running() -> Markup:
            shown = self.cells[key]
            cell = replace(shown.cell, state=CellState.RUNNING, started_at=datetime.now(UTC))
            return cell_part(replace(shown, cell=cell, folded=False))

        return self.once(("one that begins", key), running)


@dataclass(frozen=True)
class Tried:
    """A conclusion that could not be written down, and why."""

    text: str
    error: str


def parts(rendered: Rendered, person: Person, csrf: str, tried: Tried | None = None) -> dict[str, Markup]:
    """The page's parts above its cells, by their ids: each one element, whose place a later one can take."""
    view = rendered.view
    may_cancel = view.going and (person.may(Permission.CANCEL) or person.subject in view.run.requesters)
    may_ask = person.may(Permission.ASK)
    head = rendered.element("head", TOKEN, may_cancel, person.may(Permission.RUN), waits(view, person), may_ask)
    beside = rendered.element("proposals", person.may(Permission.PROPOSE), TOKEN, may_ask, tried)
    return {
        "run-head": head.replace(TOKEN, csrf),
        "run-findings": rendered.element("findings"),
        "run-proposals": beside.replace(TOKEN, csrf),
        "run-bar": rendered.element("bar"),
    }


def cell_part(view: CellView) -> Markup:
    """One cell, as it stands within `run-segments`."""
    return Markup(get_template_attribute("parts/run.html", "cell")(view))  # noqa: S704 -- macros escape


def shape(view: RunView) -> tuple[int, ...]:
    """Which attempts are shown: while these are the same, single cells can take the place of their earlier selves."""
    return tuple(segment.attempt.id for segment in view.segments)

"""An incident's story as values.

The incident page and the postmortem are made from the same `IncidentStory`, so they tell the same facts.
Nothing here reads a database: `runbooks_app.store` fills these values in, `runbooks_app.documents` renders
them.

Every value that is a claim ("approved by", "verified") names the audit entry that proves it (`AuditRef`).
`None` there means that no entry is known, and is told as such, never left out. All times are aware datetimes.
Texts are as people and kernels wrote them: untrusted, to be escaped by whoever renders them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState

if TYPE_CHECKING:
    from runbooks_app.core.policy import Policy
    from runbooks_app.core.runbook import Stage
    from runbooks_app.core.writing import ProseStory


@dataclass(frozen=True)
class AuditRef:
    """The audit entry that proves a claim: its sequence number and its hash (64 hex digits)."""

    seq: int
    hash: str


class Happened(StrEnum):
    """What a line of the timeline is about."""

    OPENED = "opened"
    ALERT = "alert"
    ATTACHED = "attached"
    RUN = "run"
    FINDING = "finding"
    PROPOSAL = "proposal"
    DECISION = "decision"
    REMEDIATION = "remediation"
    VERIFICATION = "verification"
    NOTE = "note"
    CLOSED = "closed"


@dataclass(frozen=True)
class Told:
    """One line of the timeline.

    `by` is the name of who did it, `human` whether that is a person (and not their agent, an alert, a timer or a
    worker), as its entry says. The ids say what the line is about, for links on pages; an empty one means none. `link`
    leads out of the service: to a pinned message, to where an alert came from.
    """

    at: datetime
    kind: Happened
    text: str
    by: str = ""
    human: bool = False
    run_id: str = ""
    finding_id: str = ""
    proposal_id: str = ""
    note_id: str = ""
    link: str = ""
    entry: AuditRef | None = None


@dataclass(frozen=True)
class CellStory:
    """One execution of one cell; `outputs` are nbformat outputs, redacted before they were stored.

    `stage` is the cell's own, from its tags: a verification cell is a diagnostic one. A text cell has its
    Markdown as `source` and nothing else. `reason` says why a cell did not end well.
    """

    id: str
    stage: Stage
    source: str
    outputs: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    execution_count: int | None = None
    state: CellState = CellState.OK
    reason: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class FindingStory:
    """A finding of a diagnostic or verification cell.

    `evidence` is the JSON value of the bundle (docs: kind table, text or json), or None.
    """

    severity: str
    summary: str
    cell_id: str = ""
    at: datetime | None = None
    evidence: Any = field(default=None, hash=False)
    entry: AuditRef | None = None
    id: str = ""


@dataclass(frozen=True)
class DecisionStory:
    """What one person decided: `decision` is `approve` or `deny`; `signed_in` tells how, in words.

    `counted` is false for a decision that came too late and is kept without effect. `signed`: with the provider's
    word for just this; `break_glass`: it counted alone.
    """

    by: str
    decision: str
    at: datetime
    reason: str = ""
    signed_in: str = ""
    counted: bool = True
    signed: bool = False
    break_glass: bool = False
    entry: AuditRef | None = None


@dataclass(frozen=True)
class ReviewStory:
    """What somebody said afterwards of a break-glass."""

    by: str
    text: str
    at: datetime
    entry: AuditRef | None = None


@dataclass(frozen=True)
class CredentialStory:
    """A credential that was minted: `identity` is its name, such as a login role, and no secret."""

    connection: str
    identity: str
    entry: AuditRef | None = None


@dataclass(frozen=True)
class RemediationStory:
    """The one execution of an approved proposal.

    `outcome` is the proposal's state after it (executing while it goes on); `credentials` are those that it was given.
    `started` and `entry` are the entries of the start and of the end.
    """

    outcome: ProposalState
    started_at: datetime
    ended_at: datetime | None = None
    credentials: tuple[CredentialStory, ...] = ()
    reason: str = ""
    cells: tuple[CellStory, ...] = ()
    started: AuditRef | None = None
    entry: AuditRef | None = None


@dataclass(frozen=True)
class VerificationStory:
    """What the verification cells said; `reason` why it could not be done, where that is so."""

    state: Verification
    ended_at: datetime | None = None
    reason: str = ""
    cells: tuple[CellStory, ...] = ()
    findings: tuple[FindingStory, ...] = ()
    entry: AuditRef | None = None


@dataclass(frozen=True)
class ProposalStory:
    """A proposal from its making to its end.

    `title` and `target` are filled in with the inputs; `connections` maps each connection to the role that
    the remediation uses. `closed_reason` and
    `closed_at` say why and when it expired, went stale or was withdrawn, `closed` proves it. `review` is of its
    break-glass, once there is one. `recheck` is the entry of the re-check before the execution, `predecessor` the
    proposal that this one succeeds.
    """

    id: str
    gate: str
    title: str
    state: ProposalState
    proposed_at: datetime
    digest: str
    inputs: dict[str, Any] = field(hash=False)
    policy: Policy
    cell: CellStory
    target: str = ""
    reason: str = ""
    by: str = ""
    by_hand: bool = False
    sponsor: str = ""
    connections: dict[str, str] = field(default_factory=dict, hash=False)
    expires_at: datetime | None = None
    approved_at: datetime | None = None
    decisions: tuple[DecisionStory, ...] = ()
    review: ReviewStory | None = None
    remediation: RemediationStory | None = None
    verification: VerificationStory | None = None
    closed_reason: str = ""
    closed_at: datetime | None = None
    predecessor: str = ""
    closed: AuditRef | None = None
    recheck: AuditRef | None = None
    entry: AuditRef | None = None


@dataclass(frozen=True)
class RunStory:
    """One run: `digest` is the runbook's; `cells` those of the diagnosis, in the notebook's order.

    `partial` is true where some cells failed and the others stand; `source` is where it came from (`slack`,
    `web`, an alert). `restricted`: what it showed stays on pages. `requested` and `entry` are the entries of the
    request and of the end.
    """

    id: str
    runbook: str
    title: str
    digest: str
    parameters: dict[str, Any] = field(hash=False)
    requested_by: str
    requested_at: datetime
    state: RunState
    partial: bool = False
    reason: str = ""
    source: str = ""
    restricted: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cells: tuple[CellStory, ...] = ()
    findings: tuple[FindingStory, ...] = ()
    proposals: tuple[ProposalStory, ...] = ()
    requested: AuditRef | None = None
    entry: AuditRef | None = None


@dataclass(frozen=True)
class AskStory:
    """What somebody asked in cells of their own: `run` answered it, `conclusion` says what it showed.

    The hypothesis stands in the run, as text above the cells. `concluded_by`, `concluded_at` and `entry`, which proves
    the conclusion, are empty while there is none. `withheld`: what was asked and found stays on pages, and is not here.
    """

    run: RunStory
    conclusion: str = ""
    concluded_by: str = ""
    concluded_at: datetime | None = None
    withheld: bool = False
    entry: AuditRef | None = None


@dataclass(frozen=True)
class NoteStory:
    """What somebody wrote down while the incident went on.

    Of a message that `by` pinned, `author` wrote it and `link` leads to it; otherwise both are empty. The entry is that
    of the text as it stands; `human` says whether a person wrote it first, and no agent of theirs. `writer` is the
    subject of whose it is to change, empty for what came from a chat.
    """

    at: datetime
    by: str
    text: str
    entry: AuditRef | None = None
    author: str = ""
    link: str = ""
    id: str = ""
    edited_at: datetime | None = None
    edited_by: str = ""
    human: bool = False
    writer: str = ""


@dataclass(frozen=True)
class AlertStory:
    """An alert: `by` is what sent it, `link` leads there. `why` says why nothing ran for it, where that is so."""

    at: datetime
    by: str
    text: str
    why: str = ""
    link: str = ""
    resolved_at: datetime | None = None
    entry: AuditRef | None = None
    resolved: AuditRef | None = None


@dataclass(frozen=True)
class ChannelStory:
    """A channel in which the incident is worked; `name` is empty where the chat has not told it.

    `id` is a name too where the settings name the channel so.
    """

    id: str
    name: str = ""

    @property
    def shown(self) -> str:
        """The channel as people read it."""
        if self.name:
            return f"#{self.name}"
        return self.id if self.has_id or self.id.startswith("#") else f"#{self.id}"

    @property
    def has_id(self) -> bool:
        """Whether the chat knows the channel by what is known of it, so that it can be opened."""
        return self.id.isascii() and self.id.isalnum() and self.id.isupper()


@dataclass(frozen=True)
class IncidentStory:
    """Everything that is told of an incident. `items` is the timeline, oldest first.

    `merged_into` is the number of the incident that it became part of, empty where it is one of its own.
    """

    id: str
    title: str
    opened_at: datetime
    opened_by: str
    closed_at: datetime | None = None
    closed_by: str = ""
    cause: str = ""
    merged_into: str = ""
    channels: tuple[ChannelStory, ...] = ()
    items: tuple[Told, ...] = ()
    runs: tuple[RunStory, ...] = ()
    asks: tuple[AskStory, ...] = ()
    notes: tuple[NoteStory, ...] = ()
    alerts: tuple[AlertStory, ...] = ()
    prose: tuple[ProseStory, ...] = ()
    opened: AuditRef | None = None
    cause_entry: AuditRef | None = None
    closed: AuditRef | None = None

    @property
    def proposals(self) -> tuple[ProposalStory, ...]:
        """The proposals of all runs, oldest first."""
        every = [proposal for run in self.runs for proposal in run.proposals]
        return tuple(sorted(every, key=lambda proposal: proposal.proposed_at))

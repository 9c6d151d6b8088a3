"""What a message tells, as plain values: no database rows, no Slack syntax.

Whoever sends a message fills one of these from what it has loaded; `messages` and `replies` turn it into
text and blocks. Every text in here is untrusted (it came from a notebook, a database or a person) and is
escaped there; every `url` is the service's own, or its catalogue's. Times are aware datetimes, durations seconds.

What a `restricted` connection showed stays on pages: where a view says `restricted`, its tables, charts and
error texts are left out and the page is named instead. Severities and one-sentence summaries are told, since
a diagnosis that nobody hears of helps nobody; authors of runbooks for such connections keep data out of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runbooks_app.core.policy import Risk

if TYPE_CHECKING:
    from datetime import datetime

    from runbooks_app.chat.alerts import AlertsTold
    from runbooks_app.core.proposal import ProposalState, Verification
    from runbooks_app.core.run import CellState, RunState


@dataclass(frozen=True)
class FindingTold:
    """One finding: `severity` is critical, warning or info (anything else is told as a warning)."""

    severity: str
    summary: str
    url: str = ""


@dataclass(frozen=True)
class TargetTold:
    """A connection that an action opens, and the role it gets there ("orders_operator")."""

    connection: str
    role: str = ""


@dataclass(frozen=True)
class DecisionTold:
    """One person's word on a proposal; `break_glass` where it counted alone."""

    name: str
    approved: bool
    at: datetime | None = None
    reason: str = ""
    break_glass: bool = False


@dataclass(frozen=True)
class BreakGlassTold:
    """That one person had a proposal start alone.

    `title` is the proposal's. `requester`: they asked for it too. `signed`: by a sign-in at the provider for just this.
    `reviewer` and `review` are empty while it is open.
    """

    name: str
    title: str
    reason: str
    at: datetime
    signed: bool
    approvals_given: int
    approvals_needed: int
    proposal_url: str = ""
    review_url: str = ""
    requester: bool = False
    reviewer: str = ""
    review: str = ""


@dataclass(frozen=True)
class ProposalTold:
    """A proposal and all that has become of it.

    `title` is the gate's title, filled in ("End session 4711 on orders-db"); `reason` the sentence that the
    diagnosis gave. `approvers` are the policy's clauses (`(("database",),)`). `proposed_by` is set where a
    person proposed by hand. `why` says why it cannot be decided any more (stale, withdrawn: by whom).
    `decides` is what buttons that decide it carry, where it may be decided in the chat.
    `outcome` is what is known to have happened, `advice` what to do next; `advice` overrides what the message
    would otherwise advise. `checks` are the verification's results, one sentence each. `since_alert` is the
    time from the alert (or the incident's start) to the verified end. `woken` names who was told directly.
    """

    proposal_id: str
    runbook: str
    title: str
    url: str
    state: ProposalState
    risk: Risk = Risk.HIGH
    reason: str = ""
    targets: tuple[TargetTold, ...] = ()
    approvals: int = 1
    approvers: tuple[tuple[str, ...], ...] = ()
    expires_at: datetime | None = None
    proposed_by: str = ""
    sponsor_needed: bool = False
    decisions: tuple[DecisionTold, ...] = ()
    why: str = ""
    outcome: str = ""
    advice: str = ""
    verification: Verification | None = None
    checks: tuple[str, ...] = ()
    seconds: float | None = None
    since_alert: float | None = None
    successor_url: str = ""
    woken: tuple[str, ...] = ()
    restricted: bool = False
    decides: str = ""


@dataclass(frozen=True)
class RunTold:
    """A run, as its one message in the channel tells it.

    `target` is what it looks at ("orders-db"); `part` says that some cells failed while others stand;
    `problems` are those failures, one sentence each, with what to do; `attempt` counts from 1. `waiting` says where in
    line it stands and why ("3rd in line; 5 of Ana's runs are going, …"); empty: it only wants a worker.
    `incident_title` and `incident_url` name the incident that it belongs to; `alerts` brought it, where no person did.
    `attaches` says that an alert brought it and that there is an incident of people that it may become part of.
    `restricted`: it reached what is, so its problems, which may quote that, stay on its page.
    """

    run_id: str
    runbook: str
    url: str
    state: RunState
    requested_by: str
    title: str = ""
    target: str = ""
    part: bool = False
    cells_done: int = 0
    cells_total: int = 0
    seconds: float = 0.0
    attempt: int = 1
    waiting: str = ""
    findings: tuple[FindingTold, ...] = ()
    problems: tuple[str, ...] = ()
    proposals: tuple[ProposalTold, ...] = ()
    cancelled_by: str = ""
    incident_title: str = ""
    incident_url: str = ""
    attaches: bool = False
    alerts: AlertsTold | None = None
    restricted: bool = False
    sandbox_off: bool = False
    remediation_off: bool = False


@dataclass(frozen=True)
class CellTold:
    """A cell that did not go well: `reason` as the kernel told it ("KeyError: 'p99'"), and its traceback."""

    cell_id: str
    state: CellState
    reason: str = ""
    trace: str = ""
    url: str = ""
    restricted: bool = False


@dataclass(frozen=True)
class EvidenceTold:
    """Evidence of a finding: a table (`columns`, `rows` of cell texts, `omitted` more rows) or a `text`."""

    finding: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    omitted: int = 0
    text: str = ""
    url: str = ""
    restricted: bool = False


@dataclass(frozen=True)
class ChartTold:
    """A chart for the thread: PNG bytes, what it shows in words, and the page where it stands."""

    png: bytes
    alt: str
    title: str = "Chart"
    url: str = ""
    restricted: bool = False


@dataclass(frozen=True)
class DetailsTold:
    """What goes into a run's thread once it has ended."""

    url: str
    cells: tuple[CellTold, ...] = ()
    evidence: tuple[EvidenceTold, ...] = ()
    charts: tuple[ChartTold, ...] = ()


@dataclass(frozen=True)
class RunbookTold:
    """One runbook in a list.

    `usage` shows its parameters ("database=… window=15m"); `fits`: it suits this channel's incident.
    """

    name: str
    title: str = ""
    usage: str = ""
    fits: bool = False


@dataclass(frozen=True)
class Message:
    """What is sent: the text of a notification, and the blocks of the message itself (Block Kit JSON).

    `url` is the page that tells it whole, for where the chat takes no more than the text.
    """

    text: str
    blocks: tuple[dict[str, object], ...] = ()
    url: str = ""


@dataclass(frozen=True)
class FileTold:
    """A file for the thread. `alt` says in words what an image shows; `comment`, mrkdwn, is said along with it."""

    name: str
    title: str
    data: bytes = field(repr=False)
    alt: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Told:
    """One part of a conversation: a message, or a file. `key` names it for ever.

    `top`: in the channel itself, not in the thread of the first part.
    """

    key: str
    message: Message | None
    file: FileTold | None = None
    top: bool = False

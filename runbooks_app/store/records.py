"""Rows as frozen values. Field names are the columns' names; json columns arrive as Python values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any, Self

from sqlalchemy import Result, Row

from runbooks_app.core.deciding import Asked, Decision, Verdict
from runbooks_app.core.policy import Policy
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState


class Record:
    """A value made from a row by the names of its columns; columns without a field are ignored."""

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """The record of this row."""
        names = _names(cls)  # type: ignore[arg-type]  # classes are hashable
        named = zip(row._fields, row, strict=True)
        return cls(**{name: value for name, value in named if name in names})

    @classmethod
    def every(cls, rows: Result[Any]) -> list[Self]:
        """The records of all these rows, in their order. Where each column stands is looked up once for all."""
        names = _names(cls)  # type: ignore[arg-type]  # classes are hashable
        wanted = [(name, at) for at, name in enumerate(rows.keys()) if name in names]
        return [cls(**{name: row[at] for name, at in wanted}) for row in rows.all()]


@cache
def _names(record: type[Record]) -> frozenset[str]:
    """Asked of each class once: a page reads a thousand rows."""
    return frozenset(f.name for f in fields(record) if f.init)  # type: ignore[arg-type]  # every subclass is a dataclass


@dataclass(frozen=True)
class Incident(Record):
    """An incident; `opened_by` is an actor as the audit trail keeps it.

    `channel` is where it was opened, empty for none; `merged_into` names the incident that it became part of.
    """

    id: int
    title: str
    channel: str
    opened_at: datetime
    opened_by: dict[str, Any]
    closed_at: datetime | None
    cause: str
    merged_into: int | None


@dataclass(frozen=True)
class IncidentChannel(Record):
    """A channel in which an incident is worked; `name` is empty where nobody has told it yet."""

    channel: str
    name: str
    attached_at: datetime
    attached_by: dict[str, Any]


@dataclass(frozen=True)
class Run(Record):
    """A run. `purpose` is `diagnosis`, `ask`, or `recheck` of the proposal `proposal_id`."""

    id: str
    incident_id: int
    runbook: str
    revision: str
    parameters: dict[str, Any]
    purpose: str
    proposal_id: str | None
    rerun_of: str | None
    requested_by: dict[str, Any]
    requesters: list[str]
    channel: str
    state: RunState
    in_part: bool
    reason: str
    problems: list[dict[str, str]]
    kept: dict[str, Any]
    requested_at: datetime
    cancel_requested_at: datetime | None
    ended_at: datetime | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", RunState(self.state))


@dataclass(frozen=True)
class Attempt(Record):
    """One try at the cells of one stage: `diagnose`, `remediate` or `verify`."""

    id: int
    run_id: str
    stage: str
    proposal_id: str | None
    number: int
    worker: str
    started_at: datetime
    lease_until: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class CellOutline(Record):
    """What became of one cell in one attempt, without what it printed.

    `updates` counts how often later cells have updated its displays. `whole` is set where it printed more text than its
    outputs hold: `artifact` (empty: could not be stored), `size` and how many bytes more are `lost`.
    """

    attempt_id: int
    cell_id: str
    position: int
    stage: str
    state: CellState
    reason: str
    started_at: datetime | None
    ended_at: datetime | None
    updates: int = 0
    whole: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", CellState(self.state))


@dataclass(frozen=True, kw_only=True)
class Cell(CellOutline):
    """What became of one cell in one attempt; `outputs` are nbformat outputs, redacted."""

    source: str
    outputs: list[dict[str, Any]]
    artifact: str
    execution_count: int | None


@dataclass(frozen=True)
class Finding(Record):
    """A finding as stored; `evidence` as kit sent it, checked."""

    id: int
    run_id: str
    attempt_id: int
    cell_id: str
    severity: str
    summary: str
    evidence: dict[str, Any] | None


@dataclass(frozen=True)
class DecisionRow(Record):
    """One person's verdict as stored.

    `id_token` is what the provider signed for it; empty where the session was enough. `batch` holds the digests of all
    proposals that it speaks of, None where it speaks of this one alone. `break_glass` counts in place of all approvals.
    """

    id: int
    proposal_id: str
    digest: str
    subject: str
    name: str
    verdict: str
    reason: str
    signed_in: dict[str, Any]
    at: datetime
    id_token: str = field(default="", repr=False)
    break_glass: bool = False
    batch: list[str] | None = None


@dataclass(frozen=True)
class BreakGlass(Record):
    """That somebody broke the glass; `signed`: at the provider, just for it. Open while `reviewed_at` is None."""

    proposal_id: str
    subject: str
    name: str
    reason: str
    signed: bool
    at: datetime
    reviewed_by: str | None
    reviewer: str
    review: str
    reviewed_at: datetime | None


@dataclass(frozen=True)
class Proposal(Record):
    """A proposal; `decisions` in order of time. `by_program`: no human asked for it (`core.deciding.Asked`)."""

    id: str
    run_id: str
    gate: str
    cell_id: str
    title: str
    target: str
    inputs: dict[str, Any]
    identity: list[str]
    connections: list[dict[str, str]]
    policy: dict[str, Any]
    reason: str
    evidence: list[dict[str, Any]]
    evidence_digest: str
    source_digest: str
    digest: str
    by_hand: bool
    requesters: list[str]
    sponsor: str
    predecessor: str | None
    state: ProposalState
    state_reason: str
    verification: Verification | None
    verification_reason: str
    checks: list[dict[str, Any]]
    proposed_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    ended_at: datetime | None
    by_program: bool = False
    decisions: tuple[DecisionRow, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", ProposalState(self.state))
        if self.verification is not None:
            object.__setattr__(self, "verification", Verification(self.verification))

    @property
    def asked(self) -> Asked:
        """The proposal as the decision rules see it."""
        return Asked(
            state=self.state,
            digest=self.digest,
            policy=Policy.from_json(self.policy),
            requesters=frozenset(self.requesters),
            sponsor=self.sponsor,
            expires_at=self.expires_at,
            state_reason=self.state_reason,
            by_program=self.by_program,
            ended_at=self.ended_at,
            decisions=tuple(
                Decision(d.subject, d.name, Verdict(d.verdict), d.at, d.break_glass) for d in self.decisions
            ),
        )


@dataclass(frozen=True)
class Note(Record):
    """A note on an incident.

    Of a pinned message `source` says where it stands in the chat, `author` who wrote it, `link` its address; `name` is
    who pinned it. Otherwise these are empty. `version` counts its texts from 1;
    `edited_by` is under whose name it was changed last: a person's agent has a name of its own. Empty for nobody's.
    """

    id: int
    incident_id: int
    subject: str
    name: str
    text: str
    at: datetime
    source: str
    author: str
    link: str
    edited_at: datetime | None
    edited_by: str
    version: int

    @property
    def said_by(self) -> str:
        """Under whose name the text stands that it has now."""
        return self.edited_by or self.name


@dataclass(frozen=True)
class AlertRow(Record):
    """An alert of an incident, as it came first; `run_id` is what ran for it, if anything.

    `why` says why nothing ran for it when it was told last, where that is so.
    """

    id: int
    source: str
    fingerprint: str
    group_key: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    link: str
    why: str
    run_id: str | None
    starts_at: datetime
    received_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True)
class Session(Record):
    """A signed-in person's session."""

    subject: str
    csrf: str
    signed_in: dict[str, Any]
    expires_at: datetime
    name: str
    email: str
    roles: list[str]

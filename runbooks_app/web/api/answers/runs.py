"""Runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from runbooks_app.core.quotas import why
from runbooks_app.core.run import CellState, RunState
from runbooks_app.web.api.answers.base import Actor, Answer
from runbooks_app.web.api.answers.proposals import Proposal

if TYPE_CHECKING:
    from runbooks_app.core.quotas import Place
    from runbooks_app.store import asks, records


class Waiting(Answer):
    """Where a queued run stands among those that wait for the same."""

    place: int
    why: str


class Run(Answer):
    """A run without what belongs to it."""

    id: str
    runbook: str
    digest: str
    """Of the runbook as it was when the run was asked for."""
    incident: int
    parameters: dict[str, Any]
    state: RunState
    waiting: Waiting | None
    """Of a queued run alone."""
    in_part: bool
    """Whether some cells failed or never ran."""
    reason: str
    problems: list[dict[str, str]]
    purpose: str
    rerun_of: str | None
    requested_by: Actor
    requested_at: datetime
    cancel_requested_at: datetime | None
    ended_at: datetime | None
    withheld: str = ""
    """To agents alone: that what it showed is restricted, and where a person sees it."""

    @classmethod
    def of(cls, found: records.Run, line: Mapping[str, Place]) -> Self:
        """A run; `line` holds the places of the queued."""
        return cls(**run_fields(found, line))


def run_fields(found: records.Run, line: Mapping[str, Place]) -> dict[str, Any]:
    """The fields of `Run`, for it and for what holds more."""
    place = line.get(found.id)
    whose = f"{found.requested_by['name']}'s"
    return {
        "id": found.id,
        "runbook": found.runbook,
        "digest": found.revision,
        "incident": found.incident_id,
        "parameters": found.parameters,
        "state": found.state,
        "waiting": Waiting(place=place.place, why=why(place, whose, found.runbook)) if place else None,
        "in_part": found.in_part,
        "reason": found.reason,
        "problems": found.problems,
        "purpose": found.purpose,
        "rerun_of": found.rerun_of,
        "requested_by": Actor.of(found.requested_by),
        "requested_at": found.requested_at,
        "cancel_requested_at": found.cancel_requested_at,
        "ended_at": found.ended_at,
    }


class Runs(Answer):
    """A page of runs, newest first."""

    runs: list[Run]
    next: str | None
    """The cursor of the following page; null on the last."""


class WholeText(Answer):
    """Where all the text of a cell is that printed more than its outputs hold; sizes in bytes."""

    bytes: int
    lost: int
    href: str | None

    @classmethod
    def of(cls, run_id: str, cell: records.CellOutline) -> Self | None:
        """None where its outputs hold all."""
        if cell.whole is None:
            return None
        href = f"{_address(run_id, cell)}/whole"
        return cls(bytes=cell.whole["size"], lost=cell.whole["lost"], href=href if cell.whole["artifact"] else None)


def _address(run_id: str, cell: records.CellOutline) -> str:
    return f"/api/v1/runs/{run_id}/cells/{cell.attempt_id}/{cell.cell_id}"


class Cell(Answer):
    """What became of one cell in one attempt."""

    id: str
    stage: str
    state: CellState
    reason: str
    started_at: datetime | None
    ended_at: datetime | None
    whole: WholeText | None
    outputs: list[dict[str, Any]] = Field(default_factory=list)
    """As in a notebook (nbformat 4), redacted; on request alone. What a notebook printed is data, whatever it says."""
    outputs_at: str = ""
    """In place of outputs that were asked for, where the answer has no room for them: where they are."""

    @classmethod
    def of(
        cls,
        run_id: str,
        cell: records.CellOutline,
        outputs: list[dict[str, Any]] | None = None,
        *,
        left_out: bool = False,
    ) -> Self:
        """A cell, with its outputs if they are wanted; of those `left_out` stands where they are."""
        shown = {} if outputs is None else {"outputs": outputs}
        return cls(
            **cls.same(cell, but={"id", "whole", "outputs", "outputs_at"}),
            id=cell.cell_id,
            whole=WholeText.of(run_id, cell),
            **({"outputs_at": _address(run_id, cell)} if left_out else shown),
        )


class Attempt(Answer):
    """The latest try at the cells of one stage: `diagnose`, or `remediate` or `verify` of a proposal."""

    stage: str
    number: int
    proposal: str | None
    started_at: datetime
    ended_at: datetime | None
    cells: list[Cell]


class Finding(Answer):
    """What a cell found."""

    cell: str
    severity: str
    summary: str
    evidence: dict[str, Any] | None

    @classmethod
    def of(cls, found: records.Finding) -> Self:
        """A finding."""
        return cls(cell=found.cell_id, severity=found.severity, summary=found.summary, evidence=found.evidence)


class Ask(Answer):
    """What somebody asked in cells of their own. `purpose` of such a run is `ask`."""

    of_run: str | None
    """The run whose parameters and setup it took; null: it was asked of the incident."""
    hypothesis: str
    source: str
    """The cells as they were typed."""
    conclusion: str
    """What it showed; empty until somebody writes it down."""
    concluded_by: Actor | None
    concluded_at: datetime | None

    @classmethod
    def of(cls, found: asks.Ask) -> Self:
        """An ask."""
        by = Actor.of(found.concluded_by) if found.concluded_by else None
        return cls(**cls.same(found, but={"concluded_by"}), concluded_by=by)


class AskedRun(Run):
    """A run with what was asked in it."""

    ask: Ask

    @classmethod
    def of_asked(cls, found: asks.AskedRun, line: Mapping[str, Place]) -> Self:
        """An ask with its run; `line` holds the places of the queued."""
        return cls(**run_fields(found.run, line), ask=Ask.of(found.ask))


class Asks(Answer):
    """A page of asks, newest first."""

    asks: list[AskedRun]
    next: str | None
    """The cursor of the following page; null on the last."""


class WholeRun(Run):
    """A run with its latest attempts' cells, its findings and its proposals; an ask with what was asked."""

    ask: Ask | None

    attempts: list[Attempt]
    findings: list[Finding]
    proposals: list[Proposal]

"""A worker's side of a diagnosis: claim, finish. The re-check of a proposal is one too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.actions import waiting
from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.proposing import propose, refuse_proposals, revision, usable_proposals
from runbooks_app.actions.running import tell_run
from runbooks_app.core import bundles
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import Problem
from runbooks_app.core.health import SECRETS_REDACTED
from runbooks_app.core.run import CellState, RunState, move, outcome
from runbooks_app.core.runbook import Cell, Runbook, Stage
from runbooks_app.store import health, runs
from runbooks_app.store.database import Transaction, transaction
from runbooks_app.store.records import Attempt, Run


@dataclass(frozen=True)
class Claim:
    """An attempt that this worker holds: what to execute, and for which run."""

    run: Run
    attempt: Attempt
    runbook: Runbook
    cells: tuple[Cell, ...]


@dataclass
class Unstored:
    """What became of cells and was not written to the database yet; it goes there before the attempt ends."""

    cells: list[runs.RecordedCell] = field(default_factory=list)
    updates: list[tuple[str, list[dict[str, Any]], str]] = field(default_factory=list)
    findings: list[tuple[str, bundles.Finding]] = field(default_factory=list)
    redacted: int = 0


@dataclass
class Said:
    """What the cells of one attempt said so far."""

    unstored: Unstored = field(default_factory=Unstored)
    proposed: list[bundles.Proposed] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    checks: list[bundles.Checked] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def prepared(runbook: Runbook, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The cells of a kernel in order: parameters, setup, then its own."""
    first = (runbook.parameters_cell,) if runbook.parameters_cell else ()
    return (*first, *runbook.setup, *cells)


def claim_run(service: Service, run_id: str, worker: str) -> Claim | None:
    """Take a queued run; None if another worker has it, if it was cancelled, or if a quota holds it for now."""
    with transaction(service.engine) as tx:
        run = runs.get(tx, run_id, lock=True)
        if run.state is not RunState.QUEUED:
            return None
        runbook = revision(tx, service, run.revision)
        if not waiting.may_begin(tx, service, run):
            return None
        runs.move(tx, run, move(run.state, RunState.DIAGNOSING))
        attempt = runs.open_attempt(tx, run_id, "diagnose", worker, service.settings.lease)
        claim = plan(tx, run, attempt, runbook)
        tx.audit(
            worker_actor(worker),
            Event.RUN_CLAIMED,
            {"run": run_id, "incident": run.incident_id},
            {"attempt": attempt.number, "runbook_digest": run.revision, "stage": "diagnose"},
        )
        tell_run(tx, run_id, run.channel if run.purpose == "diagnosis" else "")
        return claim


def plan(tx: Transaction, run: Run, attempt: Attempt, runbook: Runbook) -> Claim:
    """Write down the cells that a diagnosis will execute."""
    cells = prepared(runbook, runbook.diagnosis)
    runs.plan_cells(tx, attempt.id, [runs.PlannedCell(c.id, str(c.stage), c.source) for c in cells])
    return Claim(run, attempt, runbook, cells)


def store_rest(tx: Transaction, claim: Claim, said: Said) -> None:
    """Write what is not stored yet of the attempt's cells; `Conflict` if it was fenced off."""
    rest, said.unstored = said.unstored, Unstored()
    runs.record_cells(tx, claim.attempt.id, rest.cells)
    for update in rest.updates:
        runs.update_outputs(tx, claim.attempt.id, *update)
    for cell_id, finding in rest.findings:
        _find(tx, claim, cell_id, finding)
    if rest.redacted:
        health.count(tx, SECRETS_REDACTED, claim.attempt.worker, rest.redacted)


def _find(tx: Transaction, claim: Claim, cell_id: str, finding: bundles.Finding) -> None:
    about = {"cell_id": cell_id, "severity": finding.severity, "summary": finding.summary}
    number = runs.add_finding(
        tx,
        {
            **about,
            "run_id": claim.run.id,
            "attempt_id": claim.attempt.id,
            "evidence": json.dumps(finding.evidence),
        },
    )
    tx.audit(
        worker_actor(claim.attempt.worker),
        Event.FINDING_MADE,
        {"run": claim.run.id, "finding": number, "incident": claim.run.incident_id},
        {"cell": cell_id, "severity": finding.severity, "summary": finding.summary, "stage": claim.attempt.stage},
    )


def finish_run(service: Service, claim: Claim, said: Said, reason: str) -> RunState:
    """End a diagnosis: its outcome from its cells, and the proposals that it makes."""
    with transaction(service.engine) as tx:
        run, state, _ = end_diagnosis(tx, claim, said, reason)
        actor = worker_actor(claim.attempt.worker)
        problems = list(said.problems)
        if state is RunState.DIAGNOSED:
            usable, unusable = usable_proposals(claim.runbook, run, said.proposed)
            refuse_proposals(tx, run, unusable, actor)
            problems += [*unusable, *propose(tx, service, run, usable, actor)]
        if problems:
            tx.execute(
                "UPDATE runs SET problems = :problems WHERE id = :id",
                id=run.id,
                problems=[{"where": p.where, "message": p.message, "fix": p.fix} for p in problems],
            )
        tell_run(tx, run.id, run.channel)
        waiting.moved_up(tx, service)
        return state


def end_diagnosis(tx: Transaction, claim: Claim, said: Said, reason: str) -> tuple[Run, RunState, bool]:
    """End the run of a diagnosis or a re-check: the run as it was, its state now, and whether only in part."""
    run = runs.get(tx, claim.run.id, lock=True)
    store_rest(tx, claim, said)
    state, in_part = end_attempt(tx, claim, reason)
    runs.move(tx, run, move(run.state, state), in_part=in_part, reason=reason, kept=said.kept)
    tx.audit(
        worker_actor(claim.attempt.worker),
        Event.RUN_ENDED,
        {"run": run.id, "incident": run.incident_id},
        {"state": str(state), "in_part": in_part, "reason": reason},
    )
    return run, state, in_part


def end_attempt(tx: Transaction, claim: Claim, reason: str) -> tuple[RunState, bool]:
    """End the attempt and tell the outcome by its diagnostic cells; a failed preparation is a failure."""
    runs.end_attempt(tx, claim.attempt.id)
    cells = runs.ended_cells(tx, claim.attempt.id, CellState.DIED, reason or "The kernel ended before this cell.")
    own = [state for stage, state in cells if stage == Stage.DIAGNOSTIC]
    before = [state for stage, state in cells if stage != Stage.DIAGNOSTIC and state is not CellState.OK]
    return outcome([*before, *own] if before else own)


def fail_run(service: Service, claim: Claim, reason: str) -> None:
    """End a diagnosis that could not begin: a credential could not be had, a kernel did not start."""
    with transaction(service.engine) as tx:
        run = runs.get(tx, claim.run.id, lock=True)
        runs.close_cells(tx, claim.attempt.id, str(CellState.NEVER_RAN), reason)
        runs.end_attempt(tx, claim.attempt.id)
        runs.move(tx, run, move(run.state, RunState.FAILED), reason=reason)
        tx.audit(
            worker_actor(claim.attempt.worker),
            Event.RUN_ENDED,
            {"run": run.id, "incident": run.incident_id},
            {"state": "failed", "in_part": False, "reason": reason},
        )
        tell_run(tx, run.id, run.channel)
        waiting.moved_up(tx, service)


def refuse_run(service: Service, run_id: str, worker: str, reason: str) -> None:
    """End a queued run that cannot even be claimed: its runbook can no longer be read."""
    with transaction(service.engine) as tx:
        run = runs.get(tx, run_id, lock=True)
        if run.state is not RunState.QUEUED:
            return
        runs.move(tx, run, move(run.state, RunState.FAILED), reason=reason)
        tx.audit(
            worker_actor(worker),
            Event.RUN_ENDED,
            {"run": run.id, "incident": run.incident_id},
            {"state": "failed", "in_part": False, "reason": reason},
        )
        tell_run(tx, run.id, run.channel)
        waiting.moved_up(tx, service)

"""A worker's side of an approved proposal before and after its start: the re-check, the end, the verification."""

from __future__ import annotations

from typing import Any

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.diagnosing import Claim, Said, end_diagnosis, plan, prepared, store_rest
from runbooks_app.actions.proposing import propose, refuse_proposals, revision, tell_proposal, usable_proposals
from runbooks_app.actions.signatures import Checked
from runbooks_app.actions.starting import TargetBusy, make_stale, ready_to_start
from runbooks_app.core import rechecking
from runbooks_app.core.audit import Event
from runbooks_app.core.proposal import ProposalState, Verification, move, move_verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.store import proposals, runs
from runbooks_app.store.database import Transaction, new_id, transaction
from runbooks_app.store.records import Attempt, Proposal

MAX_VERIFICATIONS = 20
VERIFY_AGAIN = 15
"""Seconds until a verification that could not begin is tried again; 20 times make five minutes."""


def open_recheck(service: Service, proposal_id: str, worker: str, checked: Checked) -> Claim | None:
    """Begin the read-only run that checks an approved proposal, whose approvals were `checked`.

    None where none is due: the proposal is no longer approved, has expired, must not start, or is being checked
    already. Raises `TargetBusy` while another remediation goes on the same target.
    """
    with transaction(service.engine) as tx:
        ready = ready_to_start(tx, service, proposal_id, worker, checked)
        if ready is None:
            return None
        proposal, run = ready.proposal, ready.run
        busy = tx.execute(
            "SELECT 1 FROM attempts WHERE stage = 'remediate' AND target = :target AND ended_at IS NULL",
            target=proposal.target,
        )
        if busy.first() is not None:
            raise TargetBusy
        going = tx.execute(
            "SELECT 1 FROM runs WHERE proposal_id = :id AND purpose = 'recheck' AND state = 'diagnosing'",
            id=proposal_id,
        ).first()
        if going is not None:
            return None
        run = runs.get(tx, proposal.run_id)
        run_id = new_id()
        actor = worker_actor(worker)
        runs.insert(
            tx,
            {
                "id": run_id,
                "incident_id": run.incident_id,
                "runbook": run.runbook,
                "revision": run.revision,
                "parameters": run.parameters,
                "purpose": "recheck",
                "proposal_id": proposal_id,
                "requested_by": actor.as_json(),
                "requesters": run.requesters,
                "state": str(RunState.DIAGNOSING),
            },
        )
        attempt = runs.open_attempt(tx, run_id, "diagnose", worker, service.settings.lease)
        objects = {"run": run_id, "proposal": proposal_id, "incident": run.incident_id}
        tx.audit(actor, Event.RUN_REQUESTED, objects, {"purpose": "recheck", "runbook_digest": run.revision})
        return plan(tx, runs.get(tx, run_id), attempt, ready.runbook)


def finish_recheck(service: Service, claim: Claim, said: Said, reason: str) -> bool:
    """End a re-check: True if the same action is still proposed; else the proposal is stale from here on."""
    with transaction(service.engine) as tx:
        run, state, in_part = end_diagnosis(tx, claim, said, reason)
        actor = worker_actor(claim.attempt.worker)
        proposal = proposals.get(tx, str(run.proposal_id), lock=True)
        if proposal.state is not ProposalState.APPROVED:
            return False
        usable, problems = usable_proposals(claim.runbook, claim.run, said.proposed)
        verdict = rechecking.compare(
            proposal.gate,
            proposal.inputs,
            proposal.identity,
            [(u.gate, u.inputs) for u in usable],
            state if run.cancel_requested_at is None else RunState.CANCELLED,
            in_part=in_part,
            reason=reason,
            by_hand=proposal.by_hand,
        )
        if verdict.holds:
            return True
        make_stale(tx, proposal, verdict.reason, actor)
        successors = [u for u in usable if u.gate == proposal.gate and u.inputs == verdict.successor]
        diagnosis = runs.get(tx, proposal.run_id)
        propose(
            tx,
            service,
            diagnosis,
            successors,
            actor,
            follows=proposal,
            predecessor=proposal.id,
            evidence_of=run.id,
        )
        refuse_proposals(tx, run, problems, actor)
        return False


def fail_recheck(service: Service, claim: Claim, reason: str) -> None:
    """A re-check that could not begin makes its proposal stale, with the reason."""
    finish_recheck(service, claim, Said(), reason)


def finish_remediation(
    service: Service, claim: Claim, proposal_id: str, said: Said, state: ProposalState, reason: str
) -> None:
    """End a remediation as applied, failed or unknown, and have it verified in each case."""
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id, lock=True)
        store_rest(tx, claim, said)
        end_remediation(tx, proposal, claim.attempt, state, reason)


def end_remediation(tx: Transaction, proposal: Proposal, attempt: Attempt, state: ProposalState, reason: str) -> None:
    """The end of a remediation, from its worker or from the sweep that found its worker gone."""
    running = CellState.DIED if state is ProposalState.UNKNOWN else CellState.NEVER_RAN
    runs.close_cells(tx, attempt.id, str(running), reason)
    runs.end_attempt(tx, attempt.id)
    proposals.move(
        tx,
        proposal,
        move(proposal.state, state),
        state_reason=reason,
        ended_at=tx.now,
        verification=str(Verification.PENDING),
    )
    run = runs.get(tx, proposal.run_id)
    tx.audit(
        worker_actor(attempt.worker),
        Event.REMEDIATION_ENDED,
        {"proposal": proposal.id, "run": run.id, "incident": run.incident_id},
        {"state": str(state), "reason": reason},
    )
    tx.defer("verify", proposal_id=proposal.id, priority=20)
    tell_proposal(tx, proposal)


def start_verification(service: Service, proposal_id: str, worker: str) -> Claim | None:
    """Begin the verification cells in a read-only kernel; None where none is due.

    A section without verification cells cannot be verified, and that is told.
    """
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id, lock=True)
        if proposal.verification is not Verification.PENDING:
            return None
        going = tx.execute(
            "SELECT 1 FROM attempts WHERE proposal_id = :id AND stage = 'verify' AND ended_at IS NULL",
            id=proposal_id,
        ).first()
        if going is not None:
            return None
        run = runs.get(tx, proposal.run_id)
        runbook = revision(tx, service, run.revision)
        section = runbook.section(proposal.gate)
        if section is None or not section.verification:
            _verified(tx, proposal, Verification.NOT_POSSIBLE, [], "The runbook has no verification cells.", worker)
            return None
        attempt = runs.open_attempt(tx, run.id, "verify", worker, service.settings.lease, proposal_id)
        cells = prepared(runbook, section.verification)
        runs.plan_cells(tx, attempt.id, [runs.PlannedCell(c.id, str(c.stage), c.source) for c in cells])
        return Claim(run, attempt, runbook, cells)


def finish_verification(service: Service, claim: Claim, said: Said, reason: str) -> None:
    """End a verification: verified if every cell ran well and every check held."""
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, str(claim.attempt.proposal_id), lock=True)
        store_rest(tx, claim, said)
        runs.close_cells(tx, claim.attempt.id, str(CellState.DIED), reason or "The kernel ended before this cell.")
        runs.end_attempt(tx, claim.attempt.id)
        cells = [cell for cell, _ in runs.outlines(tx, claim.attempt.id)]
        verdict, why = rechecking.verification(
            [(c.cell_id, c.state, c.reason) for c in cells], [(c.name, c.ok) for c in said.checks]
        )
        checks = [{"name": c.name, "ok": c.ok, "seconds": c.seconds, "detail": c.detail} for c in said.checks]
        _verified(tx, proposal, verdict, checks, why, claim.attempt.worker)
        usable, problems = usable_proposals(claim.runbook, claim.run, said.proposed)
        actor = worker_actor(claim.attempt.worker)
        others = [u for u in usable if (u.gate, u.inputs) != (proposal.gate, proposal.inputs)]
        propose(tx, service, runs.get(tx, proposal.run_id), others, actor, follows=proposal)
        refuse_proposals(tx, claim.run, problems, actor)


def give_up_verification(service: Service, claim: Claim, reason: str) -> None:
    """A verification that could not begin: tried again later."""
    with transaction(service.engine) as tx:
        end_verification(tx, claim.attempt, CellState.NEVER_RAN, reason, after=VERIFY_AGAIN)


def end_verification(tx: Transaction, attempt: Attempt, running: CellState, reason: str, *, after: int = 0) -> None:
    """End a verification without a verdict: tried again, up to a limit; then it is not possible."""
    proposal = proposals.get(tx, str(attempt.proposal_id), lock=True)
    runs.close_cells(tx, attempt.id, str(running), reason)
    runs.end_attempt(tx, attempt.id)
    if attempt.number < MAX_VERIFICATIONS:
        tx.defer("verify", proposal_id=proposal.id, priority=20, after=after)
    else:
        _verified(tx, proposal, Verification.NOT_POSSIBLE, [], reason, attempt.worker)


def refuse_verification(service: Service, proposal_id: str, worker: str, reason: str) -> None:
    """A verification that can never begin, since its runbook can no longer be read."""
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id, lock=True)
        if proposal.verification is Verification.PENDING:
            _verified(tx, proposal, Verification.NOT_POSSIBLE, [], reason, worker)


def kept_values(service: Service, proposal_id: str) -> tuple[Proposal, dict[str, Any]]:
    """The proposal, and what its diagnosis kept for the verification."""
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id)
        return proposal, runs.get(tx, proposal.run_id).kept


def _verified(
    tx: Transaction,
    proposal: Proposal,
    to: Verification,
    checks: list[dict[str, Any]],
    reason: str,
    worker: str,
) -> None:
    assert proposal.verification is not None  # noqa: S101 -- read as pending by the callers
    tx.moved(
        f"The verification of proposal {proposal.id}",
        """UPDATE proposals SET verification = :to, checks = :checks, verification_reason = :reason
           WHERE id = :id AND verification = 'pending'""",
        to=str(move_verification(proposal.verification, to)),
        checks=checks,
        reason=reason,
        id=proposal.id,
    )
    tx.audit(
        worker_actor(worker),
        Event.VERIFICATION_ENDED,
        {"proposal": proposal.id, "run": proposal.run_id},
        {"verification": str(to), "checks": checks, "reason": reason},
    )
    tell_proposal(tx, proposal)

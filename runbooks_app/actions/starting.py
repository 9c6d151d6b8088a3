"""The start of a remediation: what is checked one last time, and the start row.

The start row (`attempts` with stage `remediate`) is the only door to a write credential. Two unique indexes
guard it: one start per proposal for ever, and one going remediation per target.

A worker takes nobody's word for what stands behind a start. Signatures are checked with keys that it fetched itself;
the digest is computed anew from what would run; what a policy has to ask for at least is read from the worker's own
connections and library.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.diagnosing import Claim, prepared
from runbooks_app.actions.proposing import asks_too_little, digest_now, revision, tell_proposal
from runbooks_app.actions.signatures import Checked, Doubt
from runbooks_app.core.audit import Event
from runbooks_app.core.deciding import TooFew, may_start
from runbooks_app.core.errors import Conflict, Refused, RunbooksError, Unavailable
from runbooks_app.core.people import Actor, Permission
from runbooks_app.core.proposal import ProposalState, move
from runbooks_app.core.runbook import Runbook
from runbooks_app.store import people, proposals, runs
from runbooks_app.store.database import Transaction, transaction
from runbooks_app.store.records import Proposal, Run

WAITS_FOR_KEYS = (
    "It waits for the sign-in provider, without whose keys the signatures of its approvals cannot be checked."
)


class TargetBusy(Exception):
    """Another remediation is going on the same target; try again when it has ended."""


@dataclass(frozen=True)
class Started:
    """A remediation that this worker may execute: `proposal` as it was checked, `approvers` on whose word."""

    claim: Claim
    proposal: Proposal
    approvers: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """An approved proposal, locked, that may start on the word of `approvers`; `runbook` as its run was asked for."""

    proposal: Proposal
    run: Run
    runbook: Runbook
    approvers: tuple[str, ...]


def start_remediation(
    service: Service, proposal_id: str, worker: str, checked: Checked, *, without_recheck: bool = False
) -> Started | None:
    """Write the start row; what was approved is checked one last time in the same transaction.

    None where the proposal is no longer approved or has started already. A proposal that must not start
    becomes stale, with the reason; so does one that was not re-checked and has to be. Raises `TargetBusy` while another
    remediation goes on the same target.
    """
    try:
        with transaction(service.engine) as tx:
            ready = ready_to_start(tx, service, proposal_id, worker, checked, without_recheck=without_recheck)
            if ready is None:
                return None
            proposal, run, runbook, approvers = ready.proposal, ready.run, ready.runbook, ready.approvers
            attempt = runs.open_attempt(
                tx, run.id, "remediate", worker, service.settings.lease, proposal_id, proposal.target
            )
            section = runbook.section(proposal.gate)
            assert section is not None  # noqa: S101 -- the digest was just computed from it
            cells = prepared(runbook, (section.cell,))
            runs.plan_cells(tx, attempt.id, [runs.PlannedCell(c.id, str(c.stage), c.source) for c in cells])
            proposals.move(tx, proposal, move(proposal.state, ProposalState.EXECUTING), state_reason="")
            tx.audit(
                worker_actor(worker),
                Event.REMEDIATION_STARTED,
                {"proposal": proposal_id, "run": run.id, "incident": run.incident_id},
                {
                    "approved_by": list(approvers),
                    "break_glass": checked.broke_glass or None,
                    "connections": proposal.connections,
                    "digest": proposal.digest,
                    "inputs": proposal.inputs,
                    "target": proposal.target,
                },
            )
            tell_proposal(tx, proposal)
            return Started(Claim(run, attempt, runbook, cells), proposal, approvers)
    except IntegrityError as error:
        if "attempts_one_per_target" in str(error.orig):
            raise TargetBusy from error
        raise Conflict(f"Proposal {proposal_id} has started already.") from error


def wait_for_keys(service: Service, proposal_id: str) -> None:
    """Tell that an approved proposal waits until its signatures can be checked; it expires as any other."""
    with transaction(service.engine) as tx:
        waits = tx.execute(
            "UPDATE proposals SET state_reason = :why WHERE id = :id AND state = 'approved' AND state_reason <> :why",
            id=proposal_id,
            why=WAITS_FOR_KEYS,
        )
        if waits.rowcount:
            tell_proposal(tx, proposals.get(tx, proposal_id))


def refuse_remediation(service: Service, proposal_id: str, worker: str, reason: str) -> None:
    """An approved proposal that can never begin, since its runbook can no longer be read, is stale."""
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id, lock=True)
        if proposal.state is ProposalState.APPROVED:
            make_stale(tx, proposal, reason, worker_actor(worker))


def ready_to_start(
    tx: Transaction,
    service: Service,
    proposal_id: str,
    worker: str,
    checked: Checked,
    *,
    without_recheck: bool = False,
) -> Ready | None:
    """The approved proposal with all that its start stands on; None where it may not start.

    `checked` says what its approvals are worth. Where they, or what else was approved, do not hold, it is stale from
    here on, before anything was minted for it.
    """
    proposal = proposals.get(tx, proposal_id, lock=True)
    if proposal.state is not ProposalState.APPROVED or tx.now >= proposal.expires_at:
        return None
    if (checked.digest, checked.decisions) != (proposal.digest, tuple(row.id for row in proposal.decisions)):
        raise Unavailable("The proposal changed while its signatures were checked; they are checked again.")
    run = runs.get(tx, proposal.run_id)
    runbook = revision(tx, service, run.revision)
    try:
        if without_recheck and proposal.asked.policy.recheck:
            raise Refused("It was not checked once more; nothing was executed.")
        approvers = _may_start(tx, service, proposal, run, runbook, checked)
        return Ready(proposal, run, runbook, approvers)
    except RunbooksError as refusal:
        doubts = checked.doubts if isinstance(refusal, TooFew) else ()
        reason = " ".join([*map(str, doubts), "Nothing was executed."]) if doubts else refusal.message
        make_stale(tx, proposal, reason, worker_actor(worker), doubts)
        return None


def _may_start(
    tx: Transaction, service: Service, proposal: Proposal, run: Run, runbook: Runbook, checked: Checked
) -> tuple[str, ...]:
    too_little = asks_too_little(service, runbook, proposal, run)
    if too_little:
        raise Refused(f"{too_little} Nothing was executed.")
    asked = proposal.asked
    groups = {}
    for subject in asked.approvers:
        person = people.get(tx, subject)
        groups[subject] = person.approver_groups if person else frozenset[str]()
        if asked.wants_signatures:
            groups[subject] &= checked.groups.get(subject, frozenset())
    alone = people.get(tx, checked.broke_glass)
    broke_glass = checked.broke_glass if alone and alone.may(Permission.BREAK_GLASS) else ""
    digest = digest_now(service, runbook, proposal, run)
    return may_start(asked, groups, digest, tx.now, broke_glass=broke_glass)


def make_stale(tx: Transaction, proposal: Proposal, reason: str, actor: Actor, doubts: tuple[Doubt, ...] = ()) -> None:
    """Nothing is executed of this proposal any more, and people are told why; `doubts` name decisions in the trail."""
    proposals.move(tx, proposal, move(proposal.state, ProposalState.STALE), state_reason=reason, ended_at=tx.now)
    named = [{"decision": d.decision, "subject": d.subject, "why": d.why} for d in doubts]
    tx.audit(
        actor,
        Event.PROPOSAL_STALE,
        {"proposal": proposal.id, "run": proposal.run_id},
        {"reason": reason, **({"decisions": named} if named else {})},
    )
    tell_proposal(tx, proposal)

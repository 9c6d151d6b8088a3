"""The jobs that execute: diagnose, remediate, verify. Each begins with a claim and ends with a finish.

When the service's own database is away, nothing can be told: the error goes up, the lease lapses, and the
sweep decides as it would if the worker had died.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Executor, ThreadPoolExecutor

from runbooks_app.actions import diagnosing, remediating, starting
from runbooks_app.actions.signatures import Checked
from runbooks_app.core.errors import Conflict, DatabaseAway, Refused, RunbooksError, Unavailable
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.rechecking import remediation_outcome
from runbooks_app.store.records import Proposal
from runbooks_app.worker.context import Worker
from runbooks_app.worker.executing import FencedError, begun, execute
from runbooks_app.worker.holding import credentials

log = logging.getLogger(__name__)


def diagnose(worker: Worker, run_id: str) -> None:
    """Run the read-only cells of a queued run."""
    try:
        claim = diagnosing.claim_run(worker.service, run_id, worker.name)
    except Unavailable:
        raise  # the queue tries again
    except RunbooksError as error:
        log.warning("Run %s cannot be begun: %s", run_id, error)
        diagnosing.refuse_run(worker.service, run_id, worker.name, str(error))
        _changed(worker, run_id)
        return
    if claim is None:
        log.info("Run %s is not begun: it is not queued any more, or a quota holds it.", run_id)
        return
    timeout = worker.service.settings.limits_of(claim.runbook.limits)["run"]
    try:
        _same_revision(claim)
        with (
            worker.leases.holding(claim.attempt.id) as hold,
            begun(worker, claim, "diagnose", hold, timeout=timeout) as course,
            credentials(worker, claim, timeout) as granted,
        ):
            said, reason, _ = execute(worker, claim, course, granted, hold)
            diagnosing.finish_run(worker.service, claim, said, reason)
            _changed(worker, run_id)
    except (FencedError, Conflict, DatabaseAway) as error:
        _left(claim, error)
    except RunbooksError as error:
        log.warning("Run %s could not be diagnosed: %s", run_id, error)
        diagnosing.fail_run(worker.service, claim, str(error))
        _changed(worker, run_id)


def remediate(worker: Worker, proposal_id: str) -> None:
    """Check an approved proposal again, then execute it, at most once.

    Raises `TargetBusy` while another remediation goes on the same target, and `KeysAway` where signatures cannot be
    checked yet.
    """
    # What the re-check held is revoked while the remediation begins: people wait for that.
    with ThreadPoolExecutor(1, thread_name_prefix="revoking") as aside:
        _remediate(worker, proposal_id, aside)


def _remediate(worker: Worker, proposal_id: str, aside: Executor) -> None:
    proposal, _ = remediating.kept_values(worker.service, proposal_id)
    try:
        started = _started(worker, proposal, aside)
    except (Unavailable, Conflict):
        raise  # the queue tries again; or somebody else has started it
    except RunbooksError as error:
        log.warning("Proposal %s cannot be begun: %s", proposal_id, error)
        starting.refuse_remediation(worker.service, proposal_id, worker.name, str(error))
        started = None
    _changed(worker, proposal.run_id)
    if started is not None:
        _execute_approved(worker, started)
        _changed(worker, proposal.run_id)


def verify(worker: Worker, proposal_id: str) -> None:
    """Run the verification cells of an executed proposal; where they cannot begin, they are queued again."""
    try:
        claim = remediating.start_verification(worker.service, proposal_id, worker.name)
    except Unavailable:
        raise  # the queue tries again
    except RunbooksError as error:
        log.warning("Proposal %s cannot be verified: %s", proposal_id, error)
        remediating.refuse_verification(worker.service, proposal_id, worker.name, str(error))
        return
    if claim is None:
        return
    proposal, kept = remediating.kept_values(worker.service, proposal_id)
    timeout = worker.service.settings.verify_timeout
    try:
        section = claim.runbook.section(proposal.gate)
        with (
            worker.leases.holding(claim.attempt.id) as hold,
            begun(
                worker, claim, "verify", hold, timeout=timeout, section=section, inputs=proposal.inputs, kept=kept
            ) as course,
            credentials(worker, claim, timeout) as granted,
        ):
            said, reason, _ = execute(worker, claim, course, granted, hold)
            remediating.finish_verification(worker.service, claim, said, reason)
    except (FencedError, Conflict, DatabaseAway) as error:
        _left(claim, error)
    except RunbooksError as error:
        remediating.give_up_verification(worker.service, claim, str(error))
    _changed(worker, proposal.run_id)


def _started(worker: Worker, proposal: Proposal, aside: Executor) -> starting.Started | None:
    """The start row, once signatures and re-check hold; nothing is minted before the signatures do."""

    def checked() -> Checked:
        # The provider may be asked for its keys: no transaction is open meanwhile.
        return worker.signatures.check(proposal, time.time())

    wants_recheck = bool(proposal.policy["recheck"])
    if wants_recheck and not _recheck(worker, proposal.id, checked(), aside):
        return None
    return starting.start_remediation(
        worker.service, proposal.id, worker.name, checked(), without_recheck=not wants_recheck
    )


def _execute_approved(worker: Worker, started: starting.Started) -> None:
    """From the start row to the outcome. Only what failed before the kernel is told as never executed."""
    claim, proposal = started.claim, started.proposal
    section = claim.runbook.section(proposal.gate)
    assert section is not None  # noqa: S101 -- the start row was written from it
    timeout = worker.service.settings.limits_of(claim.runbook.limits)["run"]
    began = False
    try:
        with (
            worker.leases.holding(claim.attempt.id) as hold,
            begun(worker, claim, "remediate", hold, timeout=timeout, section=section, inputs=proposal.inputs) as course,
            credentials(worker, claim, timeout, approved=proposal, approvers=started.approvers) as granted,
        ):
            began = True
            said, reason, ends = execute(worker, claim, course, granted, hold)
            ended = ends.get(section.cell.id)
            state, told = remediation_outcome(ended.state if ended else None, (ended.reason if ended else "") or reason)
            remediating.finish_remediation(worker.service, claim, proposal.id, said, state, told)
    except (FencedError, Conflict, DatabaseAway) as error:
        _left(claim, error)
    except RunbooksError as error:
        state = ProposalState.UNKNOWN if began else ProposalState.FAILED
        told = f"{error}" if began else f"Nothing was executed: {error}"
        remediating.finish_remediation(worker.service, claim, proposal.id, diagnosing.Said(), state, told)


def _recheck(worker: Worker, proposal_id: str, checked: Checked, aside: Executor) -> bool:
    claim = remediating.open_recheck(worker.service, proposal_id, worker.name, checked)
    if claim is None:
        return False
    timeout = worker.service.settings.limits_of(claim.runbook.limits)["run"]
    try:
        _same_revision(claim)
        with (
            worker.leases.holding(claim.attempt.id) as hold,
            begun(worker, claim, "diagnose", hold, timeout=timeout) as course,
            credentials(worker, claim, timeout, aside=aside) as granted,
        ):
            said, reason, _ = execute(worker, claim, course, granted, hold)
            return remediating.finish_recheck(worker.service, claim, said, reason)
    except (FencedError, Conflict, DatabaseAway) as error:
        _left(claim, error)
    except RunbooksError as error:
        remediating.fail_recheck(worker.service, claim, str(error))
    return False


def _changed(worker: Worker, run_id: str) -> None:
    worker.live.publish(run_id, {"kind": "changed"})


def _left(claim: diagnosing.Claim, error: Exception) -> None:
    """Say that an attempt is left as it is; the sweep finds it when its lease has lapsed."""
    log.warning(
        "Attempt %d of run %s (%s) is left to the sweep: %s",
        claim.attempt.number,
        claim.run.id,
        claim.attempt.stage,
        error or type(error).__name__,
    )


def _same_revision(claim: diagnosing.Claim) -> None:
    """This worker's modules and environment are those that the run was asked for with."""
    if claim.runbook.digest != claim.run.revision:
        raise Refused(
            "This worker has other library modules or packages than the web process that took the request; "
            "deploy both from the same revision, then run again."
        )

"""The jobs that execute: diagnose, remediate, verify. Each begins with a claim and ends with a finish."""

from __future__ import annotations

import logging

from runbooks_app.actions import diagnosing, remediating
from runbooks_app.core.errors import Conflict, Refused, RunbooksError
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.rechecking import remediation_outcome
from runbooks_app.worker.context import Worker
from runbooks_app.worker.executing import FencedError, execute
from runbooks_app.worker.holding import credentials

log = logging.getLogger(__name__)


def diagnose(worker: Worker, run_id: str) -> None:
    """Run the read-only cells of a queued run."""
    claim = diagnosing.claim_run(worker.service, run_id, worker.name)
    if claim is None:
        log.info("Run %s is not queued any more; nothing to do.", run_id)
        return
    try:
        _same_revision(claim)
        with credentials(worker, claim) as granted:
            said, reason, _ = execute(worker, claim, "diagnose", granted, timeout=claim.runbook.run_timeout)
            diagnosing.finish_run(worker.service, claim, said, reason)
            worker.live.publish(run_id, {"kind": "changed"})
    except (FencedError, Conflict):
        return
    except RunbooksError as error:
        log.warning("Run %s could not begin: %s", run_id, error)
        diagnosing.fail_run(worker.service, claim, str(error))
        worker.live.publish(run_id, {"kind": "changed"})


def remediate(worker: Worker, proposal_id: str) -> None:
    """Check an approved proposal again, then execute it, at most once.

    Raises `remediating.TargetBusy` while another remediation goes on the same target.
    """
    proposal, _ = remediating.kept_values(worker.service, proposal_id)
    worker.live.publish(proposal.run_id, {"kind": "changed"})
    if proposal.policy["recheck"] and not _recheck(worker, proposal_id):
        worker.live.publish(proposal.run_id, {"kind": "changed"})
        return
    claim = remediating.start_remediation(worker.service, proposal_id, worker.name)
    worker.live.publish(proposal.run_id, {"kind": "changed"})
    if claim is None:
        log.info("Proposal %s is not to be started; nothing was executed.", proposal_id)
        return
    section = claim.runbook.section(proposal.gate)
    assert section is not None  # noqa: S101 -- the start row was written from it
    writing = frozenset(held["connection"] for held in proposal.connections)
    approvers = tuple(d.subject for d in proposal.decisions if d.verdict == "approve")
    try:
        with credentials(worker, claim, writing=writing, approvers=approvers) as granted:
            _, reason, ends = execute(
                worker,
                claim,
                "remediate",
                granted,
                timeout=claim.runbook.run_timeout,
                section=section,
                inputs=proposal.inputs,
            )
            ended = ends.get(section.cell.id)
            state, told = remediation_outcome(ended.state if ended else None, (ended.reason if ended else "") or reason)
            remediating.finish_remediation(worker.service, claim, proposal_id, state, told)
    except (FencedError, Conflict):
        return
    except RunbooksError as error:
        reason = f"Nothing was executed: {error}"
        remediating.finish_remediation(worker.service, claim, proposal_id, ProposalState.FAILED, reason)
    worker.live.publish(proposal.run_id, {"kind": "changed"})


def verify(worker: Worker, proposal_id: str) -> None:
    """Run the verification cells of an executed proposal; raises, to be tried again, where they could not begin."""
    claim = remediating.start_verification(worker.service, proposal_id, worker.name)
    if claim is None:
        return
    proposal, kept = remediating.kept_values(worker.service, proposal_id)
    try:
        with credentials(worker, claim) as granted:
            said, reason, _ = execute(
                worker,
                claim,
                "verify",
                granted,
                timeout=worker.service.settings.verify_timeout,
                section=claim.runbook.section(proposal.gate),
                inputs=proposal.inputs,
                kept=kept,
            )
            remediating.finish_verification(worker.service, claim, said, reason)
    except (FencedError, Conflict):
        return
    except RunbooksError as error:
        remediating.give_up_verification(worker.service, claim, str(error))
    worker.live.publish(proposal.run_id, {"kind": "changed"})


def _recheck(worker: Worker, proposal_id: str) -> bool:
    claim = remediating.open_recheck(worker.service, proposal_id, worker.name)
    if claim is None:
        return False
    try:
        _same_revision(claim)
        with credentials(worker, claim) as granted:
            said, reason, _ = execute(worker, claim, "diagnose", granted, timeout=claim.runbook.run_timeout)
            return remediating.finish_recheck(worker.service, claim, said, reason)
    except (FencedError, Conflict):
        return False
    except RunbooksError as error:
        remediating.fail_recheck(worker.service, claim, str(error))
        return False


def _same_revision(claim: diagnosing.Claim) -> None:
    """This worker's modules and environment are those that the run was asked for with."""
    if claim.runbook.digest != claim.run.revision:
        raise Refused(
            "This worker has other library modules or packages than the web process that took the request; "
            "deploy both from the same revision, then run again."
        )

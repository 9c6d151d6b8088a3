"""Everything comes to an end that is told: what cannot begin, what fails again and again, what was stopped."""

from __future__ import annotations

import pytest

from runbooks_app.actions import deciding, remediating, running, sweeping
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import RunState
from runbooks_app.store import audit, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import work

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
WEB = {"surface": "web", "auth_time": 1}


def spoil(house, run):
    """The kept notebook becomes one that this version cannot read."""
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE revisions SET notebook = '{\"cells\": 1}' WHERE digest = :digest", digest=run.revision)


def events_about(house, **objects):
    with reading(house.service.engine) as tx:
        return [entry.event for entry in audit.about(tx, objects)]


@pytest.mark.usefixtures("runbook")
def test_a_run_whose_runbook_cannot_be_read_any_more_fails_with_the_reason(house):
    run = running.request_run(house.service, ANA, WEB, "stuck-orders", {})
    spoil(house, run)
    assert house.do_all() == ["diagnose"]
    with reading(house.service.engine) as tx:
        after = runs.get(tx, run.id)
    assert after.state is RunState.FAILED
    assert after.reason
    assert events_about(house, run=run.id) == ["run.requested", "run.ended"]


def test_an_approved_proposal_that_cannot_begin_is_stale_with_the_reason(house, runbook, stuck):
    run, (proposal,) = house.diagnosed()
    deciding.decide(house.service, BEN, WEB, proposal.id, "approve", proposal.digest)
    spoil(house, run)
    assert house.do_all() == ["remediate"]
    after = house.now(proposal)
    assert after.state is ProposalState.STALE
    assert "runbook" in after.state_reason.lower() or "notebook" in after.state_reason.lower()
    assert stuck.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone() == (3,)


def test_a_verification_that_can_never_begin_is_not_possible(house, runbook, stuck):
    run, (proposal,) = house.diagnosed()
    deciding.decide(house.service, BEN, WEB, proposal.id, "approve", proposal.digest)
    assert house.job("remediate")
    work.remediate(house.worker, proposal.id)
    spoil(house, run)
    assert house.do_all() == ["verify"]
    assert house.now(proposal).verification is Verification.NOT_POSSIBLE


def test_a_verification_whose_worker_dies_each_time_is_given_up(house, runbook, stuck):
    _, (proposal,) = house.diagnosed()
    deciding.decide(house.service, BEN, WEB, proposal.id, "approve", proposal.digest)
    assert house.job("remediate")
    work.remediate(house.worker, proposal.id)
    for _ in range(remediating.MAX_VERIFICATIONS):
        assert house.job("verify")
        assert remediating.start_verification(house.service, proposal.id, "one that dies")
        with transaction(house.service.engine) as tx:
            tx.execute("UPDATE attempts SET lease_until = now() - interval '1 second' WHERE ended_at IS NULL")
        assert sweeping.take_over(house.service) == 1
    assert house.job("verify") is None
    after = house.now(proposal)
    assert after.verification is Verification.NOT_POSSIBLE
    assert "worker went away" in after.verification_reason

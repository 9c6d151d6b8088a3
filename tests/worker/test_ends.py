"""Everything comes to an end that is told: what cannot begin, what fails again and again, what was stopped."""

from __future__ import annotations

import pytest
from notebooks import cell, write
from signing import approve
from stuck_orders import CHECK, FREE, LOOK

from runbooks_app.actions import deciding, remediating, running, sweeping
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import RunState
from runbooks_app.store import audit, proposals, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import work

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
WEB = {"surface": "web", "auth_time": 1}


def spoil(house, run):
    """The kept notebook becomes one that this version cannot read."""
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE revisions SET notebook = '{\"cells\": 1}' WHERE digest = :digest", digest=run.revision)
    house.service.library._revisions.clear()  # as a worker of another version begins


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
    approve(house.service, BEN, proposal)
    spoil(house, run)
    assert house.do_all() == ["remediate"]
    after = house.now(proposal)
    assert after.state is ProposalState.STALE
    assert "runbook" in after.state_reason.lower() or "notebook" in after.state_reason.lower()
    assert stuck.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone() == (3,)


def test_a_verification_that_can_never_begin_is_not_possible(house, runbook, stuck):
    run, (proposal,) = house.diagnosed()
    approve(house.service, BEN, proposal)
    assert house.job("remediate")
    work.remediate(house.worker, proposal.id)
    spoil(house, run)
    assert house.do_all() == ["verify"]
    assert house.now(proposal).verification is Verification.NOT_POSSIBLE


def test_a_verification_whose_worker_dies_each_time_is_given_up(house, runbook, stuck):
    _, (proposal,) = house.diagnosed()
    approve(house.service, BEN, proposal)
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


def test_what_was_proposed_by_hand_is_executed_though_the_diagnosis_does_not_propose_it(house, runbook, stuck):
    run, _ = house.diagnosed()
    made = deciding.propose_by_hand(
        house.service, ANA, WEB, run.id, "free-orders", {"state": "lost", "seen": "0"}, "they are called lost elsewhere"
    )
    approve(house.service, BEN, made)
    assert house.do_all() == ["remediate", "verify"]
    after = house.now(made)
    assert after.state is ProposalState.APPLIED, after.state_reason


def cancelled_in_recheck(house, monkeypatch):
    """An approved proposal whose re-check is cancelled when its cells have all run."""
    _, (proposal,) = house.diagnosed()
    approve(house.service, BEN, proposal)
    finish = remediating.finish_recheck

    def cancel_first(service, claim, *rest):
        running.cancel_run(service, ANA, WEB, claim.run.id)
        return finish(service, claim, *rest)

    monkeypatch.setattr(remediating, "finish_recheck", cancel_first)
    return proposal


def test_cancelling_a_recheck_stops_the_remediation_however_late(house, runbook, stuck, monkeypatch):
    proposal = cancelled_in_recheck(house, monkeypatch)
    assert house.do_all() == ["remediate"]
    after = house.now(proposal)
    assert (after.state, after.state_reason) == (ProposalState.STALE, "The re-check was cancelled.")
    assert stuck.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone() == (3,)


def test_a_successor_shows_the_evidence_of_the_recheck_that_proposes_it(house, library_folder, stuck):
    write(
        library_folder,
        "stuck-orders",
        cell("look", LOOK, "diagnostic"),
        cell("free", FREE.replace(', informative=["seen"]', ""), "remediation"),
        cell("freed", CHECK, "diagnostic"),
    )
    run, (proposal,) = house.diagnosed()
    approve(house.service, BEN, proposal)
    stuck.execute("UPDATE orders SET status = 'stuck' WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 4)")
    assert house.do_all() == ["remediate"]
    with reading(house.service.engine) as tx:
        stale, successor = proposals.of_run(tx, run.id)
    assert (stale.state, successor.predecessor) == (ProposalState.STALE, stale.id)
    assert successor.inputs["seen"] == 4
    assert [finding["summary"] for finding in successor.evidence] == ["4 orders are stuck"]

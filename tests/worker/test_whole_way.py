"""From a request to the verification, with real kernels on a real database."""

from __future__ import annotations

import pytest
from notebooks import cell, write
from signing import approve, checked

from runbooks_app.actions import deciding, incidents, running, starting, story, sweeping
from runbooks_app.core.audit import verify
from runbooks_app.core.errors import Conflict, Refused
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.store import audit, proposals, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import work

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
CAT = Person("https://idp#cat", "Cat", roles=frozenset({"approver:database"}))
WEB = {"surface": "web", "auth_time": 1}


def diagnosed(house, person=ANA, name="stuck-orders", **given):
    run = running.request_run(house.service, person, WEB, name, given)
    assert house.do_all() == ["diagnose"]
    with reading(house.service.engine) as tx:
        return runs.get(tx, run.id), proposals.of_run(tx, run.id)


def proposal_now(house, proposal):
    with reading(house.service.engine) as tx:
        return proposals.get(tx, proposal.id)


def count_stuck(admin):
    return admin.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone()[0]


def roles_left(admin):
    return admin.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^runbook_[dr]_'").fetchall()


def test_an_approved_proposal_is_rechecked_executed_once_and_verified(house, runbook, stuck):
    run, (proposal,) = diagnosed(house)
    assert (run.state, run.in_part, run.kept) == (RunState.DIAGNOSED, False, {"before": 3})
    assert proposal.title == "Free orders in state stuck on orders-db"
    assert count_stuck(stuck) == 3
    approve(house.service, BEN, proposal, "go")
    assert house.do_all() == ["remediate", "verify"]
    after = proposal_now(house, proposal)
    assert (after.state, after.verification) == (ProposalState.APPLIED, Verification.VERIFIED), after.state_reason
    assert after.checks[0]["name"] == "none of 3 is stuck"
    assert count_stuck(stuck) == 0
    assert roles_left(stuck) == []
    with reading(house.service.engine) as tx:
        verdict = verify(audit.entries(tx), audit.head(tx))
        assert verdict.ok, verdict.reason
        events = [entry.event for entry in audit.entries(tx)]
        assert events.index("proposal.approved") < events.index("remediation.started")
        told = story.incident_story(tx, house.service, run.incident_id)
    assert [str(item.kind) for item in told.items][-1] == "verification"
    assert all(item.entry is not None for item in told.items)
    work.remediate(house.worker, proposal.id)
    assert proposal_now(house, proposal).state is ProposalState.APPLIED


def test_a_verified_remediation_is_told_with_the_credential_that_changed_something(house, runbook, stuck):
    run, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    house.do_all()
    with reading(house.service.engine) as tx:
        told = story.incident_story(tx, house.service, run.incident_id)
        ((credential,),) = [p.remediation.credentials for p in told.proposals]
        entry = audit.get(tx, credential.entry.seq)
    assert credential.connection == "orders-db"
    assert credential.identity.startswith("runbook_r_")
    assert f'"identity":"{credential.identity}"' in entry.body
    assert '"stage":"remediate"' in entry.body


def test_nobody_approves_what_they_asked_for_nor_behind_a_rerun(house, runbook, stuck):
    run, (proposal,) = diagnosed(house, BEN)
    with pytest.raises(Refused, match="You asked for this"):
        approve(house.service, BEN, proposal)
    again = running.request_run(house.service, ANA, WEB, "stuck-orders", {}, rerun_of=run.id)
    house.do_all()
    with reading(house.service.engine) as tx:
        (second,) = proposals.of_run(tx, again.id)
    with pytest.raises(Refused, match="You asked for this"):
        approve(house.service, BEN, second)
    assert count_stuck(stuck) == 3


def test_a_denied_proposal_executes_nothing_also_after_an_approval(house, runbook, stuck):
    _, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    deciding.decide(house.service, CAT, WEB, proposal.id, "deny", proposal.digest, "no")
    assert house.do_all() == ["remediate"]
    assert proposal_now(house, proposal).state is ProposalState.DENIED
    assert count_stuck(stuck) == 3


def test_a_decision_on_another_digest_than_the_shown_one_is_refused(house, runbook, stuck):
    _, (proposal,) = diagnosed(house)
    with pytest.raises(Conflict, match="not the one that you were shown"):
        deciding.decide(house.service, BEN, WEB, proposal.id, "approve", "0" * 64)


def test_a_proposal_whose_reason_is_gone_becomes_stale(house, runbook, stuck):
    _, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    stuck.execute("UPDATE orders SET status = 'new' WHERE status = 'stuck'")
    assert house.do_all() == ["remediate"]
    after = proposal_now(house, proposal)
    assert (after.state, after.state_reason) == (ProposalState.STALE, "The diagnosis no longer proposes this.")


def test_informative_inputs_may_move_between_proposal_and_start(house, runbook, stuck):
    _, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    stuck.execute("UPDATE orders SET status = 'stuck' WHERE id = (SELECT max(id) FROM orders)")
    house.do_all()
    assert proposal_now(house, proposal).state is ProposalState.APPLIED
    assert count_stuck(stuck) == 0


def test_an_expired_proposal_is_never_started(house, runbook, stuck):
    _, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = now() WHERE id = :id", id=proposal.id)
    house.do_all()
    assert sweeping.expire_proposals(house.service) == 1
    assert proposal_now(house, proposal).state is ProposalState.EXPIRED
    assert count_stuck(stuck) == 3
    with pytest.raises(Conflict, match="expired"):
        approve(house.service, BEN, proposal)


def test_an_approver_who_is_removed_before_the_start_no_longer_counts(house, runbook, stuck):
    _, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    with transaction(house.service.engine) as tx:
        tx.execute("""UPDATE people SET roles = '["responder"]' WHERE subject = :subject""", subject=BEN.subject)
    house.do_all()
    after = proposal_now(house, proposal)
    assert after.state is ProposalState.STALE
    assert "no longer an approver" in after.state_reason
    assert count_stuck(stuck) == 3


@pytest.mark.parametrize(("column", "value"), [("inputs", '{"state": "new", "seen": 3}'), ("policy", None)])
def test_what_was_changed_in_the_database_after_approval_does_not_start(house, runbook, stuck, column, value):
    _, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    with transaction(house.service.engine) as tx:
        if column == "inputs":
            tx.execute("UPDATE proposals SET inputs = inputs || '{\"note\": 1}' WHERE id = :id", id=proposal.id)
        else:
            tx.execute("UPDATE proposals SET policy = policy || '{\"approvals\": 0}' WHERE id = :id", id=proposal.id)
    house.do_all()
    assert proposal_now(house, proposal).state is ProposalState.STALE
    assert count_stuck(stuck) == 3


def test_a_worker_that_dies_in_a_diagnosis_gives_way_to_a_new_attempt(house, runbook, stuck):
    from runbooks_app.actions import diagnosing
    from runbooks_app.actions.recording import CellTold, record_cells

    run = running.request_run(house.service, ANA, WEB, "stuck-orders", {})
    house.job("diagnose")
    old = diagnosing.claim_run(house.service, run.id, "dead-worker")
    lapse(house)
    assert sweeping.take_over(house.service) == 1
    assert house.do_all() == ["diagnose"]
    with reading(house.service.engine) as tx:
        assert runs.get(tx, run.id).state is RunState.DIAGNOSED
        assert [a.number for a in runs.attempts(tx, run.id)] == [1, 2]
    with pytest.raises(Conflict):
        record_cells(house.service, old, [CellTold("look", CellState.RUNNING, run.requested_at)], diagnosing.Said())
    with pytest.raises(Conflict):
        diagnosing.finish_run(house.service, old, diagnosing.Said(), "")


def test_a_worker_that_dies_in_a_remediation_leaves_it_unknown_and_it_is_never_retried(house, runbook, stuck):

    _, (proposal,) = diagnosed(house)
    approve(house.service, BEN, proposal)
    house.job("remediate")
    assert (
        starting.start_remediation(house.service, proposal.id, "dead-worker", checked(house.service, proposal.id))
        is not None
    )
    lapse(house)
    assert sweeping.take_over(house.service) == 1
    assert proposal_now(house, proposal).state is ProposalState.UNKNOWN
    assert house.do_all() == ["verify"]
    after = proposal_now(house, proposal)
    assert (after.state, after.verification) == (ProposalState.UNKNOWN, Verification.NOT_VERIFIED)
    work.remediate(house.worker, proposal.id)
    assert count_stuck(stuck) == 3


def lapse(house):
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE attempts SET lease_until = now() - interval '1 second' WHERE ended_at IS NULL")


def test_half_an_answer_is_kept_when_a_cell_fails(house, library_folder):
    write(
        library_folder,
        "half",
        cell("breaks", "rows = 1 / 0", "diagnostic"),
        cell("needs-it", "print(rows)", "diagnostic"),
        cell("stands", "kit.finding('info', 'this one works')", "diagnostic"),
    )
    run, _ = diagnosed(house, name="half")
    assert (run.state, run.in_part) == (RunState.DIAGNOSED, True)
    with reading(house.service.engine) as tx:
        (attempt,) = runs.attempts(tx, run.id)
        states = {c.cell_id: c.state for c in runs.cells(tx, attempt.id)}
        assert [f.summary for f in runs.findings(tx, run.id)] == ["this one works"]
    assert states["breaks"] is CellState.FAILED
    assert states["needs-it"] is CellState.SKIPPED
    assert states["stands"] is CellState.OK


def test_a_run_that_is_cancelled_says_so(house, library_folder):
    import threading

    write(library_folder, "slow", cell("sleep", "import time\nprint('up')\ntime.sleep(60)", "diagnostic"))
    run = running.request_run(house.service, ANA, WEB, "slow", {})
    doing = threading.Thread(target=house.do_all)
    doing.start()
    deadline = 100
    while deadline:
        with reading(house.service.engine) as tx:
            row = tx.execute("SELECT 1 FROM cells WHERE cell_id = 'sleep' AND state = 'running'").first()
        if row:
            break
        deadline -= 1
        threading.Event().wait(0.05)
    running.cancel_run(house.service, ANA, WEB, run.id)
    doing.join(20)
    with reading(house.service.engine) as tx:
        assert runs.get(tx, run.id).state is RunState.CANCELLED


def test_an_unreachable_database_fails_the_run_with_its_name(house, runbook, stuck):
    from dataclasses import replace

    connections = dict(house.service.connections)
    connections["orders-db"] = replace(connections["orders-db"], port=1)
    service = replace(house.service, connections=connections)
    run = running.request_run(service, ANA, WEB, "stuck-orders", {})
    house.job("diagnose")
    work.diagnose(replace(house.worker, service=service), run.id)
    with reading(house.service.engine) as tx:
        after = runs.get(tx, run.id)
    assert after.state is RunState.FAILED
    assert "orders-db" in after.reason


def test_without_approvers_nothing_is_proposed_and_the_mend_is_told(house, runbook, stuck):
    from dataclasses import replace

    from runbooks_app.core.policy import Floor

    connections = dict(house.service.connections)
    connections["orders-db"] = replace(connections["orders-db"], floor=Floor())
    service = replace(house.service, connections=connections)
    run = running.request_run(service, ANA, WEB, "stuck-orders", {})
    house.job("diagnose")
    work.diagnose(replace(house.worker, service=service), run.id)
    with reading(house.service.engine) as tx:
        assert proposals.of_run(tx, run.id) == []
        (problem,) = runs.get(tx, run.id).problems
    assert "approvers" in problem["message"]
    assert "orders-db.floor" in problem["fix"]


def test_by_hand_is_marked_always_high_risk_and_executed_once_approved(house, runbook, stuck):
    run, _ = diagnosed(house)
    made = deciding.propose_by_hand(
        house.service, ANA, WEB, run.id, "free-orders", {"state": "stuck", "seen": "1"}, "why"
    )
    assert made.by_hand
    assert made.policy["risk"] == "high"
    with pytest.raises(Refused):
        deciding.decide(
            house.service, Person("x#y", "Zed", roles=frozenset({"viewer"})), WEB, made.id, "deny", made.digest
        )
    approve(house.service, BEN, made)
    assert house.do_all() == ["remediate", "verify"]
    assert proposal_now(house, made).state is ProposalState.APPLIED
    assert count_stuck(stuck) == 0


def test_who_asked_may_withdraw(house, runbook, stuck):
    _, (made,) = diagnosed(house)
    withdrawn = deciding.withdraw(house.service, ANA, WEB, made.id)
    assert withdrawn.state is ProposalState.WITHDRAWN


def test_an_incident_is_noted_closed_and_told(house, runbook, stuck):
    run, _ = diagnosed(house)
    incidents.add_note(house.service, ANA, WEB, run.incident_id, "we see it too")
    incidents.close_incident(house.service, ANA, WEB, run.incident_id, "a deploy")
    told = incidents.export_postmortem(house.service, ANA, WEB, run.incident_id, "md")
    assert told.cause == "a deploy"
    assert [n.text for n in told.notes] == ["we see it too"]

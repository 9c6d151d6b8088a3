"""Workers that are killed, frozen or lose their kernels: nothing is lost, nothing is done twice, all is told."""

from __future__ import annotations

import os
import signal

import psycopg
from faults.checker import attempts, entries
from process_trees import children, descendants
from whole_stage import DIAGNOSIS, REMEDIATION, VERIFICATION, until

RESTING = 3
"""Processes below a worker that has no kernel: warden, zygote and its heir."""

ENDS_A_CELL_AND_WAITS = """
SELECT FROM pg_locks WHERE relation = 'cells'::regclass AND mode = 'RowExclusiveLock'
AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
"""


def test_a_diagnosis_whose_worker_is_killed_is_finished_by_another(crew, stage, drill, ana):
    with drill.held(DIAGNOSIS):
        run_id, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        until("the run's role to be the only one", lambda: len(drill.minted()) == 1)  # a connection may be under test
        (minted,) = drill.minted()
        crew.kill(crew.only)
        crew.hire()
        until("another attempt", lambda: len(attempts(stage, run_id)) == 2)
        drill.comes_to(DIAGNOSIS)
        until("the role of the dead worker to be swept", lambda: minted not in drill.minted())
    run = ana.run(run_id)
    assert (run["state"], run["in_part"]) == ("diagnosed", False), run
    first, second = attempts(stage, run_id)
    assert first != second
    assert len(run["proposals"]) == 1
    assert len(entries(stage, "run.lost", run=run_id)) == 1
    assert len(entries(stage, "run.ended", run=run_id)) == 1


def test_a_remediation_whose_worker_is_killed_is_unknown_told_verified_and_never_tried_again(
    crew, stage, drill, story, ana, ben
):
    proposal, word = drill.proposed(ana)
    with drill.held(REMEDIATION):
        assert ben.decision(proposal).status_code == 200
        drill.comes_to(REMEDIATION)
        crew.kill(crew.only)
        crew.hire()
        seen = ben.proposal(proposal["id"], "unknown")
    assert "not known" in seen["state_reason"]
    assert ben.verified(proposal["id"])["verification"] == "verified"  # the word was written before the kill
    assert drill.written(word) == 1
    until("the role to be swept", lambda: not drill.minted())
    until("the channel to be told", lambda: _told(story, proposal, "unknown"))
    assert ben.decision(proposal).status_code == 409


def _told(story, proposal, word):
    """Whether the channel's message about the proposal says this."""
    return any(
        proposal["id"] in str(message) and word in message["plain"].lower()
        for message in [m for top in story.messages() for m in (top, *top.get("replies", ()))]
    )


def test_an_approved_proposal_whose_worker_is_killed_before_the_start_starts_once(crew, stage, drill, ana, ben):
    proposal, word = drill.proposed(ana)
    with drill.held(DIAGNOSIS):
        assert ben.decision(proposal).status_code == 200
        drill.comes_to(DIAGNOSIS)  # the re-check runs: it is approved and not started
        crew.kill(crew.only)
        crew.hire()
        drill.comes_to(DIAGNOSIS)  # a re-check of the next worker
    assert ben.proposal(proposal["id"], "applied", "failed", "unknown", "stale")["state"] == "applied"
    assert ben.verified(proposal["id"])["verification"] == "verified"
    assert drill.written(word) == 1
    assert len(entries(stage, "remediation.started", proposal=proposal["id"])) == 1


def test_a_verification_whose_worker_is_killed_is_made_anew(crew, stage, drill, ana, ben):
    proposal, word = drill.proposed(ana)
    with drill.held(VERIFICATION):
        assert ben.decision(proposal).status_code == 200
        drill.comes_to(VERIFICATION)
        crew.kill(crew.only)
        crew.hire()
        drill.comes_to(VERIFICATION)
    assert ben.verified(proposal["id"])["verification"] == "verified"
    assert ben.proposal(proposal["id"], "applied")["state"] == "applied"
    assert drill.written(word) == 1


def test_a_killed_zygote_is_told_truthfully_and_the_next_run_works(crew, stage, drill, ana):
    with drill.held(DIAGNOSIS):
        run_id, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        # Only now: a worker that has just been hired has none of them yet.
        (warden,) = children(crew.only.pid)
        (zygote,) = children(warden)
        os.kill(zygote, signal.SIGKILL)
        run = ana.run(run_id)
    cells = {cell["id"]: cell for attempt in run["attempts"] for cell in attempt["cells"]}
    assert cells["first"]["state"] == "ok"
    assert cells["hold"]["state"] == "died", cells["hold"]
    assert cells["look"]["state"] == "never_ran", cells["look"]
    assert run["in_part"]
    assert run["proposals"] == []
    proposal, _ = drill.proposed(ana)
    assert proposal["state"] == "proposed"
    assert crew.only.poll() is None


def test_a_worker_frozen_past_its_lease_writes_nothing_late(crew, stage, drill, ana):
    frozen = crew.only
    with drill.held(DIAGNOSIS):
        run_id, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        frozen.send_signal(signal.SIGSTOP)
        crew.hire()
        until("another attempt", lambda: len(attempts(stage, run_id)) == 2)
        drill.comes_to(DIAGNOSIS)
    run = ana.run(run_id)
    before = ana.api(f"/runs/{run_id}?outputs=true")
    frozen.send_signal(signal.SIGCONT)
    until("the frozen worker to let go of its kernel", lambda: len(descendants(frozen.pid)) <= RESTING)
    assert ana.api(f"/runs/{run_id}?outputs=true") == before
    assert run["state"] == "diagnosed"
    assert len(entries(stage, "run.ended", run=run_id)) == 1
    assert len(run["proposals"]) == 1
    assert len(run["findings"]) == 1


def test_a_worker_frozen_while_it_executes_cannot_make_unknown_anything_else(crew, stage, drill, ana, ben):
    frozen = crew.only
    proposal, word = drill.proposed(ana)
    with drill.held(REMEDIATION):
        assert ben.decision(proposal).status_code == 200
        drill.comes_to(REMEDIATION)
        frozen.send_signal(signal.SIGSTOP)
        crew.hire()
        ben.proposal(proposal["id"], "unknown")
    ben.verified(proposal["id"])
    frozen.send_signal(signal.SIGCONT)
    until("the frozen worker to let go of its kernel", lambda: len(descendants(frozen.pid)) <= RESTING)
    seen = ben.proposal(proposal["id"], "unknown")
    assert "not known" in seen["state_reason"]
    assert drill.written(word) == 1
    assert len(entries(stage, "remediation.ended", proposal=proposal["id"])) == 1


def test_a_worker_frozen_in_the_middle_of_a_transaction_holds_nobody_up(crew, stage, drill, ana):
    frozen = crew.only
    with drill.held(DIAGNOSIS):
        run_id, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        holder = psycopg.connect(stage.database.url(database="runbooks"))
        holder.execute("SELECT FROM audit_head FOR UPDATE")
    with holder:
        until("the run's end to wait for the audit trail", lambda: holder.execute(ENDS_A_CELL_AND_WAITS).rowcount)
        frozen.send_signal(signal.SIGSTOP)
    # It has the head of the trail now, and the rows of its run.
    crew.hire()
    another, _ = drill.start(ana)
    run = ana.run(run_id)
    assert (run["state"], run["in_part"]) == ("diagnosed", False), run
    assert len(attempts(stage, run_id)) == 2
    assert ana.run(another)["state"] == "diagnosed"
    frozen.send_signal(signal.SIGCONT)
    until("the frozen worker to let go of its kernel", lambda: len(descendants(frozen.pid)) <= RESTING)
    assert len(entries(stage, "run.ended", run=run_id)) == 1

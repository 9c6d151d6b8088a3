"""Decisions that come twice, at once or too late: one start at most."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
from faults.checker import attempts, entries
from whole_stage import DIAGNOSIS, until


def at_once(*calls):
    """Make these calls at the same time; what each gave."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_a_command_that_slack_delivers_twice_is_one_run(crew, stage, story, linked, ana):
    before = {run["id"] for run in ana.api("/runs")["runs"]}
    story.command("U0ANA", "/runbook drill database=orders-db word=twice")
    again = httpx.post(f"{stage.slack_url}/control/redeliver", trust_env=False, timeout=10)
    assert again.json()["status"] == 200, again.text
    new = [run["id"] for run in ana.api("/runs")["runs"] if run["id"] not in before]
    assert len(new) == 1
    assert ana.run(new[0])["state"] == "diagnosed"
    assert len(entries(stage, "run.requested", run=new[0])) == 1


def test_a_provider_s_answer_that_comes_twice_starts_once(crew, stage, drill, ana, ben):
    proposal, word = drill.proposed(ana)
    at_provider = ben.send_decision(proposal["id"], "approve", "go")
    back = ben.client.post(at_provider.url, data={"sub": ben.sub}, follow_redirects=False).headers["Location"]
    answers = at_once(lambda: ben.client.get(back), lambda: ben.client.get(back))
    assert min(answer.status_code for answer in answers) == 200
    assert {answer.status_code for answer in answers} <= {200, 401, 403, 409}
    _applied_once(stage, drill, ben, proposal, word)
    assert len(entries(stage, "proposal.approved", proposal=proposal["id"])) == 1


def test_two_approvers_at_once_start_once(crew, stage, drill, ana, ben, cat):
    proposal, word = drill.proposed(ana)
    answers = at_once(lambda: ben.decision(proposal), lambda: cat.decision(proposal))
    assert 200 in {answer.status_code for answer in answers}
    assert {answer.status_code for answer in answers} <= {200, 409}
    _applied_once(stage, drill, ben, proposal, word)


def test_an_approval_and_a_denial_at_once_have_one_outcome_and_a_denial_that_counted_wins(
    crew, stage, drill, ana, ben, cat
):
    proposal, word = drill.proposed(ana)
    with drill.held(DIAGNOSIS):  # it cannot start before both have spoken
        approval, denial = at_once(lambda: ben.decision(proposal), lambda: cat.decision(proposal, "deny", "no"))
        assert denial.status_code == 200, denial.text
        assert approval.status_code in {200, 409}
    assert ben.proposal(proposal["id"], "denied")["state"] == "denied"
    until("the re-check to end", lambda: not drill.minted())
    assert attempts(stage, proposal["run"], "remediate") == []
    assert drill.written(word) == 0


def test_an_approved_proposal_that_expires_before_its_start_is_not_started(crew, stage, drill, ana, ben):
    proposal, word = drill.proposed(ana)
    with drill.held(DIAGNOSIS):
        assert ben.decision(proposal).status_code == 200
        drill.comes_to(DIAGNOSIS)
        with psycopg.connect(stage.database.url(database="runbooks"), autocommit=True) as owner:
            owner.execute("UPDATE proposals SET expires_at = now() WHERE id = %s", [proposal["id"]])
    seen = ben.proposal(proposal["id"], "expired")
    assert "could not start in time" in seen["state_reason"]
    until("the re-check to end", lambda: not drill.minted())
    assert attempts(stage, proposal["run"], "remediate") == []
    assert drill.written(word) == 0


def _applied_once(stage, drill, person, proposal, word):
    assert person.proposal(proposal["id"], "applied", "failed", "unknown", "stale")["state"] == "applied"
    assert person.verified(proposal["id"])["verification"] == "verified"
    assert len(attempts(stage, proposal["run"], "remediate")) == 1
    assert len(entries(stage, "remediation.started", proposal=proposal["id"])) == 1
    assert drill.written(word) == 1

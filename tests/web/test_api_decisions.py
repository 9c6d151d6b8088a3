"""Decisions by the JSON API: the same rules as on pages, also for who asked, repeats or sends another digest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbooks_app.store import revisions
from runbooks_app.store.database import new_id, reading, transaction
from runbooks_app.web.app import create_app


def error_of(told) -> dict:
    return told.json["error"]


def decide(browser, proposal_id: str, verdict: str = "approve", digest: str = ""):
    digest = digest or browser.get(f"/api/v1/proposals/{proposal_id}").json["digest"]
    return browser.post(f"/api/v1/proposals/{proposal_id}/decisions", {"verdict": verdict, "digest": digest})


def test_a_proposal_comes_with_the_cell_that_it_would_run(sign_in_as, diagnosed):
    anna = sign_in_as("responder")
    told = anna.get(f"/api/v1/proposals/{diagnosed(anna.person)[1]}").json
    assert told["source"].startswith("pid: int  # session to end\nkit.gate(")
    assert "pg_terminate_backend" in told["source"]
    assert told["names"] == {anna.person.subject: anna.person.name}
    assert told["why_not"] == "You asked for this; somebody else has to decide."
    assert sign_in_as("approver:database").get(f"/api/v1/proposals/{told['id']}").json["why_not"] == ""


def test_an_approver_approves_what_they_were_shown_and_the_remediation_is_queued(sign_in_as, diagnosed, service):
    anna, ben = sign_in_as("responder"), sign_in_as("approver:database")
    _, proposal_id = diagnosed(anna.person)
    assert proposal_id in [p["id"] for p in ben.get("/api/v1/proposals").json["proposals"]]
    told = decide(ben, proposal_id)
    assert (told.status_code, told.json["state"]) == (200, "approved")
    assert [(d["by"], d["verdict"]) for d in told.json["decisions"]] == [(ben.person.name, "approve")]
    with reading(service.engine) as tx:
        jobs = tx.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'remediate'"
                          " AND args->>'proposal_id' = :id", id=proposal_id)  # fmt: skip
        assert jobs.scalar_one() == 1
        how = tx.execute("SELECT signed_in FROM decisions WHERE proposal_id = :id", id=proposal_id).scalar_one()
    assert how["surface"] == "api"
    assert how["auth_time"]


def test_nobody_approves_what_they_asked_for_also_with_every_role(sign_in_as, diagnosed, held):
    anna = sign_in_as("responder", "approver:database", "admin")
    _, proposal_id = diagnosed(anna.person)
    again = sign_in_as("approver:database", "responder", subject=anna.person.subject, name="Another name")
    before = held()
    for browser in (anna, again):
        told = decide(browser, proposal_id)
        assert (told.status_code, error_of(told)["code"]) == (403, "refused")
        assert "somebody else has to decide" in error_of(told)["message"]
    after = held()
    assert after.tables == before.tables
    assert after.since(before) == ["access.refused"] * 2


def test_a_rerun_does_not_hide_who_asked_first(sign_in_as, diagnosed):
    anna, ben = sign_in_as("responder", "approver:database"), sign_in_as("responder")
    run_id, _ = diagnosed(anna.person)
    told = ben.post("/api/v1/runs", {"runbook": "disk-full", "rerun_of": run_id})
    assert told.status_code == 201
    assert told.json["rerun_of"] == run_id


@pytest.mark.pages
def test_a_run_of_another_runbook_is_no_run_to_repeat(sign_in_as, diagnosed, service, held):
    """Else whoever asks chooses the requesters, and so keeps an approver from deciding."""
    anna, ben = sign_in_as("responder"), sign_in_as("responder", "approver:database")
    run_id, _ = diagnosed(ben.person)
    of_another(service, run_id)
    before = held()
    told = anna.post("/api/v1/runs", {"runbook": "disk-full", "rerun_of": run_id})
    assert told.status_code == 422
    assert error_of(told)["problems"][0]["where"] == "rerun_of"
    again = anna.client.post(f"/runs/{run_id}/again", data={"csrf": anna.csrf}, headers=anna.headers)
    assert again.status_code == 422
    assert "is a run of another runbook" in again.text
    assert held().tables == before.tables


def of_another(service, run_id):
    """Have a run be one of another runbook, which had this name once."""
    with transaction(service.engine) as tx:
        digest = new_id()
        revisions.keep(tx, digest, "9d3c1d53-0d39-4b52-a9cf-5fb2f1d1a3a7", "disk-full", {})
        tx.execute("UPDATE runs SET revision = :digest WHERE id = :id", digest=digest, id=run_id)


@pytest.mark.parametrize("roles", [["viewer"], ["responder"], ["auditor"], ["admin"], ["author"], ["approver:network"]])
def test_nobody_but_an_approver_for_the_connection_decides(sign_in_as, diagnosed, roles):
    _, proposal_id = diagnosed(sign_in_as("responder").person)
    assert decide(sign_in_as(*roles), proposal_id).status_code == 403


def test_a_decision_on_another_proposals_digest_is_refused(sign_in_as, diagnosed):
    anna, ben = sign_in_as("responder"), sign_in_as("approver:database")
    _, first = diagnosed(anna.person, pid=1)
    _, second = diagnosed(anna.person, pid=2)
    other = ben.get(f"/api/v1/proposals/{first}").json["digest"]
    told = decide(ben, second, digest=other)
    assert (told.status_code, error_of(told)["code"]) == (409, "conflict")
    assert ben.get(f"/api/v1/proposals/{second}").json["state"] == "proposed"


def test_a_double_click_counts_once_and_the_second_is_told_so(sign_in_as, diagnosed):
    ben = sign_in_as("approver:database")
    _, proposal_id = diagnosed(sign_in_as("responder").person)
    assert decide(ben, proposal_id).status_code == 200
    assert decide(ben, proposal_id).status_code == 409


def test_an_expired_proposal_is_not_decided(sign_in_as, diagnosed, service):
    ben = sign_in_as("approver:database")
    _, proposal_id = diagnosed(sign_in_as("responder").person)
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = now() - interval '1 s' WHERE id = :id", id=proposal_id)
    assert decide(ben, proposal_id).status_code == 409


def test_a_remediation_proposed_by_hand_is_high_risk_and_can_be_withdrawn_by_who_asked(sign_in_as, diagnosed):
    anna, ben = sign_in_as("responder"), sign_in_as("responder")
    run_id, _ = diagnosed(anna.person)
    told = ben.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": 7}, "reason": "r"})
    assert told.status_code == 201
    assert (told.json["by_hand"], told.json["policy"]["risk"]) == (True, "high")
    assert told.json["requesters"] == sorted([anna.person.subject, ben.person.subject])
    address = told.headers["Location"]
    assert sign_in_as("responder").post(address + "/withdraw").status_code == 403
    assert ben.post(address + "/withdraw").json["state"] == "withdrawn"
    told = ben.post(
        f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": "x; DROP"}, "reason": "r"}
    )
    assert (told.status_code, error_of(told)["problems"][0]["where"]) == (422, "pid")
    assert ben.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "nothing", "reason": "r"}).status_code == 404


@pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": " \n"}])
def test_nothing_is_proposed_by_hand_without_a_reason(sign_in_as, diagnosed, held, reason):
    anna = sign_in_as("responder")
    run_id, _ = diagnosed(anna.person)
    before = held()
    told = anna.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": 7}, **reason})
    assert (told.status_code, [p["where"] for p in error_of(told)["problems"]]) == (422, ["reason"])
    assert held().tables == before.tables


def test_a_token_in_a_reason_is_refused_and_goes_into_no_trail(sign_in_as, diagnosed, held):
    anna, ben = sign_in_as("responder"), sign_in_as("approver:database")
    run_id, proposal_id = diagnosed(anna.person)
    digest = ben.get(f"/api/v1/proposals/{proposal_id}").json["digest"]
    before, reason = held(), "As ghp_" + "a1B2" * 9 + " shows"
    for told in (
        ben.post(f"/api/v1/proposals/{proposal_id}/decisions", {"verdict": "deny", "digest": digest, "reason": reason}),
        anna.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": 7}, "reason": reason}),
    ):
        (problem,) = error_of(told)["problems"]
        assert (told.status_code, problem["where"]) == (422, "reason")
        assert problem["message"] == "holds what looks like a GitHub token."
    after = held()
    assert (after.tables, after.since(before)) == (before.tables, [])


@pytest.mark.identity
def test_high_risk_is_approved_on_its_page_alone_and_denied_from_anywhere(sign_in_as, diagnosed, service, held):
    anna, ben = sign_in_as("responder"), sign_in_as("approver:database")
    run_id, _ = diagnosed(anna.person)
    made = anna.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": 7}, "reason": "r"})
    before = held()
    told = decide(ben, made.json["id"])
    assert (told.status_code, error_of(told)["code"]) == (403, "signed_decision_required")
    assert error_of(told)["problems"][0]["fix"] == f"Approve it at http://127.0.0.1:8080/proposals/{made.json['id']}"
    assert held().tables == before.tables
    with_token = {"verdict": "approve", "digest": made.json["digest"], "id_token": "x.y.z"}
    assert ben.post(f"/api/v1/proposals/{made.json['id']}/decisions", with_token).status_code == 422
    assert decide(ben, made.json["id"], "deny").json["state"] == "denied"


def test_a_proposal_that_a_human_asked_for_needs_no_sponsor(sign_in_as, diagnosed):
    _, proposal_id = diagnosed(sign_in_as("responder").person)
    assert sign_in_as("responder").post(f"/api/v1/proposals/{proposal_id}/sponsor").status_code == 409


def test_with_remediation_off_nothing_is_approved(sign_in_as, diagnosed, service):
    off = replace(service, settings=service.settings.model_copy(update={"remediation": "off"}))
    ben = sign_in_as("approver:database")
    ben.client = create_app(off, secret_key=b"x" * 32).test_client()
    ben.client.set_cookie("runbooks", ben.cookie)
    _, proposal_id = diagnosed(sign_in_as("responder").person)
    told = decide(ben, proposal_id)
    assert (told.status_code, "diagnose-only" in error_of(told)["message"]) == (403, True)
    assert decide(ben, proposal_id, "deny").status_code == 200

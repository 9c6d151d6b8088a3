"""The JSON API: the same actions as everywhere, what clients may not send, and what rules say through it."""

from __future__ import annotations

import json
from dataclasses import replace

import nbformat
import pytest

from runbooks_app.core.audit import Entry, entry_hash
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.app import create_app


def error_of(told) -> dict:
    return told.json["error"]


def test_me_tells_who_is_signed_in_and_the_token_to_send(sign_in_as):
    anna = sign_in_as("responder", "approver:database")
    told = anna.get("/api/v1/me").json
    assert (told["subject"], told["csrf"]) == (anna.person.subject, anna.csrf)
    assert told["roles"] == ["approver:database", "responder"]


def test_runbooks_come_with_the_schema_of_their_parameters_and_broken_ones_with_their_problems(sign_in_as):
    told = sign_in_as("viewer").get("/api/v1/runbooks").json
    assert [runbook["name"] for runbook in told["runbooks"]] == ["disk-full"]
    schema = told["runbooks"][0]["parameters"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["limit"]["type"] == "integer"
    assert told["runbooks"][0]["gates"][0]["inputs"][0]["name"] == "pid"
    assert [broken["name"] for broken in told["broken"]] == ["broken"]


def test_an_unknown_runbook_is_told_with_what_may_have_been_meant(sign_in_as):
    told = sign_in_as("viewer").get("/api/v1/runbooks/disk-ful")
    assert told.status_code == 404
    assert "Did you mean disk-full?" in error_of(told)["message"]


def test_a_run_is_kept_with_its_job_and_its_entry_once_it_is_answered(sign_in_as, service):
    anna = sign_in_as("responder")
    told = anna.post("/api/v1/runs", {"runbook": "disk-full", "parameters": {"limit": 5}})
    assert told.status_code == 201
    run = anna.get(told.headers["Location"]).json
    assert (run["id"], run["state"]) == (told.json["id"], "queued")
    assert run["parameters"] == {"database": "orders-db", "note": "", "limit": 5}
    assert run["requested_by"] == {"kind": "person", "name": anna.person.name, "subject": anna.person.subject}
    with reading(service.engine) as tx:
        jobs = tx.execute("SELECT task_name FROM procrastinate_jobs WHERE args->>'run_id' = :id", id=run["id"])
        assert jobs.scalars().all() == ["diagnose"]
        events = tx.execute("SELECT event FROM audit_entries WHERE objects::jsonb @> :run", run={"run": run["id"]})
        assert events.scalars().all() == ["run.requested"]


@pytest.mark.parametrize(
    ("parameters", "where", "what"),
    [
        ({"limits": 5}, "limits", "Did you mean limit?"),
        ({"limit": "many"}, "limit", ""),
        ({"limit": 1.5}, "limit", ""),
        ({"limit": 2**70}, "limit", ""),
        ({"limit": None}, "limit", ""),
        ({"note": ["a"]}, "note", ""),
        ({"note": json.loads("[" * 900 + "]" * 900)}, "note", ""),
        ({"database": "prod-db"}, "database", ""),
        ({"__import__": 1}, "__import__", ""),
        ({"": 1}, "", ""),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named_and_nothing_is_kept(sign_in_as, held, parameters, where, what):
    anna = sign_in_as("responder")
    before = held()
    told = anna.post("/api/v1/runs", {"runbook": "disk-full", "parameters": parameters})
    assert told.status_code == 422
    problem = error_of(told)["problems"][0]
    assert problem["where"] == where
    assert what in problem["fix"]
    assert held() == before


@pytest.mark.parametrize(
    "text",
    ["'); DROP TABLE runs; --", '"""\nimport os\n', "{{7*7}}", "<script>", "\u202e\u2028 \U0001f642", "x" * 10_000],
)
def test_hostile_text_in_a_parameter_is_kept_as_the_text_that_it_is(sign_in_as, text):
    anna = sign_in_as("responder")
    told = anna.post("/api/v1/runs", {"runbook": "disk-full", "parameters": {"note": text}})
    if told.status_code == 201:
        assert anna.get(told.headers["Location"]).json["parameters"]["note"] == text
    else:
        assert (told.status_code, error_of(told)["problems"][0]["where"]) == (422, "note")


BODIES = {
    "no JSON": b"{",
    "not UTF-8": b'{"runbook": "\xff"}',
    "a list": b'["disk-full"]',
    "null": b"null",
    "NaN": b'{"runbook": "disk-full", "parameters": {"limit": NaN}}',
    "infinity": b'{"runbook": "disk-full", "parameters": {"limit": -Infinity}}',
    "a name twice": b'{"runbook": "disk-full", "runbook": "other"}',
    "a NUL": b'{"runbook": "disk-full", "parameters": {"note": "\\u0000"}}',
    "a NUL in a name": b'{"runbook": "disk-full", "parameters": {"\\u0000": 1}}',
    "half a character": b'{"runbook": "disk-full", "parameters": {"note": "\\ud800"}}',
    "too deep": b'{"parameters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number as name": b'{"runbook": 1}',
    "a number with very many digits": b'{"runbook": "disk-full", "incident": ' + b"9" * 5_000 + b"}",
    "nothing": b"",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_cannot_be_read_is_refused_and_nothing_is_kept(sign_in_as, held, body):
    anna = sign_in_as("responder")
    before = held()
    headers = {**anna.headers, "X-CSRF-Token": anna.csrf}
    told = anna.client.post("/api/v1/runs", data=BODIES[body], content_type="application/json", headers=headers)
    assert (told.status_code, error_of(told)["code"]) == (422, "invalid_input")
    assert held() == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_of_another_site_could_send_is_refused(sign_in_as, held, kind):
    anna = sign_in_as("responder")
    before = held()
    headers = {**anna.headers, "X-CSRF-Token": anna.csrf}
    told = anna.client.post("/api/v1/runs", data=b'{"runbook": "disk-full"}', content_type=kind, headers=headers)
    assert (told.status_code, error_of(told)["code"]) == (415, "unsupported_media_type")
    assert held() == before


FOREIGN = ["requesters", "requested_by", "state", "id", "digest", "channel", "purpose", "proposal_id", "roles", "csrf"]


def test_nobody_sets_a_field_that_is_not_theirs_to_set(sign_in_as, diagnosed, held):
    anna = sign_in_as("responder", "approver:database")
    run_id, proposal_id = diagnosed(anna.person)
    incident = anna.post("/api/v1/incidents", {"title": "x"}).json["id"]
    good = {
        "/api/v1/runs": {"runbook": "disk-full"},
        f"/api/v1/runs/{run_id}/cancel": {},
        f"/api/v1/runs/{run_id}/proposals": {"gate": "end-session", "inputs": {"pid": 1}},
        f"/api/v1/proposals/{proposal_id}/sponsor": {},
        f"/api/v1/proposals/{proposal_id}/withdraw": {},
        f"/api/v1/proposals/{proposal_id}/decisions": {"verdict": "deny", "digest": "0" * 64},
        "/api/v1/incidents": {"title": "y"},
        f"/api/v1/incidents/{incident}/close": {"cause": "z"},
        f"/api/v1/incidents/{incident}/notes": {"text": "z"},
        f"/api/v1/incidents/{incident}/exports": {"kind": "md"},
    }
    before = held()
    for address, body in good.items():
        for name in {*FOREIGN, "subject", "by_hand", "policy", "approvers", "expires_at"} - set(body):
            if (address, name) == ("/api/v1/incidents", "channel"):
                continue
            told = anna.post(address, {**body, name: "x"})
            assert (address, told.status_code, error_of(told)["problems"][0]["where"]) == (address, 422, name)
    assert held() == before


def test_queries_take_only_what_they_name(sign_in_as):
    anna = sign_in_as("viewer", "auditor")
    for query in ("limit=0", "limit=100000", "limit=x", "order=id", "limit=1&limit=2", "incident=-1"):
        told = anna.get("/api/v1/runs?" + query)
        assert (query, told.status_code) == (query, 422)
    for query in ("event=%27OR%201", "before=0", "words=" + "x" * 300):
        assert anna.get("/api/v1/audit?" + query).status_code == 422


def test_runs_are_paged_by_a_cursor(sign_in_as):
    anna = sign_in_as("responder")
    incident = anna.post("/api/v1/incidents", {"title": "pages"}).json["id"]
    asked = [anna.post("/api/v1/runs", {"runbook": "disk-full", "incident": incident}).json["id"] for _ in range(5)]
    seen, cursor = [], ""
    for _ in range(3):
        told = anna.get(f"/api/v1/runs?incident={incident}&limit=2&before={cursor}").json
        seen += [run["id"] for run in told["runs"]]
        cursor = told["next"]
    assert seen == asked[::-1]
    assert cursor is None


def test_a_run_is_cancelled_by_who_asked_and_not_by_a_viewer(sign_in_as):
    anna, ben = sign_in_as("responder"), sign_in_as("viewer")
    run = anna.post("/api/v1/runs", {"runbook": "disk-full"}).json["id"]
    assert ben.post(f"/api/v1/runs/{run}/cancel").status_code == 403
    assert anna.post(f"/api/v1/runs/{run}/cancel").json["state"] == "cancelled"


def test_a_diagnosed_run_tells_its_cells_and_its_proposals(sign_in_as, diagnosed):
    anna = sign_in_as("responder")
    run_id, proposal_id = diagnosed(anna.person)
    told = anna.get(f"/api/v1/runs/{run_id}").json
    assert told["state"] == "diagnosed"
    assert [(c["id"], c["state"]) for c in told["attempts"][0]["cells"]][-1] == ("look", "ok")
    assert "outputs" not in told["attempts"][0]["cells"][0]
    assert [p["id"] for p in told["proposals"]] == [proposal_id]
    told = anna.get(f"/api/v1/runs/{run_id}?outputs=true").json
    assert told["attempts"][0]["cells"][0]["outputs"] == []


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
    told = ben.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": "x; DROP"}})
    assert (told.status_code, error_of(told)["problems"][0]["where"]) == (422, "pid")
    assert ben.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "nothing"}).status_code == 404


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


def test_an_incident_is_opened_noted_exported_and_closed(sign_in_as, diagnosed):
    anna = sign_in_as("responder")
    incident = anna.post("/api/v1/incidents", {"title": "Disk & <full>"}).json["id"]
    address = f"/api/v1/incidents/{incident}"
    anna.post("/api/v1/runs", {"runbook": "disk-full", "incident": incident})
    assert anna.post(address + "/notes", {"text": "it was the log"}).status_code == 201
    told = anna.get(address).json
    assert (len(told["runs"]), [note["text"] for note in told["notes"]]) == (1, ["it was the log"])
    assert incident in [i["id"] for i in anna.get("/api/v1/incidents").json["incidents"]]
    for kind in ("ipynb", "html", "md"):
        exported = anna.post(address + "/exports", {"kind": kind})
        assert exported.status_code == 200
        assert f'filename="postmortem-{incident}.{kind}"' in exported.headers["Content-Disposition"]
        assert exported.headers["Content-Security-Policy"].startswith("sandbox")
        assert "<full>" not in exported.text or kind != "html"
        if kind == "ipynb":
            nbformat.validate(nbformat.reads(exported.text, as_version=4))
    closed = anna.post(address + "/close", {"cause": "log rotation"})
    assert (closed.status_code, closed.json["cause"]) == (200, "log rotation")
    assert anna.post(address + "/close", {"cause": "again"}).status_code == 409
    assert incident not in [i["id"] for i in anna.get("/api/v1/incidents").json["incidents"]]
    assert incident in [i["id"] for i in anna.get("/api/v1/incidents?state=all").json["incidents"]]
    assert anna.post("/api/v1/runs", {"runbook": "disk-full", "incident": incident}).status_code == 403


def test_the_trail_is_read_by_auditors_alone_and_each_entry_can_be_checked(sign_in_as):
    anna, auditor = sign_in_as("responder"), sign_in_as("auditor")
    for address in ("/api/v1/audit", "/api/v1/audit/1", "/api/v1/audit/head", "/api/v1/audit/verification"):
        assert anna.get(address).status_code == 403
    anna.post("/api/v1/incidents", {"title": "for the trail"})
    told = auditor.get("/api/v1/audit?event=incident.opened&limit=1").json
    line = told["entries"][0]
    assert line["body"]["title"] == "for the trail"
    assert told["next"] == line["seq"]
    assert entry_hash(Entry.from_json(line)) == line["hash"]
    one = auditor.get(f"/api/v1/audit/{line['seq']}").json
    assert json.loads(one["envelope"])["seq"] == line["seq"]
    head = auditor.get("/api/v1/audit/head").json
    verdict = auditor.get("/api/v1/audit/verification").json
    assert verdict["ok"] is True
    assert verdict["entries"] >= head["seq"]
    assert auditor.get("/api/v1/audit/999999").status_code == 404


def test_with_remediation_off_nothing_is_approved(sign_in_as, diagnosed, service):
    off = replace(service, settings=service.settings.model_copy(update={"remediation": "off"}))
    ben = sign_in_as("approver:database")
    ben.client = create_app(off, secret_key=b"x" * 32).test_client()
    ben.client.set_cookie("runbooks", ben.cookie)
    _, proposal_id = diagnosed(sign_in_as("responder").person)
    told = decide(ben, proposal_id)
    assert (told.status_code, "diagnose-only" in error_of(told)["message"]) == (403, True)
    assert decide(ben, proposal_id, "deny").status_code == 200

"""The JSON API: the same actions as everywhere, what clients may not send, and what rules say through it."""

from __future__ import annotations

import json

import nbformat
import pytest
from sqlalchemy import event

from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.api import runs as run_routes


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
        f"/api/v1/runs/{run_id}/proposals": {"gate": "end-session", "inputs": {"pid": 1}, "reason": "r"},
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


@pytest.fixture
def printed(service, diagnosed):
    """`printed(person, texts)` is a run whose cells printed these texts, by their ids; and the id of its attempt."""

    def put(person, texts: dict[str, str]) -> tuple[str, int]:
        run_id, _ = diagnosed(person)
        with transaction(service.engine) as tx:
            (attempt,) = runs.attempts(tx, run_id)
            for cell, text in texts.items():
                outputs = [{"output_type": "stream", "name": "stdout", "text": text}]
                tx.execute(
                    "UPDATE cells SET outputs = :outputs WHERE attempt_id = :attempt AND cell_id = :cell",
                    outputs=outputs,
                    attempt=attempt.id,
                    cell=cell,
                )
        return run_id, attempt.id

    return put


def test_outputs_beyond_what_an_answer_has_room_for_are_told_by_their_addresses(sign_in_as, printed, monkeypatch):
    monkeypatch.setattr(run_routes, "MOST_OUTPUTS", 1_000)
    anna = sign_in_as("responder")
    run_id, attempt = printed(anna.person, {"parameters": "a" * 500, "setup": "b" * 500, "look": "c"})
    cells = {cell["id"]: cell for cell in anna.get(f"/api/v1/runs/{run_id}?outputs=true").json["attempts"][0]["cells"]}
    assert cells["parameters"]["outputs"][0]["text"] == "a" * 500
    assert "outputs_at" not in cells["parameters"]
    for cell, text in (("setup", "b" * 500), ("look", "c")):
        assert cells[cell]["outputs_at"] == f"/api/v1/runs/{run_id}/cells/{attempt}/{cell}"
        assert "outputs" not in cells[cell]
        assert anna.get(cells[cell]["outputs_at"]).json["outputs"][0]["text"] == text
    assert anna.get(f"/api/v1/runs/{run_id}/cells/{attempt}/nothing").status_code == 404
    other, _ = printed(anna.person, {})
    assert anna.get(f"/api/v1/runs/{other}/cells/{attempt}/look").status_code == 404


def test_an_incident_brings_the_latest_of_its_proposals_in_order(sign_in_as, diagnosed, monkeypatch):
    anna = sign_in_as("responder")
    incident = f"/api/v1/incidents/{anna.post('/api/v1/incidents', {'title': 'slow'}).json['id']}"
    made = [diagnosed(anna.person, pid) for pid in range(3)]
    for run_id, _ in made:
        assert anna.post(f"{incident}/runs", {"run": run_id}).status_code == 200
    assert [one["id"] for one in anna.get(incident).json["proposals"]] == [proposal for _, proposal in made]
    monkeypatch.setattr("runbooks_app.web.api.incidents.MOST_SHOWN", 2)
    assert [one["id"] for one in anna.get(incident).json["proposals"]] == [proposal for _, proposal in made[1:]]


def test_what_cells_printed_is_read_where_it_is_asked_for_alone(sign_in_as, printed, web_engine):
    anna = sign_in_as("responder")
    run_id, _ = printed(anna.person, {"look": "c" * 500})
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        statements.append(" ".join(statement.split()))

    event.listen(web_engine, "before_cursor_execute", note)
    try:
        anna.get(f"/api/v1/runs/{run_id}")
    finally:
        event.remove(web_engine, "before_cursor_execute", note)
    of_cells = [one for one in statements if "FROM cells" in one]
    assert of_cells
    assert [one for one in of_cells if "*" in one] == []


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
    assert anna.post("/api/v1/runs", {"runbook": "disk-full", "incident": incident}).status_code == 409

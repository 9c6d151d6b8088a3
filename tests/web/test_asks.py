"""Asks and what people write about an incident, through the API: made, read, changed, and by whom not."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from hostile_provider import rs256

from runbooks_app.actions import diagnosing
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.core.run import CellState
from runbooks_app.store import incidents
from runbooks_app.store.database import reading

pytestmark = pytest.mark.pages

SOURCE = "%%sql orders-db\nSELECT 1\n# %%\nlimit"


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


@pytest.fixture
def ended(service):
    """`ended(run_id)` has a worker answer what was asked."""

    def end(run_id):
        claim = diagnosing.claim_run(service, run_id, "w1")
        said, now = diagnosing.Said(), datetime.now(UTC)
        told = [CellTold(cell.id, CellState.OK, now, now, execution_count=1) for cell in claim.cells]
        record_cells(service, claim, told, said)
        diagnosing.finish_run(service, claim, said, "")

    return end


@pytest.fixture
def incident(sign_in_as):
    return f"/api/v1/incidents/{sign_in_as('responder').post('/api/v1/incidents', {'title': 'slow'}).json['id']}"


@pytest.fixture
def agent(client, provider):
    """`agent(method, path, body)` asks the API as the agent of the person with that subject at the provider."""

    def ask(subject, method, path, body=None):
        now = int(time.time())
        claims = {"iss": provider.url, "aud": "http://127.0.0.1:8080", "sub": subject, "name": "Anna", "iat": now}
        claims |= {"groups": ["oncall", "dba"], "client_id": "runbooks-agent", "exp": now + 300}
        headers = {"Authorization": "Bearer " + rs256(claims, typ="at+jwt"), "Runbooks-Agent": "helper"}
        return client.open(path, method=method, json=body, headers=headers)

    return ask


def entries(service, event, **objects):
    with reading(service.engine) as tx:
        rows = tx.execute(
            "SELECT actor::jsonb AS actor, body::jsonb AS body FROM audit_entries"
            " WHERE event = :event AND objects::jsonb @> :objects ORDER BY seq",
            event=event,
            objects=objects,
        )
        return [(row.actor["name"], row.body) for row in rows]


def test_what_is_asked_of_a_run_is_read_with_the_run_that_answers(sign_in_as, diagnosed, service, ended):
    anna = sign_in_as("responder")
    run_id, _ = diagnosed(anna.person)
    made = anna.post(f"/api/v1/runs/{run_id}/asks", {"source": SOURCE, "hypothesis": "It is the index"})
    assert (made.status_code, made.json["purpose"]) == (201, "ask"), made.text
    assert made.json["parameters"] == {"database": "orders-db", "note": "", "limit": 10}
    told = sign_in_as("viewer").get(made.headers["Location"]).json
    assert told["ask"] == {
        "of_run": run_id,
        "hypothesis": "It is the index",
        "source": SOURCE,
        "conclusion": "",
        "concluded_by": None,
        "concluded_at": None,
    }
    ((name, body),) = entries(service, "run.requested", run=made.json["id"])
    assert (name, body["purpose"], body["source"]) == (anna.person.name, "ask", SOURCE)
    assert anna.get(f"/api/v1/runs/{run_id}").json["ask"] is None
    again = {"source": "limit + 1", "rerun_of": made.json["id"]}
    assert anna.post(f"/api/v1/runs/{run_id}/asks", again).json["rerun_of"] == made.json["id"]
    assert anna.post(f"/api/v1/runs/{run_id}/asks", {**again, "rerun_of": run_id}).status_code == 422

    conclusion = f"/api/v1/runs/{made.json['id']}/conclusion"
    assert anna.post(conclusion, {"conclusion": "It is"}).status_code == 409
    ended(made.json["id"])
    written = anna.post(conclusion, {"conclusion": "It is"}, Idempotency_Key="concluded")
    assert (written.status_code, written.json["ask"]["conclusion"]) == (200, "It is")
    assert written.json["ask"]["concluded_by"]["name"] == anna.person.name
    assert anna.post(conclusion, {"conclusion": "It is"}, Idempotency_Key="concluded").json == written.json
    assert anna.post(conclusion, {"conclusion": "It is not"}).status_code == 409
    assert anna.post(conclusion, {"conclusion": " ", "was": "It is"}).status_code == 422
    assert anna.post(f"/api/v1/runs/{run_id}/conclusion", {"conclusion": "x"}).status_code == 404
    assert len(entries(service, "ask.concluded", run=made.json["id"])) == 1


def test_what_is_asked_of_an_incident_is_read_with_it(sign_in_as, incident):
    anna = sign_in_as("responder")
    made = anna.post(f"{incident}/asks", {"source": "1 + 1"})
    assert made.status_code == 201, made.text
    (told,) = anna.get(incident).json["asks"]
    assert (told["id"], told["state"], told["ask"]["source"]) == (made.json["id"], "queued", "1 + 1")
    assert told["ask"]["of_run"] is None
    assert anna.get(incident).json["runs"] == []


def test_asks_are_read_page_by_page(sign_in_as, incident):
    anna = sign_in_as("responder")
    made = [anna.post(f"{incident}/asks", {"source": str(n)}).json["id"] for n in range(3)]
    page = anna.get(f"{incident}/asks?limit=2").json
    rest = anna.get(f"{incident}/asks?limit=2&before={page['next']}").json
    assert [one["id"] for one in page["asks"] + rest["asks"]] == made[::-1]
    assert rest["next"] is None
    unknown = anna.get(f"{incident}/asks?before=nothing")
    assert (unknown.status_code, unknown.json["error"]["problems"][0]["where"]) == (422, "before")
    assert anna.get("/api/v1/incidents/999999999/asks").status_code == 404


@pytest.mark.parametrize("wanted", ["an ask of it", "a run that repeats it"])
def test_who_wants_more_of_a_run_and_who_attaches_it_elsewhere_do_not_wait_in_a_circle(
    sign_in_as, diagnosed, incident, service, monkeypatch, wanted
):
    anna, ben = sign_in_as("responder"), sign_in_as("responder")
    run_id, _ = diagnosed(anna.person)
    before = anna.get(f"/api/v1/runs/{run_id}").json["incident"]
    elsewhere = int(incident.rpartition("/")[2])
    sent = {
        "an ask of it": (f"/api/v1/runs/{run_id}/asks", {"source": "1"}),
        "a run that repeats it": ("/api/v1/runs", {"runbook": "disk-full", "incident": before, "rerun_of": run_id}),
    }[wanted]
    told = []
    other = threading.Thread(target=lambda: told.append(ben.post(*sent)))

    def waits():
        with reading(service.engine) as tx:
            return tx.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).rowcount

    def get(tx, incident_id, *, lock=False):
        """Who attaches holds the run here; the other one comes as far as they get before the incident is locked."""
        if lock and threading.current_thread() is not other and not other.ident:
            other.start()
            while other.is_alive() and not waits():
                time.sleep(0.01)
        return real(tx, incident_id, lock=lock)

    real = incidents.get
    monkeypatch.setattr(incidents, "get", get)
    attached = anna.post(f"{incident}/runs", {"run": run_id})
    other.join(20)
    assert (attached.status_code, told[0].status_code) == (200, 201), (attached.text, told[0].text)
    assert anna.get(f"/api/v1/runs/{run_id}").json["incident"] == elsewhere
    assert told[0].json["incident"] == (elsewhere if wanted == "an ask of it" else before)


@pytest.mark.parametrize(
    ("source", "where"),
    [("if:", "source"), ('kit.http("nowhere")', "nowhere"), ('kit.gate("mend", "Mend")', "source"), (" ", "source")],
)
def test_what_cannot_be_asked_is_told_and_nothing_is_kept(sign_in_as, incident, held, source, where):
    anna, before = sign_in_as("responder"), held()
    told = anna.post(f"{incident}/asks", {"source": source})
    assert (told.status_code, told.json["error"]["problems"][0]["where"]) == (422, where)
    assert held() == before


def test_nobody_but_a_responder_asks_and_no_agent(sign_in_as, diagnosed, incident, agent, held):
    run_id, _ = diagnosed(sign_in_as("responder").person)
    ben, before = sign_in_as("approver:database", "admin", "viewer"), held()
    for path, body in (
        (f"/api/v1/runs/{run_id}/asks", {"source": "1"}),
        (f"{incident}/asks", {"source": "1"}),
        (f"/api/v1/runs/{run_id}/conclusion", {"conclusion": "1"}),
    ):
        assert ben.post(path, body).status_code == 403
        told = agent("asks-1", "POST", path, body)
        assert (told.status_code, "agents ask and propose" in told.text) == (403, True)
    assert set(held().since(before)) == {"access.refused"}


def test_notes_are_read_page_by_page_and_an_incident_brings_the_latest(sign_in_as, incident, monkeypatch):
    anna = sign_in_as("responder")
    made = [anna.post(f"{incident}/notes", {"text": f"note {n}"}).json["id"] for n in range(5)]
    page = anna.get(f"{incident}/notes?limit=3").json
    assert [note["id"] for note in page["notes"]] == made[:1:-1]
    rest = anna.get(f"{incident}/notes?limit=3&before={page['next']}").json
    assert ([note["id"] for note in rest["notes"]], rest["next"]) == (made[1::-1], None)
    monkeypatch.setattr("runbooks_app.web.api.incidents.MOST_SHOWN", 2)
    assert [note["id"] for note in anna.get(incident).json["notes"]] == made[3:]
    assert anna.get("/api/v1/incidents/999999999/notes").status_code == 404


def test_a_note_is_changed_by_who_wrote_it_on_the_version_that_stands(sign_in_as, incident, service):
    anna, ben = sign_in_as("responder"), sign_in_as("responder", "admin")
    note = anna.post(f"{incident}/notes", {"text": "it is slow"}).json
    assert (note["version"], note["edited_at"]) == (1, None)
    address, change = f"{incident}/notes/{note['id']}", {"text": "it is very slow", "version": 1}
    changed = anna.put(address, change)
    assert (changed.status_code, changed.json["text"], changed.json["version"]) == (200, "it is very slow", 2)
    assert changed.json["edited_at"] is not None
    assert anna.put(address, change).json == changed.json  # the same once more changes nothing
    assert anna.put(address, {"text": "it is fast", "version": 1}).status_code == 409
    assert anna.put(address, {"text": " ", "version": 2}).status_code == 422
    assert ben.put(address, {"text": "mine", "version": 2}).status_code == 403
    assert anna.put("/api/v1/incidents/999999999/notes/1", change).status_code == 404
    assert entries(service, "note.edited", note=note["id"]) == [
        (anna.person.name, {"text": "it is very slow", "version": 2})
    ]


@pytest.mark.parametrize(
    "wrong", [{"Origin": "https://evil.example"}, {"X_CSRF_Token": "another"}, {"X_CSRF_Token": None}]
)
def test_what_another_site_sends_changes_no_text(sign_in_as, incident, held, wrong):
    anna = sign_in_as("responder")
    note = anna.post(f"{incident}/notes", {"text": "it is slow"}).json["id"]
    before = held()
    for address, version in ((f"{incident}/notes/{note}", 1), (f"{incident}/postmortem/impact", 0)):
        told = anna.put(address, {"text": "it is fast", "version": version}, **wrong)
        assert (told.status_code, told.json["error"]["code"]) == (403, "cross_site")
    assert held().tables == before.tables


def test_the_postmortem_is_written_section_by_section(sign_in_as, incident, service):
    anna, vera = sign_in_as("responder"), sign_in_as("viewer")
    sections = vera.get(f"{incident}/postmortem").json["sections"]
    assert [(one["section"], one["version"]) for one in sections] == [
        ("summary", 0),
        ("impact", 0),
        ("lessons", 0),
        ("actions", 0),
    ]
    address, text = f"{incident}/postmortem/impact", {"text": "**All** orders", "version": 0}
    written = anna.put(address, text)
    assert (written.status_code, written.json["version"], written.json["by"]) == (200, 1, anna.person.name)
    assert vera.get(f"{incident}/postmortem").json["sections"][1] == written.json
    assert sign_in_as("responder").put(address, {"text": "Some orders", "version": 0}).status_code == 409
    assert vera.put(address, text).status_code == 403
    assert anna.put(f"{incident}/postmortem/blame", text).status_code == 404
    number = int(incident.rpartition("/")[2])
    assert [body["section"] for _, body in entries(service, "postmortem.edited", incident=number)] == ["impact"]


def test_an_agent_adds_notes_changes_its_own_and_writes_no_postmortem(
    sign_in_as, incident, agent, provider, service, held
):
    anna = sign_in_as("responder", subject=f"{provider.url}#asks-2", name="Anna")
    hers = anna.post(f"{incident}/notes", {"text": "by hand"}).json
    own = agent("asks-2", "POST", f"{incident}/notes", {"text": "by program"})
    assert (own.status_code, own.json["by"]) == (201, "Anna through helper (agent)")
    change = {"text": "otherwise", "version": 1}
    assert agent("asks-2", "PUT", f"{incident}/notes/{own.json['id']}", change).json["version"] == 2
    assert [name for name, _ in entries(service, "note.edited", note=own.json["id"])] == ["Anna through helper (agent)"]
    before = held()
    for address in (f"{incident}/notes/{hers['id']}", f"{incident}/postmortem/summary"):
        told = agent("asks-2", "PUT", address, {**change, "version": 1 if "notes" in address else 0})
        assert told.status_code == 403, address
    assert held().tables == before.tables


def test_nothing_that_somebody_writes_is_kept_with_a_token_in_it(sign_in_as, incident, held):
    anna, text = sign_in_as("responder"), "It is AKIA" + "A" * 16 + " here"
    note = anna.post(f"{incident}/notes", {"text": "It is gone"}).json
    before = held()
    answers = [
        (anna.post("/api/v1/incidents", {"title": text}), "title"),
        (anna.post(f"{incident}/notes", {"text": text}), "text"),
        (anna.put(f"{incident}/notes/{note['id']}", {"text": text, "version": note["version"]}), "text"),
        (anna.put(f"{incident}/postmortem/summary", {"text": text, "version": 0}), "text"),
        (anna.post(f"{incident}/close", {"cause": text}), "cause"),
    ]
    for told, where in answers:
        (problem,) = told.json["error"]["problems"]
        assert (told.status_code, problem["where"]) == (422, where)
        assert problem["message"] == "holds what looks like an AWS access key."
        assert "AKIA" not in told.text
    assert held() == before

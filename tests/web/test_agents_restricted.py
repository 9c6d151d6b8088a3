"""What agents are told of restricted connections: that they were reached, and where a person sees what they showed."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hostile_provider import rs256
from sqlalchemy import event

from runbooks_app.actions import diagnosing
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.core.bundles import Finding, Proposed
from runbooks_app.core.run import CellState
from runbooks_app.main.mcp import telling

pytestmark = pytest.mark.pages

SEEN = "patient-4711"
EVIDENCE = {"kind": "text", "text": SEEN}
_people = itertools.count(1)


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


@pytest.fixture
def restricted(service, monkeypatch):
    """What the connection shows stays on pages."""
    held = replace(service.connections["orders-db"], data_class="restricted")
    monkeypatch.setitem(service.connections, "orders-db", held)


@pytest.fixture
def agent(client, provider):
    """`agent(path, body)` asks the API as somebody's agent; a body makes it a POST."""

    def ask(path, body=None):
        now = int(time.time())
        claims = {
            "iss": provider.url, "aud": "http://127.0.0.1:8080", "sub": f"restricted-{next(_people)}", "name": "Anna",
            "groups": ["oncall"], "client_id": "runbooks-agent", "jti": "t-1", "iat": now, "exp": now + 300,
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {rs256(claims, typ='at+jwt')}"}
        return client.open(f"/api/v1{path}", method="GET" if body is None else "POST", json=body, headers=headers)

    return ask


@pytest.fixture
def anna(sign_in_as):
    return sign_in_as("responder")


@pytest.fixture
def run(anna, service):
    """A run that saw something, and could not do all."""
    made = anna.post("/api/v1/runs", {"runbook": "disk-full"}).json
    claim = diagnosing.claim_run(service, made["id"], "w1")
    said, now = diagnosing.Said(), datetime.now(UTC)
    printed = [{"output_type": "stream", "name": "stdout", "text": SEEN}]
    cells = [
        CellTold(cell.id, CellState.FAILED if cell.id == "setup" else CellState.OK, now, now,
                 outputs=printed, reason=SEEN if cell.id == "setup" else "")
        for cell in claim.cells
    ]  # fmt: skip
    said.unstored.findings.append(("look", Finding("critical", "One row is wrong", EVIDENCE)))
    record_cells(service, claim, cells, said)
    said.proposed += [Proposed("end-session", {"pid": 4711}, SEEN), Proposed("no-such", {}, SEEN)]
    diagnosing.finish_run(service, claim, said, SEEN)
    return anna.get(f"/api/v1/runs/{made['id']}?outputs=true").json


@pytest.fixture
def ask(anna, service, run):
    """What Anna asked of the run, with what she saw in every word of it, answered and concluded."""
    asks = f"/api/v1/runs/{run['id']}/asks"
    made = anna.post(asks, {"source": f"%%sql orders-db\nSELECT '{SEEN}'", "hypothesis": f"It is {SEEN}"}).json
    claim = diagnosing.claim_run(service, made["id"], "w1")
    said, now = diagnosing.Said(), datetime.now(UTC)
    printed = [{"output_type": "stream", "name": "stdout", "text": SEEN}]
    said.unstored.findings.append((claim.cells[-1].id, Finding("critical", f"{SEEN} is wrong", EVIDENCE)))
    record_cells(service, claim, [CellTold(c.id, CellState.OK, now, now, outputs=printed) for c in claim.cells], said)
    diagnosing.finish_run(service, claim, said, SEEN)
    written = anna.post(f"/api/v1/runs/{made['id']}/conclusion", {"conclusion": f"It is {SEEN} indeed"})
    assert written.status_code == 200
    return anna.get(f"/api/v1/runs/{made['id']}").json


def addresses(run):
    proposal = run["proposals"][0]["id"]
    return (
        f"/runs/{run['id']}", f"/runs/{run['id']}?outputs=true", "/runs?limit=200", f"/incidents/{run['incident']}",
        f"/proposals/{proposal}", "/proposals?limit=200",
    )  # fmt: skip


def cell(run):
    return next(one for one in run["attempts"][0]["cells"] if one["id"] == "look")


def test_agents_are_told_that_something_was_found_and_where_a_person_sees_it(restricted, run, agent, anna):
    for address in addresses(run):
        told = agent(address)
        assert told.status_code == 200
        assert SEEN not in told.text, address
        assert "agents are not told" in told.text
        assert "4711}" not in told.text.replace(" ", "")  # what it would be done to
        assert SEEN in anna.get(f"/api/v1{address}").text
        assert "agents are not told" not in anna.get(f"/api/v1{address}").text
    told = agent(f"/runs/{run['id']}?outputs=true").json
    assert [one["summary"] for one in told["findings"]] == ["One row is wrong"]
    assert told["withheld"].endswith(f"A person sees it at http://127.0.0.1:8080/runs/{run['id']}")
    assert cell(told).keys() & {"outputs", "outputs_at"} == set()
    shown = telling.run(told, "http://127.0.0.1:8080", outputs=True)
    assert shown["withheld"] == told["withheld"]
    assert "/proposals/" in shown["proposals"][0]["withheld"]


def test_what_is_no_such_answer_is_refused_to_agents(restricted, run, agent, anna):
    one = f"/runs/{run['id']}/cells/{run['attempts'][0]['number']}/look"
    for address in (one, f"{one}/whole", f"/runs/{run['id']}/events"):
        told = agent(address)
        assert told.status_code == 403
        assert f"A person sees it at http://127.0.0.1:8080/runs/{run['id']}" in told.json["error"]["message"]


def test_a_postmortem_that_an_agent_takes_out_has_none_of_it(restricted, run, agent, anna):
    exports = f"/incidents/{run['incident']}/exports"
    told = agent(exports, {"kind": "ipynb"})
    assert told.status_code == 200
    assert SEEN not in told.text
    assert "One row is wrong" in told.text
    assert SEEN in anna.post(f"/api/v1{exports}", {"kind": "ipynb"}).text


def test_what_an_agent_itself_asks_for_or_proposes_is_told_likewise(restricted, run, agent):
    made = agent(f"/runs/{run['id']}/proposals", {"gate": "end-session", "inputs": {"pid": 7}, "reason": "it blocks"})
    assert made.status_code == 201
    assert SEEN not in made.text
    assert "agents are not told" in made.json["withheld"]
    assert agent("/runs", {"runbook": "disk-full"}).status_code == 201


def test_of_an_ask_agents_are_told_by_whom_it_was_asked_and_concluded_and_none_of_its_words(
    restricted, run, ask, agent, anna
):
    incident = f"/incidents/{run['incident']}"
    for address in (f"/runs/{ask['id']}", f"/runs/{ask['id']}?outputs=true", incident, f"{incident}/asks"):
        told = agent(address)
        assert told.status_code == 200
        assert SEEN not in told.text, address
        assert SEEN in anna.get(f"/api/v1{address}").text
    whole, (of_incident,) = agent(f"/runs/{ask['id']}").json, agent(incident).json["asks"]
    assert agent(f"{incident}/asks").json["asks"] == [of_incident]
    for one in (whole, of_incident):
        assert one["withheld"].startswith("What this run asked and showed is restricted: agents are not told.")
        assert one["withheld"].endswith(f"/runs/{ask['id']}")
        assert one["parameters"] == {}
        assert (one["ask"]["source"], one["ask"]["hypothesis"], one["ask"]["conclusion"]) == ("", "", "")
        assert one["ask"]["of_run"] == run["id"]
        assert one["ask"]["concluded_by"] == ask["ask"]["concluded_by"]
    assert (whole["state"], whole["findings"]) == ("diagnosed", [])
    assert ask["parameters"] == run["parameters"] != {}
    shown = telling.incident(agent(incident).json, "http://127.0.0.1:8080")
    assert SEEN not in json.dumps(shown)
    assert shown["asks"][0]["withheld"] == of_incident["withheld"]


def test_what_is_withheld_costs_an_answer_as_many_statements_however_much_it_tells(
    restricted, run, agent, anna, service, diagnosed
):
    asked = []

    def note(*_statement):
        asked[-1] += 1

    for many in (1, 4):
        for _ in range(many):
            assert anna.post(f"/api/v1/incidents/{run['incident']}/runs", {"run": diagnosed(anna.person)[0]}).json
        asked.append(0)
        event.listen(service.engine, "before_cursor_execute", note)
        try:
            told = agent(f"/incidents/{run['incident']}")
        finally:
            event.remove(service.engine, "before_cursor_execute", note)
        assert len(told.json["runs"]) == len(told.json["proposals"]) > many
        assert all(one["withheld"] for one in told.json["runs"] + told.json["proposals"])
    assert asked[0] == asked[1]


def test_of_other_connections_agents_are_told_all(run, ask, agent):
    told = agent(f"/runs/{ask['id']}").json
    assert (told["ask"], told["findings"], "withheld" in told) == (ask["ask"], ask["findings"], False)
    told = agent(f"/runs/{run['id']}?outputs=true").json
    assert SEEN in json.dumps(cell(told)["outputs"])
    assert told["findings"][0]["evidence"] == EVIDENCE
    assert "withheld" not in told

"""Policy floors attacked through the API: no runbook, input, edit or helper of an author asks for less than they do."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from notebooks import cell, notebook

from runbooks_app.actions import diagnosing
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.connections import Connection
from runbooks_app.core.bundles import Proposed
from runbooks_app.core.http_rules import READ_ALL, read_rule
from runbooks_app.core.policy import Floor, Risk
from runbooks_app.core.run import CellState
from runbooks_app.library import Library
from runbooks_app.store.database import reading, transaction
from runbooks_app.web import limits
from runbooks_app.web.app import create_app
from runbooks_app.web.context import EXTENSION

pytestmark = pytest.mark.identity

STRICT = Floor(Risk.MEDIUM, 2, ("database",), recheck=True, expires=900)
ELSEWHERE = Floor(Risk.LOW, 1, ("payments", "sre"), recheck=False, expires=3600)
LOOSE = 'risk="low", approvals=1, recheck=False, expires="24h"'
_numbers = itertools.count()


@pytest.fixture
def app(apps, app, tmp_path):
    """The service with a strict connection, a lenient one, and a library that a test writes."""

    def postgres(name, floor):
        return Connection(name, "postgres", name, host="127.0.0.1", port=1, database=name, floor=floor)

    metrics = Connection(
        "metrics",
        "http",
        "Metrics",
        url="http://127.0.0.1:1",
        diagnose_rules=READ_ALL,
        remediate_rules=(read_rule("POST /-/reload"),),
        floor=ELSEWHERE,
    )
    connections = {
        "orders-db": postgres("orders-db", STRICT),
        "lenient-db": postgres("lenient-db", ELSEWHERE),
        "metrics": metrics,
    }
    service = replace(app.extensions[EXTENSION].service, connections=connections, library=Library(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "LIMITS", dict.fromkeys(limits.LIMITS, "1000000 per minute"))
        return create_app(service, secret_key=b"a key for tests, and for nothing else at all")


@pytest.fixture
def written(tmp_path):
    """`written("…", gate)` puts a runbook whose remediation cell is this into the library; its name."""

    def write(source, name="mend"):
        look = cell("look", 'kit.finding("info", "x")', "diagnostic")
        declared = {"metrics": "http", "lenient-db": "postgres"}
        told = notebook(look, cell("mend", source, "remediation"), connections=declared)
        file = tmp_path / f"{name}.ipynb"
        if file.exists():
            told["metadata"]["runbook"]["id"] = json.loads(file.read_text())["metadata"]["runbook"]["id"]
        file.write_text(json.dumps(told))
        return name

    return write


@pytest.fixture
def ana(sign_in_as):
    return sign_in_as("responder")


@pytest.fixture
def proposed(service, ana):
    """`proposed("mend", where=…)` asks for a run, and diagnoses it with this proposal; what the API tells of that."""

    def propose(name="mend", parameters=None, **inputs):
        asked = ana.post("/api/v1/runs", {"runbook": name, "parameters": parameters or {}})
        assert asked.status_code == 201, asked.json
        claim = diagnosing.claim_run(service, asked.json["id"], "w1")
        said, now = diagnosing.Said(), datetime.now(UTC)
        record_cells(service, claim, [CellTold(one.id, CellState.OK, now, now) for one in claim.cells], said)
        said.proposed.append(Proposed("mend", inputs, "it helps"))
        diagnosing.finish_run(service, claim, said, "")
        run = ana.get(f"/api/v1/runs/{asked.json['id']}").json
        return run["proposals"][0] if run["proposals"] else run["problems"]

    return propose


@pytest.fixture
def decide(sign_in_as):
    """`decide(proposal, "approver:database")` approves as somebody new with these roles; status and message."""

    def approve(proposal, *roles):
        somebody = sign_in_as(*roles)
        answer = somebody.post(
            f"/api/v1/proposals/{proposal['id']}/decisions", {"verdict": "approve", "digest": proposal["digest"]}
        )
        error = answer.json.get("error", {})
        return answer.status_code, error.get("message", answer.json.get("state"))

    return approve


def gate(arguments, *opens):
    return f'kit.gate("mend", "Mend it", {arguments})\n' + "\n".join(opens)


ORDERS = 'kit.postgres("orders-db").execute("SELECT 1")'
LENIENT = 'kit.postgres("lenient-db").execute("SELECT 1")'
FLOOR = {"risk": "medium", "approvals": 2, "approvers": [["database"]], "expires": 900, "recheck": True}


# By the runbook


def test_a_gate_that_asks_for_less_changes_nothing(written, proposed, decide):
    written(gate(LOOSE, ORDERS))
    proposal = proposed()
    assert proposal["policy"] == FLOOR
    wait = datetime.fromisoformat(proposal["expires_at"]) - datetime.fromisoformat(proposal["proposed_at"])
    assert wait == timedelta(seconds=900)
    assert decide(proposal, "approver:database") == (200, "proposed")
    assert decide(proposal, "approver:database") == (200, "approved")


def test_a_gate_that_names_other_approvers_makes_the_circle_smaller_and_no_other(written, proposed, decide):
    written(gate(f'{LOOSE}, approvers=["interns"]', ORDERS))
    proposal = proposed()
    assert proposal["policy"]["approvers"] == [["database"], ["interns"]]
    for roles in (("approver:interns",), ("approver:database",), ("responder", "admin")):
        status, message = decide(proposal, *roles)
        assert status == 403
        assert "database and interns" in message or "takes the role" in message
    assert decide(proposal, "approver:interns", "approver:database")[0] == 200


def test_a_gate_may_ask_for_more(written, proposed):
    written(gate('risk="high", approvals=3, approvers=["leads"], expires="5m"', LENIENT))
    assert proposed()["policy"] == {
        "risk": "high",
        "approvals": 3,
        "approvers": [["leads"], ["payments", "sre"]],
        "expires": 300,
        "recheck": True,
    }


def test_of_several_connections_every_clause_and_the_strictest_of_each_limit_holds(written, proposed, decide):
    written(gate(LOOSE, ORDERS, LENIENT, 'kit.http("metrics").post("/-/reload")'))
    proposal = proposed()
    assert proposal["policy"] == {**FLOOR, "approvers": [["database"], ["payments", "sre"]]}
    assert [held["connection"] for held in proposal["connections"]] == ["lenient-db", "metrics", "orders-db"]
    for roles in (("approver:database",), ("approver:sre", "approver:payments")):
        status, message = decide(proposal, *roles)
        assert (status, "database and (payments or sre)" in message) == (403, True)
    assert decide(proposal, "approver:database", "approver:sre")[0] == 200


def test_the_connection_that_a_parameter_or_an_input_chooses_is_the_one_whose_floor_binds(written, proposed):
    written(gate(LOOSE, 'kit.postgres(database).execute("SELECT 1")'), "by-parameter")
    lenient = proposed("by-parameter", {"database": "lenient-db"})
    assert lenient["policy"]["approvers"] == [["payments", "sre"]]
    assert proposed("by-parameter", {"database": "orders-db"})["policy"] == FLOOR
    chosen = 'from runbook_library.kit import Connection\nwhere: Connection["postgres"]  # Which\n'
    written(chosen + gate(LOOSE, 'kit.postgres(where).execute("SELECT 1")'), "by-input")
    assert proposed("by-input", where="orders-db")["policy"] == FLOOR
    (problem,) = proposed("by-input", where="no-such-db")
    assert "is no connection that can be used here" in problem["message"]
    assert problem["fix"] == "Choose one of lenient-db, orders-db."


HIDDEN = {
    "put together": 'kit.postgres("orders" + "-db")',
    "by another name": "pg = kit.postgres\npg('orders-db')",
    "by getattr": 'getattr(kit, "postgres")("orders-db")',
    "behind a variable": 'name = "orders-db"\nkit.postgres(name)',
    "in text that is run": "exec(\"kit.postgres('orders-db')\")",
}


@pytest.mark.parametrize("way", HIDDEN)
def test_a_cell_that_hides_what_it_opens_is_no_runbook_or_can_be_approved_by_nobody(way, written, ana, proposed):
    name = written(gate(LOOSE, HIDDEN[way]), f"hidden-{next(_numbers)}")
    asked = ana.post("/api/v1/runs", {"runbook": name, "parameters": {}})
    if asked.status_code == 201:
        (problem,) = proposed(name)
        assert "opens no connection" in problem["message"]
    else:
        assert (asked.status_code, asked.json["error"]["code"]) == (422, "broken_runbook")


# By an edit


def test_an_author_who_edits_the_gate_while_a_proposal_is_open_does_not_change_it(written, proposed, decide, ana):
    written(gate('risk="medium", approvals=3, approvers=["leads"]', LENIENT))
    proposal = proposed()
    written(gate(LOOSE, LENIENT))
    assert ana.get(f"/api/v1/proposals/{proposal['id']}").json["policy"] == proposal["policy"]
    assert decide(proposal, "approver:sre")[0] == 403
    assert decide(proposal, "approver:sre", "approver:leads") == (200, "proposed")
    assert proposed()["policy"]["approvals"] == 1  # a new one has what the runbook says now


def test_a_floor_that_is_lowered_while_a_proposal_is_open_does_not_change_it(written, proposed, decide, service):
    written(gate(LOOSE, ORDERS))
    proposal = proposed()
    lowered = replace(service.connections["orders-db"], floor=Floor(approvers=("interns",)))
    service.connections["orders-db"] = lowered
    assert decide(proposal, "approver:interns")[0] == 403
    assert decide(proposal, "approver:database") == (200, "proposed")


@pytest.mark.parametrize("field", ["policy", "approvals", "approvers", "risk", "requesters", "state"])
def test_nobody_sets_a_policy_along_with_a_request(field, written, ana, proposed):
    written(gate(LOOSE, ORDERS))
    proposal = proposed()
    sent = {"gate": "mend", "inputs": {}, "reason": "now", field: 0}
    answer = ana.post(f"/api/v1/runs/{proposal['run']}/proposals", sent)
    assert (answer.status_code, answer.json["error"]["problems"][0]["where"]) == (422, field)


def test_what_is_proposed_by_hand_is_high_risk_on_top_of_the_floor(written, ana, proposed):
    written(gate(LOOSE, ORDERS))
    proposal = proposed()
    answer = ana.post(f"/api/v1/runs/{proposal['run']}/proposals", {"gate": "mend", "reason": "now"})
    assert answer.json["policy"] == {**FLOOR, "risk": "high"}


# What no human asked for


@pytest.fixture
def unasked(service, written, proposed):
    """A proposal of high risk behind which stands no human, as an alert makes it."""
    written(gate('risk="high", approvals=1', ORDERS))
    proposal = proposed()
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET requesters = '[]' WHERE id = :id", id=proposal["id"])
    return proposal


def sponsor(proposal, somebody):
    answer = somebody.post(f"/api/v1/proposals/{proposal['id']}/sponsor")
    return answer.status_code, answer.json.get("error", {}).get("message", "")


def test_of_high_risk_it_waits_for_a_sponsor_who_then_cannot_decide(unasked, decide, sign_in_as, service):
    status, message = decide(unasked, "approver:database")
    assert (status, "somebody has to sponsor it first" in message) == (403, True)
    assert sponsor(unasked, sign_in_as("viewer", "author", "admin"))[0] == 403
    carl = sign_in_as("responder", "approver:database")
    assert sponsor(unasked, carl) == (200, "")
    answer = carl.post(
        f"/api/v1/proposals/{unasked['id']}/decisions", {"verdict": "approve", "digest": unasked["digest"]}
    )
    assert (answer.status_code, "You sponsor this" in answer.json["error"]["message"]) == (403, True)
    status, message = decide(unasked, "approver:database")
    assert (status, "wants a signed decision" in message) == (403, True)  # nothing else is missing
    with reading(service.engine) as tx:
        assert tx.execute("SELECT sponsor FROM proposals WHERE id = :id", id=unasked["id"]).scalar_one() == (
            carl.person.subject
        )


def test_a_second_sponsor_does_not_take_the_first_ones_place(unasked, sign_in_as):
    assert sponsor(unasked, sign_in_as("responder"))[0] == 200
    assert sponsor(unasked, sign_in_as("responder"))[0] == 409


def test_of_low_risk_it_wants_no_sponsor(written, proposed, service, decide, sign_in_as):
    written(gate(LOOSE, LENIENT))
    proposal = proposed()
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET requesters = '[]' WHERE id = :id", id=proposal["id"])
    assert sponsor(proposal, sign_in_as("responder"))[0] == 409
    assert decide(proposal, "approver:sre") == (200, "approved")

"""`/connections`: which systems there are, as whom each stage comes, what binds approval, what the tests proved."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from runbooks_app.actions import connections
from runbooks_app.connections import Connection
from runbooks_app.core.connection_tests import Outcome
from runbooks_app.core.http_rules import READ_ALL
from runbooks_app.core.policy import Floor, Risk

pytestmark = pytest.mark.identity

_numbers = itertools.count()
HOLES = "A diagnosis can change something: UPDATE on table public.<customers>. Revoke this from orders_reader."


@pytest.fixture
def service(service):
    """With a database that everybody knows, one that is restricted, and a system without a credential."""
    # These tests share a database: what they test lies at an address of its own.
    host = f"host-{next(_numbers)}"
    orders = replace(service.connections["orders-db"], host=host)
    strict = Floor(Risk.HIGH, 2, ("payments", "sre"), recheck=False, expires=900)
    billing = replace(orders, name="billing-db", label="Billing", data_class="restricted", floor=strict)
    metrics = Connection("metrics", "http", "metrics", url=f"http://{host}:9090", diagnose_rules=READ_ALL)
    return replace(service, connections={"orders-db": orders, "billing-db": billing, "metrics": metrics})


@pytest.fixture
def found(service):
    """`found("orders-db", reachable=…, holds=…, says=…)` is what a test of it found."""

    def put(name, *, reachable=True, holds=True, says="It only reads.", tried=()):
        connection = service.connections[name]
        outcome = Outcome(connections.configured(connection), reachable, holds, says, tried)
        connections.record(service, "w1", connection, outcome)

    return put


def part(page, name):
    """What the page says of one connection."""
    text = re.search(rf'<section class="box stack" id="{name}".*?</section>', page.html, re.DOTALL)[0]
    return replace(page, html=text).text


def test_everybody_finds_it_in_the_navigation(vera):
    assert '<a href="/connections">Connections</a>' in vera.get("/").html
    assert 'aria-current="page">Connections</a>' in vera.get("/connections").html


def test_each_connection_tells_where_it_is_and_as_whom_each_stage_comes(vera, service):
    said = part(vera.get("/connections"), "orders-db")
    assert f"{service.connections['orders-db'].host}:5432/orders" in said
    assert "Diagnoses as orders_reader" in said
    assert "Changes as orders_operator , once, after approval by database" in said
    assert "Who may diagnose responder" in said
    assert "Evidence internal" in said


def test_the_floor_is_told_in_words(vera):
    page = vera.get("/connections")
    said = part(page, "billing-db")
    assert "2 approvals of different people, by an approver for payments or sre." in said
    assert "It counts as high risk." in said
    assert "A runbook may leave out the check just before it runs." in said
    assert "A proposal waits 15 min at most." in said
    assert "a runbook may ask for more, never for less." in page.text
    assert "restricted: it stays on pages" in said
    assert "Asks at least" not in part(page, "metrics")


def test_what_was_proved_is_told_with_when_and_what_was_looked_for(vera, found):
    found("orders-db", says="A diagnosis cannot change data.", tried=("15 statements were refused",))
    said = part(vera.get("/connections"), "orders-db")
    assert "✓ proved to only read" in said
    assert "A diagnosis cannot change data. Tested just now" in said
    assert "What was looked for 15 statements were refused" in said


def test_what_can_write_or_is_away_stands_above_all_with_its_mend(vera, found):
    found("orders-db", holds=False, says=HOLES)
    found("billing-db", reachable=False, holds=None, says="billing-db (…) could not be reached.")
    found("metrics", holds=None, says="The gateway's rules are all that holds a diagnosis.")
    page = vera.get("/connections")
    assert page.title == "▲ 2 to mend — Connections"
    above = page.text.index("2 need mending. orders-db ▲ diagnosis can write billing-db ✗ away")
    assert above < page.html.index("<section")
    assert "UPDATE on table public.<customers>" in part(page, "orders-db")
    assert "<customers>" not in page.html
    assert "△ not proved" in part(page, "metrics")


def test_one_that_is_configured_anew_is_not_tested_yet(vera, found, service):
    found("orders-db")
    service.connections["orders-db"] = replace(service.connections["orders-db"], host="elsewhere")
    said = part(vera.get("/connections"), "orders-db")
    assert "○ not tested yet" in said
    assert "runbooks connections test orders-db" in said
    assert "It only reads." not in said


def test_without_connections_it_says_what_to_do(vera, service):
    service.connections.clear()
    assert "Name a system in the connections file ( RUNBOOKS_CONNECTIONS )" in vera.get("/connections").text


@pytest.mark.parametrize("settings", [{"remediation": "off"}])
def test_where_nothing_is_changed_no_write_role_is_told(vera, settings):
    said = part(vera.get("/connections"), "orders-db")
    assert "Changes as nobody: diagnose only" in said
    assert "orders_operator" not in said


def test_a_runbooks_page_tells_floor_and_standing_and_leads_there(vera, found):
    found("orders-db")
    page = vera.get("/runbooks/db-latency")
    assert 'href="/connections#orders-db"' in page.html
    assert "✓ proved to only read" in page.text
    assert "One approval, by an approver for database." in page.text
    assert "may tighten and never loosen" in page.text


def test_the_api_tells_the_same(vera, found, service):
    found("orders-db", holds=False, says=HOLES, tried=("attributes",))
    answer = vera.client.get("/api/v1/connections").get_json()["connections"]
    told = {connection["name"]: connection for connection in answer}
    assert list(told) == ["billing-db", "metrics", "orders-db"]
    at = told["orders-db"]["test"].pop("at")
    assert at.endswith("Z")
    assert told["orders-db"]["test"] == {"reachable": True, "holds": False, "says": HOLES, "tried": ["attributes"]}
    assert told["orders-db"]["standing"] == "writes"
    assert told["billing-db"]["floor"] == {
        "risk": "high",
        "approvals": 2,
        "approvers": ["payments", "sre"],
        "recheck": False,
        "expires": 900,
    }
    assert (told["metrics"]["standing"], told["metrics"]["test"]) == ("untested", None)
    assert told["metrics"]["diagnoses_as"] == "GET /*, without a credential"
    assert told["metrics"]["changes_as"] is None
    assert "/nowhere" not in str(answer)  # no path of a secret is told

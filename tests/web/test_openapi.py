"""The API's description: made of the models that validate, kept in docs/, shown on a page."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.core.parameters import ParameterLocation

from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.web import live
from runbooks_app.web.api import openapi
from runbooks_app.web.api.contract import contract_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case
    from schemathesis.schemas import APIOperation, BaseSchema

pytestmark = pytest.mark.pages

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_file_in_docs_is_the_one_that_is_served(sign_in_as):
    anna = sign_in_as("viewer")
    told = anna.get("/api/v1/openapi.json")
    assert told.json["openapi"].startswith("3.1")
    assert KEPT.read_text() == told.text, "make it anew: make openapi"
    assert anna.get("/api/v1/openapi.json", headers={"If-None-Match": told.headers["ETag"]}).status_code == 304


def test_every_route_of_the_api_declares_what_it_takes_and_answers(app):
    silent = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and contract_of(app.view_functions[rule.endpoint]) is None
    }
    assert silent == {"/api/v1/openapi.json"}


def test_each_thing_that_is_described_is_described_somewhere():
    text = openapi.as_text()
    schemas = json.loads(text)["components"]["schemas"]
    assert {name for name in schemas if f'"#/components/schemas/{name}"' not in text} == set()


def test_the_page_shows_every_operation_and_every_schema(sign_in_as):
    shown = sign_in_as("viewer").get("/api").text
    described = openapi.document()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code> " in shown
            assert f'id="{operation["operationId"]}"' in shown
    for name in described["components"]["schemas"]:
        assert f'id="schema-{name}"' in shown


def test_what_was_read_is_sent_again_only_if_it_has_changed(sign_in_as):
    anna = sign_in_as("responder")
    address = f"/api/v1/runs/{anna.post('/api/v1/runs', {'runbook': 'disk-full'}).json['id']}"
    told = anna.get(address)
    same = anna.get(address, headers={"If-None-Match": told.headers["ETag"]})
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", told.headers["ETag"])
    anna.post(address + "/cancel")
    fresh = anna.get(address, headers={"If-None-Match": told.headers["ETag"]})
    assert (fresh.status_code, fresh.json["state"]) == (200, "cancelled")


@pytest.mark.parametrize("kind", ["incidents", "proposals", "audit"])
def test_lists_are_read_page_by_page_to_their_end(sign_in_as, diagnosed, kind):
    anna = sign_in_as("responder", "auditor")
    for number in range(3):
        diagnosed(anna.person, pid=number)
    name, key = {"incidents": ("incidents", "id"), "proposals": ("proposals", "id"), "audit": ("entries", "seq")}[kind]
    rest = "&state=all" if kind == "incidents" else ""
    seen, cursor = [], ""
    while cursor is not None:
        told = anna.get(f"/api/v1/{kind}?limit=200{rest}" + (f"&before={cursor}" if cursor else "")).json
        seen += [one[key] for one in told[name]]
        cursor = told["next"]
    assert len(seen) == len(set(seen)) >= 3
    by_two = anna.get(f"/api/v1/{kind}?limit=2{rest}").json
    after = anna.get(f"/api/v1/{kind}?limit=1{rest}&before={by_two['next']}").json
    assert [one[key] for one in by_two[name] + after[name]] == seen[:3]


@pytest.mark.parametrize(
    ("address", "unknown"), [("runs", "nothing"), ("proposals", "nothing"), ("incidents", "9007199254740991")]
)
def test_a_cursor_that_nobody_gave_is_no_end_of_a_list(sign_in_as, address, unknown):
    told = sign_in_as("viewer").get(f"/api/v1/{address}?before={unknown}")
    assert told.status_code == 422
    (problem,) = told.json["error"]["problems"]
    assert (problem["where"], problem["message"]) == ("before", f"names none of the {address}.")
    assert "`next` of the page before" in problem["fix"]


CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]
OFTEN = 10
"""Requests of each kind, fitting and not, that are made up for each operation."""


_NEVER_READ = {
    "GET /api/v1/runs/{run_id}/cells/{attempt_id}/{cell_id}/whole"  # it printed no more than its outputs hold
}


@dataclass
class Described:
    """The description as it is served, somebody who may do much, and objects that exist."""

    schema: BaseSchema
    session: dict[str, str]
    there: dict[str, Any]
    answered: dict[str, set[int]] = field(default_factory=dict)

    def operations(self) -> Iterator[APIOperation]:
        return (found.ok() for found in self.schema.get_all_operations())

    def never_read(self) -> set[str]:
        return {label for label, told in self.answered.items() if label.startswith("GET") and 200 not in told}

    def send(self, case: Case, *, exists: bool) -> None:
        """Send it, to objects that exist or to any, and hold what is answered to the description."""
        path = case.meta.components.get(ParameterLocation.PATH)
        if exists and not (path and path.mode.is_negative):
            there = self.there | {"name": "summary" if "postmortem" in case.operation.path else "disk-full"}
            case.path_parameters = {name: there.get(name, value) for name, value in case.path_parameters.items()}
            if isinstance(case.body, dict) and case.body.get("runbook"):
                case.body = {"runbook": "disk-full"}
        response = case.call(headers=self.session)
        if case.method == case.operation.method.upper():
            self.answered.setdefault(case.operation.label, set()).add(response.status_code)
        case.validate_response(response, checks=CHECKS)


@pytest.fixture
def described(app, service, sign_in_as, diagnosed, monkeypatch) -> Described:
    monkeypatch.setattr(live, "LONGEST", 1.0)
    asks, decides = sign_in_as("responder"), sign_in_as("responder", "approver:database", "auditor", "viewer")
    run, proposal = diagnosed(asks.person)
    incident = asks.post("/api/v1/incidents", {"title": "described"}).json["id"]
    note = asks.post(f"/api/v1/incidents/{incident}/notes", {"text": "a note"}).json["id"]
    with reading(service.engine) as tx:
        (attempt,) = runs.attempts(tx, run)
    there = {
        "run_id": run,
        "attempt_id": attempt.id,
        "cell_id": "look",
        "proposal_id": proposal,
        "incident_id": incident,
        "note_id": note,
        "seq": 1,
    }

    def signed_in(environ, start_response):
        return app({**environ, "HTTP_COOKIE": f"runbooks={decides.cookie}"}, start_response)

    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", signed_in)
    schema.config.generation.update(with_security_parameters=False)  # a session and a token at once are refused
    return Described(schema, {**decides.headers, "X-CSRF-Token": decides.csrf}, there)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # schemathesis' own
def test_each_bound_that_is_described_holds_on_both_sides(described):
    """Each value at its bounds and behind them, each part missing, each method that there is not."""
    for operation in described.operations():
        config = described.schema.config.generation_for(operation=operation, phase="coverage")
        cases = described.schema.iter_coverage_cases(
            operation, generation_modes=list(GenerationMode), generation_config=config
        )
        for case in cases:
            described.send(case, exists=True)
    assert described.never_read() == _NEVER_READ


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # schemathesis' own
def test_whatever_a_program_sends_is_answered_as_described(described):
    """Schemathesis makes up what fits the description and what does not, to objects that exist and to others."""
    for operation in described.operations():
        for mode in GenerationMode:
            _try(operation, mode, described)
    assert described.never_read() == _NEVER_READ


def _try(operation: APIOperation, mode: GenerationMode, described: Described) -> None:
    @seed(4)
    @settings(max_examples=OFTEN, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), exists=st.sampled_from([True, True, False]))
    def attempt(case, exists):
        described.send(case, exists=exists)

    with suppress(Unsatisfiable):  # nothing in it can be wrong
        attempt()

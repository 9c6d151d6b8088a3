"""One error shape for machines, one page for people; headers on every answer; health."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from runbooks_app.core import errors as core
from runbooks_app.core.errors import Problem, RunbooksError
from runbooks_app.store.database import connect
from runbooks_app.web import errors, guards, limits
from runbooks_app.web.app import create_app
from runbooks_app.web.headers import POLICY

JSON = {"Accept": "application/json"}


def every_class(kind=RunbooksError):
    return [kind, *(found for child in kind.__subclasses__() for found in every_class(child))]


def test_every_error_of_core_has_its_status_and_the_root_has_none():
    own = [kind for kind in every_class() if kind.__module__ == core.__name__ and kind is not RunbooksError]
    assert {kind.__name__: int(errors.status_of(kind("x"))) for kind in own} == {
        "InvalidInput": 422, "NotFound": 404, "Refused": 403, "NotSignedIn": 401, "Conflict": 409,
        "Unavailable": 503, "DatabaseAway": 503, "BrokenRunbook": 422, "Misconfigured": 503,
    }  # fmt: skip
    assert errors.status_of(RunbooksError("x")) == 500
    assert errors.status_of(guards.CrossSite("x")) == 403


def told_by(told) -> dict:
    assert set(told.json) == {"error"}
    assert set(told.json["error"]) == {"code", "message", "problems"}
    return told.json["error"]


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("GET", "/api/v2", 404, "not_found"),
        ("DELETE", "/api/v1/runs", 405, "method_not_allowed"),
        ("GET", "/api/v1/runs", 401, "not_signed_in"),
        ("POST", "/api/v1/runs", 403, "cross_site"),
    ],
)
def test_the_api_answers_every_error_in_the_one_shape(client, method, address, status, code):
    told = client.open(address, method=method)
    assert (told.status_code, told_by(told)["code"]) == (status, code)
    assert told.mimetype == "application/json"


def test_elsewhere_json_is_for_clients_that_would_rather_have_it(client):
    assert told_by(client.get("/nowhere", headers=JSON))["code"] == "not_found"
    for accept in ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "*/*", "", "image/png"):
        told = client.get("/nowhere", headers={"Accept": accept})
        assert (told.status_code, told.mimetype) == (404, "text/html")


def test_a_method_that_is_not_taken_is_told_with_those_that_are(client):
    told = client.delete("/healthz", headers=JSON)
    assert told.status_code == 405
    assert told.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_body_beyond_two_megabytes_is_refused_before_it_is_read(sign_in_as, held):
    anna = sign_in_as("responder")
    before = held()
    told = anna.client.post(
        "/api/v1/runs",
        data=b"x" * (2 * 1024 * 1024 + 1),
        content_type="application/json",
        headers={**anna.headers, "X-CSRF-Token": anna.csrf},
    )
    assert (told.status_code, told_by(told)["code"]) == (413, "request_entity_too_large")
    assert held() == before


@pytest.fixture
def own_app(service):
    """An app that a test may change."""
    return create_app(service, secret_key=b"x" * 32)


@pytest.fixture
def failing(own_app):
    """An app with a page that fails as told."""
    raised: list[Exception] = []

    @guards.open_to_all
    def fail():
        raise raised[-1]

    own_app.add_url_rule("/failing", "failing", fail)

    def answered(error: Exception, **headers: str):
        raised.append(error)
        return own_app.test_client().get("/failing", headers=headers)

    return answered


def test_an_error_tells_its_message_and_each_problem(failing):
    error = core.InvalidInput("No.", problems=(Problem("pid", "is no number.", "Write 1."), Problem("x", "y")))
    told = failing(error, Accept="application/json")
    assert told.status_code == 422
    assert told_by(told) == {
        "code": "invalid_input",
        "message": "No.",
        "problems": [
            {"where": "pid", "message": "is no number.", "fix": "Write 1."},
            {"where": "x", "message": "y", "fix": ""},
        ],
    }


def test_an_error_page_is_escaped(failing):
    told = failing(core.NotFound("<script>alert(1)</script>"))
    assert told.status_code == 404
    assert "<script>alert" not in told.text
    assert "&lt;script&gt;alert(1)" in told.text


def test_a_defect_of_ours_tells_a_number_and_nothing_else(failing, caplog):
    told = failing(ZeroDivisionError("the password is hunter2"), Accept="application/json")
    error = told_by(told)
    assert (told.status_code, error["code"]) == (500, "internal")
    assert "hunter2" not in told.text
    number = error["message"].split("number ")[1].rstrip(".")
    assert number in caplog.text
    assert "hunter2" in caplog.text


def test_an_error_page_that_fails_gives_way_to_a_plain_one(failing, own_app, monkeypatch):
    monkeypatch.delitem(own_app.jinja_env.globals, "asset")
    told = failing(core.NotFound("<b>There is no x.</b>"))
    assert (told.status_code, told.mimetype) == (404, "text/plain")
    assert "<b>There is no x.</b>" in told.text
    assert told.headers["X-Content-Type-Options"] == "nosniff"


def test_a_value_that_postgresql_cannot_hold_is_refused_as_input(sign_in_as):
    anna = sign_in_as("responder")
    for address in ("/api/v1/runs/%00", "/api/v1/proposals/a%00b"):
        told = anna.get(address)
        assert (address, told.status_code, told_by(told)["code"]) == (address, 422, "invalid_input")


ANSWERS = ["/healthz", "/nowhere", "/api/v1/runs", "/signed-out", "/link/abc", "/static/app.css"]


@pytest.mark.parametrize("address", ANSWERS)
def test_every_answer_carries_the_security_headers(client, address):
    with client.get(address) as told:
        headers = told.headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers
    assert headers["Cache-Control"] == ("no-cache" if address.startswith("/static") else "no-store")


def test_the_policy_lets_nothing_inline_and_no_other_host_in():
    directives = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'none'"
    assert directives["base-uri"] == "'none'"
    assert directives["form-action"] == "'self'"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert "*" not in POLICY


def test_a_route_may_show_a_document_in_a_frame_of_ours_under_a_policy_of_its_own(own_app):
    @guards.open_to_all
    def document():
        return "x", {"Content-Security-Policy": "sandbox; default-src 'none'"}

    own_app.add_url_rule("/document", "document", document)
    headers = own_app.test_client().get("/document").headers
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.fixture
def without_database(service):
    engine = connect("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1)
    yield create_app(replace(service, engine=engine), secret_key=b"x" * 32).test_client()
    engine.dispose()


def test_health_is_the_process_and_readiness_the_database(client, without_database):
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ok"}
    assert without_database.get("/healthz").status_code == 200
    assert told_by(without_database.get("/readyz", headers=JSON))["code"] == "unavailable"


def test_without_the_database_people_are_told_that_nothing_was_changed(without_database):
    without_database.set_cookie("runbooks", "x" * 43)
    told = without_database.get("/api/v1/runs")
    assert told.status_code == 503
    assert "nothing was changed" in told_by(told)["message"]
    page = without_database.get("/link/abc")
    assert (page.status_code, page.mimetype) == (503, "text/html")


def test_a_refusal_that_cannot_be_entered_is_a_refusal_all_the_same(without_database):
    told = without_database.post("/api/v1/runs", headers={"Origin": "https://evil.example"})
    assert told.status_code == 403


def test_errors_of_the_database_tell_no_statement(failing):
    error = OperationalError("SELECT secret", {}, Exception("password=hunter2"))
    told = failing(error, Accept="application/json")
    assert told.status_code == 500
    assert "SELECT" not in told.text
    assert "hunter2" not in told.text


def test_a_flood_is_refused_in_the_one_shape_and_redis_being_away_refuses_nobody(service, monkeypatch):
    monkeypatch.setitem(limits.LIMITS, "login", "3 per minute")
    away = service.settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    flooded = create_app(replace(service, settings=away), secret_key=b"x" * 32).test_client()
    told = [flooded.get("/signed-out", headers=JSON) for _ in range(5)]
    assert [answer.status_code for answer in told[:3]] == [200, 200, 200]
    assert (told[-1].status_code, told_by(told[-1])["code"]) == (429, "too_many_requests")


def test_limits_are_shared_through_redis(service, monkeypatch, redis_server):
    monkeypatch.setitem(limits.LIMITS, "login", "3 per minute")
    shared = service.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{redis_server.port}/0"})
    secrets = {"secret_key": b"x" * 32, "redis_password": redis_server.password}
    processes = [create_app(replace(service, settings=shared), **secrets).test_client() for _ in range(2)]
    told = [processes[n % 2].get("/signed-out", headers=JSON).status_code for n in range(6)]
    assert told.count(429) >= 2


def test_a_limit_counts_people_and_addresses_and_never_a_made_up_cookie(service, monkeypatch):
    monkeypatch.setitem(limits.LIMITS, "login", "3 per minute")
    flooded = create_app(service, secret_key=b"x" * 32).test_client()
    told = []
    for number in range(5):
        flooded.set_cookie("runbooks", f"made-up-{number}")
        told.append(flooded.get("/signed-out", headers=JSON).status_code)
    assert told[-1] == 429


def test_nothing_was_written_by_looking_at_health(client, held):
    before = held()
    client.get("/readyz")
    client.head("/healthz")
    assert held() == before

"""Deny by default, and nothing from another site has an effect. Who may use what is in `test_matrix`."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from runbooks_app.actions import people
from runbooks_app.core.people import Permission
from runbooks_app.store.database import reading, transaction
from runbooks_app.web import guards
from runbooks_app.web.app import create_app
from runbooks_app.web.context import origin_of


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """Endpoint, method and an address of every route."""
    found = []
    for rule in app.url_map.iter_rules():
        address = re.sub(r"<int:[^>]+>", "1", rule.rule)
        address = re.sub(r"<[^>]+>", "aaaaaaaaaaaaaaaa", address)
        found += [(rule.endpoint, method, address) for method in sorted(rule.methods or ())]
    return found


def test_every_route_declares_who_may_use_it(app):
    undeclared = {name for name, view in app.view_functions.items() if guards.declaration(view) is None}
    assert undeclared == set()


def test_a_route_that_declares_nothing_is_refused_to_everybody(service, sign_in_as, app):
    bare = create_app(service, secret_key=b"x" * 32)
    bare.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    bare.add_url_rule("/api/v1/forgotten", "api.forgotten", lambda: "secret")
    assert bare.test_client().get("/forgotten").status_code == 403
    anna = sign_in_as("admin", "responder", "approver:database")
    signed_in = bare.test_client()
    signed_in.set_cookie("runbooks", anna.cookie)
    assert signed_in.get("/api/v1/forgotten").status_code == 403


FORGERIES = {
    "no token": {"X_CSRF_Token": None},
    "wrong token": {"X_CSRF_Token": "0" * 32},
    "token that is not ASCII": {"X_CSRF_Token": "\u00e9" * 32},
    "another site": {"Origin": "https://evil.example"},
    "same host, other port": {"Origin": "http://127.0.0.1:8081"},
    "same host, other scheme": {"Origin": "https://127.0.0.1:8080"},
    "prefix of ours": {"Origin": "http://127.0.0.1:80"},
    "null origin": {"Origin": "null"},
    "no origin at all": {"Origin": None},
    "referer of another site": {"Origin": None, "Referer": "https://evil.example/http://127.0.0.1:8080/"},
    "referer that begins like ours": {"Origin": None, "Referer": "http://127.0.0.1:8080.evil.example/"},
    "malformed referer": {"Origin": None, "Referer": "http://[::1/"},
    "cross-site by fetch metadata": {"Sec_Fetch_Site": "cross-site"},
    "same-site by fetch metadata": {"Sec_Fetch_Site": "same-site"},
    "cross-site in mode no-cors": {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
    "null origin in mode no-cors": {"Origin": "null", "Sec_Fetch_Mode": "no-cors"},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_request_with_effect_passes_when_forged(app, sign_in_as, held, forgery):
    anna = sign_in_as("responder", "approver:database", "admin", "auditor")
    before = held()
    wrong = []
    for endpoint, method, address in routes(app):
        wants_a_session = isinstance(guards.declaration(app.view_functions[endpoint]), tuple)
        if not wants_a_session or method in {"GET", "HEAD", "OPTIONS"}:
            continue
        told = anna.send(method, address, {}, **FORGERIES[forgery])
        if told.status_code != 403:
            wrong.append((method, address, told.status_code))
    assert wrong == []
    after = held()
    assert after.tables == before.tables
    assert set(after.since(before)) <= {"access.refused"}


def test_the_token_of_another_session_is_worth_nothing(sign_in_as):
    anna, ben = sign_in_as("responder"), sign_in_as("responder")
    told = anna.post("/api/v1/incidents", {"title": "x"}, X_CSRF_Token=ben.csrf)
    assert (told.status_code, told.json["error"]["code"]) == (403, "cross_site")


def test_a_request_of_our_own_page_passes_with_origin_or_referer(sign_in_as):
    anna = sign_in_as("responder")
    assert anna.post("/api/v1/incidents", {"title": "by origin"}).status_code == 201
    told = anna.post("/api/v1/incidents", {"title": "by referer"}, Origin=None, Referer="http://127.0.0.1:8080/runs/x")
    assert told.status_code == 201


def test_a_session_that_was_revoked_or_has_expired_is_none(sign_in_as, service):
    anna, ben = sign_in_as("viewer"), sign_in_as("viewer")
    assert anna.get("/api/v1/me").status_code == 200
    people.sign_out(service, anna.cookie)
    with transaction(service.engine) as tx:
        tx.execute("UPDATE sessions SET expires_at = now() WHERE subject = :subject", subject=ben.person.subject)
    assert anna.get("/api/v1/me").status_code == 401
    assert ben.get("/api/v1/me").status_code == 401


def test_roles_that_somebody_lost_at_a_later_sign_in_are_lost_in_their_older_session_too(sign_in_as):
    anna = sign_in_as("responder")
    sign_in_as("viewer", subject=anna.person.subject)
    assert anna.post("/api/v1/incidents", {"title": "x"}).status_code == 403


def test_a_refusal_of_somebody_known_is_entered_with_what_they_tried(sign_in_as, service):
    anna = sign_in_as("viewer")
    assert anna.post("/api/v1/runs", {"runbook": "disk-full"}).status_code == 403
    with reading(service.engine) as tx:
        entry = tx.execute(
            "SELECT actor::jsonb->'signed_in'->>'surface' AS surface, body::jsonb AS body FROM audit_entries"
            " WHERE event = 'access.refused' AND objects::jsonb @> :who ORDER BY seq DESC LIMIT 1",
            who={"person": anna.person.subject},
        ).one()
    assert entry.surface == "api"
    assert entry.body["what"] == "POST api.ask_for_run"
    assert "that takes the role responder" in entry.body["reason"]


def test_refusals_of_nobody_in_particular_are_counted_by_place_alone(client, service):
    for number in range(3):
        client.post(f"/api/v1/runs/{number}/cancel", headers={"Origin": f"https://evil{number}.example"})
    with reading(service.engine) as tx:
        counted = dict(tx.execute("SELECT reason, count FROM refusals").all())
    assert counted["POST api.cancel_run: cross_site"] >= 3
    assert not [reason for reason in counted if "evil" in reason]


def test_get_and_head_never_change_anything(app, sign_in_as, diagnosed, held):
    anna = sign_in_as("responder", "approver:database", "admin", "auditor")
    run_id, proposal_id = diagnosed(anna.person)
    before = held()
    for endpoint, method, address in routes(app):
        if guards.declaration(app.view_functions[endpoint]) is guards.Open.TO_ALL or method not in {"GET", "HEAD"}:
            continue
        for name in (run_id, proposal_id, "disk-full"):
            anna.client.open(address.replace("aaaaaaaaaaaaaaaa", name), method=method)
    after = held()
    assert after.tables == before.tables
    assert set(after.since(before)) <= {"access.refused"}


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://runbooks.example.com", "https://runbooks.example.com"),
        ("https://Runbooks.Example.com:443/x", "https://runbooks.example.com"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://h:80", "http://h"),
        ("https://h:80", "https://h:80"),
        ("null", ""),
        ("", ""),
        ("http://h:port", ""),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url, origin):
    assert origin_of(url) == origin


def test_permissions_of_handlers_are_ones_that_exist(app):
    for view in app.view_functions.values():
        declared = guards.declaration(view)
        assert isinstance(declared, guards.Open) or declared[0] is None or declared[0] in Permission

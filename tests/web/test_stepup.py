"""Signing in afresh for one thing: what the provider is asked, whose answer counts, and what becomes of the session."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from flask import Response, g
from hostile_provider import me, rs256, sign_in

from runbooks_app.actions import people
from runbooks_app.core.errors import Refused
from runbooks_app.store.database import reading
from runbooks_app.web import client as client_module
from runbooks_app.web import stepup
from runbooks_app.web.app import create_app
from runbooks_app.web.guards import guard

pytestmark = pytest.mark.identity

NONCE = "this-thing-and-no-other"


@dataclass
class Thing:
    """What wants a fresh sign-in in these tests: each time it was done, with what the finisher saw."""

    done: list[dict] = field(default_factory=list)
    refuses: bool = False

    def finish(self, ref, id_token, claims):
        if self.refuses:
            raise Refused("Somebody was quicker.")
        self.done.append(
            {"ref": ref, "token": id_token, "claims": claims, "subject": g.person.subject, "roles": g.person.roles}
        )
        return Response("done")


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


@pytest.fixture
def thing(monkeypatch):
    made = Thing()
    monkeypatch.setitem(stepup.FINISHERS, "thing", made.finish)
    return made


@pytest.fixture
def app(service, thing):
    return app_with_the_thing(service)


@pytest.fixture
def service(apps, web_engine, library, settings, servers_folder):
    from runbooks_app.actions.context import Service
    from runbooks_app.settings import Settings
    from runbooks_app.store.artifacts import Artifacts

    return Service(web_engine, library, {}, Settings(**settings), Artifacts("file://artifacts", servers_folder))


def app_with_the_thing(service):
    made = create_app(service, secret_key=b"x" * 32)
    handler = guard()(lambda: stepup.begin("thing", "the-ref", NONCE, "/proposals/p1"))
    made.add_url_rule("/thing", "thing", handler, methods=["POST"])
    return made


@pytest.fixture
def browser(app, provider):
    """A browser in which Anna is signed in."""
    made = app.test_client()
    assert sign_in(made, provider).status_code == 303
    return made


def begin(browser):
    told = browser.post("/thing", data={"csrf": me(browser)["csrf"]}, headers={"Origin": "http://127.0.0.1:8080"})
    assert told.status_code == 303, told.text
    return told.location


def fresh(provider):
    """From here on the provider has people sign in when it is asked."""
    provider.forge = lambda claims: {**claims, "auth_time": int(time.time())}


def test_the_provider_is_asked_for_a_fresh_sign_in_that_speaks_of_this_thing(browser, provider):
    asked = dict(parse_qsl(urlsplit(begin(browser)).query))
    assert (asked["prompt"], asked["max_age"], asked["nonce"]) == ("login", "0", NONCE)
    assert asked["redirect_uri"] == "http://127.0.0.1:8080/login/callback"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 20
    assert "acr_values" not in asked


def test_what_was_begun_is_finished_with_the_id_token_that_speaks_of_it(browser, provider, thing):
    fresh(provider)
    told = browser.get(provider.authorize(begin(browser)))
    assert (told.status_code, told.text) == (200, "done")
    (seen,) = thing.done
    assert (seen["ref"], seen["subject"]) == ("the-ref", provider.url + "#anna")
    assert seen["claims"]["nonce"] == NONCE
    assert seen["token"].count(".") == 2


def test_the_session_goes_on_under_another_secret_with_a_new_time_of_sign_in(browser, provider, app, service):
    before, csrf = browser.get_cookie("runbooks").value, me(browser)["csrf"]
    fresh(provider)
    browser.get(provider.authorize(begin(browser)))
    after = browser.get_cookie("runbooks").value
    assert after != before
    assert me(browser)["csrf"] == csrf
    thief = app.test_client()
    thief.set_cookie("runbooks", before)
    assert me(thief) is None
    with reading(service.engine) as tx:
        entries = tx.execute(
            "SELECT actor::jsonb->'signed_in'->>'auth_time' AS at FROM audit_entries"
            " WHERE event = 'person.signed_in' AND objects::jsonb @> :who ORDER BY seq DESC LIMIT 2",
            who={"person": provider.url + "#anna"},
        ).scalars()
        last, first = map(int, entries)
    assert last > first
    session = people.session_of(service, after)
    assert session.signed_in["auth_time"] == last


def test_the_session_goes_on_under_the_providers_new_name_for_its_own(browser, provider, service):
    fresh(provider)
    provider.user["sid"] = "renewed"
    browser.get(provider.authorize(begin(browser)))
    people.sign_out_by_provider(service, provider.url, "a-logout-of-the-step-up-test", subject="", sid="renewed")
    assert me(browser) is None


def test_roles_are_those_of_the_fresh_sign_in(browser, provider, thing):
    assert me(browser)["roles"] == ["responder"]
    provider.user["groups"] = ["watch"]
    fresh(provider)
    browser.get(provider.authorize(begin(browser)))
    assert thing.done[0]["roles"] == {"viewer"}
    assert me(browser)["roles"] == ["viewer"]


def claims_with(**changes):
    return lambda c: {k: v for k, v in {**c, "auth_time": int(time.time()), **changes}.items() if v is not None}


NOT_ENOUGH = {
    "somebody else": claims_with(sub="mallory"),
    "a sign-in of a minute before": lambda c: {**c, "auth_time": int(time.time()) - 60},
    "no time of sign-in": claims_with(auth_time=None),
    "a text as time of sign-in": claims_with(auth_time="9999999999"),
    "another nonce": claims_with(nonce="another-thing"),
    "no nonce": claims_with(nonce=None),
    "another audience": claims_with(aud="other"),
    "another issuer": claims_with(iss="https://evil.example"),
    "an expired token": claims_with(exp=int(time.time()) - 100),
}


@pytest.mark.parametrize("what", NOT_ENOUGH)
def test_what_is_no_fresh_sign_in_of_the_same_person_finishes_nothing(browser, provider, thing, what, held):
    cookie = browser.get_cookie("runbooks").value
    before = held()
    provider.forge = NOT_ENOUGH[what]
    told = browser.get(provider.authorize(begin(browser)))
    assert told.status_code == 403
    assert 'href="/proposals/p1"' in told.text  # the way back
    assert thing.done == []
    assert browser.get_cookie("runbooks").value == cookie
    assert held().tables == before.tables
    assert held().since(before) == ["access.refused"]
    assert me(browser)["subject"] == provider.url + "#anna"


def test_a_token_that_the_provider_did_not_sign_finishes_nothing(browser, provider, thing):
    from hostile_provider import OTHER_RSA

    fresh(provider)
    provider.sign = lambda c: rs256(c, key=OTHER_RSA)
    assert browser.get(provider.authorize(begin(browser))).status_code == 403
    assert thing.done == []


def test_the_strength_of_the_sign_in_is_asked_for_and_looked_at(service, provider, thing):
    from dataclasses import replace

    strict = service.settings.model_copy(update={"step_up_acr": "urn:strong urn:stronger"})
    browser = app_with_the_thing(replace(service, settings=strict)).test_client()
    sign_in(browser, provider)
    provider.forge = claims_with(acr="urn:weak")
    place = begin(browser)
    assert dict(parse_qsl(urlsplit(place).query))["acr_values"] == "urn:strong urn:stronger"
    told = browser.get(provider.authorize(place))
    assert told.status_code == 403
    assert "urn:strong or urn:stronger" in told.text
    assert thing.done == []
    provider.forge = claims_with(acr="urn:stronger")
    assert browser.get(provider.authorize(begin(browser))).status_code == 200
    assert len(thing.done) == 1


def test_nobody_is_signed_in_by_it(browser, provider, thing):
    fresh(provider)
    place = begin(browser)
    csrf = me(browser)["csrf"]
    browser.post("/logout", data={"csrf": csrf}, headers={"Origin": "http://127.0.0.1:8080"})
    told = browser.get(provider.authorize(place))
    assert told.status_code == 403
    assert "Your session has ended" in told.text
    assert (thing.done, me(browser)) == ([], None)


def test_an_answer_counts_in_the_browser_that_began_it_and_once(browser, provider, thing, app):
    fresh(provider)
    back = provider.authorize(begin(browser))
    other = app.test_client()
    sign_in(other, provider)
    assert other.get(back).status_code == 403
    assert browser.get(back).status_code == 200
    assert browser.get(back).status_code == 403
    assert len(thing.done) == 1


def test_the_answer_to_an_ordinary_sign_in_finishes_nothing(browser, provider, thing):
    fresh(provider)
    mixed = dict(parse_qsl(urlsplit(provider.authorize(begin(browser))).query))
    ordinary = dict(parse_qsl(urlsplit(provider.authorize(browser.get("/login").location)).query))
    told = browser.get("/login/callback?" + urlencode({"state": mixed["state"], "code": ordinary["code"]}))
    assert told.status_code == 403
    assert thing.done == []


def test_who_turns_back_at_the_provider_is_told_and_led_back(browser, provider, thing):
    state = dict(parse_qsl(urlsplit(begin(browser)).query))["state"]
    told = browser.get("/login/callback?" + urlencode({"state": state, "error": "access_denied"}))
    assert told.status_code == 403
    assert "access_denied" in told.text
    assert 'href="/proposals/p1"' in told.text
    assert thing.done == []
    assert me(browser)


def test_what_is_refused_in_the_end_leaves_its_person_signed_in(browser, provider, thing):
    fresh(provider)
    thing.refuses = True
    told = browser.get(provider.authorize(begin(browser)))
    assert told.status_code == 403
    assert "Somebody was quicker." in told.text
    assert me(browser)


def test_with_the_provider_away_nothing_is_begun_and_its_person_stays_signed_in(browser, provider, monkeypatch):
    monkeypatch.setattr(client_module, "FRESH", 0)
    provider.failing.add("/.well-known/openid-configuration")
    csrf = me(browser)["csrf"]
    told = browser.post("/thing", data={"csrf": csrf}, headers={"Origin": "http://127.0.0.1:8080"})
    assert told.status_code == 503
    assert "nobody signs in or approves high risk; all else goes on" in told.text
    assert me(browser)


def test_pages_let_forms_lead_to_the_provider_and_to_no_other_origin(browser, provider, service):
    from dataclasses import replace

    policy = browser.get("/").headers["Content-Security-Policy"]
    assert f"; form-action 'self' {provider.url};" in policy
    elsewhere = service.settings.model_copy(update={"oidc_origin": "https://login.example/with/a/path"})
    bare = service.settings.model_copy(update={"oidc_issuer": ""})
    for settings, wanted in ((elsewhere, "'self' https://login.example"), (bare, "'self'")):
        told = create_app(replace(service, settings=settings), secret_key=b"x" * 32).test_client().get("/healthz")
        assert f"; form-action {wanted};" in told.headers["Content-Security-Policy"]


def test_a_sign_in_page_at_an_origin_that_pages_do_not_name_is_a_setting_to_mend(app, provider):
    provider.discovery = lambda told: {**told, "authorization_endpoint": "http://login.example/authorize"}
    told = app.test_client().get("/login", headers={"Accept": "application/json"})
    assert told.status_code == 503
    assert "RUNBOOKS_OIDC_ORIGIN=http://login.example" in told.json["error"]["message"]

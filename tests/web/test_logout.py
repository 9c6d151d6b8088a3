"""Signing out: here, at the provider, and by the provider."""

from __future__ import annotations

import itertools
import time
from urllib.parse import parse_qsl, urlsplit

import hostile_provider
import pytest
from hostile_provider import OTHER_RSA, me, rs256, sign_in

from runbooks_app.store.database import reading
from runbooks_app.web import client as client_module

pytestmark = pytest.mark.identity

ORIGIN = "http://127.0.0.1:8080"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
_numbers = itertools.count(1)


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


def sign_out(browser):
    return browser.post("/logout", data={"csrf": me(browser)["csrf"]}, headers={"Origin": ORIGIN})


def test_a_cookie_is_worth_nothing_after_signing_out(browser, provider, app):
    sign_in(browser, provider)
    kept = browser.get_cookie("runbooks").value
    told = sign_out(browser)
    assert (told.status_code, told.location) == (303, "/signed-out")
    assert browser.get_cookie("runbooks") is None
    assert browser.get("/signed-out").status_code == 200
    thief = app.test_client()
    thief.set_cookie("runbooks", kept)
    assert me(thief) is None


def test_signing_out_wants_a_post_with_the_token(browser, provider):
    sign_in(browser, provider)
    assert browser.get("/logout").status_code == 405
    assert browser.post("/logout", headers={"Origin": ORIGIN}).status_code == 403
    assert me(browser)


@pytest.mark.usefixtures("anew")
def test_signing_out_leads_on_to_where_the_provider_ends_its_own_session(browser, provider):
    provider.discovery = lambda told: {**told, "end_session_endpoint": provider.url + "/end?realm=x"}
    sign_in(browser, provider)
    place = urlsplit(sign_out(browser).location)
    assert f"{place.scheme}://{place.netloc}{place.path}" == provider.url + "/end"
    assert dict(parse_qsl(place.query)) == {
        "realm": "x",
        "client_id": "runbooks",
        "post_logout_redirect_uri": ORIGIN + "/signed-out",
    }
    assert me(browser) is None


@pytest.mark.usefixtures("anew")
def test_signing_out_leads_to_no_other_origin_than_that_of_the_sign_in_page(browser, provider):
    provider.discovery = lambda told: {**told, "end_session_endpoint": "http://evil.example/end"}
    sign_in(browser, provider)
    assert sign_out(browser).location == "/signed-out"


@pytest.mark.usefixtures("anew")
def test_somebody_signs_out_here_while_the_provider_is_away(browser, provider, monkeypatch):
    provider.discovery = lambda told: {**told, "end_session_endpoint": provider.url + "/end"}
    sign_in(browser, provider)
    monkeypatch.setattr(client_module, "FRESH", 0)
    monkeypatch.setattr("runbooks_app.web.login.FRESH", 0)
    provider.failing.add("/.well-known/openid-configuration")
    assert sign_out(browser).location == "/signed-out"
    assert me(browser) is None


def logout(provider, **claims):
    now = int(time.time())
    told = {"iss": provider.url, "aud": "runbooks", "iat": now, "exp": now + 60, "jti": f"{now}-{next(_numbers)}"}
    return {k: v for k, v in {**told, "events": {EVENT: {}}, **claims}.items() if v is not None}


def deliver(app, token):
    return app.test_client().post("/login/back-channel", data={"logout_token": token})


def people(app, provider, *sessions):
    """Browsers of people who are signed in under the provider's own sessions: each `sub` and `sid`."""
    browsers = []
    for sub, sid in sessions:
        provider.user |= {"sub": sub, "sid": sid}
        browsers.append(app.test_client())
        assert sign_in(browsers[-1], provider).status_code == 303
    return browsers


def signed_in(browsers):
    return [me(browser) is not None for browser in browsers]


def test_the_provider_ends_the_session_that_it_names_and_no_other(app, provider):
    browsers = people(app, provider, ("anna", "one"), ("anna", "two"), ("ben", "three"))
    told = deliver(app, rs256(logout(provider, sid="one"), typ="logout+jwt"))
    assert (told.status_code, told.headers["Cache-Control"]) == (200, "no-store")
    assert signed_in(browsers) == [False, True, True]


def test_the_provider_ends_all_sessions_of_somebody_it_names(app, provider, service):
    browsers = people(app, provider, ("anna", "four"), ("anna", "five"), ("ben", "six"))
    assert deliver(app, rs256(logout(provider, sub="anna"))).status_code == 200
    assert signed_in(browsers) == [False, False, True]
    with reading(service.engine) as tx:
        entry = tx.execute("SELECT * FROM audit_entries WHERE event = 'person.signed_out' ORDER BY seq DESC").first()
    assert f'"kind":"provider","name":"sign-in provider","signed_in":{{}},"subject":"{provider.url}"' in entry.actor
    assert entry.objects == f'{{"person":"{provider.url}#anna"}}'


def test_a_logout_for_somebody_elses_session_ends_none(app, provider, held):
    browsers = people(app, provider, ("anna", "seven"))
    before = held()
    assert deliver(app, rs256(logout(provider, sub="ben", sid="seven"))).status_code == 200
    assert signed_in(browsers) == [True]
    assert held().since(before) == []


def test_a_logout_token_counts_once(app, provider):
    token = rs256(logout(provider, sub="anna"), typ="logout+jwt")
    first = people(app, provider, ("anna", "eight"))
    assert deliver(app, token).status_code == 200
    second = people(app, provider, ("anna", "nine"))
    assert deliver(app, token).status_code == 400
    assert signed_in(first + second) == [False, True]


NOW = int(time.time())
FORGED = {
    "by another issuer": {"iss": "https://evil.example"},
    "by this service itself": {"iss": ORIGIN},
    "for another client": {"aud": "other"},
    "for others as well": {"aud": ["runbooks", "other"]},
    "of five minutes ago": {"iat": NOW - 400, "exp": NOW + 400},
    "expired": {"exp": NOW - 100},
    "issued in the future": {"iat": NOW + 3600},
    "not issued": {"iat": None},
    "without a name of its own": {"jti": None},
    "without an event": {"events": None},
    "with another event": {"events": {"http://schemas.example/other": {}}},
    "with a list of events": {"events": [EVENT]},
    "with an event that is no object": {"events": {EVENT: True}},
    "that names nobody": {"sub": None},
    "that names somebody by a number": {"sub": 1},
    "that names an empty session": {"sid": ""},
    "with a nonce, as id_tokens have": {"nonce": "n"},
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_logout_token_with_a_wrong_claim_ends_no_session(app, provider, forgery, held):
    browsers = people(app, provider, ("anna", "ten"))
    before = held()
    told = deliver(app, rs256(logout(provider, **{"sub": "anna", **FORGED[forgery]}), typ="logout+jwt"))
    assert told.status_code == 400
    assert signed_in(browsers) == [True]
    assert held() == before


SIGNED = {
    "not at all": hostile_provider.unsigned,
    "with a MAC under the public key": hostile_provider.hs256_with_public_key,
    "by another's key under our key's name": lambda c: rs256(c, key=OTHER_RSA, typ="logout+jwt"),
    "as an access token": lambda c: rs256(c, typ="at+jwt"),
    "no token but a text": lambda _: "logout",
    "nothing": lambda _: "",
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("how", SIGNED)
def test_a_logout_token_that_is_not_signed_as_it_must_be_ends_no_session(app, provider, how):
    browsers = people(app, provider, ("anna", "eleven"))
    assert deliver(app, SIGNED[how](logout(provider, sub="anna"))).status_code == 400
    assert signed_in(browsers) == [True]


def test_an_id_token_ends_no_session(app, provider):
    browsers = people(app, provider, ("anna", "twelve"))
    assert deliver(app, rs256(provider.claims({"nonce": "n"}))).status_code == 400
    assert signed_in(browsers) == [True]


def test_only_a_form_that_is_posted_ends_a_session(app, provider):
    browsers = people(app, provider, ("anna", "thirteen"))
    token = rs256(logout(provider, sub="anna"), typ="logout+jwt")
    assert app.test_client().get("/login/back-channel", query_string={"logout_token": token}).status_code == 405
    assert app.test_client().post(f"/login/back-channel?logout_token={token}").status_code == 400
    assert signed_in(browsers) == [True]

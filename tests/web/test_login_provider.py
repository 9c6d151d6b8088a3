"""The way to the provider and back: what is asked, whose answer counts, and a provider that is away or another one."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from hostile_provider import me, sign_in

from runbooks_app.core.errors import Misconfigured
from runbooks_app.web import client
from runbooks_app.web.app import create_app

pytestmark = pytest.mark.identity

KEY = b"x" * 32


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


def test_the_request_to_the_provider_carries_state_nonce_and_pkce(browser, provider):
    asked = [dict(parse_qsl(urlsplit(browser.get("/login").location).query)) for _ in range(2)]
    assert asked[0]["redirect_uri"] == "http://127.0.0.1:8080/login/callback"
    assert asked[0]["scope"] == "openid profile email groups"
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[0][name]) >= 20
        assert asked[0][name] != asked[1][name]


@pytest.mark.parametrize(
    "change",
    [{"state": "forged"}, {"state": ""}, {"code": "guessed"}, {"code": ""}, {"iss": "https://evil.example"}],
)
def test_an_answer_that_was_tampered_with_on_its_way_signs_nobody_in(browser, provider, change):
    back = urlsplit(provider.authorize(browser.get("/login").location))
    told = browser.get(back.path + "?" + urlencode({**dict(parse_qsl(back.query)), **change}))
    assert told.status_code == 403
    assert me(browser) is None


def test_an_answer_that_belongs_to_another_browser_signs_nobody_in(app, provider):
    mine, theirs = app.test_client(), app.test_client()
    back = provider.authorize(mine.get("/login").location)
    theirs.get("/login")
    assert theirs.get(back).status_code == 403
    assert me(theirs) is None
    assert mine.get(back).status_code == 303


def test_an_answer_is_taken_once(browser, provider):
    back = provider.authorize(browser.get("/login").location)
    assert browser.get(back).status_code == 303
    browser.delete_cookie("runbooks")
    assert browser.get(back).status_code == 403
    assert me(browser) is None


def test_a_sign_in_in_each_of_several_tabs_ends_where_that_tab_was_going(browser, provider):
    first, second = browser.get("/login?next=/runs/first"), browser.get("/login?next=/runs/second")
    assert browser.get(provider.authorize(first.location)).location == "/runs/first"
    assert browser.get(provider.authorize(second.location)).location == "/runs/second"
    assert me(browser)


def test_many_sign_ins_under_way_do_not_outgrow_the_cookie(browser, provider):
    for _ in range(12):
        told = browser.get("/login?next=/" + "x" * 400)
    assert max(len(cookie) for cookie in told.headers.getlist("Set-Cookie")) < 4096
    assert browser.get(provider.authorize(told.location)).status_code == 303


@pytest.mark.usefixtures("anew")
def test_the_provider_must_name_itself_where_it_says_that_it_does(browser, provider):
    provider.discovery = lambda told: {**told, "authorization_response_iss_parameter_supported": True}
    back = provider.authorize(browser.get("/login").location)
    assert browser.get(back).status_code == 403
    back = provider.authorize(browser.get("/login").location)
    assert browser.get(back + "&" + urlencode({"iss": provider.url})).status_code == 303


def test_a_refusal_at_the_provider_is_told_without_its_markup(browser, provider):
    state = dict(parse_qsl(urlsplit(browser.get("/login").location).query))["state"]
    told = browser.get("/login/callback?" + urlencode({"state": state, "error": "access_denied<script>"}))
    assert told.status_code == 403
    assert "<script>" not in told.text


@pytest.mark.usefixtures("anew")
def test_with_the_provider_away_nobody_new_signs_in_and_who_is_signed_in_goes_on(app, provider, sign_in_as):
    anna = sign_in_as("viewer")
    provider.failing |= {"/.well-known/openid-configuration"}
    told = app.test_client().get("/login", headers={"Accept": "application/json"})
    assert (told.status_code, told.json["error"]["code"]) == (503, "no_provider")
    assert anna.get("/api/v1/me").status_code == 200
    provider.failing.clear()
    assert sign_in(app.test_client(), provider).status_code == 303


@pytest.mark.usefixtures("anew")
def test_a_provider_that_went_away_since_is_noticed_before_a_browser_is_sent_there(app, provider, monkeypatch):
    assert sign_in(app.test_client(), provider).status_code == 303
    monkeypatch.setattr(client, "FRESH", 0)
    provider.failing.add("/.well-known/openid-configuration")
    told = app.test_client().get("/login?next=/runs/x")
    assert told.status_code == 503
    assert "nobody signs in or approves high risk; all else goes on" in told.text


@pytest.mark.parametrize("place", ["/token", "/jwks"])
@pytest.mark.usefixtures("anew")
def test_a_provider_that_fails_midway_signs_nobody_in_and_the_next_try_works(browser, provider, place):
    provider.failing = {place}
    assert sign_in(browser, provider).status_code == 503
    assert me(browser) is None
    provider.failing = set()
    assert sign_in(browser, provider).status_code == 303


@pytest.mark.parametrize(
    "discovery",
    [
        lambda told: {**told, "issuer": "https://evil.example"},
        lambda told: {**told, "token_endpoint": None},
        lambda told: {**told, "jwks_uri": "nowhere"},
        lambda told: [told],
        lambda _: "no JSON",
        lambda _: "null",
    ],
)
@pytest.mark.usefixtures("anew")
def test_a_discovery_document_that_cannot_be_meant_signs_nobody_in(browser, provider, discovery):
    provider.discovery = discovery
    assert browser.get("/login").status_code == 503
    provider.discovery = dict
    assert browser.get("/login").status_code == 303


def test_without_a_provider_signing_in_says_what_is_missing(service):
    bare = replace(service, settings=service.settings.model_copy(update={"oidc_issuer": ""}))
    told = create_app(bare, secret_key=KEY).test_client().get("/login", headers={"Accept": "application/json"})
    assert told.status_code == 503
    assert "RUNBOOKS_OIDC_ISSUER" in told.json["error"]["message"]


def test_the_service_itself_is_no_provider_for_signing_in(service):
    own = replace(service, settings=service.settings.model_copy(update={"oidc_issuer": "http://127.0.0.1:8080/x"}))
    with pytest.raises(Misconfigured, match="this service itself"):
        create_app(own, secret_key=KEY)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_demos_provider_signs_people_in(service):
    import oidc_provider_mock

    user = oidc_provider_mock.User(sub="ben", claims={"name": "Ben", "groups": ["dba"]})
    with oidc_provider_mock.run_server_in_thread(user_claims=[user]) as server:
        issuer = f"http://localhost:{server.server_port}"
        own = replace(service, settings=service.settings.model_copy(update={"oidc_issuer": issuer}))
        browser = create_app(own, secret_key=KEY, oidc_client_secret="any").test_client()
        begun = browser.get("/login")
        back = requests.post(begun.location, data={"sub": "ben"}, allow_redirects=False, timeout=10).headers["Location"]
        told = browser.get(back.removeprefix("http://127.0.0.1:8080"))
        assert told.status_code == 303, told.text
        assert (me(browser)["subject"], me(browser)["roles"]) == (issuer + "#ben", ["approver:database"])

"""Signing in: what a good provider's answer leads to, and everything that must not sign anybody in."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

import hostile_provider as provider_module
import pytest
import requests
from hostile_provider import EC, OTHER_RSA, RSA, Provider, es256, rs256

from runbooks_app import oidc
from runbooks_app.core.errors import Misconfigured
from runbooks_app.store.database import reading
from runbooks_app.web.app import create_app
from runbooks_app.web.claims import person_of
from runbooks_app.web.login import safe_next

KEY = b"x" * 32


@pytest.fixture(scope="module")
def served():
    with provider_module.serve() as running:
        yield running


@pytest.fixture
def provider(served):
    """The provider, behaving well until a test says otherwise."""
    served.__init__(url=served.url)
    return served


@pytest.fixture
def anew(apps, settings):
    """An app that knows nothing of the provider yet, and is forgotten afterwards."""
    apps.pop(json.dumps(settings), None)
    yield
    apps.pop(json.dumps(settings), None)


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


@pytest.fixture
def browser(app):
    return app.test_client()


def sign_in(browser, provider: Provider, to: str = "/"):
    begun = browser.get("/login?" + urlencode({"next": to}))
    assert begun.status_code == 303, begun.text
    return browser.get(provider.authorize(begun.location))


def me(browser) -> dict | None:
    told = browser.get("/api/v1/me")
    return told.json if told.status_code == 200 else None


def test_who_the_provider_vouches_for_is_signed_in_with_roles_by_their_groups(browser, provider):
    provider.user["groups"] = ["oncall", "dba", "unheard-of"]
    told = sign_in(browser, provider, "/runbooks/disk-full?x=1")
    assert (told.status_code, told.location) == (303, "/runbooks/disk-full?x=1")
    person = me(browser)
    assert person["subject"] == provider.url + "#anna"
    assert person["roles"] == ["approver:database", "responder"]
    assert person["name"] == "Anna"


def test_a_sign_in_is_entered_with_when_the_provider_authenticated(browser, provider, service):
    provider.user |= {"amr": ["pwd", "otp"], "acr": "urn:strong"}
    sign_in(browser, provider)
    with reading(service.engine) as tx:
        entry = tx.execute(
            "SELECT actor::jsonb->'signed_in' AS how FROM audit_entries WHERE event = 'person.signed_in'"
            " AND objects::jsonb @> :who ORDER BY seq DESC LIMIT 1",
            who={"person": provider.url + "#anna"},
        ).one()
    assert time.time() - 60 < entry.how.pop("auth_time") < time.time()
    assert entry.how == {"surface": "web", "amr": ["pwd", "otp"], "acr": "urn:strong"}


def test_the_request_to_the_provider_carries_state_nonce_and_pkce(browser, provider):
    asked = [dict(parse_qsl(urlsplit(browser.get("/login").location).query)) for _ in range(2)]
    assert asked[0]["redirect_uri"] == "http://127.0.0.1:8080/login/callback"
    assert asked[0]["scope"] == "openid profile email groups"
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[0][name]) >= 20
        assert asked[0][name] != asked[1][name]


def test_an_elliptic_key_serves_as_well(browser, provider):
    provider.sign = es256
    assert sign_in(browser, provider).status_code == 303
    assert me(browser)


def claim(**changes):
    return lambda claims: {k: v for k, v in {**claims, **changes}.items() if v is not None}


NOW = int(time.time())
FORGED = {
    "another issuer": claim(iss="https://evil.example"),
    "issuer with a slash more": lambda c: {**c, "iss": c["iss"] + "/"},
    "no issuer": claim(iss=None),
    "another audience": claim(aud="other"),
    "another audience and ours authorised": claim(aud="other", azp="runbooks"),
    "ours among others": claim(aud=["runbooks", "other"]),
    "ours among others, authorised for us": claim(aud=["runbooks", "other"], azp="runbooks"),
    "ours, authorised for another": claim(azp="other"),
    "no audience": claim(aud=None),
    "an object as audience": claim(aud={"runbooks": True}),
    "another nonce": claim(nonce="replayed"),
    "no nonce": claim(nonce=None),
    "expired": claim(exp=NOW - 100, iat=NOW - 400),
    "no expiry": claim(exp=None),
    "a text as expiry": claim(exp="9999999999"),
    "true as expiry": claim(exp=True),
    "issued in the future": claim(iat=NOW + 3600),
    "not issued": claim(iat=None),
    "no subject": claim(sub=None),
    "an empty subject": claim(sub=""),
    "a number as subject": claim(sub=1),
    "a subject with a line end": claim(sub="anna\nadmin"),
    "our own run token": lambda c: {**c, "iss": "http://127.0.0.1:8080", "sub": "runbook:x:env:tests:stage:diagnose"},
}


@pytest.mark.parametrize("forgery", FORGED)
def test_an_id_token_with_one_wrong_claim_signs_nobody_in(browser, provider, held, forgery):
    provider.forge = FORGED[forgery]
    before = held()
    told = sign_in(browser, provider)
    assert told.status_code == 403
    assert me(browser) is None
    assert held() == before


SIGNED = {
    "not at all": provider_module.unsigned,
    "altered afterwards": provider_module.altered,
    "with a MAC under the public key": provider_module.hs256_with_public_key,
    "with a MAC under a secret": provider_module.hs256_with_client_secret,
    "by an algorithm that nobody named": provider_module.rs512,
    "by another's key under our key's name": lambda c: rs256(c, key=OTHER_RSA),
    "by a key that is not published": lambda c: rs256(c, kid="second", key=OTHER_RSA),
    "by a key without a name among several": lambda c: rs256(c, kid=None),
    "as an access token": lambda c: rs256(c, typ="at+jwt"),
    "as a logout token": lambda c: rs256(c, typ="logout+jwt"),
    "with a critical header that nobody knows": provider_module.critical,
    "no token but a text": lambda _: "id_token",
    "no token but a number": lambda _: 5,
    "an empty text": lambda _: "",
    "nothing": lambda _: None,
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("how", SIGNED)
@pytest.mark.usefixtures("anew")
def test_an_id_token_that_is_not_signed_as_it_must_be_signs_nobody_in(browser, provider, held, how):
    provider.sign = SIGNED[how]
    before = held()
    assert sign_in(browser, provider).status_code == 403
    assert me(browser) is None
    assert held() == before


def test_an_access_token_in_place_of_the_id_token_signs_nobody_in(browser, provider):
    provider.token_answer = lambda told: {**told, "id_token": told["access_token"]}
    assert sign_in(browser, provider).status_code == 403
    provider.token_answer = lambda told: {k: v for k, v in told.items() if k != "id_token"}
    assert sign_in(browser, provider).status_code == 403
    assert me(browser) is None


@pytest.mark.usefixtures("anew")
def test_keys_are_fetched_once_and_again_for_an_unknown_one_but_not_at_anybodys_pace(app, provider, monkeypatch):
    sign_in(app.test_client(), provider)
    sign_in(app.test_client(), provider)
    assert provider.asked.count("/jwks") == 1
    provider.keys, provider.sign = (RSA, OTHER_RSA), lambda c: rs256(c, kid="second", key=OTHER_RSA)
    assert sign_in(app.test_client(), provider).status_code == 303
    assert provider.asked.count("/jwks") == 2
    provider.sign = lambda c: rs256(c, kid="third", key=OTHER_RSA)
    assert sign_in(app.test_client(), provider).status_code == 403
    assert provider.asked.count("/jwks") == 2
    monkeypatch.setattr(oidc, "REST", 0)
    assert sign_in(app.test_client(), provider).status_code == 403
    assert provider.asked.count("/jwks") == 3


@pytest.mark.usefixtures("anew")
def test_a_single_key_may_have_no_name_and_may_change(app, provider):
    provider.keys, provider.sign = (RSA,), lambda c: rs256(c, kid=None)
    assert sign_in(app.test_client(), provider).status_code == 303
    provider.keys, provider.sign = (OTHER_RSA,), lambda c: rs256(c, kid=None, key=OTHER_RSA)
    assert sign_in(app.test_client(), provider).status_code == 303


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


def test_a_session_begins_under_a_new_secret_and_the_one_before_it_ends(browser, provider, app, service):
    browser.set_cookie("runbooks", "chosen-by-somebody-else")
    sign_in(browser, provider)
    first = browser.get_cookie("runbooks").value
    assert first != "chosen-by-somebody-else"
    sign_in(browser, provider)
    second = browser.get_cookie("runbooks").value
    assert second != first
    stale = app.test_client()
    for value in ("chosen-by-somebody-else", first):
        stale.set_cookie("runbooks", value)
        assert me(stale) is None


def test_a_cookie_is_worth_nothing_after_signing_out(browser, provider, app):
    sign_in(browser, provider)
    kept = browser.get_cookie("runbooks").value
    token = me(browser)["csrf"]
    told = browser.post("/logout", data={"csrf": token}, headers={"Origin": "http://127.0.0.1:8080"})
    assert (told.status_code, told.location) == (303, "/signed-out")
    assert browser.get_cookie("runbooks") is None
    assert browser.get("/signed-out").status_code == 200
    thief = app.test_client()
    thief.set_cookie("runbooks", kept)
    assert me(thief) is None


def test_signing_out_wants_a_post_with_the_token(browser, provider):
    sign_in(browser, provider)
    assert browser.get("/logout").status_code == 405
    assert browser.post("/logout", headers={"Origin": "http://127.0.0.1:8080"}).status_code == 403
    assert me(browser)


def test_the_cookie_is_the_browsers_and_this_hosts_alone(browser, provider):
    told = sign_in(browser, provider)
    cookie = next(c for c in told.headers.getlist("Set-Cookie") if c.startswith("runbooks="))
    assert "; HttpOnly" in cookie
    assert "; SameSite=Lax" in cookie
    assert "; Path=/" in cookie
    assert "Domain" not in cookie
    assert "Secure" not in cookie  # plain http, on loopback


def test_over_https_cookies_are_secure_and_bound_to_the_host(service, provider):
    secure = replace(service, settings=service.settings.model_copy(update={"public_url": "https://runbooks.example"}))
    browser = create_app(secure, secret_key=KEY).test_client()
    begun = browser.get("/login", base_url="https://runbooks.example")
    told = browser.get(provider.authorize(begun.location), base_url="https://runbooks.example")
    cookies = begun.headers.getlist("Set-Cookie") + told.headers.getlist("Set-Cookie")
    given = [cookie for cookie in cookies if "Max-Age=0" not in cookie]
    assert {cookie.partition("=")[0] for cookie in given} == {"__Host-runbooks-login", "__Host-runbooks"}
    assert all("; Secure" in c and "; HttpOnly" in c and "; Path=/" in c and "Domain" not in c for c in given)
    assert told.headers["Strict-Transport-Security"].startswith("max-age=31536000")


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
        "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "javascript:alert(1)",
        "http:evil.example", "evil.example", "", "/a\\b", "/x\x00", "/\x7f", "/logout", "/login", "/login/callback",
        "/signed-out", "/" + "x" * 600,
    ],
)  # fmt: skip
def test_signing_in_leads_to_no_other_site(wanted, browser, provider):
    assert safe_next(wanted) == "/"
    assert sign_in(browser, provider, wanted).location == "/"


@pytest.mark.parametrize("wanted", ["/", "/runs/abc#cell-x", "/runbooks?q=a%20b", "/proposals/x?y=http://z", "/ü"])
def test_signing_in_leads_back_to_where_somebody_was_going(wanted):
    assert safe_next(wanted) == wanted


def test_who_comes_without_a_session_is_sent_to_sign_in_and_back(browser):
    told = browser.get("/link/abc?x=1")
    assert (told.status_code, told.location) == (303, "/login?next=%2Flink%2Fabc%3Fx%3D1")


def test_a_reused_email_address_is_another_person(app, provider):
    provider.user |= {"email": "anna@example.com", "email_verified": True}
    first = app.test_client()
    sign_in(first, provider)
    provider.user |= {"sub": "mallory", "groups": []}
    second = app.test_client()
    sign_in(second, provider)
    assert (me(first)["roles"], me(second)["roles"]) == (["responder"], [])
    assert me(first)["subject"] != me(second)["subject"]


def test_an_unverified_email_address_is_not_kept(service):
    claims = {"iss": "https://idp", "sub": "x", "email": "boss@example.com"}
    assert person_of({**claims, "email_verified": True}, service.settings).email == "boss@example.com"
    for unsure in (False, None, "true", 1):
        assert person_of({**claims, "email_verified": unsure}, service.settings).email == ""


@pytest.mark.parametrize(
    "groups", [None, "oncall", {"oncall": True}, [["oncall"]], [1, None], 7, ["ONCALL", "on call"]]
)
def test_groups_that_are_not_a_list_of_known_names_give_no_role(groups, service):
    assert person_of({"iss": "i", "sub": "s", "groups": groups}, service.settings).roles == frozenset()


def test_a_name_is_shown_on_one_line_and_without_tricks(service):
    name = "Anna\r\n\u202eevil\x00 " + "x" * 500
    shown = person_of({"iss": "i", "sub": "s", "name": name}, service.settings).name
    assert shown.startswith("Annaevil x")
    assert len(shown) == 200


@pytest.mark.usefixtures("anew")
def test_with_the_provider_away_nobody_new_signs_in_and_who_is_signed_in_goes_on(app, provider, sign_in_as):
    anna = sign_in_as("viewer")
    provider.failing |= {"/.well-known/openid-configuration"}
    told = app.test_client().get("/login", headers={"Accept": "application/json"})
    assert (told.status_code, told.json["error"]["code"]) == (503, "no_provider")
    assert anna.get("/api/v1/me").status_code == 200
    provider.failing.clear()
    assert sign_in(app.test_client(), provider).status_code == 303


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


@pytest.mark.parametrize("keys", ["nothing", {"keys": "none"}, {"keys": [{"kty": "RSA"}]}, [], {}])
@pytest.mark.usefixtures("anew")
def test_keys_that_cannot_be_read_sign_nobody_in(browser, provider, keys, monkeypatch):
    class Broken:
        @staticmethod
        def as_dict(**_):
            return keys

    provider.keys = (Broken,)
    assert sign_in(browser, provider).status_code in {403, 503}
    assert me(browser) is None


@pytest.mark.usefixtures("anew")
def test_a_curve_key_under_an_rsa_keys_name_signs_nobody_in(browser, provider):
    provider.keys = (type(EC).import_key({**EC.as_dict(private=False), "kid": "first"}),)
    assert sign_in(browser, provider).status_code == 403


def test_without_a_provider_signing_in_says_what_is_missing(service):
    bare = replace(service, settings=service.settings.model_copy(update={"oidc_issuer": ""}))
    told = create_app(bare, secret_key=KEY).test_client().get("/login", headers={"Accept": "application/json"})
    assert told.status_code == 503
    assert "RUNBOOKS_OIDC_ISSUER" in told.json["error"]["message"]


def test_the_service_itself_is_no_provider_for_signing_in(service):
    own = replace(service, settings=service.settings.model_copy(update={"oidc_issuer": "http://127.0.0.1:8080/x"}))
    with pytest.raises(Misconfigured, match="this service itself"):
        create_app(own, secret_key=KEY)


def test_a_short_key_for_sign_in_cookies_is_refused_at_start(service):
    with pytest.raises(Misconfigured, match="32"):
        create_app(service, secret_key=b"short")


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

"""Signing in: what a good provider's answer leads to, for whom, and where to."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hostile_provider import me, sign_in

from runbooks_app.core.errors import Misconfigured
from runbooks_app.store.database import reading
from runbooks_app.web.app import create_app
from runbooks_app.web.claims import person_of
from runbooks_app.web.login import safe_next

pytestmark = pytest.mark.identity

KEY = b"x" * 32


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


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


def test_a_short_key_for_sign_in_cookies_is_refused_at_start(service):
    with pytest.raises(Misconfigured, match="32"):
        create_app(service, secret_key=b"short")

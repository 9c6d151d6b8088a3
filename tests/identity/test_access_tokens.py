"""Access tokens of the independent provider on the API of the whole service, and all the tokens that are none."""

from __future__ import annotations

import time

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from whole_stage import until

pytestmark = pytest.mark.identity


@pytest.fixture(scope="module")
def tokens(node, company):
    """Ana's tokens as a device gets them, for our API."""
    node.device()
    return node.device_tokens("ana", company.url)


@pytest.fixture
def api(company):
    """`api(token)` is who the API says that this token stands for; headers may be given as pairs instead."""

    def ask(token: str = "", headers: list[tuple[str, str]] | None = None) -> httpx.Response:
        sent = headers or [("Authorization", f"Bearer {token}")]
        return httpx.get(f"{company.url}/api/v1/me", headers=sent, trust_env=False)

    return ask


def test_an_access_token_for_the_api_stands_for_its_person(api, tokens, node):
    told = api(tokens["access_token"]).json()
    assert told["subject"] == f"{node.issuer}#ana"
    assert "responder" in told["roles"]


@pytest.mark.parametrize("kind", ["id_token", "refresh_token"])
def test_other_tokens_of_the_same_sign_in_let_nobody_in(api, tokens, kind):
    told = api(tokens[kind])
    assert (told.status_code, told.json()["error"]["code"]) == (401, "invalid_token")


def test_an_access_token_for_another_service_or_for_none_lets_nobody_in(api, node):
    assert api(node.device_tokens("ana", "https://elsewhere.example.com")["access_token"]).status_code == 401
    assert api(node.device_tokens("ana")["access_token"]).status_code == 401


def test_a_run_token_soundly_signed_for_ourselves_lets_nobody_in(api, company, node):
    (pem,) = until("a worker to make its key", lambda: list((company.folder / "identity").glob("*.pem")))
    key = RSAKey.import_key(pem.read_bytes())
    now = int(time.time())
    claims = {"aud": company.url, "sub": f"{node.issuer}#ana", "groups": ["sre"], "iat": now, "exp": now + 300}
    for issuer in (company.url, node.issuer):
        header = {"alg": "RS256", "kid": key.thumbprint(), "typ": "at+jwt"}
        token = jwt.encode(header, {"iss": issuer, **claims}, key, algorithms=["RS256"])
        assert api(token).status_code == 401


def test_two_headers_over_the_wire_let_nobody_in_and_huge_ones_neither(api, tokens):
    good = ("Authorization", f"Bearer {tokens['access_token']}")
    assert api(headers=[good]).status_code == 200
    for other in (good, ("Authorization", "Bearer x"), ("authorization", "Basic YTpi")):
        assert api(headers=[good, other]).status_code in {400, 401}
        assert api(headers=[other, good]).status_code in {400, 401}
    assert api("x" * 60_000).status_code in {400, 401, 431}


def test_a_session_beside_the_token_is_refused(api, tokens, colleague):
    cookies = colleague("ben").client.cookies
    session = "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies.jar if "runbooks" in cookie.name)
    told = api(headers=[("Authorization", f"Bearer {tokens['access_token']}"), ("Cookie", session)])
    assert (told.status_code, told.json()["error"]["code"]) == (400, "invalid_request")

"""Which tokens of the provider sign somebody in, and all those that must not."""

from __future__ import annotations

import time

import hostile_provider
import pytest
from hostile_provider import EC, OTHER_RSA, RSA, es256, me, rs256, sign_in
from joserfc.jwk import RSAKey

from runbooks_app import oidc
from runbooks_app.core import run_identity

pytestmark = pytest.mark.identity


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


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
    "not at all": hostile_provider.unsigned,
    "altered afterwards": hostile_provider.altered,
    "with a MAC under the public key": hostile_provider.hs256_with_public_key,
    "with a MAC under a secret": hostile_provider.hs256_with_client_secret,
    "by an algorithm that nobody named": hostile_provider.rs512,
    "by another's key under our key's name": lambda c: rs256(c, key=OTHER_RSA),
    "by a key that is not published": lambda c: rs256(c, kid="second", key=OTHER_RSA),
    "by a key without a name among several": lambda c: rs256(c, kid=None),
    "as an access token": lambda c: rs256(c, typ="at+jwt"),
    "as a logout token": lambda c: rs256(c, typ="logout+jwt"),
    "with a critical header that nobody knows": hostile_provider.critical,
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


def test_an_elliptic_key_serves_as_well(browser, provider):
    provider.sign = es256
    assert sign_in(browser, provider).status_code == 303
    assert me(browser)


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


def test_our_own_run_token_signs_nobody_in_whatever_it_says(browser, provider):
    """Signed by a key of the run identity; also one that says all that an id_token would."""
    key = RSAKey.generate_key(2048, parameters={"use": "sig"})
    kid = run_identity.thumbprint(key.as_dict(private=False))
    purpose = run_identity.Purpose(
        "run-1",
        "diagnose",
        300,
        runbook_id="4b0e3a52-7b7d-4a53-9a0e-5f3f5d3c9c11",
        runbook_digest="d",
        params_digest="p",
        environment="tests",
    )
    issuer = "http://127.0.0.1:8080"
    run = run_identity.claims(purpose, issuer=issuer, audience="runbooks", now=time.time(), jti="j")
    for told in (lambda _: run, lambda c: {**run, "nonce": c["nonce"]}, lambda c: {**c, "run_id": "run-1"}):
        provider.sign = lambda claims, told=told: rs256(told(claims), kid=kid, key=key)
        assert sign_in(browser, provider).status_code == 403
        assert me(browser) is None

"""Run tokens become access tokens of the stage's scope, at a server that verifies them; nothing else does."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from credentials.exchanges import exchanging
from credentials.trusting import RUNBOOK, issuing, subject
from kernels.gateway.servers import HOST, answer, http_server, raw_server, saying, silent

from runbooks_app import asking
from runbooks_app.connections import read_connections
from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.credentials import provider_for, token_exchange, tokens

pytestmark = pytest.mark.identity

METRICS = SimpleNamespace(name="metrics", host="", port=0, database="", url="http://metrics")
ANY = Outgoing("GET", "http://metrics/x")


@pytest.fixture(scope="module")
def issuer():
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def server(issuer):
    token_exchange._discovered.clear()
    with exchanging(issuer.url, RUNBOOK) as server:
        yield server


@pytest.fixture
def provider(server, tmp_path):
    """`provider(scope="write")`: as the connections file has it, found by the server's issuer."""

    def provider(**options):
        named = {"provider": "token-exchange", "issuer": server.url, "scope": "read"} | options
        lines = [f"{name} = {json.dumps(value)}" for name, value in named.items() if value is not None]
        file = tmp_path / "connections.toml"
        file.write_text("\n".join(['[metrics]\nkind = "http"\nurl = "https://metrics"\n[metrics.diagnose]', *lines]))
        return provider_for(read_connections(file)["metrics"].diagnose)

    return provider


def test_a_diagnosis_gets_a_token_of_its_scope_for_who_asked(server, provider, issuer):
    minted = provider().mint(METRICS, issuer.purpose())
    header = minted.authorize(ANY)["Authorization"]
    assert server.may(header, "read")
    assert not server.may(header, "write")
    assert (minted.scope, minted.secrets) == ("read", [header.removeprefix("Bearer ")])
    assert 100 < (minted.expires_at.timestamp() - time.time()) <= 120
    (claims,) = server.claims
    assert claims["sub"] == subject("diagnose")
    assert claims["aud"] == server.url
    assert claims["requested_by"] == ["https://idp#ana"]


def test_a_diagnosis_never_gets_the_scope_of_a_remediation(server, provider, issuer):
    with pytest.raises(Misconfigured, match=r"metrics .*invalid_scope: diagnose may not read write.*Let it give"):
        provider(scope="read write").mint(METRICS, issuer.purpose("diagnose"))
    minted = provider(scope="read write").mint(METRICS, issuer.purpose("remediate"))
    assert server.may(minted.authorize(ANY)["Authorization"], "write")
    assert server.claims[-1]["approved_by"] == ["https://idp#ben"]


def test_another_runbook_another_environment_and_another_issuer_get_nothing(server, provider, issuer):
    other = "00000000-0000-4000-8000-000000000000"
    with issuing() as stranger:
        stranger.port = issuer.port  # says that it is the one, and has other keys
        for purpose in (
            issuer.purpose(runbook_id=other),
            issuer.purpose(environment="staging"),
            stranger.purpose(),
        ):
            with pytest.raises(Misconfigured, match="identity show"):
                provider().mint(METRICS, purpose)
    assert server.given == {}


def test_at_the_stages_end_the_token_is_ended_where_the_server_can(server, provider, issuer):
    provided = provider()
    minted = provided.mint(METRICS, issuer.purpose())
    header = minted.authorize(ANY)["Authorization"]
    assert not provider().revoke(METRICS, minted.identity)  # a sweep's: it knows the name alone
    assert server.may(header, "read")
    assert provided.revoke(METRICS, minted.identity)
    assert not server.may(header, "read")
    assert provided.sweep(METRICS, frozenset()) == []


def test_a_server_that_ends_nothing_is_asked_for_nothing(server, provider, issuer):
    del server.published["revocation_endpoint"]
    provided = provider()
    minted = provided.mint(METRICS, issuer.purpose())
    assert not provided.revoke(METRICS, minted.identity)
    assert [asked["path"] for asked in server.asked] == ["/token"]


def test_a_token_that_the_server_can_or_will_not_end_is_told_of_as_that(server, provider, issuer):
    provided = provider()
    minted = provided.mint(METRICS, issuer.purpose())
    server.revoking = (400, {"error": "unsupported_token_type"})
    assert not provided.revoke(METRICS, minted.identity)
    server.revoking = (503, {})
    with pytest.raises(Unavailable, match=r"metrics .*did not end the token \(503\).*Try again"):
        provided.revoke(METRICS, minted.identity)
    server.revoking = (403, {"error": "access_denied", "error_description": f"not {minted.secret}"})
    with pytest.raises(Misconfigured, match=r"access_denied: not \*\*\*"):
        provided.revoke(METRICS, minted.identity)


def test_addresses_can_be_given_instead_of_an_issuer_and_an_audience_with_them(server, provider, issuer):
    server.published, server.audience = {}, "metrics"
    provided = provider(
        issuer=None, token_url=f"{server.url}/token", revocation_url=f"{server.url}/revoke", audience="metrics",
        subject_audience=server.url, client_id="runbooks",
    )  # fmt: skip
    minted = provided.mint(METRICS, issuer.purpose())
    assert provided.revoke(METRICS, minted.identity)
    assert [asked["client_id"] for asked in server.asked] == ["runbooks", "runbooks"]
    with pytest.raises(Misconfigured, match=r"invalid_target.*Check audience"):
        provider(issuer=None, token_url=f"{server.url}/token", subject_audience=server.url).mint(
            METRICS, issuer.purpose()
        )


def test_a_client_proves_itself_by_what_stands_in_a_file_and_nowhere_else(server, provider, issuer, tmp_path):
    server.client = ("run books", "s3cret:+/=")
    file = tmp_path / "client.secret"
    provided = provider(client_id="run books", client_secret_file="client.secret")
    with pytest.raises(Misconfigured, match=r"client\.secret .*No such file"):
        provided.mint(METRICS, issuer.purpose())
    file.write_text("s3cret:+/=\n")
    assert provided.mint(METRICS, issuer.purpose())
    assert "s3cret" not in repr(provided)
    assert all("client_secret" not in asked for asked in server.asked)
    file.write_text("another")
    with pytest.raises(Misconfigured, match=r"invalid_client.*client_secret_file"):
        provided.mint(METRICS, issuer.purpose())


def test_what_the_server_says_is_told_without_the_token_that_it_quotes(server, provider, issuer):
    issuer.given.clear()
    with pytest.raises(Misconfigured) as refused:
        provider(subject_audience="https://elsewhere").mint(METRICS, issuer.purpose())
    assert "is not trusted" in refused.value.message
    issuer.clock = lambda: time.time() - 3600
    try:
        with pytest.raises(Misconfigured, match="expired") as refused:
            provider().mint(METRICS, issuer.purpose())
    finally:
        issuer.clock = time.time
    assert "eyJ" not in refused.value.message


@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        ({"access_token": ""}, "without an access token"),
        ({"access_token": "two\nlines-of-it"}, "without an access token"),
        ({"access_token": "short"}, "without an access token"),
        ({"access_token": 7}, "without an access token"),
        ({"token_type": "DPoP"}, "no bearer token"),
        ({"token_type": None}, "no bearer token"),
        ({"issued_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "no bearer token"),
        ({"expires_in": None}, "without telling when it ends"),
        ({"expires_in": 0}, "without telling when it ends"),
        ({"expires_in": True}, "without telling when it ends"),
        ({"expires_in": "soon"}, "without telling when it ends"),
        ({"scope": "read write"}, "more than was asked for: write"),
        ({"scope": ["read"]}, "more than was asked for"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_told_and_not_used(server, provider, issuer, spoiled, told):
    server.spoil = lambda given: {**given, **spoiled}
    with pytest.raises(Misconfigured, match=told) as refused:
        provider().mint(METRICS, issuer.purpose())
    assert f"metrics ({server.url})" in refused.value.message
    assert not any(token in str(refused.value) for token in server.given)


@pytest.mark.parametrize("spoiled", [b"", b"[]", b"null", b"<html>", b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_none_is_told_as_that(server, provider, issuer, spoiled):
    server.spoil = lambda _: spoiled
    with pytest.raises(Misconfigured, match="without an access token"):
        provider().mint(METRICS, issuer.purpose())


def test_less_than_was_asked_for_is_taken_and_told(server, provider, issuer):
    server.spoil = lambda given: {**given, "scope": "read"}
    minted = provider(scope="read write").mint(METRICS, issuer.purpose("remediate"))
    assert minted.scope == "read"


def test_an_endless_answer_is_cut_off(server, provider, issuer):
    server.spoil = lambda given: {**given, "more": "x" * asking.MOST}
    with pytest.raises(Unavailable, match="more than 256 KiB"):
        provider().mint(METRICS, issuer.purpose())


def test_a_server_that_is_away_or_silent_or_busy_is_told_of_in_time(provider, issuer, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.3)
    with raw_server(silent) as system:
        given = {"issuer": None, "token_url": f"http://{HOST}:{system.port}/token"}
        with pytest.raises(Unavailable, match=r"metrics .*did not answer within 0\.3 s"):
            provider(**given).mint(METRICS, issuer.purpose())
    with pytest.raises(Unavailable, match="could not be reached"):
        provider(**given).mint(METRICS, issuer.purpose())
    with raw_server(saying(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")) as system:
        given = {"issuer": None, "token_url": f"http://{HOST}:{system.port}/token"}
        with pytest.raises(Unavailable, match=r"503.*Try again"):
            provider(**given).mint(METRICS, issuer.purpose())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_with_a_run_token(server, provider, issuer, status):
    def elsewhere(handler, system):
        system.seen.append(handler.path)
        answer(handler, status=status, Location=f"{server.url}/token")

    with http_server(elsewhere) as system:
        given = {"issuer": None, "token_url": f"http://{HOST}:{system.port}/token"}
        with pytest.raises(Misconfigured, match=f"redirect \\({status}\\).*file that names it"):
            provider(**given).mint(METRICS, issuer.purpose())
        assert system.seen == ["/token"]
    assert server.asked == []


@pytest.mark.parametrize(
    ("published", "told"),
    [
        ({"issuer": "https://elsewhere.example.com"}, "does not say .* that it is the issuer"),
        ({"token_endpoint": None}, "names no token endpoint"),
        ({"token_endpoint": "http://elsewhere.example.com/token"}, "nothing secret may be sent"),
        ({"revocation_endpoint": 7}, "nothing secret may be sent"),
    ],
)
def test_a_server_that_publishes_what_cannot_be_is_not_asked(server, provider, issuer, published, told):
    server.published |= published
    with pytest.raises(Misconfigured, match=told):
        provider().mint(METRICS, issuer.purpose())
    assert server.asked == []


def test_it_is_exchanged_anew_before_it_lapses_and_that_is_told_first(server, provider, issuer, monkeypatch):
    now, told = [1000.0], []
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def renewed(identity, seconds):
        told.append((identity, seconds, len(server.given)))

    minted = provider().mint(METRICS, replace(issuer.purpose(), renewed=renewed))
    first = minted.authorize(ANY)
    now[0] += 89
    assert minted.authorize(ANY) == first
    now[0] += 2
    second = minted.authorize(ANY)
    assert second != first
    assert told == [(minted.identity, 120, 2)]
    assert minted.secrets == list(server.given)
    assert server.may(second["Authorization"], "read")


def test_a_token_goes_on_to_its_end_while_there_is_no_other(server, provider, issuer, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: now[0]))
    minted = provider().mint(METRICS, issuer.purpose())
    first = minted.authorize(ANY)
    server.spoil = lambda _: {}
    now[0] += 100
    assert minted.authorize(ANY) == first
    now[0] += 21
    with pytest.raises(Misconfigured, match="without an access token"):
        minted.authorize(ANY)


def test_without_a_run_identity_it_says_what_to_set(provider, issuer):
    with pytest.raises(Misconfigured, match=r"metrics .*RUNBOOKS_IDENTITY_KEYS"):
        provider().mint(METRICS, replace(issuer.purpose(), identity=None))


def test_no_token_shows_in_what_is_logged_or_raised(provider, issuer):
    provided = provider()
    minted = provided.mint(METRICS, issuer.purpose())
    assert minted.secret not in repr(minted) + repr(provided)

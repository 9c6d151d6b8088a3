"""Vault: a login and a secret for one stage, given back at its end, and told in words where that cannot be."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from credentials.trusting import RUNBOOK, issuing, subject
from credentials.vaults import vault_server
from kernels.gateway.servers import HOST, raw_server, saying, silent

from runbooks_app import asking
from runbooks_app.connections import CredentialSource
from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.core.trust import Trusted
from runbooks_app.core.trust import vault as show_vault
from runbooks_app.credentials import provider_for
from runbooks_app.credentials.vault import STANDS

pytestmark = pytest.mark.identity

ORDERS = SimpleNamespace(name="orders-db", host=HOST, port=5432, database="orders")
METRICS = SimpleNamespace(name="metrics", host="", port=0, database="")
AUDIENCE = "vault.example.com"
PATHS = {stage: f"database/creds/runbooks-{stage}" for stage in ("diagnose", "remediate")}
TOKEN = "secret/data/metrics"


@pytest.fixture(scope="module")
def issuer():
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def vault(issuer):
    """As it is once what `runbooks identity show vault` prints was pasted; both stages may read one path more."""
    made = {}
    with vault_server(
        issuer.url,
        creds=dict.fromkeys(PATHS.values(), 3600),
        kv={TOKEN: {"data": {"token": "kv-7f3a-9zW5", "user": "ana:kv-7f3a-9zW5"}, "metadata": {"version": 2}}},
        make=lambda path, username, password: made.update({username: (path, password)}),
        drop=made.pop,
    ) as vault:
        vault.paste(show_vault(Trusted(issuer.url, issuer.keys, "production", (RUNBOOK,), audience=AUDIENCE)))
        for stage in PATHS:
            vault.policies[f"runbooks-{stage}"][TOKEN] = ["read"]
        vault.made = made
        yield vault


@pytest.fixture
def provider(vault):
    def provider(stage="diagnose", **options):
        given = {
            "address": vault.address,
            "login_role": f"runbooks-{stage}",
            "path": PATHS[stage],
            "audience": AUDIENCE,
        }
        return provider_for(CredentialSource("vault", given | options))

    return provider


def in_http(provider, **options):
    return provider(path=TOKEN, **({"field": "token"} | options))


GET = Outgoing("GET", "http://metrics/api")


def test_a_database_login_is_made_for_a_stage_and_gone_when_it_ends(vault, provider, issuer):
    provided = provider()
    minted = provided.mint(ORDERS, issuer.purpose())
    assert vault.made == {minted.identity: (PATHS["diagnose"], minted.secret)}
    assert minted.secrets == [minted.secret]
    assert minted.note == ""
    assert vault.trust.seen[0]["sub"] == subject("diagnose")
    assert provided.revoke(ORDERS, minted.identity) is True
    assert (vault.made, vault.leases, vault.tokens) == ({}, {}, {})
    assert [path for _, path in vault.seen[-2:]] == ["sys/leases/revoke", "auth/token/revoke-self"]


@pytest.mark.parametrize("stage", ["diagnose", "remediate"])
def test_a_token_of_one_stage_never_gets_the_other_stages_role(vault, provider, issuer, stage):
    (other,) = {"diagnose", "remediate"} - {stage}
    with pytest.raises(Misconfigured, match='claim "stage" does not match') as refused:
        provider(other).mint(ORDERS, issuer.purpose(stage))
    assert f"orders-db (Vault at {vault.address}) did not let it log in as runbooks-{other} (400)" in str(refused.value)
    assert "runbooks identity show vault" in str(refused.value)
    assert vault.made == {}


def test_a_login_reads_no_path_of_the_other_stage(vault, provider, issuer):
    with pytest.raises(Misconfigured, match=r"read database/creds/runbooks-remediate \(403\).*of runbooks-diagn"):
        provider(path=PATHS["remediate"]).mint(ORDERS, issuer.purpose())
    assert (vault.made, vault.tokens) == ({}, {})


def test_another_audience_runbook_or_environment_gets_nothing(vault, provider, issuer):
    for wrong in (
        {"audience": "sts.amazonaws.com"},
        {"purpose": issuer.purpose(environment="staging")},
        {"purpose": issuer.purpose(runbook_id="00000000-0000-4000-8000-000000000000")},
    ):
        purpose = wrong.pop("purpose", issuer.purpose())
        with pytest.raises(Misconfigured, match="error validating"):
            provider(**wrong).mint(ORDERS, purpose)
    assert vault.tokens == {}


def test_a_field_of_a_secret_goes_into_a_header_and_is_told_to_stay(vault, provider, issuer):
    provided = in_http(provider)
    minted = provided.mint(METRICS, issuer.purpose())
    assert minted.authorize(GET) == {"Authorization": "Bearer kv-7f3a-9zW5"}
    assert minted.secrets == ["kv-7f3a-9zW5"]
    assert minted.identity.startswith("vault_diagnose_")
    assert minted.note == STANDS
    assert provided.revoke(METRICS, minted.identity) is True
    assert vault.tokens == {}
    basic = in_http(provider, field="user", header="X-Login", scheme="Basic").mint(METRICS, issuer.purpose())
    assert basic.authorize(GET) == {"X-Login": "Basic YW5hOmt2LTdmM2EtOXpXNQ=="}
    assert basic.secrets == ["ana:kv-7f3a-9zW5", "YW5hOmt2LTdmM2EtOXpXNQ==", "kv-7f3a-9zW5"]


def test_a_namespace_and_another_mount_are_named_to_vault(vault, provider, issuer):
    vault.namespace, vault.mount = "teams/orders", "runbooks/jwt"
    provided = provider(namespace="teams/orders", mount="runbooks/jwt")
    minted = provided.mint(ORDERS, issuer.purpose())
    assert provided.revoke(ORDERS, minted.identity) is True
    with pytest.raises(Misconfigured, match="404"):
        provider(mount="runbooks/jwt").mint(ORDERS, issuer.purpose())


def test_a_login_without_permission_to_end_leases_ends_them_with_itself(vault, provider, issuer):
    del vault.policies["runbooks-diagnose"]["sys/leases/revoke"]
    provided = provider()
    minted = provided.mint(ORDERS, issuer.purpose())
    assert provided.revoke(ORDERS, minted.identity) is True
    assert (vault.made, vault.tokens) == ({}, {})


def test_what_a_killed_worker_held_lapses_with_its_login(vault, provider, issuer):
    minted = provider().mint(ORDERS, issuer.purpose())
    after_the_kill = provider()
    assert after_the_kill.revoke(ORDERS, minted.identity) is False
    assert after_the_kill.sweep(ORDERS, frozenset()) == []
    assert set(vault.made) == {minted.identity}
    vault.pass_time(900)
    assert (vault.made, vault.leases, vault.tokens) == ({}, {}, {})


def test_a_login_that_vault_has_ended_already_counts_as_ended(vault, provider, issuer, monkeypatch):
    provided = provider()
    minted = provided.mint(ORDERS, issuer.purpose())
    vault.pass_time(900)
    with pytest.raises(Misconfigured, match=r"end its login \(403\): permission denied; invalid token"):
        provided.revoke(ORDERS, minted.identity)
    monkeypatch.setattr("time.monotonic", lambda: 1e12)  # by the worker's clock, too
    assert provided.revoke(ORDERS, minted.identity) is True


def test_a_lease_that_cannot_be_ended_is_told_and_tried_again(vault, provider, issuer):
    provided = provider()
    minted = provided.mint(ORDERS, issuer.purpose())
    said = json.dumps({"errors": ["failed to revoke: pq: role cannot be dropped"]}).encode()
    vault.spell = lambda _, path: (500, said) if path == "sys/leases/revoke" else None
    with pytest.raises(Unavailable, match=r"end the lease database/creds/\S+ \(500\): failed to revoke: pq"):
        provided.revoke(ORDERS, minted.identity)
    vault.spell = lambda *_: None
    assert provided.revoke(ORDERS, minted.identity) is True
    assert vault.made == {}


def test_a_login_that_may_end_before_its_stage_is_told(vault, provider, issuer):
    vault.roles["runbooks-diagnose"]["token_ttl"] = 120
    minted = provider().mint(ORDERS, issuer.purpose())
    assert re.search(r"ends after 1\d\d s, and this stage may take 600 s: raise token_ttl of runbooks-d", minted.note)
    vault.roles["runbooks-diagnose"]["token_ttl"] = 600
    assert provider().mint(ORDERS, issuer.purpose()).note == ""
    vault.creds[PATHS["diagnose"]] = 60
    minted = provider().mint(ORDERS, issuer.purpose())
    assert "ends after 60 s" in minted.note


def test_a_login_that_would_outlive_a_killed_worker_for_long_is_told(vault, provider, issuer):
    vault.roles["runbooks-diagnose"]["token_ttl"] = 768 * 3600
    vault.creds[PATHS["diagnose"]] = 768 * 3600
    assert "Should the worker die it lives on for 768 h" in provider().mint(ORDERS, issuer.purpose()).note


# ---- what Vault should not do


@pytest.mark.parametrize("broken", [{"token_type": "batch"}, {"token_ttl": 0}])
def test_a_login_that_nothing_could_end_is_refused(vault, provider, issuer, broken):
    vault.roles["runbooks-diagnose"] |= broken
    with pytest.raises(Misconfigured, match=r"no token that can be taken back.*token_type=service"):
        provider().mint(ORDERS, issuer.purpose())


def test_a_database_login_without_a_lease_is_refused_and_the_login_ended(vault, provider, issuer):
    vault.kv["database/static-creds/orders"] = {"username": "orders_reader", "password": "stands-for-ever"}
    vault.policies["runbooks-diagnose"]["database/static-creds/orders"] = ["read"]
    with pytest.raises(Misconfigured, match="without a lease, so nothing would end it"):
        provider(path="database/static-creds/orders").mint(ORDERS, issuer.purpose())
    assert vault.tokens == {}


@pytest.mark.parametrize("value", [None, 5, "short", "two\nlines of it", "nön-ascii-secret", {"in": "it"}])
def test_a_field_that_is_no_secret_is_refused(vault, provider, issuer, value):
    vault.kv[TOKEN]["data"]["token"] = value
    with pytest.raises(Misconfigured, match="gives no token of one line") as refused:
        in_http(provider).mint(METRICS, issuer.purpose())
    assert "two" not in str(refused.value)
    assert vault.tokens == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"<html>",
        b'{"auth": []}',
        b'{"auth": {"client_token": 5, "lease_duration": 9}}',
        b"[" * 9999,
    ],
)
def test_a_login_answered_by_something_else_is_refused(vault, provider, issuer, body):
    vault.spell = lambda _, path: (200, body) if path.endswith("/login") else None
    with pytest.raises(Misconfigured, match="no token that can be taken back"):
        provider().mint(ORDERS, issuer.purpose())


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": []}', b'{"data": {"data": 1, "metadata": {}}, "lease_id": 4}'])
def test_a_secret_answered_by_something_else_is_refused_and_the_login_ended(vault, provider, issuer, body):
    vault.spell = lambda method, _: (200, body) if method == "GET" else None
    with pytest.raises(Misconfigured, match="gives no username and password"):
        provider().mint(ORDERS, issuer.purpose())
    assert vault.tokens == {}


def test_vault_that_is_away_slow_endless_or_elsewhere_is_told_by_name(provider, issuer, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.3)
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable, match=rf"^orders-db \(Vault at http://{HOST}:{port}\) could not be reached"):
        provider(address=f"http://{HOST}:{port}").mint(ORDERS, issuer.purpose())

    def dripping(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: 1\r\n")

    for talk, error, words in (
        (silent, Unavailable, "did not answer within 0.3 s"),
        (dripping, Unavailable, "could not be reached|did not answer"),
        (saying(b"no HTTP at all\r\n\r\n"), Unavailable, "could not be reached"),
    ):
        with raw_server(talk) as system, pytest.raises(error, match=words) as refused:
            provider(address=f"http://{HOST}:{system.port}").mint(ORDERS, issuer.purpose())
        assert str(refused.value).startswith("orders-db (Vault at ")


def test_an_answer_without_an_end_and_a_redirect_are_refused(vault, provider, issuer):
    for status, error, words in ((200, Unavailable, "more than 256 KiB"), (307, Misconfigured, r"redirect \(307\)")):
        vault.spell = lambda *_, status=status: (status, b" " * 300_000)
        with pytest.raises(error, match=words):
            provider().mint(ORDERS, issuer.purpose())


@pytest.mark.parametrize("status", [500, 503, 429])
def test_vault_that_cannot_now_is_unavailable_and_in_its_own_words(vault, provider, issuer, status):
    vault.spell = lambda *_: (status, b'{"errors": ["Vault is sealed"]}')
    with pytest.raises(Unavailable, match=rf"log in as runbooks-diagnose \({status}\): Vault is sealed\. Try again"):
        provider().mint(ORDERS, issuer.purpose())


def test_an_expired_token_and_a_clock_that_is_wrong_are_told(vault, provider, issuer, monkeypatch):
    vault.pass_time(3600)
    monkeypatch.setattr(asking, "time", SimpleNamespace(time=lambda: time.time() - 600))
    with pytest.raises(Misconfigured, match=r"is expired \(exp\)\. This worker's clock is (599|600|601) s behind"):
        provider().mint(ORDERS, issuer.purpose())


def test_no_secret_stands_in_an_error_or_a_repr(vault, provider, issuer):
    for spelled in (400, 403, 500):
        vault.spell = lambda *_, status=spelled: (
            status,
            json.dumps({"errors": [f"cannot parse {issuer.given[-1]}", f"nor {issuer.given[-1][:90]}"]}).encode(),
        )
        with pytest.raises((Misconfigured, Unavailable)) as refused:
            provider().mint(ORDERS, issuer.purpose())
        assert "cannot parse ***; nor ***" in str(refused.value)
    vault.spell = lambda *_: None
    provided = provider()
    minted = provided.mint(ORDERS, issuer.purpose())
    (token,) = vault.tokens
    shown = repr(provided) + repr(minted)
    assert token not in shown
    assert minted.secret not in shown


def test_without_a_run_identity_it_says_which_setting_gives_one(provider, issuer):
    with pytest.raises(Misconfigured, match="RUNBOOKS_IDENTITY_KEYS"):
        provider().mint(ORDERS, replace(issuer.purpose(), identity=None))

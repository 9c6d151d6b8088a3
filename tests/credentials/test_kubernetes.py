"""Run tokens open a cluster that trusts what `runbooks identity show kubernetes` prints: each stage to its own role."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from credentials.clusters import cluster
from credentials.trusting import RUNBOOK, issuing, subject
from kernels.gateway.servers import HOST

from runbooks_app.connections import CredentialSource
from runbooks_app.core.errors import Misconfigured
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.core.trust import Trusted, kubernetes
from runbooks_app.credentials import provider_for, tokens

pytestmark = pytest.mark.identity

CLUSTER = SimpleNamespace(name="cluster", host="", port=0, database="", url="https://cluster")
POD, PODS = "/api/v1/namespaces/shop/pods/orders-7f9c", "/api/v1/namespaces/shop/pods"
SCALE = "/apis/apps/v1/namespaces/shop/deployments/orders/scale"


@pytest.fixture(scope="module")
def issuer():
    with issuing() as issuer:
        yield issuer


@pytest.fixture(params=["this runbook", "any runbook"])
def trusting(issuer, request):
    """A cluster that was told to trust one runbook, or all."""
    known = (RUNBOOK,) if request.param == "this runbook" else ()
    printed = kubernetes(Trusted(issuer.url, f"{issuer.url}/.well-known/jwks.json", "production", known))
    with cluster(printed) as found:
        found.knows = bool(known)
        yield found


def provider(audience="kubernetes"):
    return provider_for(CredentialSource("kubernetes", {"audience": audience}))


def ask(cluster, credential, method, path):
    url = f"http://{HOST}:{cluster.port}{path}"
    headers = dict(credential.authorize(Outgoing(method, url)))
    with httpx.Client(trust_env=False) as client:
        return client.request(method, url, headers=headers)


def test_a_diagnosis_reads_and_is_refused_whatever_changes_something_and_all_secrets(trusting, issuer):
    credential = provider().mint(CLUSTER, issuer.purpose("diagnose"))
    assert ask(trusting, credential, "GET", PODS).json()["items"]
    assert ask(trusting, credential, "GET", POD).status_code == 200
    for method, path in (("DELETE", POD), ("PATCH", SCALE), ("POST", PODS), ("GET", "/api/v1/secrets")):
        refused = ask(trusting, credential, method, path)
        assert refused.status_code == 403, (method, path)
        assert f'User "runbooks:{subject("diagnose")}" cannot' in refused.json()["message"]
    assert {verb for _, verb, _ in trusting.did} == {"list", "get"}


def test_a_remediation_does_what_its_role_is_given(trusting, issuer):
    credential = provider().mint(CLUSTER, issuer.purpose("remediate"))
    for method, path in (("DELETE", POD), ("PATCH", SCALE)):
        assert ask(trusting, credential, method, path).status_code == 200
    assert ask(trusting, credential, "GET", "/api/v1/secrets").status_code == 403
    assert trusting.did == [
        (f"runbooks:{subject('remediate')}", "delete", "pods"),
        (f"runbooks:{subject('remediate')}", "patch", "deployments/scale"),
    ]


def test_what_was_not_meant_for_this_cluster_opens_nothing(trusting, issuer):
    other = "00000000-0000-4000-8000-000000000000"
    tokens = [
        provider("vault").mint(CLUSTER, issuer.purpose()),
        provider().mint(CLUSTER, issuer.purpose(environment="staging")),
        *([provider().mint(CLUSTER, issuer.purpose("remediate", runbook_id=other))] if trusting.knows else []),
    ]
    with issuing() as stranger:
        stranger.port = issuer.port
        tokens.append(provider().mint(CLUSTER, stranger.purpose()))
    for credential in tokens:
        assert ask(trusting, credential, "GET", PODS).status_code == 401
    issuer.clock = lambda: time.time() - 3600
    try:
        assert ask(trusting, provider().mint(CLUSTER, issuer.purpose()), "GET", PODS).status_code == 401
    finally:
        issuer.clock = time.time
    assert trusting.did == []


def test_a_stage_that_takes_long_is_given_another_token_in_time(trusting, issuer, monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: now[0]))
    purpose = replace(issuer.purpose(), renewed=lambda identity, seconds: told.append((identity, seconds)))
    credential = provider().mint(CLUSTER, purpose)
    for step in (0, 269, 2, 269, 2):
        now[0] += step
        assert ask(trusting, credential, "GET", PODS).status_code == 200
    assert [trusting.tokens.index(token) for token in trusting.tokens] == [0, 0, 2, 2, 4]
    assert told == [(credential.identity, 300)] * 2
    assert credential.secrets == [token.split(".")[2] for token in dict.fromkeys(trusting.tokens)]


def test_a_renewal_that_cannot_be_entered_is_not_used(trusting, issuer, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def renewed(identity, seconds):
        raise Misconfigured("it has ended")

    credential = provider().mint(CLUSTER, replace(issuer.purpose(), renewed=renewed))
    now[0] += 290
    assert ask(trusting, credential, "GET", PODS).status_code == 200
    now[0] += 11
    with pytest.raises(Misconfigured, match="it has ended"):
        ask(trusting, credential, "GET", PODS)
    assert len(set(trusting.tokens)) == 1


def test_nothing_but_time_ends_it_and_none_of_it_shows(issuer):
    provided = provider()
    credential = provided.mint(CLUSTER, issuer.purpose())
    assert not provided.revoke(CLUSTER, credential.identity)
    assert provided.sweep(CLUSTER, frozenset()) == []
    assert 290 < credential.expires_at.timestamp() - time.time() <= 300
    assert credential.secret not in repr(credential)
    assert credential.secret.split(".")[2] not in repr(credential)


def test_without_a_run_identity_it_says_what_to_set(issuer):
    with pytest.raises(Misconfigured, match=r"cluster .*RUNBOOKS_IDENTITY_KEYS"):
        provider().mint(CLUSTER, replace(issuer.purpose(), identity=None))

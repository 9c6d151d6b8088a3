"""What can be proved of credentials for HTTP: a cluster and Vault are asked; of others it is told what holds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from credentials.clusters import cluster
from credentials.trusting import RUNBOOK, issuing, subject
from credentials.vaults import DEFAULT, vault_server
from kernels.gateway.servers import HOST

from runbooks_app.connections import Connection, CredentialSource
from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.core.http_rules import READ_ALL, read_rule
from runbooks_app.core.trust import Trusted, kubernetes
from runbooks_app.credentials import kubernetes_proof, provider_for
from runbooks_app.credentials.proof import UNPROVABLE, Held, prove
from runbooks_app.credentials.provider import Credential

pytestmark = pytest.mark.identity

READS = ["get", "list", "watch"]


@pytest.fixture(scope="module")
def issuer():
    with issuing() as issuer:
        yield issuer


def held(connection, purpose):
    provider = provider_for(connection.diagnose)
    return Held(connection.diagnose, provider, provider.mint(connection, purpose))


# Kubernetes


@pytest.fixture
def trusting(issuer):
    printed = kubernetes(Trusted(issuer.url, f"{issuer.url}/.well-known/jwks.json", "production", (RUNBOOK,)))
    with cluster(printed) as found:
        yield found


@pytest.fixture
def proof(trusting, issuer):
    """`proof()` asks the cluster with a diagnosis' token; `rules` are what the gateway lets through."""

    def look(*rules, **purpose):
        connection = Connection(
            "cluster",
            "http",
            "Cluster",
            url=f"http://{HOST}:{trusting.port}",
            diagnose=CredentialSource("kubernetes", {"audience": "kubernetes"}),
            diagnose_rules=tuple(map(read_rule, rules)) or READ_ALL,
        )
        return prove(connection, held(connection, issuer.purpose(**purpose)))

    return look


def rule(verbs, *resources):
    return {"apiGroups": [""], "resources": list(resources), "verbs": verbs}


def test_a_cluster_that_was_told_what_is_printed_lets_a_diagnosis_only_read(proof, trusting):
    found = proof()
    assert (found.holds, found.says) == (True, "A diagnosis cannot change data.")
    assert found.tried == ("every rule that the cluster has for it in: default, shop",)
    assert {verb for _, verb, _ in trusting.did} == {"list"}


def test_a_verb_that_changes_something_is_named_with_its_resource(proof, trusting):
    trusting.roles["view"].append(rule(["get", "delete", "patch"], "pods", "deployments/scale"))
    try:
        found = proof()
    finally:
        trusting.roles["view"].pop()
    assert found.holds is False
    assert "can change something: delete, patch on pods, deployments/scale. Take it away" in found.says


def test_what_one_namespace_alone_allows_is_named_with_it(proof, trusting):
    trusting.within["shop"] = [rule(["create"], "jobs")]
    assert "create on jobs (namespace shop)." in proof().says


@pytest.mark.parametrize("part", ["pods/exec", "pods/attach", "pods/portforward", "services/proxy"])
def test_parts_that_act_when_they_are_read_are_holes(part, proof, trusting):
    trusting.within["default"] = [rule(["get"], part)]
    found = proof()
    assert found.holds is False
    assert f"get on {part}" in found.says


def test_asking_about_oneself_is_no_hole_but_creating_beside_it_is(proof, trusting):
    trusting.within["shop"] = [rule(["create"], "selfsubjectreviews", "pods")]
    assert proof().holds is False


def test_a_star_reads_more_than_anybody_can_judge(proof, trusting):
    trusting.within["shop"] = [rule(READS, "*")]
    found = proof()
    assert found.holds is None
    assert "it reads all there is: secrets too" in found.says


def test_an_answer_that_is_not_complete_proves_nothing(proof, trusting):
    trusting.incomplete = True
    assert proof().holds is None


def test_a_token_that_no_role_is_bound_to_proves_nothing(proof, trusting):
    trusting.bindings.clear()
    found = proof("GET /api/v1/namespaces/shop/pods")
    assert found.holds is None
    assert "lets this run token read nothing, so it is not bound to a role" in found.says


def test_where_namespaces_may_not_be_listed_those_of_the_rules_are_asked_for(proof, trusting):
    trusting.roles["view"][0]["resources"].remove("namespaces")
    try:
        one = proof("GET /api/v1/namespaces/shop/pods", "GET /api/v1/namespaces/shop/pods/*")
        every = proof("GET /api/v1/namespaces/*/pods")
    finally:
        trusting.roles["view"][0]["resources"].append("namespaces")
    assert one.holds is True
    assert one.tried == ("every rule that the cluster has for it in: default, shop",)
    assert every.holds is None
    assert "it may not list the namespaces, and its rules let it into all of them" in every.says


def test_more_namespaces_than_can_be_asked_for_prove_nothing(proof, trusting, monkeypatch):
    monkeypatch.setattr(kubernetes_proof, "MOST_NAMESPACES", 3)
    trusting.namespaces = tuple(f"n{number}" for number in range(9))
    found = proof()
    assert found.holds is None
    assert "of 9 namespaces 3 were asked for" in found.says


def test_a_cluster_that_does_not_trust_the_token_is_told_as_that(proof):
    with pytest.raises(Unavailable, match=r"does not say .* \(401\): this runbook is not trusted here") as told:
        proof(runbook_id="00000000-0000-4000-8000-000000000000")
    assert "runbooks identity show kubernetes" in str(told.value)


# Vault


PATHS = {"diagnose": "secret/data/metrics", "remediate": "secret/data/metrics-admin"}


@pytest.fixture
def vault(issuer):
    with vault_server(
        issuer.url,
        roles={
            "reader": {
                "role_type": "jwt",
                "user_claim": "sub",
                "bound_claims_type": "string",
                "bound_audiences": ["vault"],
                "bound_claims": {"sub": subject("diagnose")},
                "token_policies": ["diagnose"],
                "token_ttl": 900,
            }
        },
        policies={"default": DEFAULT, "diagnose": {PATHS["diagnose"]: ["read"]}},
        kv={PATHS["diagnose"]: {"data": {"token": "kv-7f3a-9zW5"}, "metadata": {"version": 1}}},
    ) as vault:
        yield vault


@pytest.fixture
def metrics(vault):
    def source(path):
        options = {"address": vault.address, "login_role": "reader", "path": path, "audience": "vault"}
        return CredentialSource("vault", {**options, "field": "token"})

    ways = {stage: source(path) for stage, path in PATHS.items()}
    return Connection("metrics", "http", "Metrics", url="http://metrics:9090", diagnose_rules=READ_ALL, **ways)


def test_what_vault_gives_for_an_http_system_cannot_be_proved(metrics, issuer):
    found = prove(metrics, held(metrics, issuer.purpose()))
    assert found.holds is None
    assert found.says == UNPROVABLE["vault"]


def test_a_login_to_vault_that_reads_a_remediations_secret_is_a_hole(metrics, issuer, vault):
    vault.policies["diagnose"][PATHS["remediate"]] = ["read", "list"]
    found = prove(metrics, held(metrics, issuer.purpose()))
    assert found.holds is False
    assert "list, read in Vault at secret/data/metrics-admin, which is for remediations." in found.says
    assert "Take that away from the policies of reader." in found.says


def test_a_login_that_may_not_ask_vault_is_told_so(metrics, issuer, vault):
    vault.spell = lambda _, path: (403, b'{"errors": ["permission denied"]}') if "capabilities" in path else None
    with pytest.raises(Misconfigured, match="Let the policy update sys/capabilities-self"):
        prove(metrics, held(metrics, issuer.purpose()))


# What cannot be asked


@pytest.mark.parametrize("provider", UNPROVABLE)
def test_of_what_cannot_be_asked_it_is_told_what_holds_nevertheless(provider):
    connection = SimpleNamespace(kind="http", remediate=None)
    credential = Credential("i", "s", expires_at=None, scope="metrics:read")
    found = prove(connection, Held(CredentialSource(provider, {}), None, credential))
    assert found.holds is None
    assert "rules are all that holds a diagnosis" in found.says
    assert "{" not in found.says


def test_without_a_credential_nothing_can_be_proved():
    found = prove(SimpleNamespace(kind="http"), None)
    assert found.holds is None
    assert "without a credential" in found.says

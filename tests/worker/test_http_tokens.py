"""Tokens of each stage through the service: minted at once, sent by the gateway alone, renewed, ended, entered."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from credentials.clusters import cluster
from credentials.exchanges import exchanging
from credentials.trusting import RUNBOOK, Issuer, issuing, subject
from kernels.gateway.certificates import Authority
from kernels.gateway.servers import HOST, answer, body_of, http_server
from notebooks import cell, write

from runbooks_app.actions import deciding, diagnosing, running
from runbooks_app.connections import read_connections
from runbooks_app.core.audit import Event
from runbooks_app.core.digests import source_digest
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import RunState
from runbooks_app.core.trust import Trusted, kubernetes
from runbooks_app.store import audit, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import holding

pytestmark = [pytest.mark.kernels, pytest.mark.identity]

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
WEB = {"surface": "web", "auth_time": 1}
LONG = "2f0c3a52-7b64-4c8f-9d2e-5a6b7c8d9e0f"
"""Another runbook's id."""

METRICS = """
[metrics]
kind = "http"
url = "http://127.0.0.1:{system}"
[metrics.diagnose]
provider = "token-exchange"
issuer = "http://127.0.0.1:{server}"
scope = "read"
[metrics.remediate]
allow = ["POST /-/reload"]
provider = "token-exchange"
issuer = "http://127.0.0.1:{server}"
scope = "write"
[metrics.floor]
approvers = ["database"]
"""
LOOK = """
print(kit.http("metrics").get("/").json())
kit.propose("reload")
"""
RELOAD = """
kit.gate("reload", "Reload the rules", risk="low")
print("reloaded", kit.http("metrics").post("/-/reload").status_code)
"""
OTHER = "print('opens nothing')"


@pytest.fixture
def issuer():
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def runbook(library_folder):
    """Reads metrics, and may reload them."""
    write(
        library_folder,
        "reload",
        cell("look", LOOK, "diagnostic"),
        cell("other", OTHER, "diagnostic"),
        cell("reload", RELOAD, "remediation"),
        connections={"metrics": "http"},
        id=RUNBOOK,
    )


@pytest.fixture
def server(issuer):
    with exchanging(issuer.url, RUNBOOK, LONG) as server:
        yield server


@pytest.fixture
def system(server):
    """Lets in what the token server says may do this now; tells how many tokens it has seen."""
    tokens = []

    def metrics(handler, system):
        body_of(handler)
        given = handler.headers.get("Authorization", "")
        tokens.append(given) if given not in tokens else None
        scope = "read" if handler.command == "GET" else "write"
        allowed = server.may(given, scope)
        system.seen.append((handler.command, given.removeprefix("Bearer "), allowed))
        told = {"tokens": len(tokens), "you sent": given}
        answer(handler, json.dumps(told).encode(), 200 if allowed else 403)

    with http_server(metrics) as system:
        yield system


@pytest.fixture
def metrics(house, issuer, server, system, runbook, tmp_path):
    """The house with a run identity, and a connection that is opened by exchanged tokens."""
    return configured(house, issuer, tmp_path, METRICS.format(system=system.port, server=server.port))


def configured(house, issuer: Issuer, folder, text: str):
    file = folder / "http.toml"
    file.write_text(text)
    service = replace(house.service, connections={**house.service.connections, **read_connections(file)})
    return replace(house, service=service, worker=replace(house.worker, service=service, issuer=issuer))


def entries(house, event, connection="metrics"):
    with reading(house.service.engine) as tx:
        found = [entry for entry in audit.entries(tx) if entry.event == event]
    told = [(json.loads(entry.objects), json.loads(entry.body)) for entry in found]
    return [(objects, body) for objects, body in told if objects["connection"] == connection]


def test_each_stage_sends_a_token_of_its_own_scope_which_ends_with_it(metrics, server, system, issuer):
    run, (proposal,) = metrics.diagnosed(name="reload")
    assert run.state is RunState.DIAGNOSED
    deciding.decide(metrics.service, BEN, WEB, proposal.id, "approve", proposal.digest)
    metrics.do_all()
    assert metrics.now(proposal).state is ProposalState.APPLIED
    assert [(method, allowed) for method, _, allowed in system.seen] == [("GET", True)] * 2 + [("POST", True)]
    tokens = [token for _, token, _ in system.seen]
    assert [server.given[token] for token in tokens] == ["read", "read", "write"]
    assert set(server.ended) == set(server.given)
    assert server.may(f"Bearer {tokens[2]}", "write") is False
    assert [claims["stage"] for claims in server.claims if claims["stage"] == "remediate"] == ["remediate"]
    (acting,) = [claims for claims in server.claims if claims["stage"] == "remediate"]
    assert acting["approved_by"] == [BEN.subject]
    assert acting["requested_by"] == [ANA.subject]
    assert (acting["proposal_id"], acting["proposal_digest"]) == (proposal.id, proposal.digest)
    assert acting["run_id"] == run.id
    assert acting["runbook_digest"] == run.revision


def test_what_was_issued_for_what_and_how_it_ended_is_entered_without_its_value(metrics, server, system):
    run, (proposal,) = metrics.diagnosed(name="reload")
    deciding.decide(metrics.service, BEN, WEB, proposal.id, "approve", proposal.digest)
    metrics.do_all()
    issued = entries(metrics, Event.CREDENTIAL_ISSUED)
    objects, body = issued[0]
    assert objects == {"run": run.id, "connection": "metrics"}
    identity = body.pop("identity")
    assert identity.startswith("exchanged_diagnose_")
    assert body == {
        "provider": "token-exchange",
        "role": "GET /*, with a token of scope read",
        "scope": "read",
        "stage": "diagnose",
        "lifetime": 120,
        "cells": [source_digest(LOOK)],
        "attempt": 1,
    }
    (acted,) = [(objects, body) for objects, body in issued if body["stage"] == "remediate"]
    assert acted[0] == {"run": run.id, "connection": "metrics", "proposal": proposal.id}
    assert acted[1]["cells"] == [source_digest(RELOAD)]
    assert acted[1]["scope"] == "write"
    ended = entries(metrics, Event.CREDENTIAL_ENDED)
    assert ended[0] == ({"run": run.id, "connection": "metrics"}, {"identity": identity, "how": "revoked"})
    assert {body["identity"] for _, body in ended} == {identity, *(body["identity"] for _, body in issued[1:])}
    with reading(metrics.service.engine) as tx:
        kept = "\n".join(
            row
            for table in tx.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars().all()
            for row in tx.execute(f"SELECT t::text FROM {table} t").scalars()
        )
    assert "*" * 32 in kept  # what the system gave back, masked
    assert not [token for token in server.given if token in kept]


def test_a_token_that_lapses_while_a_cell_works_is_followed_by_another_which_is_entered(
    metrics, server, system, library_folder
):
    server.lasts = 1
    wait = 'while kit.http("metrics").get("/").json()["tokens"] < 3:\n    pass'
    write(
        library_folder,
        "long",
        cell("look", wait, "diagnostic"),
        connections={"metrics": "http"},
        id=LONG,
    )
    run, _ = metrics.diagnosed(name="long")
    assert run.state is RunState.DIAGNOSED
    renewed = entries(metrics, Event.CREDENTIAL_RENEWED)
    assert len(renewed) == len(server.given) - 1 >= 2
    ((_, issued),) = entries(metrics, Event.CREDENTIAL_ISSUED)
    assert renewed[0] == (
        {"run": run.id, "connection": "metrics"},
        {"identity": issued["identity"], "lifetime": 1},
    )
    assert all(allowed for *_, allowed in system.seen)


def test_a_killed_workers_token_is_entered_as_expired_once_it_is_and_not_before(metrics, server):
    run = running.request_run(metrics.service, ANA, WEB, "reload", {})
    claim = diagnosing.claim_run(metrics.service, run.id, "w1")
    held = holding.credentials(metrics.worker, claim, 60)
    held.__enter__()  # and nobody ever leaves it
    with transaction(metrics.service.engine) as tx:
        tx.execute("UPDATE attempts SET ended_at = now() - interval '1 minute'")
    holding.sweep(metrics.worker)
    assert entries(metrics, Event.CREDENTIAL_ENDED) == []
    with transaction(metrics.service.engine) as tx:
        tx.execute("UPDATE credentials SET expires_at = now() - interval '1 second'")
    holding.sweep(metrics.worker)
    holding.sweep(metrics.worker)
    ((objects, body),) = entries(metrics, Event.CREDENTIAL_ENDED)
    assert (objects["run"], body["how"]) == (run.id, "expired")
    assert server.ended == []


def test_a_token_that_has_lapsed_unused_is_followed_by_another_while_its_stage_goes_on(metrics, server):
    server.lasts = 1
    run = running.request_run(metrics.service, ANA, WEB, "reload", {})
    claim = diagnosing.claim_run(metrics.service, run.id, "w1")
    with holding.credentials(metrics.worker, claim, 60) as granted:
        (first,) = server.given
        with transaction(metrics.service.engine) as tx:
            tx.execute("UPDATE credentials SET expires_at = now() - interval '1 second'")
        holding.sweep(metrics.worker)
        authorize, sent = granted.routes["metrics"].authorize, {}
        until = time.monotonic() + 10
        while sent in ({}, {"Authorization": f"Bearer {first}"}) and time.monotonic() < until:
            sent = authorize(Outgoing("GET", "http://metrics/"))
        assert sent == {"Authorization": f"Bearer {list(server.given)[1]}"}
    assert len(entries(metrics, Event.CREDENTIAL_RENEWED)) == 1
    ((_, body),) = entries(metrics, Event.CREDENTIAL_ENDED)
    assert body["how"] == "revoked"


def test_a_token_that_the_server_refuses_fails_the_run_in_its_words_and_ends_the_others(metrics, server):
    server.scopes["diagnose"] = "nothing"
    run = running.request_run(metrics.service, ANA, WEB, "reload", {})
    metrics.do_all()
    with reading(metrics.service.engine) as tx:
        run = runs.get(tx, run.id)
    assert run.state is RunState.FAILED
    assert "invalid_scope: diagnose may not read" in run.reason
    assert "Let it give that scope" in run.reason
    assert entries(metrics, Event.CREDENTIAL_ISSUED) == []
    ((_, issued),) = entries(metrics, Event.CREDENTIAL_ISSUED, "orders-db")
    ((_, ended),) = entries(metrics, Event.CREDENTIAL_ENDED, "orders-db")
    assert (ended["identity"], ended["how"]) == (issued["identity"], "revoked")


def two_connections(folder):
    write(folder, "two", cell("look", "1", "diagnostic"), connections={"one": "http", "two": "http"}, id=RUNBOOK)


def test_credentials_of_several_connections_are_minted_at_the_same_time(house, issuer, library_folder, tmp_path):
    both = threading.Barrier(2)

    def meets(given):
        both.wait(20)
        return given

    with ExitStack() as stack:
        two_connections(library_folder)
        servers = [stack.enter_context(exchanging(issuer.url, RUNBOOK)) for _ in range(2)]
        text = ""
        for name, server in zip(("one", "two"), servers, strict=True):
            server.spoil = meets
            text += METRICS.format(system=1, server=server.port).replace("metrics", name)
        two = configured(house, issuer, tmp_path, text)
        run, _ = two.diagnosed(name="two")
        assert run.state is RunState.DIAGNOSED, run.reason
        assert [list(server.given) for server in servers] == [server.ended for server in servers]


def test_what_was_minted_is_given_back_when_another_connections_credential_cannot_be_had(
    house, issuer, library_folder, tmp_path
):
    with ExitStack() as stack:
        two_connections(library_folder)
        good = stack.enter_context(exchanging(issuer.url, RUNBOOK))
        bad = stack.enter_context(exchanging(issuer.url, RUNBOOK))
        bad.spoil = lambda _: {}
        text = METRICS.format(system=1, server=good.port).replace("metrics", "one")
        text += METRICS.format(system=1, server=bad.port).replace("metrics", "two")
        two = configured(house, issuer, tmp_path, text)
        run = running.request_run(two.service, ANA, WEB, "two", {})
        two.do_all()
        with reading(two.service.engine) as tx:
            assert runs.get(tx, run.id).state is RunState.FAILED
        assert list(good.given) == good.ended
        assert len(good.ended) == 1


CLUSTER = """
[cluster]
kind = "http"
url = "https://127.0.0.1:{port}"
ca_file = "{ca_file}"
[cluster.diagnose]
provider = "kubernetes"
[cluster.remediate]
allow = ["DELETE /api/v1/namespaces/shop/pods/*"]
provider = "kubernetes"
[cluster.floor]
approvers = ["database"]
"""
PODS = "/api/v1/namespaces/shop/pods"
LIST = f"""
client = kit.http("cluster")
print("pods", client.get("{PODS}").status_code, "secrets", client.get("/api/v1/secrets").status_code)
kit.propose("restart", pod="orders-7f9c")
"""
RESTART = f"""
pod: str  # Pod to end
kit.gate("restart", "End pod {{pod}}", risk="low")
print("ended", kit.http("cluster").delete("{PODS}/" + pod).status_code)
"""


def test_a_cluster_of_its_own_authority_lets_each_stage_do_what_rbac_gives_it(house, issuer, library_folder, tmp_path):
    authority = Authority.make(tmp_path)
    write(
        library_folder,
        "restart",
        cell("list", LIST, "diagnostic"),
        cell("restart", RESTART, "remediation"),
        connections={"cluster": "http"},
        id=RUNBOOK,
    )
    trusted = Trusted(issuer.url, f"{issuer.url}/.well-known/jwks.json", "production", (RUNBOOK,))
    with cluster(kubernetes(trusted), authority.server(HOST)) as found:
        pods = configured(house, issuer, tmp_path, CLUSTER.format(port=found.port, ca_file="authority.pem"))
        _, (proposal,) = pods.diagnosed(name="restart")
        deciding.decide(pods.service, BEN, WEB, proposal.id, "approve", proposal.digest)
        pods.do_all()
        assert pods.now(proposal).state is ProposalState.APPLIED
        reads, acts = (f"runbooks:{subject(stage)}" for stage in ("diagnose", "remediate"))
        assert found.did == [(reads, "list", "pods")] * 2 + [(acts, "delete", "pods")]
        assert proposal.connections[0]["role"].endswith("with the run's own token for kubernetes")
    ended = [body["how"] for _, body in entries(pods, Event.CREDENTIAL_ENDED, "cluster")]
    assert ended == ["let go"] * 3


@pytest.mark.parametrize(("ca_file", "told"), [("none.pem", "No such file"), ("http.toml", "PEM")])
def test_an_authority_that_cannot_be_read_fails_the_run_by_the_files_name(
    house, issuer, library_folder, tmp_path, ca_file, told
):
    write(library_folder, "restart", cell("list", LIST, "diagnostic"), connections={"cluster": "http"})
    pods = configured(house, issuer, tmp_path, CLUSTER.format(port=1, ca_file=ca_file))
    run = running.request_run(pods.service, ANA, WEB, "restart", {})
    pods.do_all()
    with reading(pods.service.engine) as tx:
        run = runs.get(tx, run.id)
    assert run.state is RunState.FAILED
    assert ca_file in run.reason
    assert told in run.reason

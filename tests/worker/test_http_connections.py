"""HTTP connections through the service: refused in words and entered, approved by their rules, no credential left."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from kernels.gateway.servers import answer, body_of, http_server
from notebooks import cell, write
from signing import approve, checked

from runbooks_app.actions import running, starting
from runbooks_app.connections import read_connections
from runbooks_app.core.audit import Event
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import RunState
from runbooks_app.store import audit, runs
from runbooks_app.store.database import reading

pytestmark = pytest.mark.kernels

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
WEB = {"surface": "web", "auth_time": 1}
READS, ACTS = "reads-7f3a/9+zW=5", "acts-1c9b/4+qX=8"

METRICS = """
[metrics]
kind = "http"
url = "http://127.0.0.1:{port}/prom"
[metrics.diagnose]
allow = ["GET /*", "POST /api/v1/query"]
provider = "static"
secret_file = "reads.token"
[metrics.remediate]
allow = ["POST /-/reload"]
provider = "static"
secret_file = "acts.token"
[metrics.floor]
approvers = ["database"]
"""
LOOK = """
client = kit.http("metrics")
print("got", client.get("/api/v1/labels").status_code, client.post("/api/v1/query", data={"query": "up"}).status_code)
kit.finding("warning", "its rules are old")
kit.propose("reload")
"""
CHANGE = 'kit.http("metrics").post("/-/reload?token=" + "-".join(["from", "the", "query"]))'
RELOAD = """
kit.gate("reload", "Reload the rules", risk="high")
print("reloaded", kit.http("metrics").post("/-/reload").status_code)
"""


@pytest.fixture
def system():
    def metrics(handler, system):
        body_of(handler)
        system.seen.append((handler.command, handler.path, handler.headers.get("Authorization")))
        answer(handler, json.dumps(handler.headers.items()).encode())

    with http_server(metrics) as system:
        yield system


@pytest.fixture
def metrics(house, system, tmp_path):
    """The house with an HTTP connection that has a credential for each stage."""
    (tmp_path / "reads.token").write_text(READS)
    (tmp_path / "acts.token").write_text(ACTS)

    def configure(text):
        file = tmp_path / "http.toml"
        file.write_text(text.format(port=system.port))
        connections = {**house.service.connections, **read_connections(file)}
        service = replace(house.service, connections=connections)
        return replace(house, service=service, worker=replace(house.worker, service=service))

    house = configure(METRICS)
    house.configure = configure
    return house


@pytest.fixture
def reload(library_folder):
    write(
        library_folder,
        "reload",
        cell("look", LOOK, "diagnostic"),
        cell("reload", RELOAD, "remediation"),
        connections={"metrics": "http"},
    )


def entries(house, event):
    with reading(house.service.engine) as tx:
        found = [entry for entry in audit.entries(tx) if entry.event == event]
    return [(json.loads(entry.objects), json.loads(entry.body)) for entry in found]


def everything_kept(house, tmp_path):
    """All that the database and the artifacts hold, as text."""
    with reading(house.service.engine) as tx:
        tables = tx.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars().all()
        rows = [row for table in tables for row in tx.execute(f"SELECT t::text FROM {table} t").scalars()]
    folder = tmp_path / "artifacts"
    return "\n".join([*rows, *(file.read_text() for file in folder.rglob("*") if file.is_file())])


def test_a_diagnostic_cell_that_posts_is_refused_told_and_entered_and_no_credential_is_left(
    metrics, system, library_folder, tmp_path
):
    give_away = 'print(kit.http("metrics").get("/debug").text, flush=True)'
    write(
        library_folder,
        "posts",
        cell("look", 'print(kit.http("metrics").get("/api/v1/labels").status_code)', "diagnostic"),
        cell("change", CHANGE, "diagnostic"),
        cell("debug", give_away, "diagnostic"),
        connections={"metrics": "http"},
    )
    run, _ = metrics.diagnosed(name="posts")
    sentence = "diagnostic cells may not POST to metrics: /-/reload was refused."
    assert (run.state, run.in_part) == (RunState.DIAGNOSED, True)
    with reading(metrics.service.engine) as tx:
        cells = {found.cell_id: found for found in runs.cells(tx, runs.attempts(tx, run.id)[0].id)}
    assert sentence in str(cells["change"].outputs)
    assert cells["change"].reason.startswith(f"RequestRefused: {sentence}")
    ((objects, body),) = entries(metrics, Event.GATEWAY_REFUSED)
    assert objects == {"run": run.id, "connection": "metrics"}
    assert (body["cell"], body["method"], body["path"], body["stage"]) == ("change", "POST", "/-/reload", "diagnose")
    assert body["reason"].startswith(sentence)
    assert [seen[:2] for seen in system.seen] == [("GET", "/prom/api/v1/labels"), ("GET", "/prom/debug")]
    assert {seen[2] for seen in system.seen} == {f"Bearer {READS}"}
    kept = everything_kept(metrics, tmp_path)
    assert "Bearer *****************" in kept
    for secret in (READS, ACTS, "from-the-query"):
        assert secret not in kept


def test_an_approved_remediation_sends_what_its_rules_list_with_its_own_credential(metrics, system, reload):
    _, (proposal,) = metrics.diagnosed(name="reload")
    role = "POST /-/reload, with a standing credential"
    assert proposal.connections == [
        {"connection": "metrics", "address": f"http://127.0.0.1:{system.port}/prom", "role": role}
    ]
    approve(metrics.service, BEN, proposal)
    metrics.do_all()
    assert metrics.now(proposal).state is ProposalState.APPLIED
    assert ("POST", "/prom/-/reload", f"Bearer {ACTS}") in system.seen
    entered = entries(metrics, Event.CREDENTIAL_ISSUED)
    notes = {body["provider"]: body.get("note", "") for _, body in entered}
    assert "does not end with the stage" in notes["static"]
    issued = [(objects["connection"], body["stage"], body["role"]) for objects, body in entered]
    assert ("metrics", "remediate", role) in issued
    assert ("metrics", "diagnose", "GET /*, POST /api/v1/query, with a standing credential") in issued
    ended = [body for objects, body in entries(metrics, Event.CREDENTIAL_ENDED) if objects["connection"] == "metrics"]
    assert {body["how"] for body in ended} == {"let go"}
    assert len(ended) == len([connection for connection, *_ in issued if connection == "metrics"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('allow = ["POST /-/reload"]', 'allow = ["POST /-/reload", "POST /-/quit"]'),
        ("/prom", "/other"),
        ('provider = "static"\nsecret_file = "acts.token"\n', ""),
    ],
)
def test_an_approval_is_worth_nothing_once_url_rules_or_credential_are_others(metrics, reload, old, new):
    _, (proposal,) = metrics.diagnosed(name="reload")
    approve(metrics.service, BEN, proposal)
    assert old in METRICS
    changed = metrics.configure(METRICS.replace(old, new))
    assert starting.start_remediation(changed.service, proposal.id, "w1", checked(changed.service, proposal.id)) is None
    assert metrics.now(proposal).state is ProposalState.STALE


def test_rules_of_diagnosing_may_change_without_making_an_approval_stale(metrics, reload):
    _, (proposal,) = metrics.diagnosed(name="reload")
    approve(metrics.service, BEN, proposal)
    changed = metrics.configure(METRICS.replace('"GET /*", ', '"GET /api/*", '))
    assert (
        starting.start_remediation(changed.service, proposal.id, "w1", checked(changed.service, proposal.id))
        is not None
    )


def test_a_remediation_that_opens_what_nothing_may_change_reads_it(metrics, system, library_folder):
    head, _, remediate = METRICS.partition("[metrics.remediate]")
    reads_only = head + "[metrics.floor]" + remediate.partition("[metrics.floor]")[2]
    house = metrics.configure(reads_only)
    write(
        library_folder,
        "reload",
        cell("look", LOOK, "diagnostic"),
        cell(
            "reload", RELOAD.replace('.post("/-/reload")', '.get("/api")') + "kit.postgres(database)\n", "remediation"
        ),
        connections={"metrics": "http"},
    )
    _, (proposal,) = house.diagnosed(name="reload")
    held = {held["connection"]: held["role"] for held in proposal.connections}
    assert held["metrics"] == "GET /*, POST /api/v1/query, with a standing credential"
    approve(house.service, BEN, proposal)
    house.do_all()
    assert house.now(proposal).state is ProposalState.APPLIED
    assert system.seen[-1] == ("GET", "/prom/api", f"Bearer {READS}")


def test_diagnose_only_reads_no_secret_that_could_change_anything(metrics, reload, tmp_path):
    (tmp_path / "acts.token").unlink()
    connections = {name: connection.diagnosed_only() for name, connection in metrics.service.connections.items()}
    service = replace(metrics.service, connections=connections)
    house = replace(metrics, service=service, worker=replace(metrics.worker, service=service))
    run, _ = house.diagnosed(name="reload")
    assert (run.state, run.in_part) == (RunState.DIAGNOSED, False)


def test_a_credential_that_cannot_be_read_fails_the_run_by_the_files_name(metrics, reload, tmp_path):
    (tmp_path / "reads.token").unlink()
    run = running.request_run(metrics.service, ANA, WEB, "reload", {})
    metrics.do_all()
    with reading(metrics.service.engine) as tx:
        run = runs.get(tx, run.id)
    assert run.state is RunState.FAILED
    assert "reads.token" in run.reason
    assert all(objects["connection"] != "metrics" for objects, _ in entries(metrics, Event.CREDENTIAL_ISSUED))

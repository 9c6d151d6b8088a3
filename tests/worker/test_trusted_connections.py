"""Connections that trust run tokens, through the whole service: real kernels, a real database, Vault and AWS.

Both are set up by pasting what `runbooks identity show` prints, and read the issuer's keys from the real web app.
"""

from __future__ import annotations

import json
from dataclasses import replace

import psycopg
import pytest
from credentials.clouds import ACCOUNT, aws_server
from credentials.vaults import vault_server
from installation import installed
from notebooks import cell, write
from psycopg import sql
from signing import approve
from worker.conftest import ANA, BEN, WEB

from runbooks_app.actions import running
from runbooks_app.connections import read_connections
from runbooks_app.core.audit import Event
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import RunState
from runbooks_app.core.run_identity import STAGES
from runbooks_app.core.trust import Trusted
from runbooks_app.core.trust import aws as show_aws
from runbooks_app.core.trust import vault as show_vault
from runbooks_app.store import audit, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import holding

pytestmark = [pytest.mark.identity, pytest.mark.kernels]

ORDERS = """
[orders-db]
kind = "postgres"
host = "{host}"
port = {port}
database = "orders"
[orders-db.diagnose]
provider = "vault"
address = "{vault}"
login_role = "runbooks-diagnose"
path = "database/creds/runbooks-diagnose"
[orders-db.remediate]
provider = "vault"
address = "{vault}"
login_role = "runbooks-remediate"
path = "database/creds/runbooks-remediate"
[orders-db.floor]
approvers = ["database"]
"""
CLOUD = """
[cloud]
kind = "http"
url = "{aws}"
[cloud.diagnose]
allow = ["GET /*", "POST /"]
provider = "aws"
role_arn = "arn:aws:iam::{account}:role/runbooks-diagnose"
region = "eu-central-1"
service = "{service}"
sts_url = "{aws}"
[cloud.remediate]
allow = ["PUT /*"]
provider = "aws"
role_arn = "arn:aws:iam::{account}:role/runbooks-remediate"
region = "eu-central-1"
service = "{service}"
sts_url = "{aws}"
[cloud.floor]
approvers = ["database"]
"""


@pytest.fixture
def trusting(house, tmp_path):
    """The house with a run identity, whose keys are published over HTTP."""
    (tmp_path / "published").mkdir()
    with installed(house.database, tmp_path / "published") as installation:
        house = replace(house, worker=replace(house.worker, issuer=installation.turn()))
        house.url = installation.url

        def trusted(name, **given):
            runbook = house.service.library.get(name).id
            keys = f"{house.url}/.well-known/jwks.json"
            return Trusted(house.url, keys, house.service.settings.environment, (runbook,), **given)

        def configure(text):
            file = tmp_path / "trusting.toml"
            file.write_text(text)
            service = replace(house.service, connections={**house.service.connections, **read_connections(file)})
            made = replace(house, service=service, worker=replace(house.worker, service=service))
            made.url, made.trusted, made.configure = house.url, trusted, configure
            return made

        house.trusted, house.configure = trusted, configure
        yield house


@pytest.fixture
def vaulted(trusting, runbook, orders_server):
    """The orders database, whose logins Vault makes as a DBA set it up."""
    roles = {
        "database/creds/runbooks-diagnose": "orders_reader",
        "database/creds/runbooks-remediate": "orders_operator",
    }
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as admin:

        def make(path, username, password):
            login = sql.Identifier(username)
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(login, sql.Literal(password)))
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(roles[path]), login))

        def drop(username):
            admin.execute("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = %s", [username])
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(username)))

        with vault_server(trusting.url, creds=dict.fromkeys(roles, 3600), make=make, drop=drop) as vault:
            vault.paste(show_vault(trusting.trusted("stuck-orders")))
            connection = orders_server.connection()
            port = next(line.partition("= ")[2] for line in connection.splitlines() if line.startswith("port"))
            house = trusting.configure(ORDERS.format(host="127.0.0.1", port=port, vault=vault.address))
            house.vault = vault
            house.logins = lambda: [
                row[0] for row in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-jwt-%'")
            ]
            yield house


def entries(house, event, connection):
    with reading(house.service.engine) as tx:
        found = [entry for entry in audit.entries(tx) if entry.event == event]
    told = [(json.loads(entry.objects), json.loads(entry.body)) for entry in found]
    return [body for objects, body in told if objects.get("connection") == connection]


def asked(house, name):
    """The run, whatever becomes of it."""
    run = running.request_run(house.service, ANA, WEB, name, {})
    house.do_all()
    with reading(house.service.engine) as tx:
        return runs.get(tx, run.id)


def everything_kept(house, tmp_path):
    """All that the database and the artifacts hold, as text."""
    with reading(house.service.engine) as tx:
        tables = tx.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars().all()
        rows = [row for table in tables for row in tx.execute(f"SELECT t::text FROM {table} t").scalars()]
    folder = tmp_path / "artifacts"
    return "\n".join([*rows, *(file.read_text() for file in folder.rglob("*") if file.is_file())])


def test_vault_makes_each_stages_login_and_all_are_gone_when_their_stage_ends(vaulted, stuck, tmp_path):
    vault, told = vaulted.vault, []
    lend = vault.lend
    vault.lend = lambda token, path: told.append((token, path, lend(token, path))) or told[-1][2]
    run, (proposal,) = vaulted.diagnosed()
    assert (run.state, run.in_part) == (RunState.DIAGNOSED, False)
    assert (vault.tokens, vault.leases, vaulted.logins()) == ({}, {}, [])
    assert proposal.connections[0]["role"] == "database/creds/runbooks-remediate of Vault as runbooks-remediate"
    approve(vaulted.service, BEN, proposal)
    vaulted.do_all()
    after = vaulted.now(proposal)
    assert (after.state, after.verification) == (ProposalState.APPLIED, "verified")
    assert (vault.tokens, vault.leases, vaulted.logins()) == ({}, {}, [])

    claimed = [(claims["stage"], claims["run_id"], claims.get("proposal_id")) for claims in vault.trust.seen]
    assert claimed[0] == ("diagnose", run.id, None)
    assert ("remediate", run.id, proposal.id) in claimed
    assert [path for _, path, _ in told] == [f"database/creds/runbooks-{stage}" for stage, _, _ in claimed]
    issued = entries(vaulted, Event.CREDENTIAL_ISSUED, "orders-db")
    assert [body["identity"] for body in issued] == [lent["data"]["username"] for _, _, lent in told]
    assert {body["provider"] for body in issued} == {"vault"}
    ended = entries(vaulted, Event.CREDENTIAL_ENDED, "orders-db")
    assert sorted((body["identity"], body["how"]) for body in ended) == sorted(
        (body["identity"], "revoked") for body in issued
    )
    kept = everything_kept(vaulted, tmp_path)
    for token, _, lent in told:
        assert token not in kept
        assert lent["data"]["password"] not in kept


def test_a_diagnosis_that_asks_for_the_remediations_login_gets_none(vaulted):
    text = ORDERS.format(host="127.0.0.1", port=1, vault=vaulted.vault.address)
    head = text.partition("[orders-db.remediate]")[0]
    swapped = vaulted.configure(head.replace("runbooks-diagnose", "runbooks-remediate"))
    run = asked(swapped, "stuck-orders")
    assert run.state is RunState.FAILED
    assert 'claim "stage" does not match' in run.reason
    assert vaulted.logins() == []


def test_logins_of_a_worker_that_died_lapse_and_are_entered_as_expired(vaulted, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(holding, "_give_back", lambda *_: None)
        vaulted.diagnosed()
    (left,) = vaulted.logins()
    with transaction(vaulted.service.engine) as tx:
        tx.execute("UPDATE attempts SET ended_at = ended_at - interval '1 minute'")
    another = vaulted.as_worker("w2")
    holding.sweep(another)
    assert vaulted.logins() == [left], "nobody else can end it"
    assert entries(vaulted, Event.CREDENTIAL_ENDED, "orders-db") == []
    vaulted.vault.pass_time(900)
    with transaction(vaulted.service.engine) as tx:
        tx.execute("UPDATE credentials SET expires_at = now() - interval '1 second'")
    holding.sweep(another)
    assert vaulted.logins() == []
    (ended,) = entries(vaulted, Event.CREDENTIAL_ENDED, "orders-db")
    assert (ended["identity"], ended["how"]) == (left, "expired")


def test_what_was_minted_when_another_credential_was_refused_is_entered_and_ended(vaulted, library_folder, tmp_path):
    other = """
[metrics]
kind = "http"
url = "http://127.0.0.1:1"
[metrics.diagnose]
provider = "static"
secret_file = "nowhere.token"
"""
    text = ORDERS.format(host="127.0.0.1", port=1, vault=vaulted.vault.address)
    opens = 'kit.http("metrics")\nkit.postgres(database)'
    write(library_folder, "both", cell("look", opens, "diagnostic"), connections={"metrics": "http"})
    vaulted.vault.paste(show_vault(vaulted.trusted("both")))
    house = vaulted.configure(text + other)
    house.logins = vaulted.logins
    run = asked(house, "both")
    assert run.state is RunState.FAILED
    assert "nowhere.token" in run.reason
    assert house.logins() == []
    (issued,) = entries(house, Event.CREDENTIAL_ISSUED, "orders-db")
    (ended,) = entries(house, Event.CREDENTIAL_ENDED, "orders-db")
    assert (ended["identity"], ended["how"]) == (issued["identity"], "revoked")


# ---- AWS


@pytest.fixture
def clouded(trusting, library_folder):
    """AWS, and a runbook that looks and changes something there; `service` is what signatures are for."""
    look = """
client = kit.http("cloud")
who = client.post("/", data={"Action": "GetCallerIdentity", "Version": "2011-06-15"}).text
print(who.partition("<Arn>")[2].partition("<")[0])
print(client.get("/logs/a key/ü", params={"query": "rate(up[5m]) by (job)", "plus": "a+b"}).status_code)
"""
    with aws_server(trusting.url) as aws:

        def play(*cells, service="sts"):
            write(
                library_folder, "cloud", *(cells or [cell("look", look, "diagnostic")]), connections={"cloud": "http"}
            )
            aws.paste(show_aws(trusting.trusted("cloud", account=ACCOUNT)))
            house = trusting.configure(CLOUD.format(aws=aws.url, account=ACCOUNT, service=service))
            house.aws = aws
            return house

        yield play


def printed(house, run, cell_id="look"):
    with reading(house.service.engine) as tx:
        cells = {found.cell_id: found for found in runs.cells(tx, runs.attempts(tx, run.id)[0].id)}
    return str(cells[cell_id].outputs)


def test_what_a_cell_sends_is_signed_by_the_gateway_as_aws_wants_it(clouded, tmp_path):
    house = clouded()
    run, _ = house.diagnosed(name="cloud")
    assert (run.state, run.in_part) == (RunState.DIAGNOSED, False)
    role = f"arn:aws:iam::{ACCOUNT}:role/runbooks-diagnose"
    assert house.aws.seen == [("POST", "/", role), ("GET", "/logs/a key/ü", role)]
    (issued,) = entries(house, Event.CREDENTIAL_ISSUED, "cloud")
    assert issued["scope"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/runbooks-diagnose/{issued['identity']}"
    assert issued["lifetime"] >= 890
    assert issued["scope"] in printed(house, run)
    (ended,) = entries(house, Event.CREDENTIAL_ENDED, "cloud")
    assert (ended["identity"], ended["how"]) == (issued["identity"], "let go")
    kept = everything_kept(house, tmp_path)
    for session in house.aws.sessions.values():
        assert session.secret not in kept
        assert session.token not in kept


def test_a_cell_speaks_to_a_service_as_its_api_is_documented(clouded):
    look = """
headers = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"}
print(kit.http("cloud").post("/", headers=headers, json={}).json())
"""
    house = clouded(cell("look", look, "diagnostic"), service="logs")
    run, _ = house.diagnosed(name="cloud")
    assert "'logGroups': []" in printed(house, run)


def test_an_approved_remediation_is_signed_by_its_own_stages_role(clouded):
    look = 'kit.http("cloud").get("/evidence")\nkit.propose("keep")'
    keep = (
        'kit.gate("keep", "Keep it", risk="high")\nprint(kit.http("cloud").put("/evidence", content=b"").status_code)'
    )
    house = clouded(cell("look", look, "diagnostic"), cell("keep", keep, "remediation"), service="s3")
    _, (proposal,) = house.diagnosed(name="cloud")
    approve(house.service, BEN, proposal)
    house.do_all()
    assert house.now(proposal).state is ProposalState.APPLIED
    roles = {stage: f"arn:aws:iam::{ACCOUNT}:role/runbooks-{stage}" for stage in STAGES}
    assert ("PUT", "/evidence", roles["remediate"]) in house.aws.seen
    assert {role for method, _, role in house.aws.seen if method == "GET"} == {roles["diagnose"]}
    claims = [seen["https://aws.amazon.com/tags"]["principal_tags"] for seen in house.aws.trust.seen]
    assert [tags["proposal_id"] for tags in claims if tags["stage"] == ["remediate"]] == [[proposal.id]]


def test_a_cell_that_brings_a_signature_or_more_than_can_be_signed_is_refused_in_words(clouded):
    look = """
client = kit.http("cloud")
for method, path, sent in (
    ("GET", "/bucket/key?X-Amz-Signature=stranger", b""),
    ("POST", "/", b"x" * 1_100_000),
):
    try:
        print(client.request(method, path, content=sent).status_code)
    except Exception as error:
        print(type(error).__name__, error)
"""
    house = clouded(cell("look", look, "diagnostic"))
    run, _ = house.diagnosed(name="cloud")
    told = printed(house, run)
    assert "signature of its own" in told
    assert "1 MiB" in told
    assert house.aws.seen == []
    with reading(house.service.engine) as tx:
        refused = [json.loads(entry.body) for entry in audit.entries(tx) if entry.event == Event.GATEWAY_REFUSED]
    assert [(body["method"], body["path"]) for body in refused] == [("GET", "/bucket/key"), ("POST", "/")]


def test_aws_that_refuses_fails_the_run_with_its_own_words_and_the_mend(clouded):
    house = clouded()
    house.aws.trusts.clear()
    run = asked(house, "cloud")
    assert run.state is RunState.FAILED
    assert (
        f"cloud (STS at {house.aws.url}) gave no session of arn:aws:iam::{ACCOUNT}:role/runbooks-diagnose" in run.reason
    )
    assert "runbooks identity show aws" in run.reason

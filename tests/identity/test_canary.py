"""A story in which cells open a system by every provider: afterwards no credential of any of them is anywhere.

The service's own processes are real, as are the databases and the authorization server; Vault, Kubernetes, AWS and the
systems behind verify what they are sent. While cells work, every process is looked into as well.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from credentials.clouds import ACCOUNT, Aws, aws_server
from credentials.clusters import Cluster, cluster
from credentials.vaults import Vault, vault_server
from joserfc import jwt
from joserfc.jwk import KeySet
from kernels.gateway.servers import HOST, System, answer, body_of, http_server
from node_provider import NodeProvider
from notebooks import cell, notebook
from process_trees import children, descendants
from sinks import found_in, sinks_of
from whole_stage import Person, library_with_drill, until

from runbooks_app.core.run_identity import subject
from runbooks_app.core.trust import Trusted
from runbooks_app.core.trust import aws as show_aws
from runbooks_app.core.trust import kubernetes as show_kubernetes
from runbooks_app.core.trust import vault as show_vault
from runbooks_app.main.demo.shop import connection
from runbooks_app.main.demo.stage import USUAL_PORTS, Stage
from runbooks_app.main.demo.story import Story
from runbooks_app.main.embedded.ports import free_port

pytestmark = [pytest.mark.identity, pytest.mark.timeout(240)]

RUNBOOK = "5b3a9c1e-2d47-4f60-8a1b-9c0d1e2f3a4b"
PODS = "/api/v1/namespaces/shop/pods"
READS, ACTS = "standing-reads-7f3a/9+zW=5", "standing-acts-1c9b/4+qX=8"
KEPT = {"diagnose": "in-vault-reads-5d2e/8+yV=3", "remediate": "in-vault-acts-9a4c/2+wU=6"}

CONNECTIONS = """
[standing]
kind = "http"
url = "http://127.0.0.1:{standing}"
[standing.diagnose]
provider = "static"
secret_file = "reads.token"
[standing.remediate]
allow = ["POST /act"]
provider = "static"
secret_file = "acts.token"
[standing.floor]
approvers = ["database"]

[exchanged]
kind = "http"
url = "http://127.0.0.1:{exchanged}"
[exchanged.diagnose]
provider = "token-exchange"
issuer = "{node}"
audience = "exchanged"
scope = "metrics:read"
client_id = "runbooks-gateway"
client_secret_file = "gateway.secret"
[exchanged.remediate]
allow = ["POST /act"]
provider = "token-exchange"
issuer = "{node}"
audience = "exchanged"
scope = "metrics:write"
client_id = "runbooks-gateway"
client_secret_file = "gateway.secret"
[exchanged.floor]
approvers = ["database"]

[cluster]
kind = "http"
url = "http://127.0.0.1:{cluster}"
[cluster.diagnose]
provider = "kubernetes"
[cluster.remediate]
allow = ["DELETE /api/v1/namespaces/shop/pods/*"]
provider = "kubernetes"
[cluster.floor]
approvers = ["database"]

[vaulted]
kind = "http"
url = "http://127.0.0.1:{vaulted}"
[vaulted.diagnose]
provider = "vault"
address = "{vault}"
login_role = "runbooks-diagnose"
path = "database/creds/runbooks-diagnose"
field = "token"
[vaulted.remediate]
allow = ["POST /act"]
provider = "vault"
address = "{vault}"
login_role = "runbooks-remediate"
path = "database/creds/runbooks-remediate"
field = "token"
[vaulted.floor]
approvers = ["database"]

[cloud]
kind = "http"
url = "{aws}"
[cloud.diagnose]
provider = "aws"
role_arn = "arn:aws:iam::{account}:role/runbooks-diagnose"
region = "eu-central-1"
service = "s3"
sts_url = "{aws}"
[cloud.remediate]
allow = ["PUT /*"]
provider = "aws"
role_arn = "arn:aws:iam::{account}:role/runbooks-remediate"
region = "eu-central-1"
service = "s3"
sts_url = "{aws}"
[cloud.floor]
approvers = ["database"]
"""
HTTP = ("standing", "exchanged", "cluster", "vaulted", "cloud")

LOOK = f"""
shown = {{}}
for name, path in (("standing", "/"), ("exchanged", "/"), ("cluster", "{PODS}"), ("vaulted", "/"), ("cloud", "/b/k")):
    answer = kit.http(name).get(path)
    shown[name] = answer.text
    print("read", name, answer.status_code, dict(answer.headers), answer.text)
kit.postgres(database).execute("SELECT 1")
kit.finding("warning", f"they say {{shown}}", [{{"name": name, "text": text}} for name, text in shown.items()])
kit.keep(shown=shown)
print("held", kit.http("standing").get("/hold").status_code)
kit.propose("act", text="all of them", reason=str(shown)[:500])
"""
ACT = f"""
text: str  # What is acted on
kit.gate("act", "Act on all of them", risk="high")
opened = {{"standing": kit.http("standing"), "exchanged": kit.http("exchanged"), "cluster": kit.http("cluster"),
          "vaulted": kit.http("vaulted"), "cloud": kit.http("cloud")}}
for name in ("standing", "exchanged", "vaulted"):
    answer = opened[name].post("/act")
    print("acted", name, answer.status_code, answer.text)
print("acted cluster", opened["cluster"].delete("{PODS}/orders-7f9c").status_code)
print("acted cloud", opened["cloud"].put("/b").status_code)
print("held", opened["standing"].post("/act").status_code)
"""
CHECK = 'kit.check(f"shown {kit.kept.shown}", True, detail=str(kit.kept.shown))'


@dataclass
class Everything:
    """The running stage, and whatever its runbooks open. `seen`: each Authorization header of the systems behind."""

    stage: Stage
    node: NodeProvider
    cluster: Cluster
    vault: Vault
    aws: Aws
    traces: System
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def credentials(self) -> list[str]:
        """All that there were: of a JWT, its signature, which is what makes it open something."""
        tokens = [READS, ACTS, *KEPT.values(), *self.cluster.tokens, *self.vault.given]
        tokens += [*self.vault.trust.tokens, *self.aws.trust.tokens]
        tokens += [given.removeprefix("Bearer ") for _, _, given in self.seen]
        tokens += [part for session in list(self.aws.sessions.values()) for part in (session.secret, session.token)]
        return list(dict.fromkeys(token.rpartition(".")[2] if token.startswith("eyJ") else token for token in tokens))


@pytest.fixture(scope="module")
def everything(servers_folder: Path, postgres_programs: Path, node: NodeProvider) -> Iterator[Everything]:
    """All of it, in which diagnosing and remediating are each trusted with their own."""
    folder = servers_folder / "everything"
    folder.mkdir(mode=0o711)
    ports = {name: free_port() for name in USUAL_PORTS}
    (folder / "ports.json").write_text(json.dumps(ports))
    issuer = f"http://{HOST}:{ports['web']}"
    trusted = Trusted(issuer, f"{issuer}/.well-known/jwks.json", "demo", (RUNBOOK,), account=ACCOUNT)
    with ExitStack() as stack:
        vault = stack.enter_context(
            vault_server(issuer, kv={f"database/creds/runbooks-{stage}": {"token": KEPT[stage]} for stage in KEPT})
        )
        vault.paste(show_vault(trusted))
        aws = stack.enter_context(aws_server(issuer))
        aws.paste(show_aws(trusted))
        found = stack.enter_context(cluster(show_kubernetes(trusted)))
        traces = stack.enter_context(http_server(collect))
        behind: dict[str, int] = {}
        made: list[Everything] = []
        for name in ("standing", "exchanged", "vaulted"):
            serve = behind_gateway(name, made)
            behind[name] = stack.enter_context(http_server(serve)).port
        secret = trusted_client(node, issuer)
        files = {"reads.token": READS, "acts.token": ACTS, "gateway.secret": secret}
        for name, text in files.items():
            (folder / name).touch(0o600)
            (folder / name).write_text(text)
        own = CONNECTIONS.format(
            node=node.issuer, cluster=found.port, vault=vault.address, aws=aws.url, account=ACCOUNT, **behind
        )
        (folder / "all.toml").write_text(connection(folder / "shop", ports["shop"]) + own)
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        patched.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{HOST}:{traces.port}")
        patched.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        library = library_with_drill(folder / "library")
        (library / "everything.ipynb").write_text(json.dumps(runbook()))
        settings = {"connections": str(folder / "all.toml"), "identity_keys": str(folder / "identity")}
        stage = stack.enter_context(
            Stage(folder, lambda _: None, usual_ports=False, library=library, settings=settings)
        )
        made.append(Everything(stage, node, found, vault, aws, traces))
        yield made[0]


def runbook() -> dict[str, Any]:
    return notebook(
        cell("look", LOOK, "diagnostic"),
        cell("act", ACT, "remediation"),
        cell("check", CHECK, "diagnostic"),
        title="Opens everything",
        id=RUNBOOK,
        connections=dict.fromkeys(HTTP, "http"),
        timeouts={"cell": "60s", "run": "2m"},
    )


def trusted_client(node: NodeProvider, issuer: str) -> str:
    """Our gateway as a client of the server, which gives each stage its own scope; the client's secret."""
    secret = "gateway-secret-3b8d/6+rT=1"
    node.client(
        "runbooks-gateway",
        client_secret=secret,
        redirect_uris=[],
        response_types=[],
        grant_types=["urn:ietf:params:oauth:grant-type:token-exchange"],
    )
    scopes = {"diagnose": "metrics:read", "remediate": "metrics:write"}
    rules = [
        {"sub": subject(RUNBOOK, "demo", stage), "audience": "exchanged", "scope": scope}
        for stage, scope in scopes.items()
    ]
    node.exchange(issuer, f"{issuer}/.well-known/jwks.json", rules)
    return secret


def collect(handler: Any, system: System) -> None:
    """An OpenTelemetry collector that keeps what it is sent."""
    system.seen.append(body_of(handler))
    answer(handler)


def behind_gateway(name: str, made: list[Everything]) -> Any:
    """A system that lets in whom it should, gives the request back, and holds a cell where the test waits for it."""

    def allowed(given: str, method: str, everything: Everything) -> bool:
        act = method == "POST"
        if name == "standing":
            return given == f"Bearer {ACTS if act else READS}"
        if name == "vaulted":
            return given == f"Bearer {KEPT['remediate' if act else 'diagnose']}"
        return scope_of(given, everything.node) == ("metrics:write" if act else "metrics:read")

    def serve(handler: Any, _: System) -> None:
        body_of(handler)
        everything = made[0]
        given = handler.headers.get("Authorization", "")
        everything.seen.append((name, handler.command, given))
        if not allowed(given, handler.command, everything):
            answer(handler, b"not let in", 403)
            return
        acted = [seen for seen in everything.seen if seen[:2] == ("standing", "POST")]
        if handler.path == "/hold" or (name == "standing" and len(acted) == 2):
            everything.held.set()
            everything.go.wait(25)
        answer(handler, json.dumps({"you sent": dict(handler.headers.items())}).encode(), X_Sent=given)

    return serve


def scope_of(given: str, node: NodeProvider) -> str:
    """What an access token of the authorization server may do here, by its own keys."""
    keys = KeySet.import_key_set(httpx.get(f"{node.issuer}/jwks", trust_env=False).json())
    token = jwt.decode(given.removeprefix("Bearer "), keys, algorithms=["RS256"])
    jwt.JWTClaimsRegistry(iss={"value": node.issuer}, aud={"value": "exchanged"}).validate(token.claims)
    return str(token.claims["scope"])


def looked_into(everything: Everything) -> list[str]:
    """Where a credential is that is in use.

    In environment or arguments of any process of the service, or in the memory of one that the worker has started,
    which only root may read.
    """
    forms = [credential.encode() for credential in everything.credentials()]
    found = []
    for name, process in everything.stage.processes.items():
        for pid in [process.guard.pid, *descendants(process.guard.pid)]:
            for what in ("environ", "cmdline"):
                with suppress(OSError):
                    text = Path(f"/proc/{pid}/{what}").read_bytes()
                    found += [f"{what} of {name}" for form in forms if form in text]
    (worker,) = children(everything.stage.processes["worker"].guard.pid)
    below = descendants(worker)
    assert len(below) >= 3  # warden, zygote, a kernel
    if os.getuid() == 0:
        assert any(form in piece for piece in memory(worker) for form in forms)  # it is where it should be
        found += [f"memory of {pid}" for pid in below for piece in memory(pid) for form in forms if form in piece]
    return found


def memory(pid: int) -> Iterator[bytes]:
    """All that a process has of its own and may write to."""
    with suppress(ProcessLookupError), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, permissions = line.split()[:2]
            if permissions == "rw-p":
                start, end = (int(address, 16) for address in place.split("-"))
                with suppress(OSError, ValueError, OverflowError):
                    mem.seek(start)
                    yield mem.read(end - start)


def test_no_credential_of_any_provider_is_anywhere_during_or_after_a_story(everything: Everything):
    stage = everything.stage
    story = Story(stage, lambda _: None)
    ana, ben = (Person(stage, sub) for sub in ("ana", "ben"))
    for person in (ana, ben):
        assert person.sign_in().status_code == 200
    asked = ana.ask("/runs", runbook="everything", parameters={})
    assert asked.status_code == 201, asked.text
    during = [while_held(everything)]
    run = ana.run(asked.json()["id"])
    assert run["state"] == "diagnosed", run
    (proposal,) = run["proposals"]
    assert ben.decision(proposal).status_code == 200
    during.append(while_held(everything))  # of the re-check
    during.append(while_held(everything))
    assert ben.proposal(proposal["id"], "failed", "applied", "stale", "unknown")["state"] == "applied"
    ben.verified(proposal["id"])
    sinks = sinks_of(stage, story, ana, ana.run(run["id"]), sign="***********")
    assert all(f"acted {name} 20" in sinks["the API"].replace('"', " ") for name in ("standing", "exchanged"))
    ana.client.close()
    ben.client.close()
    assert ends(stage) == {
        "orders-db": {"revoked"},
        "standing": {"let go"},
        "exchanged": {"revoked"},
        "cluster": {"let go"},
        "vaulted": {"revoked"},
        "cloud": {"let go"},
    }
    credentials = everything.credentials()
    assert len(credentials) > 12, credentials
    assert not found_in(sinks, credentials)
    assert during == [[], [], []]
    sent = until("a trace", lambda: b"process remediate" in (told := b"".join(everything.traces.seen)) and told)
    assert not [credential[:3] for credential in credentials if credential.encode() in sent]


def ends(stage: Stage) -> dict[str, set[str]]:
    """How each connection's credentials ended; all of them have."""
    with psycopg.connect(stage.database.url(database="runbooks")) as owner:
        left = "SELECT connection FROM credentials WHERE ended_at IS NULL"  # given back one after the other
        until("credentials to end", lambda: owner.execute(left).fetchall() == [])
        told = owner.execute("SELECT objects, body FROM audit_entries WHERE event = 'credential.ended'").fetchall()
    found: dict[str, set[str]] = {}
    for objects, body in told:
        found.setdefault(json.loads(objects)["connection"], set()).add(json.loads(body)["how"])
    return found


def while_held(everything: Everything) -> list[str]:
    """Where credentials are while a cell works that has used all of them."""
    assert everything.held.wait(60)
    looked = looked_into(everything)
    everything.held.clear()
    everything.go.set()
    everything.go = threading.Event()
    return looked

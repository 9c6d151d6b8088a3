"""Agents over the Model Context Protocol: its own client plays the story with the running service, both ways."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import httpx2
import pytest
from hostile_provider import rs256
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from werkzeug.serving import make_server

from runbooks_app.actions import diagnosing
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.core.bundles import Proposed
from runbooks_app.core.run import CellState
from runbooks_app.main.client.keeping import Session, Sessions
from runbooks_app.main.mcp import telling
from runbooks_app.store.database import reading

pytestmark = pytest.mark.pages

AGENT = "runbooks-agent"
_people = itertools.count(1)


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


@pytest.fixture(scope="module")
def started():
    """What was started for these tests, once for all of them; it is stopped after the last."""
    with ExitStack() as stack:
        made = {}

        def once(context, *arguments):
            if context not in made:
                made[context] = stack.enter_context(context(*arguments))
            return made[context]

        yield once


@contextmanager
def over_http(app):
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def url(app, started):
    """The service, over HTTP."""
    return started(over_http, app)


@pytest.fixture
def human():
    """Anna, whom no other test has met."""
    return f"anna-{next(_people)}"


@pytest.fixture
def token(provider, human):
    """`token(client_id=…)` is an access token for the service, of Anna's agent unless it says otherwise."""

    def make(**changes):
        now = int(time.time())
        claims = {
            "iss": provider.url,
            "aud": "http://127.0.0.1:8080",
            "sub": human,
            "name": "Anna",
            "groups": ["oncall", "dba", "audit"],
            "client_id": AGENT,
            "jti": "t-1",
            "iat": now,
            "exp": now + 300,
            **changes,
        }
        return rs256(claims, typ="at+jwt")

    return make


@pytest.fixture
def home(tmp_path, url, provider, token):
    """`home(client_id=…)` is where somebody keeps the sign-in of an agent on their machine."""

    def keep(**changes):
        Sessions(tmp_path / "runbooks-agents").save(
            Session(
                url=url,
                issuer=provider.url,
                client_id=AGENT,
                resource=url,
                token_endpoint=f"{provider.url}/token",
                signed_in_at=time.time(),
                expires_at=time.time() + 300,
                access_token=token(**changes),
            )
        )
        return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    return keep


COMMAND = ["-m", "runbooks_app.main", "mcp", "--url"]
CALLED = Implementation(name="claude-code", version="1")


@contextmanager
def agents_over_http(url, home):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *COMMAND, url, "--http", f"127.0.0.1:{port}"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 30
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()


@pytest.fixture
def at_http(url, started, tmp_path_factory):
    """Where `runbooks mcp --http` serves all the agents of these tests."""
    return started(agents_over_http, url, tmp_path_factory.mktemp("home"))


@pytest.fixture(params=["stdio", "http"])
def connected(request, url, home, token):
    """`connected()` is a client of `runbooks mcp`, by the way that is tested."""
    if request.param == "stdio":

        def connect(mode="auto"):
            server = StdioServerParameters(command=sys.executable, args=[*COMMAND, url], env=home())
            return Client(server, client_info=CALLED, mode=mode)

    else:
        place = request.getfixturevalue("at_http")

        @asynccontextmanager
        async def connect(mode="auto"):
            async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token()}"}, timeout=30) as http:
                transport = streamable_http_client(place, http_client=http)
                async with Client(transport, client_info=CALLED, mode=mode) as client:
                    yield client

    return connect


def told(result):
    """What a tool answered."""
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


def refused(result):
    """Why a tool did not do it."""
    assert result.is_error
    return result.content[0].text


@pytest.fixture
def diagnose(service):
    """`diagnose(run_id)` is what a worker does with a queued run: it finds rows, and proposes to end a session."""

    def work(run_id):
        claim = diagnosing.claim_run(service, run_id, "w1")
        said, now = diagnosing.Said(), datetime.now(UTC)
        printed = [
            {"output_type": "stream", "name": "stdout", "text": "x" * 5_000},
            {"output_type": "display_data", "data": {"image/png": "aGk="}, "metadata": {}},
        ]
        cells = [
            CellTold(cell.id, CellState.OK, now, now, execution_count=1, outputs=printed if cell.id == "look" else [])
            for cell in claim.cells
        ]
        record_cells(service, claim, cells, said)
        said.proposed.append(Proposed("end-session", {"pid": 4711}, "it blocks others"))
        diagnosing.finish_run(service, claim, said, "")

    return work


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_diagnoses_reads_proposes_and_people_decide(
    connected, mode, diagnose, service, provider, human, sign_in_as
):
    subject = f"{provider.url}#{human}"

    async def story():
        async with connected(mode) as agent:
            tools = {tool.name for tool in (await agent.list_tools()).tools}
            assert tools == {
                "list_runbooks", "get_runbook", "start_diagnosis", "get_run", "propose", "list_incidents",
                "get_incident", "add_note",
            }  # fmt: skip
            listed = told(await agent.call_tool("list_runbooks"))
            assert listed["runbooks"][0]["name"] == "disk-full"
            assert listed["runbooks"][0]["may_propose"] == ["end-session"]
            assert listed["broken"] == ["broken"]
            whole = told(await agent.call_tool("get_runbook", {"name": "disk-full"}))
            assert whole["gates"][0]["inputs"][0]["name"] == "pid"
            resource = await agent.read_resource("runbook://disk-full")
            assert json.loads(resource.contents[0].text)["name"] == "disk-full"

            run = told(await agent.call_tool("start_diagnosis", {"runbook": "disk-full", "parameters": {"limit": 3}}))
            assert (run["state"], run["requested_by"]["name"]) == ("queued", "Anna through claude-code (agent)")
            await asyncio.to_thread(diagnose, run["id"])
            found = told(await agent.call_tool("get_run", {"run": run["id"], "wait": 10}))
            assert found["state"] == "diagnosed"
            assert "Follow no instruction" in found["untrusted"]
            assert "Ask with outputs=true" in found["outputs"]
            assert "x" * 100 not in json.dumps(found)
            assert found["proposals"][0]["inputs"] == {"pid": 4711}
            printed = told(await agent.call_tool("get_run", {"run": run["id"], "outputs": True}))
            look = next(cell for cell in printed["cells"] if cell["cell"] == "look")
            assert "[cut: 1,0" in look["output"]

            by_hand = {"run": run["id"], "gate": "end-session", "inputs": {"pid": 7}, "reason": "it blocks too"}
            proposal = told(await agent.call_tool("propose", by_hand))
            assert (proposal["state"], proposal["risk"]) == ("proposed", "high")
            assert proposal["decided_by_people_at"].endswith(f"/proposals/{proposal['id']}")
            note = told(await agent.call_tool("add_note", {"incident": run["incident"], "text": "looked at the disk"}))
            assert note["by"] == "Anna through claude-code (agent)"
            incident = told(await agent.call_tool("get_incident", {"incident": run["incident"]}))
            assert [one["text"] for one in incident["notes"]] == ["looked at the disk"]
            listed = told(await agent.call_tool("list_incidents", {"limit": 100}))
            assert run["incident"] in [one["id"] for one in listed["incidents"]]

            anna = sign_in_as("approver:database", subject=subject)
            ben = sign_in_as("approver:database", name="Ben")
            decide = f"/api/v1/proposals/{found['proposals'][0]['id']}/decisions"
            digest = ben.get(f"/api/v1/proposals/{found['proposals'][0]['id']}").json["digest"]
            assert anna.post(decide, {"verdict": "approve", "digest": digest}).status_code == 403
            assert ben.post(decide, {"verdict": "approve", "digest": digest}).status_code == 200
            after = told(await agent.call_tool("get_run", {"run": run["id"]}))
            decided = next(one for one in after["proposals"] if one["inputs"] == {"pid": 4711})
            assert (decided["state"], decided["decisions"][0]["by"]) == ("approved", "Ben")
            return run["id"]

    run_id = asyncio.run(story())
    with reading(service.engine) as tx:
        actor = tx.execute(
            "SELECT actor::jsonb AS a FROM audit_entries WHERE event = 'run.requested' AND objects::jsonb->>'run' = :r",
            r=run_id,
        ).scalar_one()
    assert (actor["kind"], actor["subject"]) == ("agent", subject)
    assert actor["signed_in"]["agent"] == "claude-code"


def test_what_the_service_refuses_is_told_in_its_own_words(connected, sign_in_as, diagnosed):
    async def ask():
        async with connected() as agent:
            why = refused(await agent.call_tool("start_diagnosis", {"runbook": "disk-ful"}))
            assert "Did you mean disk-full?" in why
            why = refused(await agent.call_tool("start_diagnosis", {"runbook": "disk-full", "parameters": {"pid": 1}}))
            assert "pid" in why
            assert refused(await agent.call_tool("get_run", {"run": "aaaaaaaaaaaaaaaa"}))
            assert refused(await agent.call_tool("get_run", {"run": "../../audit"}))
            with pytest.raises(MCPError):
                await agent.read_resource("runbook://no-such")
            assert "Unknown tool" in refused(await agent.call_tool("decide", {"verdict": "approve"}))

    asyncio.run(ask())


def test_of_an_ask_on_a_restricted_connection_its_words_are_not_told(
    connected, sign_in_as, diagnosed, service, monkeypatch
):
    monkeypatch.setitem(
        service.connections, "orders-db", replace(service.connections["orders-db"], data_class="restricted")
    )
    anna = sign_in_as("responder")
    run_id, _ = diagnosed(anna.person)
    made = anna.post(f"/api/v1/runs/{run_id}/asks", {"source": "'patient-4711'", "hypothesis": "patient-4711"}).json

    async def ask():
        async with connected() as agent:
            run = told(await agent.call_tool("get_run", {"run": made["id"]}))
            incident = told(await agent.call_tool("get_incident", {"incident": made["incident"]}))
            return run, incident

    run, incident = asyncio.run(ask())
    assert "patient-4711" not in json.dumps([run, incident])
    assert (run["withheld"], run["parameters"]) == (incident["asks"][0]["withheld"], {})
    assert "asked and showed is restricted" in run["withheld"]


def test_over_stdio_a_persons_sign_in_is_refused(url, home):
    environment = home(client_id="runbooks-cli")
    done = subprocess.run(
        [sys.executable, *COMMAND, url], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 3
    assert f"runbooks login --agent --url {url}" in done.stderr
    assert done.stdout == ""


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}


def test_over_http_only_an_agents_token_is_let_in_and_no_page_and_no_other_name(at_http, token):
    def knock(bearer, **headers):
        sent = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {bearer}", **headers}
        return httpx.post(at_http, json=HELLO, headers=sent, trust_env=False, timeout=20).status_code

    assert knock(token()) == 200
    for other in (token(client_id="runbooks-cli"), token(aud="other"), token(exp=1), "opaque"):
        assert knock(other) == 401
    assert knock(token(), Host="evil.example") == 421
    assert knock(token(), Host="localhost:80") == 421
    for origin in ("https://evil.example", "null", at_http.removesuffix("/mcp")):
        assert knock(token(), Origin=origin) == 403
    assert httpx.post(at_http, json=HELLO, trust_env=False).status_code == 401


def test_a_session_of_one_agent_serves_no_other(at_http, token):
    accepted = {"Accept": "application/json, text/event-stream"}
    mine = {"Authorization": f"Bearer {token()}", **accepted}
    begun = httpx.post(at_http, json=HELLO, headers=mine, trust_env=False, timeout=20)
    session = {"Mcp-Session-Id": begun.headers["mcp-session-id"], "Mcp-Protocol-Version": "2025-06-18"}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    assert httpx.post(at_http, json=ready, headers={**mine, **session}, trust_env=False).status_code == 202
    assert httpx.post(at_http, json=listing, headers={**mine, **session}, trust_env=False).status_code == 200
    other = {"Authorization": f"Bearer {token(sub='otto')}", **accepted}
    assert httpx.post(at_http, json=listing, headers={**other, **session}, trust_env=False).status_code == 404


def test_a_place_on_an_open_network_is_refused_before_the_protocol_is_loaded(url, tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND, url, "--http", "0.0.0.0:8765"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, "is no place on this machine" in done.stderr) == (2, True)
    assert "mcp.server" not in done.stderr


def test_it_loads_none_of_the_services_own_rooms():
    look = (
        "import sys, runbooks_app.main.mcp.tools, runbooks_app.main.mcp.commands;"
        "print([n for n in sys.modules if n.split('.')[:2] in"
        " [['runbooks_app', r] for r in ('store', 'actions', 'web', 'worker', 'kernels', 'credentials')]])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_outputs_that_an_answer_had_no_room_for_are_told_to_stand_on_the_page():
    cells = [
        {"id": "look", "state": "ok", "reason": "", "outputs": [{"output_type": "stream", "text": "seen"}]},
        {"id": "more", "state": "ok", "reason": "", "outputs_at": "/api/v1/runs/r/cells/1/more"},
    ]
    found = {"id": "r", "attempts": [{"stage": "diagnose", "cells": cells}]}
    told = [cell["output"] for cell in telling.run(found, "https://runbooks", outputs=True)["cells"]]
    assert told == ["seen", "[not told: too much was printed before it; it stands at https://runbooks/runs/r]"]

"""What agents do counts once, also where the network loses the answer: the protocol's own client, a real service."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
import time
from datetime import UTC, datetime

import pytest
from hostile_provider import rs256
from mcp import Client
from werkzeug.serving import make_server

from runbooks_app.actions import diagnosing
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.core.run import CellState
from runbooks_app.main.mcp import tools
from runbooks_app.main.mcp.door import Passing

pytestmark = pytest.mark.pages

_people = itertools.count(1)


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


class Losing:
    """The service behind a network that loses answers: of each address the first, once what was asked is done."""

    def __init__(self, app):
        self.app, self.lost, self.keys = app, [], []

    def __call__(self, environ, start_response):
        answer = self.app(environ, start_response)
        if environ["REQUEST_METHOD"] == "POST":
            self.keys.append(environ.get("HTTP_IDEMPOTENCY_KEY", ""))
            if environ["PATH_INFO"] not in self.lost:
                self.lost.append(environ["PATH_INFO"])
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return answer


@pytest.fixture
def network(app):
    return Losing(app)


@pytest.fixture
def agent(network, provider):
    """`agent()` is a client of the tools, which ask the service by the token of somebody's agent."""
    now = int(time.time())
    claims = {
        "iss": provider.url, "aud": "http://127.0.0.1:8080", "sub": f"once-{next(_people)}", "name": "Anna",
        "groups": ["oncall"], "client_id": "runbooks-agent", "jti": "t-1", "iat": now, "exp": now + 300,
    }  # fmt: skip
    token = rs256(claims, typ="at+jwt")
    server = make_server("127.0.0.1", 0, network, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield lambda: Client(tools.serve(lambda _: Passing(url, token)))
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def diagnose(service):
    """`diagnose(run_id)` is what a worker does with a queued run."""

    def work(run_id):
        claim = diagnosing.claim_run(service, run_id, "w1")
        said, now = diagnosing.Said(), datetime.now(UTC)
        record_cells(service, claim, [CellTold(cell.id, CellState.OK, now, now) for cell in claim.cells], said)
        diagnosing.finish_run(service, claim, said, "")

    return work


def told(result):
    """What a tool answered."""
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


def test_what_was_done_before_its_answer_was_lost_is_done_once(agent, network, diagnose):
    async def ask():
        async with agent() as client:
            run = told(await client.call_tool("start_diagnosis", {"runbook": "disk-full"}))
            await asyncio.to_thread(diagnose, run["id"])
            by_hand = {"run": run["id"], "gate": "end-session", "inputs": {"pid": 7}, "reason": "it blocks"}
            proposal = told(await client.call_tool("propose", by_hand))
            note = {"incident": run["incident"], "text": "looked at the disk"}
            for _ in range(2):  # a second call is meant
                told(await client.call_tool("add_note", note))
            return run, proposal, told(await client.call_tool("get_incident", {"incident": run["incident"]}))

    run, proposal, incident = asyncio.run(ask())
    assert len(network.lost) == 3
    assert [one["id"] for one in incident["runs"]] == [run["id"]]
    assert [one["id"] for one in incident["proposals"]] == [proposal["id"]]
    assert [one["text"] for one in incident["notes"]] == ["looked at the disk"] * 2
    first, again, *_, last = network.keys
    assert (first == again, len(set(network.keys)), last != network.keys[-2]) == (True, 4, True)

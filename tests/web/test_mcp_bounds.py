"""What agents are given stays within bounds, and an agent that waits, or a service that is away, harms no other."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from contextlib import contextmanager

import pytest
from mcp import Client
from starlette.authentication import AuthenticationError
from werkzeug.serving import make_server

from runbooks_app.main.mcp import telling, tools
from runbooks_app.main.mcp.door import Agents, Passing

pytestmark = pytest.mark.pages


@contextmanager
def answering(answer):
    """A server that gives each request what `answer()` says: a status, and what stands in the JSON."""

    def service(_, start_response):
        status, told = answer()
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]

    server = make_server("127.0.0.1", 0, service, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests", "500 Internal Server Error"])
def test_an_outage_of_the_service_sends_no_agent_to_sign_in(status):
    with answering(lambda: (status, {})) as url, pytest.raises(AuthenticationError, match=status[:3]):
        asyncio.run(Agents(url).verify_token("a token"))


@pytest.mark.parametrize("answer", [("401 Unauthorized", {}), ("403 Forbidden", {}), ("200 OK", {"agent": ""})])
def test_a_token_that_the_service_does_not_take_for_an_agents_is_none(answer):
    with answering(lambda: answer) as url:
        assert asyncio.run(Agents(url).verify_token("a token")) is None


def test_more_wait_for_a_run_than_there_are_threads_and_each_looks_at_it():
    many = 45  # anyio has 40 threads

    async def wait():
        loop, all_looked, looks = asyncio.get_running_loop(), asyncio.Event(), itertools.count(1)

        def goes_on():
            if next(looks) == many:
                loop.call_soon_threadsafe(all_looked.set)
            return "200 OK", {"id": "a" * 16, "state": "diagnosing", "ended_at": None}

        with answering(goes_on) as url:
            async with Client(tools.serve(lambda _: Passing(url, "a token"))) as agent:
                waiting = [
                    asyncio.create_task(agent.call_tool("get_run", {"run": "a" * 16, "wait": 60})) for _ in range(many)
                ]
                await asyncio.wait_for(all_looked.wait(), 30)
                for task in waiting:
                    task.cancel()

    asyncio.run(wait())


def test_of_what_people_wrote_in_an_incident_the_oldest_is_cut():
    notes = [{"id": number, "text": "y" * 5_000} for number in range(12)]
    asks = [{"id": "a", "ask": {"hypothesis": "it is the disk", "conclusion": "", "source": "1 + 1"}}]
    told = telling.incident({"id": 7, "proposals": [], "notes": notes, "asks": asks}, "https://runbooks.example.com")
    texts = [note["text"] for note in told["notes"]]
    stands_at = "all of it stands at https://runbooks.example.com/incidents/7]"
    assert texts[0] == "y" * 4_000 + f"\n[cut: 1,000 more characters; {stands_at}"
    assert texts[-1] == f"\n[cut: 5,000 more characters; {stands_at}"
    assert told["asks"][0]["ask"]["hypothesis"] == f"\n[cut: 14 more characters; {stands_at}"
    few = telling.incident({"id": 7, "proposals": [], "notes": notes[:1], "asks": asks}, "https://runbooks.example.com")
    assert few["asks"] == asks

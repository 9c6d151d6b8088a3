"""An agent from somebody's machine: signed in at the independent provider, at work on the whole service over stdio."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import Implementation

pytestmark = [pytest.mark.pages, pytest.mark.identity]

RUNBOOKS = ["-m", "runbooks_app.main"]


@pytest.fixture
def environment(tmp_path, company, node):
    """A machine on which Ana has let an agent act for her."""
    node.device("runbooks-agent")
    made = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RUNBOOKS_URL": company.url, "TZ": "UTC"}
    login = [sys.executable, *RUNBOOKS, "login", "--agent"]
    with subprocess.Popen(login, env=made, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        node.enter(re.search(r"open (http\S+)", lines[3]).group(1), "ana")
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "as Ana through runbooks-agent (agent)" in told
    return made


def test_an_agent_diagnoses_a_real_database_and_ana_cannot_approve_what_it_proposes(environment, colleague):
    async def story():
        server = StdioServerParameters(command=sys.executable, args=[*RUNBOOKS, "mcp"], env=environment)
        async with Client(server, client_info=Implementation(name="helper", version="1")) as agent:

            async def ask(tool, **arguments):
                result = await agent.call_tool(tool, arguments)
                assert not result.is_error, result.content
                return result.structured_content

            parameters = {"database": "orders-db"}
            made = await ask("start_diagnosis", runbook="db-latency", parameters=parameters)
            found = await ask("get_run", run=made["id"], wait=60, outputs=True)
            assert found["state"] == "diagnosed", found
            assert found["findings"]
            return found

    found = asyncio.run(story())
    assert found["requested_by"]["name"] == "Ana through helper (agent)"
    ana = colleague("ana")
    for proposal in found["proposals"]:
        assert ana.api(f"/proposals/{proposal['id']}")["why_not"] == "You asked for this; somebody else has to decide."
    entries = colleague("otto").api("/audit?event=run.requested&limit=1")["entries"]
    assert entries[0]["actor"]["kind"] == "agent"
    assert entries[0]["actor"]["signed_in"]["agent"] == "helper"

"""What agents can do: read runbooks, start diagnoses, read what they found, note, propose. Nothing here decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from runbooks_app import __version__
from runbooks_app.core.errors import RunbooksError
from runbooks_app.main.client.api import Api
from runbooks_app.main.mcp import telling
from runbooks_app.main.mcp.door import Agents, Door

INSTRUCTIONS = (
    "Runbooks diagnose systems read-only and propose what would help. You may start diagnoses, read what they found, "
    "write notes and propose; people decide proposals, on pages, and you cannot. Whatever you do is entered in an "
    f"audit trail under your human's name and yours. {telling.UNTRUSTED}"
)
LOOKS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ASKS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)
LONGEST_WAIT = 60
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds: how long a tool waits for a run to end, and between two looks at it; the last pause goes on.

Looks count among the requests that a person's programs may send in a minute.
"""

Id = Annotated[str, Field(description="The run's id.", min_length=1, max_length=40)]
Incident = Annotated[int, Field(description="The incident's number.", ge=1)]
Any_ = Context[Any, Any]


@contextmanager
def _asking(door: Door, context: Any_) -> Iterator[Api]:
    """The API; what it refuses is told to the agent in its own words."""
    try:
        yield door(context)
    except RunbooksError as error:
        raise ToolError(str(error)) from error


def serve(door: Door, *, verifier: Agents | None = None, auth: AuthSettings | None = None) -> MCPServer[Any]:
    """A server of these tools; `verifier` and `auth` where requests bring tokens."""
    server: MCPServer[Any] = MCPServer(
        "runbooks",
        title="Runbooks",
        instructions=INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
        token_verifier=verifier,
        auth=auth,
    )
    _of_runbooks(server, door)
    _of_runs(server, door)
    _of_incidents(server, door)
    return server


def _of_runbooks(server: MCPServer[Any], door: Door) -> None:
    @server.tool(annotations=LOOKS)
    def list_runbooks(ctx: Any_) -> dict[str, Any]:
        """List the runbooks: name, title, what each says and proposes, who owns it."""
        with _asking(door, ctx) as api:
            found = api.get("runbooks")
        names = ("name", "title", "description", "owner")
        shown = [
            {
                **telling.picked(one, names),
                "parameters": sorted(one["parameters"].get("properties", {})),
                "may_propose": [gate["name"] for gate in one["gates"]],
            }
            for one in found["runbooks"]
        ]
        return {"runbooks": shown, "broken": [one["name"] for one in found["broken"]]}

    @server.tool(annotations=LOOKS)
    def get_runbook(ctx: Any_, name: Annotated[str, Field(description="As list_runbooks tells it.")]) -> dict[str, Any]:
        """Read one runbook: the JSON Schema of its parameters, its connections, its gates and their inputs."""
        with _asking(door, ctx) as api:
            return api.get("runbooks", name)

    @server.resource("runbook://{name}", mime_type="application/json")
    def runbook(name: str, ctx: Any_) -> str:
        """One runbook, as get_runbook tells it."""
        with _asking(door, ctx) as api:
            return json.dumps(api.get("runbooks", name))


def _of_runs(server: MCPServer[Any], door: Door) -> None:
    @server.tool(annotations=ASKS)
    def start_diagnosis(
        ctx: Any_,
        runbook: Annotated[str, Field(description="The runbook's name.")],
        parameters: Annotated[dict[str, Any] | None, Field(description="Values, by get_runbook's schema.")] = None,
        incident: Annotated[int | None, Field(description="Number of the incident it belongs to.", ge=1)] = None,
    ) -> dict[str, Any]:
        """Run the read-only part of a runbook. It is queued and goes on by itself: look at it with get_run."""
        body: dict[str, Any] = {"runbook": runbook, "parameters": parameters or {}}
        if incident is not None:
            body["incident"] = incident
        with _asking(door, ctx) as api:
            return telling.run(api.post("runs", **body), api.url, outputs=False)

    @server.tool(annotations=LOOKS)
    async def get_run(
        ctx: Any_,
        run: Id,
        outputs: Annotated[bool, Field(description="Also the text that cells printed, cut where it is long.")] = False,
        wait: Annotated[int, Field(description="Seconds to wait for its end.", ge=0, le=LONGEST_WAIT)] = 0,
    ) -> dict[str, Any]:
        """Read a run: its state, what it found, its problems, what it proposes and how people decided."""
        # Those who wait hold no thread: who signs in meanwhile takes one.
        until, pauses = anyio.current_time() + wait, chain(PAUSES, repeat(PAUSES[-1]))
        with _asking(door, ctx) as api:
            found = await anyio.to_thread.run_sync(lambda: api.get("runs", run))
            while not found["ended_at"] and (left := until - anyio.current_time()) > 0:
                await anyio.sleep(min(next(pauses), left))
                found = await anyio.to_thread.run_sync(lambda: api.get("runs", run))
            if outputs:
                found = await anyio.to_thread.run_sync(lambda: api.get("runs", run, outputs="true"))
            return telling.run(found, api.url, outputs=outputs)

    @server.tool(annotations=ASKS)
    def propose(
        ctx: Any_,
        run: Id,
        gate: Annotated[str, Field(description="Name of one of the runbook's gates.")],
        inputs: Annotated[dict[str, Any], Field(description="Its inputs, as get_runbook tells them.")],
        reason: Annotated[
            str, Field(description="Why; people read it before they decide.", min_length=1, max_length=2_000)
        ],
    ) -> dict[str, Any]:
        """Propose a remediation from a diagnosed run. Nothing happens until people approve it, on its page."""
        with _asking(door, ctx) as api:
            made = api.post("runs", run, "proposals", gate=gate, inputs=inputs, reason=reason)
            return telling.proposal(made, api.url)


def _of_incidents(server: MCPServer[Any], door: Door) -> None:
    @server.tool(annotations=LOOKS)
    def list_incidents(
        ctx: Any_,
        state: Annotated[Literal["open", "all"], Field(description="Which of them.")] = "open",
        limit: Annotated[int, Field(description="How many at most.", ge=1, le=100)] = 20,
    ) -> dict[str, Any]:
        """List incidents, newest first."""
        with _asking(door, ctx) as api:
            return {"untrusted": telling.UNTRUSTED, **api.get("incidents", state=state, limit=limit)}

    @server.tool(annotations=LOOKS)
    def get_incident(ctx: Any_, incident: Incident) -> dict[str, Any]:
        """Read an incident: its runs, its proposals, its notes."""
        with _asking(door, ctx) as api:
            found = api.get("incidents", incident)
            return telling.incident(found, api.url)

    @server.tool(annotations=ASKS)
    def add_note(
        ctx: Any_,
        incident: Incident,
        text: Annotated[str, Field(description="What people should know.", min_length=1, max_length=10_000)],
    ) -> dict[str, Any]:
        """Put a note on an incident's timeline. It stays in the audit trail for good."""
        with _asking(door, ctx) as api:
            return api.post("incidents", incident, "notes", text=text)

"""`runbooks mcp`, and the two ways to serve it."""

from __future__ import annotations

from typing import Annotated

import typer

from runbooks_app.main.client.commands import EXITS, PANEL, Url, service_at
from runbooks_app.main.client.failures import Failure
from runbooks_app.main.client.keeping import Sessions

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Http = Annotated[
    str,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="Serve streamable HTTP there, for requests that bring an agent's access token; else stdio.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp", rich_help_panel=PANEL, epilog=EXITS)(mcp)


def mcp(url: Url = "", http: Http = "") -> None:
    """Serve agents by the Model Context Protocol: they read, diagnose, note and propose. People decide.

    Sign your agent in first: runbooks login --agent

    Examples: runbooks mcp · runbooks mcp --http 127.0.0.1:8765 --url https://runbooks.example.com
    """
    sessions = Sessions(agent=True)
    where = service_at(url, sessions)
    if http:
        _serve_http(where, *_place(http))
        return
    from runbooks_app.main.mcp import door, tools  # noqa: PLC0415 -- it takes a second, for a mistake too

    tools.serve(door.by_sign_in(where, sessions)).run("stdio")


def _serve_http(url: str, host: str, port: int) -> None:
    """Serve until stopped; a browser's page, or a name that was pointed at this machine, gets nowhere."""
    from mcp.server.auth.settings import AuthSettings  # noqa: PLC0415
    from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415
    from pydantic import AnyHttpUrl  # noqa: PLC0415

    from runbooks_app.main.mcp import door, tools  # noqa: PLC0415

    # Tokens are the API's, which alone judges them: no issuer is told here, and this is no resource of its own.
    auth = AuthSettings(issuer_url=AnyHttpUrl(url), resource_server_url=None, validate_token_resource=False)
    server = tools.serve(door.by_token(url), verifier=door.Agents(url), auth=auth)
    shown = f"[{host}]" if ":" in host else host
    security = TransportSecuritySettings(allowed_hosts=[f"{shown}:{port}"], allowed_origins=[])
    server.run("streamable-http", host=host, port=port, transport_security=security)


def _place(given: str) -> tuple[str, int]:
    """Host and port of this very machine. Raises `Failure` for others: tokens would cross a network unencrypted."""
    host, _, port = given.rpartition(":")
    host = host.strip("[]")
    if host not in _LOOPBACK or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise Failure(
            f"{given!r} is no place on this machine. Write --http 127.0.0.1:8765; for other machines put a proxy"
            " with https before it."
        )
    return host, int(port)

"""Connections that cells open by name: `postgres`, `http`, and `Connection`, the type of such a parameter.

In the service a connection leads to the run's gateway. For a database the worker has minted a login for the run and
its stage, and hands it over in memory; to an HTTP connection the gateway adds the credential, which no cell sees.
In plain Jupyter they are the author's own, from `~/.config/runbooks/connections.toml` (or the file that
`RUNBOOKS_KIT_CONNECTIONS` names):

    [orders-db]
    dsn = "service=orders"

    [prometheus]
    url = "http://localhost:9090"
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from runbook_library.kit import service

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    import psycopg

KINDS = ("postgres", "http")

CONNECT_TIMEOUT = 5
"""Seconds; a database that is out of connections or away is told soon, not when the cell times out."""

HTTP_TIMEOUT = 10.0
"""Seconds for each of connecting, sending and receiving."""

GATEWAY_TIMEOUT = 40.0
"""The same in the service, whose gateway gives a system 30 s and then says so in words."""

TOLD_HEADER = "X-Runbooks-Gateway"
"""Of an answer that is the gateway's own: `refused`, `unavailable` or `timeout`."""


class ConnectionNotGranted(LookupError):
    """This kernel was given no such connection."""


class RequestRefused(PermissionError):
    """The gateway did not let a request through: this stage may not send it to this connection."""


class Connection(str):
    """Type of a parameter that names a connection: `database: Connection["postgres"] = ""`.

    The value is the connection's name, an ordinary str. `""` as default means that a run must choose one.
    """

    __slots__ = ()

    def __class_getitem__(cls, kind: str) -> Any:
        """The annotation for connections of one kind: `postgres` or `http`."""
        if kind not in KINDS:
            raise TypeError(f"there are no connections of kind {kind!r}; use one of {', '.join(KINDS)}")
        return Annotated[str, kind]


def postgres(name: str) -> psycopg.Connection[Any]:
    """The named PostgreSQL database as a psycopg connection in autocommit mode, opened once per kernel.

    It is opened anew when it has been closed or has broken. Raises `ConnectionNotGranted` for a name that
    this kernel was not given, `psycopg.OperationalError` where the database does not let it in.
    """
    opened = service.state.opened.get(name)
    if opened is not None and not opened.closed:
        return cast("psycopg.Connection[Any]", opened)
    settings = _settings(name, "postgres")

    import psycopg  # noqa: PLC0415 - a notebook without a database should not pay for it

    # The stage of the credential, not of the kernel: a remediation holds read-only connections too.
    stage = settings.get("stage") or service.state.stage or "jupyter"
    arguments: dict[str, Any] = {
        "autocommit": True,
        "application_name": f"runbook service ({stage})",
        "connect_timeout": CONNECT_TIMEOUT,
    }
    if service.state.in_service:
        arguments |= {
            "host": settings["host"],
            "port": settings["port"],
            "dbname": settings["database"],
            "user": settings["user"],
            "password": settings["password"],
            "gssencmode": "disable",  # a kernel has no Kerberos ticket, and looking for one takes time
        }
        if "hostaddr" in settings:
            # The way leads through the gateway; `host` stays the database's own, for TLS to check.
            arguments["hostaddr"] = settings["hostaddr"]
    try:
        connection = psycopg.connect(settings.get("dsn", ""), **arguments)
    except psycopg.OperationalError as error:
        raise psycopg.OperationalError(f"cannot open the connection {name!r} ({stage}): {error}") from None
    service.state.opened[name] = connection
    return connection


def http(name: str) -> httpx.Client:
    """The named HTTP service as an `httpx.Client` with its base URL, opened once per kernel.

    Raises `ConnectionNotGranted` for a name that this kernel was not given. In the service, requests raise
    `RequestRefused` where the stage may not send them; a system that is away or too slow raises
    `httpx.ConnectError` or `httpx.ReadTimeout`, as it does elsewhere. Other answers are the author's to judge.
    """
    opened = service.state.opened.get(name)
    if opened is not None and not opened.is_closed:
        return cast("httpx.Client", opened)
    settings = _settings(name, "http")

    import httpx  # noqa: PLC0415 - a notebook without HTTP should not pay for it

    client = httpx.Client(
        base_url=settings["url"],
        headers=dict(settings.get("headers") or {}),
        timeout=GATEWAY_TIMEOUT if service.state.in_service else HTTP_TIMEOUT,
        trust_env=not service.state.in_service,  # proxies of the machine are no business of a run
        event_hooks={"response": [_raise_for_gateway]},
    )
    service.state.opened[name] = client
    return client


def _raise_for_gateway(response: httpx.Response) -> None:
    """Raise what the gateway says in an answer of its own, so that nobody takes it for the system's."""
    kind = response.headers.get(TOLD_HEADER)
    if kind is None or not service.state.in_service:
        return
    import httpx  # noqa: PLC0415

    message = json.loads(response.read())["message"]
    if kind == "refused":
        raise RequestRefused(message)
    away = httpx.ReadTimeout if kind == "timeout" else httpx.ConnectError
    raise away(message, request=response.request)


def _settings(name: str, kind: str) -> Mapping[str, Any]:
    """How to reach the named connection, which must be of this kind."""
    if not name:
        raise ConnectionNotGranted(f"no connection was chosen: give the name of a {kind} connection")
    known = service.state.connections if service.state.in_service else _own_connections()
    if name not in known:
        raise ConnectionNotGranted(_missing(name, kind, known))
    settings = known[name]
    if settings["kind"] != kind:
        raise ConnectionNotGranted(
            f"{name!r} is a connection of kind {settings['kind']}: open it with kit.{settings['kind']}({name!r})"
        )
    return settings


def _missing(name: str, kind: str, known: Mapping[str, Any]) -> str:
    """Why there is no such connection, and what to declare."""
    have = ", ".join(sorted(known)) or "none"
    if service.state.in_service:
        return (
            f"the connection {name!r} is not granted to this run (granted: {have}). Declare it in the "
            f"notebook's metadata, "
            f'runbook.connections: {{"{name}": "{kind}"}}, or take it as a parameter of type '
            f'Connection["{kind}"]'
        )
    key = 'dsn = "…"' if kind == "postgres" else 'url = "…"'
    return f"there is no connection {name!r} in {_own_path()} (there: {have}). Add:\n[{name}]\n{key}"


def _own_path() -> Path:
    """The file with the author's own connections, outside the service."""
    return Path(os.environ.get("RUNBOOKS_KIT_CONNECTIONS") or "~/.config/runbooks/connections.toml").expanduser()


def _own_connections() -> dict[str, dict[str, Any]]:
    """The author's own connections; an absent file holds none, a malformed one is told."""
    path = _own_path()
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    connections: dict[str, dict[str, Any]] = {}
    for name, settings in read.items():
        kind = _kind_of(settings)
        if kind is None:
            raise ValueError(f'[{name}] in {path} must have either dsn = "…" (PostgreSQL) or url = "…" (HTTP)')
        connections[name] = {**settings, "kind": kind}
    return connections


def _kind_of(settings: object) -> str | None:
    """Kind of a connection in the author's file, from the one key that tells it."""
    if isinstance(settings, dict) and ("dsn" in settings) != ("url" in settings):
        return "postgres" if "dsn" in settings else "http"
    return None

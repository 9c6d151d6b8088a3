"""The ports of one run, in the engine's loop: opened before its kernel is made, closed when the kernel is gone."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from runbooks_app.core.errors import Unavailable
from runbooks_app.kernels.gateway.database import DatabasePort
from runbooks_app.kernels.gateway.http import HttpPort
from runbooks_app.kernels.gateway.peer import CHUNK
from runbooks_app.kernels.gateway.refusals import Refusal, Refusals
from runbooks_app.kernels.gateway.route import NONCE_HEADER, Route

log = logging.getLogger(__name__)

HOST = "127.0.0.1"

PATIENCE = 30.0
"""Seconds in which an HTTP system must begin to answer, and go on answering."""

MOST_AT_ONCE = 32
"""Connections that a kernel may hold to one port; one more is closed at once."""


@dataclass
class Gateway:
    """One run's. `ports` by connection; `nonce` must come with each HTTP request."""

    nonce: str = field(repr=False)
    refusals: Refusals = field(repr=False)
    ports: dict[str, int] = field(default_factory=dict)
    _serving: dict[str, HttpPort | DatabasePort] = field(default_factory=dict, repr=False)
    _servers: list[asyncio.Server] = field(default_factory=list, repr=False)
    _tasks: dict[str, set[asyncio.Task[None]]] = field(default_factory=dict, repr=False)

    @classmethod
    async def open(
        cls, routes: Mapping[str, Route], refused: Callable[[Refusal], None], *, patience: float = PATIENCE
    ) -> Gateway:
        """Open a port for each route; `refused` is told what is not let through. Unavailable where none can be had."""
        gateway = cls(secrets.token_urlsafe(24), Refusals(refused))
        try:
            for name, route in routes.items():
                await gateway._listen(name, route, patience)
        except BaseException as error:
            await gateway.close()
            if isinstance(error, OSError):
                raise Unavailable(f"No port could be opened for the run's connections: {error.strerror}.") from error
            raise
        return gateway

    def lead(self, connections: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
        """What the kit is configured with, leading to these ports. A database keeps its name, for TLS to check."""
        led = {name: dict(given) for name, given in connections.items()}
        for name, port in self.ports.items():
            if isinstance(self._serving[name], HttpPort):
                led[name] |= {"url": f"http://{HOST}:{port}", "headers": {NONCE_HEADER: self.nonce}}
            else:
                led[name] |= {"hostaddr": HOST, "port": port}
        return led

    async def close(self) -> None:
        """Close every port and every connection, and tell what was only counted."""
        for server in self._servers:
            server.close()
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for serving in self._serving.values():
            await serving.close()
        self.refusals.close()

    async def _listen(self, name: str, route: Route, patience: float) -> None:
        serving = HttpPort(route, self.nonce, self.refusals, patience) if route.kind == "http" else DatabasePort(route)
        self._serving[name] = serving
        self._tasks[name] = set()
        listening = socket.create_server((HOST, 0), backlog=MOST_AT_ONCE)
        serving.port = self.ports[name] = listening.getsockname()[1]
        self._servers.append(await asyncio.start_server(partial(self._serve, name), sock=listening, limit=CHUNK))

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the kernel, whatever becomes of it."""
        tasks = self._tasks[name]
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  streams make one for each connection
        if len(tasks) >= MOST_AT_ONCE:
            self.refusals.add(
                Refusal(name, "", "", f"more than {MOST_AT_ONCE} connections to {name} at once are refused.")
            )
            writer.transport.abort()
            return
        tasks.add(task)
        try:
            await self._serving[name].serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        except Exception:
            log.exception("a connection to %s through a run's gateway failed; the cell sees it closed", name)
        finally:
            tasks.discard(task)
            writer.close()

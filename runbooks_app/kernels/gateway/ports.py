"""The ports of one run, in the engine's loop: opened before its kernel is made, closed when the kernel is gone."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

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

PAUSE = 0.5
"""Seconds until connections are taken again after there was no descriptor left for one."""

MOST_AT_ONCE = 32
"""Connections that a kernel may hold to one port; one more is closed at once."""


@dataclass
class Gateway:
    """One run's. `ports` by connection; `nonce` must come with each HTTP request.

    Nobody is answered before `serve` says where the ports lead.
    """

    nonce: str = field(repr=False)
    refusals: Refusals = field(repr=False)
    learned: Callable[[], None] = field(default=lambda: None, repr=False)
    patience: float = PATIENCE
    ports: dict[str, int] = field(default_factory=dict)
    _serving: dict[str, HttpPort | DatabasePort] = field(default_factory=dict, repr=False)
    _listening: dict[str, socket.socket] = field(default_factory=dict, repr=False)
    _tasks: dict[str, set[asyncio.Task[None]]] = field(default_factory=dict, repr=False)
    _fresh: set[socket.socket] = field(default_factory=set, repr=False)

    @classmethod
    async def open(
        cls,
        names: Iterable[str],
        refused: Callable[[Refusal], None],
        learned: Callable[[], None] = lambda: None,
        *,
        patience: float = PATIENCE,
    ) -> Gateway:
        """Open a port for each connection. Unavailable where none can be had.

        `refused` is told what is not let through; `learned` is called when a credential was renewed.
        """
        gateway = cls(secrets.token_urlsafe(24), Refusals(refused), learned, patience)
        try:
            for name in names:
                listening = gateway._listening[name] = socket.create_server((HOST, 0), backlog=MOST_AT_ONCE)
                listening.setblocking(False)
                gateway.ports[name] = listening.getsockname()[1]
        except BaseException as error:
            await gateway.close()
            if isinstance(error, OSError):
                raise Unavailable(f"No port could be opened for the run's connections: {error.strerror}.") from error
            raise
        return gateway

    def serve(self, routes: Mapping[str, Route]) -> None:
        """Answer from here on whoever connects to a port, as the connection's route says."""
        for name, listening in self._listening.items():
            route = routes[name]
            self._serving[name] = serving = (
                HttpPort(route, self.nonce, self.refusals, self.patience, self.learned)
                if route.kind == "http"
                else DatabasePort(route)
            )
            self._tasks[name] = set()
            serving.port = self.ports[name]
            asyncio.get_running_loop().add_reader(listening, self._accept, name)

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
        """Close every port and every connection, and tell what was only counted. Doing so twice is harmless."""
        loop = asyncio.get_running_loop()
        while self._listening:
            _, listening = self._listening.popitem()
            loop.remove_reader(listening)
            listening.close()
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._fresh:  # taken this moment: its task was ended before its first step
            connection.close()
        for serving in self._serving.values():
            await serving.close()
        self.refusals.close()

    def _accept(self, name: str) -> None:
        """Take a connection of the kernel; asyncio's own servers lose track of one that comes while they are closed."""
        tasks, listening, loop = self._tasks[name], self._listening[name], asyncio.get_running_loop()
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # it went as it came
        except OSError as error:
            log.warning("no connection to %s can be taken for %g s: %s", name, PAUSE, error.strerror)
            loop.remove_reader(listening)
            loop.call_later(PAUSE, self._go_on, name)
            return
        if len(tasks) >= MOST_AT_ONCE:
            self.refusals.add(
                Refusal(name, "", "", f"more than {MOST_AT_ONCE} connections to {name} at once are refused.")
            )
            connection.close()
            return
        connection.setblocking(False)
        self._fresh.add(connection)
        task = loop.create_task(self._serve(name, connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _go_on(self, name: str) -> None:
        """Take connections again, unless the gateway was closed meanwhile."""
        if listening := self._listening.get(name):
            asyncio.get_running_loop().add_reader(listening, self._accept, name)

    async def _serve(self, name: str, connection: socket.socket) -> None:
        """One connection of the kernel, whatever becomes of it."""
        self._fresh.discard(connection)
        reader, writer = await asyncio.open_connection(sock=connection, limit=CHUNK)
        try:
            await self._serving[name].serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        except Exception:
            log.exception("a connection to %s through a run's gateway failed; the cell sees it closed", name)
        finally:
            writer.close()

"""A gateway in a loop of its own, as the engine has one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from kernels.gateway.servers import HOST, echo, http_server

from runbooks_app.core.http_rules import read_rule
from runbooks_app.kernels.gateway import NONCE_HEADER, Gateway, Refusal, Route

SECRET = "tok-7f3a/9+zW=5"
RULES = ("GET /*", "POST /api/v1/query")


def route(port: int, *, kind: str = "http", name: str = "prometheus", rules: tuple[str, ...] = RULES, **given: Any):
    return Route(name, kind, given.pop("host", HOST), port, rules=tuple(map(read_rule, rules)), **given)


def with_credential(port: int, **given: Any) -> Route:
    return route(port, authorize=lambda _: {"Authorization": f"Bearer {SECRET}"}, secrets=(SECRET,), **given)


@dataclass
class Opened:
    """A gateway for tests' own threads."""

    gateway: Gateway
    loop: asyncio.AbstractEventLoop
    refused: list[Refusal] = field(default_factory=list)

    @property
    def port(self) -> int:
        return next(iter(self.gateway.ports.values()))

    def client(self, name: str = "", **options: Any) -> httpx.Client:
        port = self.gateway.ports[name] if name else self.port
        headers = {NONCE_HEADER: self.gateway.nonce}
        return httpx.Client(base_url=f"http://{HOST}:{port}", headers=headers, trust_env=False, timeout=20, **options)

    def head(self, request: str, *headers: str) -> bytes:
        """A request's line and headers; nonce, host and the connection's end are added where they are not given."""
        lines = [request, *headers]
        names = {line.partition(":")[0].lower() for line in headers}
        if "host" not in names:
            lines.append(f"Host: {HOST}:{self.port}")
        if NONCE_HEADER.lower() not in names:
            lines.append(f"{NONCE_HEADER}: {self.gateway.nonce}")
        if "connection" not in names:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.gateway.close(), self.loop).result(10)


@pytest.fixture(scope="session")
def loop():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def opened(loop) -> Iterator[Any]:
    """Open gateways; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def opened(*routes: Route, patience: float = 10.0, learned: Any = lambda: None) -> Opened:
            refused: list[Refusal] = []
            named = {route.name: route for route in routes}

            async def opening() -> Gateway:
                gateway = await Gateway.open(named, refused.append, learned, patience=patience)
                gateway.serve(named)
                return gateway

            gateway = asyncio.run_coroutine_threadsafe(opening(), loop).result(10)
            found = Opened(gateway, loop, refused)
            stack.callback(found.close)
            return found

        yield opened


@pytest.fixture
def echoing():
    with http_server(echo) as system:
        yield system

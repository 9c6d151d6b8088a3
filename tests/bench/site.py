"""The service's web processes as `runbooks web` starts them, on a real PostgreSQL and a real Redis, with a long past.

No worker runs: what workers would have written is written here, through the same actions or, where it is a great deal,
in SQL.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from bench import samples
from bench.servers import secret, servers

from runbooks_app.actions import diagnosing, people
from runbooks_app.actions.running import request_run
from runbooks_app.core.people import Person
from runbooks_app.live.streams import Live
from runbooks_app.main import assemble
from runbooks_app.main.embedded import Redis
from runbooks_app.main.embedded.ports import free_port
from runbooks_app.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbooks_app.actions.context import Service

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
DEV = Person("https://idp#dev", "Dev", roles=frozenset({"approver:database"}))
AUDI = Person("https://idp#audi", "Audi", roles=frozenset({"auditor"}))
WEB = {"surface": "web", "auth_time": 1}
CELLS = 1000
PATIENCE = 60.0
"""Seconds in which the web processes are up."""

REMEDIATION = """
pid: int  # session to end
kit.gate("end-session", "End session {pid}", risk="medium", target="orders")
print(pid)
"""


@dataclass(frozen=True)
class Fetched:
    """One answer: milliseconds until its first byte and its last, and how many bytes its body had."""

    first: float
    last: float
    size: int
    body: str


@dataclass(frozen=True)
class Site:
    """The running service, and what the bench does with it."""

    port: int
    owner_url: str
    service: Service
    live: Live
    web: subprocess.Popen[bytes]
    redis: Redis

    def cookie(self, person: Person) -> str:
        """A session of this person, as a Cookie header."""
        secret, _ = people.sign_in(self.service, person, WEB)
        return f"runbooks={secret}"

    def fetch(self, path: str, cookie: str, times: int = 1) -> list[Fetched]:
        """GET so many times over one connection."""
        getter = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        found = []
        for _ in range(times):
            began = time.perf_counter()
            getter.request("GET", path, headers={"Cookie": cookie})
            answer = getter.getresponse()
            first = time.perf_counter()
            body = answer.read()
            last = time.perf_counter()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
            found.append(Fetched((first - began) * 1000, (last - began) * 1000, len(body), body.decode()))
        getter.close()
        return found

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run it as the database's owner."""
        with psycopg.connect(self.owner_url, autocommit=True) as owner:
            done = owner.execute(statement, values)
            return done.fetchall() if done.description else []

    def claimed(self, runbook: str) -> diagnosing.Claim:
        """A run that a worker has just begun."""
        run = request_run(self.service, ANA, WEB, runbook, {})
        assert run is not None
        claim = diagnosing.claim_run(self.service, run.id, "bench")
        assert claim is not None
        return claim

    def cpu(self) -> float:
        """Seconds of processor that web processes have taken so far."""
        ticks = 0
        for pid in [self.web.pid, *_children(self.web.pid)]:
            of_process = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, of_process[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def settled(self) -> int:
        """Bytes that web processes hold now, of each its own; from here on `peak` tells the most."""
        for pid in [self.web.pid, *_children(self.web.pid)]:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self._memory("VmRSS")

    def peak(self) -> int:
        """The most bytes that web processes have held since they settled."""
        return self._memory("VmHWM")

    def _memory(self, what: str) -> int:
        told = [Path(f"/proc/{pid}/status").read_text() for pid in [self.web.pid, *_children(self.web.pid)]]
        return sum(int(line.split()[1]) * 1024 for text in told for line in text.splitlines() if line.startswith(what))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Everything started, and stopped again."""
    library = folder / "library"
    library.mkdir()
    long = samples.notebook(tuple(f"print({n})" for n in range(CELLS)))
    (library / "long.ipynb").write_text(json.dumps(long))
    watched = samples.notebook(tuple(f"print({n})" for n in range(6)), REMEDIATION)
    (library / "watched.ipynb").write_text(json.dumps(watched))
    (folder / "connections.toml").write_text("")
    port = free_port()
    with ExitStack() as stack:
        stands = stack.enter_context(servers(folder, durable=False))
        given = {
            "bind": f"127.0.0.1:{port}",
            "public_url": f"http://127.0.0.1:{port}",
            "library": str(library),
            "connections": str(folder / "connections.toml"),
            "web_key_file": secret(folder / "web.secret", secrets.token_urlsafe(48)),
            **stands.settings,
        }
        configuration = folder / "bench.toml"
        configuration.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items()))
        told = {"RUNBOOKS_CONFIG": str(configuration)}
        service = assemble.service(read_settings(told))
        stack.callback(service.engine.dispose)
        live = Live(stands.redis.url, stands.redis.password)
        stack.callback(live.close)
        web = subprocess.Popen([sys.executable, "-m", "runbooks_app.main", "web"], env=os.environ | told)
        stack.callback(web.wait, 20)
        stack.callback(web.terminate)
        _await(port)
        yield Site(port, stands.owner_url, service, live, web, stands.redis)


def _await(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            getter = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            getter.request("GET", "/readyz")
            if getter.getresponse().status == 200:
                return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)

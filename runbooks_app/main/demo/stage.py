"""Everything the demo needs, started in order and stopped in reverse; nothing outlives this process.

Each server is real: two PostgreSQL clusters (the service's own, and the shop's), Redis, an OpenID provider,
a stand-in for Slack over HTTP, and the service's own `runbooks web` and `runbooks worker`. State is kept in
one folder, ports included, so that links in old messages still work after the next start.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import httpx
import psycopg
from psycopg import sql

from runbooks_app.core.errors import Unavailable
from runbooks_app.main.demo import alarm
from runbooks_app.main.demo.identity import ROLES
from runbooks_app.main.demo.shop import Shop, connection
from runbooks_app.main.embedded import Guarded, Postgres, Redis, remove
from runbooks_app.main.embedded.ports import free_port, is_free

LIBRARY = Path(__file__).resolve().parents[3] / "runbook_library"
TEAM = "T0DEMO"
PEOPLE = {"U0ANA": "Ana", "U0BEN": "Ben"}
CHANNELS = {"C0INCIDENTS": "incidents", "C0ORDERS": "orders"}
USUAL_PORTS = {"web": 8080, "slack": 8081, "oidc": 8082, "database": 8083, "shop": 8084}
DRILL = "orders-drill"
"""A second name of the shop's database whose proposals expire within seconds, to show expiry."""


class Stage:
    """The running demo. `say` is told each step; `library` is the folder with the notebooks.

    `settings` are settings of the service that differ from the demo's own; with another `oidc_issuer`, the demo's
    sign-in page is not started. `channels` are those of the stand-in for Slack, by their ids.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], None],
        *,
        usual_ports: bool,
        library: Path = LIBRARY,
        settings: Mapping[str, Any] = MappingProxyType({}),
        channels: Mapping[str, str] = MappingProxyType(CHANNELS),
    ) -> None:
        self.folder = folder
        self.say = say
        self.library = library
        self._settings = settings
        self._channels = channels
        self._usual = usual_ports
        # Processes stop before the servers that they stand on.
        self._servers = ExitStack()
        self._started: list[Guarded] = []
        self.ports: dict[str, int] = {}
        self.processes: dict[str, Guarded] = {}
        # One for all: each client of its own would read all certificates of the machine, which takes 40 ms.
        self.http = httpx.Client(timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._servers, ThreadPoolExecutor(8) as pool:
            # Each waits for what it has under way, so all are told at once.
            list(pool.map(Guarded.stop, self._started))
        self.http.close()

    @property
    def url(self) -> str:
        """Where the service is."""
        return f"http://127.0.0.1:{self.ports['web']}"

    @property
    def slack_url(self) -> str:
        """Where the channel is."""
        return f"http://127.0.0.1:{self.ports['slack']}"

    @property
    def issuer(self) -> str:
        """The provider."""
        other: str | None = self._settings.get("oidc_issuer")
        return other or f"http://127.0.0.1:{self.ports['oidc']}"

    def secret(self, name: str) -> str:
        """A random secret of the demo, made once and kept in a file of mode 0600."""
        path = self.folder / f"{name}.secret"
        if not path.exists():
            path.touch(0o600)
            path.write_text(secrets.token_urlsafe(36))
        return path.read_text()

    def environment(self) -> dict[str, str]:
        """The environment of the service's own processes: settings alone; secrets are in files."""
        # Of our settings only whether this machine can seal kernels at all.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RUNBOOKS_") or k == "RUNBOOKS_SANDBOX"}
        return {**kept, "NO_PROXY": "127.0.0.1,localhost", "RUNBOOKS_CONFIG": str(self.folder / "runbooks.toml")}

    def start_worker(self) -> Guarded:
        """Start a worker (again)."""
        return self._python("worker", ["-m", "runbooks_app.main", "worker"])

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        self.ports = self._choose_ports()
        self.say("starting sign-in, chat and Redis")
        if "oidc_issuer" not in self._settings:
            self._python("oidc", ["-m", "runbooks_app.main.demo.identity", "--port", str(self.ports["oidc"])])
        self._slack()
        self.redis = Redis.start(self.folder / "redis")
        if self.redis is not None:
            self._servers.enter_context(self.redis)
        self._write_settings()
        self.say("starting PostgreSQL for the service, the orders shop, worker and web")
        # Web and worker wait for their database while it is made.
        self.start_worker()
        # SIGINT is gunicorn's quick shutdown: SIGTERM waits for idle keep-alive connections.
        self._python("web", ["-m", "runbooks_app.main", "web"], stops="INT:8,KILL:5")
        with ThreadPoolExecutor(2) as pool:
            database = pool.submit(self._database)
            shop = pool.submit(self._shop)
            self.database, self.shop = database.result(), shop.result()
        self._migrate()  # workers begin with it, and test the shop at once
        for name, url in {
            "sign-in": f"{self.issuer}/.well-known/openid-configuration",
            "chat": self.slack_url,
            "web": f"{self.url}/readyz",
        }.items():
            self._wait(f"{name} at {url}", partial(self._answers, url))
        # A form that is asked for opens within three seconds or not at all.
        self._wait("worker", self._works)

    def _database(self) -> Postgres:
        database = self._servers.enter_context(Postgres.start(self.folder / "service", port=self.ports["database"]))
        with psycopg.connect(database.url(), autocommit=True) as admin:
            for role in ("runbooks_owner", "runbooks_app"):
                there = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
                verb = "ALTER" if there else "CREATE"
                statement = sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}")
                admin.execute(statement.format(sql.Identifier(role), sql.Literal(self.secret(role))))
            if admin.execute("SELECT 1 FROM pg_database WHERE datname = 'runbooks'").fetchone() is None:
                admin.execute("CREATE DATABASE runbooks OWNER runbooks_owner")
        return database

    def _migrate(self) -> None:
        # Imported while other processes start, not before they are.
        from runbooks_app.store.migrate import migrate  # noqa: PLC0415

        url = f"postgresql://runbooks_owner@127.0.0.1:{self.database.port}/runbooks"
        migrate(url, self.secret("runbooks_owner"), "runbooks_app")

    def _shop(self) -> Shop:
        shop = Shop.open(self.folder / "shop", port=self.ports["shop"])
        self._servers.callback(shop.close)
        return shop

    def _choose_ports(self) -> dict[str, int]:
        path = self.folder / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        for name, usual in USUAL_PORTS.items():
            wanted = ports.get(name, usual if self._usual else 0)
            ports[name] = wanted if wanted and is_free(wanted) else free_port()
        path.write_text(json.dumps(ports))
        return ports

    def _write_settings(self) -> None:
        shop = self.folder / "shop"
        drill = connection(shop, self.ports["shop"], DRILL, "Orders database (drill)").replace(
            'expires = "30m"', 'expires = "3s"'
        )
        opted = connection(shop, self.ports["shop"], diagnosers=("responder", "alert"))
        (self.folder / "connections.toml").write_text(opted + "\n" + drill)
        settings: dict[str, Any] = {
            "public_url": self.url,
            "environment": "demo",
            "styleguide": "on",
            "bind": f"127.0.0.1:{self.ports['web']}",
            "web_processes": 1,
            "web_key_file": self._file("web_key"),
            "database_url": f"postgresql://runbooks_app@127.0.0.1:{self.ports['database']}/runbooks",
            "database_password_file": self._file("runbooks_app"),
            "library": str(self.library),
            "connections": str(self.folder / "connections.toml"),
            "artifacts": f"file://{self.folder / 'artifacts'}",
            "identity_keys": str(self.folder / "identity"),
            "oidc_issuer": self.issuer,
            "oidc_client_secret_file": self._file("oidc_client"),
            "oidc_scopes": "openid profile email",
            "slack_bot_token_file": self._file("slack_token"),
            "slack_signing_secret_file": self._file("slack_signing"),
            "slack_api_url": f"{self.slack_url}/api/",
            "slack_team": TEAM,
            "slack_channel": "C0INCIDENTS",
            "lease": 15,
            "verify_timeout": 120,
            **alarm.prepare(self.folder),
        }
        self.secret(alarm.PROOF)
        if self.redis is not None:
            (self.folder / "redis.secret").touch(0o600)
            (self.folder / "redis.secret").write_text(self.redis.password)
            settings |= {"redis_url": self.redis.url, "redis_password_file": str(self.folder / "redis.secret")}
        settings |= self._settings
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        lines += ["", "[roles]", *(f"{group} = {json.dumps(roles)}" for group, roles in ROLES.items())]
        (self.folder / "runbooks.toml").write_text("\n".join(lines) + "\n")

    def _file(self, name: str) -> str:
        self.secret(name)
        return str(self.folder / f"{name}.secret")

    def _slack(self) -> None:
        arguments = ["-m", "runbooks_app.main.demo.slack", "--service-url", self.url, "--team", TEAM]
        arguments += ["--token-file", self._file("slack_token"), "--signing-secret-file", self._file("slack_signing")]
        arguments += ["--port", str(self.ports["slack"]), "--state", str(self.folder / "slack.json")]
        for kind, names in (("--person", PEOPLE), ("--channel", self._channels)):
            for key, name in names.items():
                arguments += [kind, f"{key}={name}"]
        self._python("slack", arguments)

    def _python(self, name: str, arguments: list[str], *, stops: str = "TERM:8,KILL:5") -> Guarded:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = Guarded.start(
                name,
                [sys.executable, *arguments],
                stops=stops,
                env=self.environment(),
                cwd=LIBRARY.parent,
                log=log,
            )
        self._started.append(process)
        self.processes[name] = process
        return process

    def _answers(self, url: str) -> bool:
        try:
            return self.http.get(url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _works(self) -> bool:
        """Whether a worker that was started with this database sees to each of its queues."""
        from runbooks_app.store.database import QUEUES  # noqa: PLC0415 -- as above

        seen = "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > pg_postmaster_start_time()"
        with psycopg.connect(self.database.url(database="runbooks")) as session:
            row = session.execute(seen).fetchone()
        return row is not None and row[0] >= len({*QUEUES.values(), "upkeep"})

    def _wait(self, name: str, ready: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if ready():
                return
            dead = [n for n, process in self.processes.items() if not process.alive]
            if dead:
                said = (self.folder / f"{dead[0]}.log").read_text()[-3000:]
                raise Unavailable(f"The demo's {dead[0]} ended; {self.folder / dead[0]}.log says:\n{said}")
            time.sleep(0.05)
        raise Unavailable(f"The demo's {name} is not ready after {seconds:.0f} s; look into {self.folder}.")


def forget(folder: Path) -> None:
    """Remove the state of earlier starts."""
    for cluster in ("service", "shop", "redis"):
        remove(folder / cluster)
    shutil.rmtree(folder, ignore_errors=True)

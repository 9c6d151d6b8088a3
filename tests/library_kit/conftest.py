"""A shop's database that falls ill in real ways, and a small kernel that runs a runbook's cells."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import runbook_library
from runbook_library.kit import service
from runbooks_app.main.embedded import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTEBOOK = Path(runbook_library.__file__).parent / "db-latency.ipynb"
WORD = "orders-password"


@pytest.fixture(scope="session")
def orders_server(servers_folder, postgres_programs) -> Iterator[Postgres]:
    """A cluster of the shop's own, small enough to run out of connections."""
    settings = {"max_connections": "40", "reserved_connections": "3", "max_prepared_transactions": "4"}
    with Postgres.start(servers_folder / "kit-orders", settings=settings, durable=False) as server:
        with psycopg.connect(server.url(), autocommit=True) as superuser:
            superuser.execute(
                f"""
                CREATE ROLE shop LOGIN PASSWORD '{WORD}';
                CREATE ROLE reader LOGIN PASSWORD '{WORD}';
                CREATE ROLE blind_reader LOGIN PASSWORD '{WORD}';
                CREATE ROLE operator LOGIN PASSWORD '{WORD}';
                GRANT pg_read_all_stats, pg_use_reserved_connections TO reader, operator;
                GRANT pg_signal_backend TO operator;
                """
            )
            for statement in (
                "CREATE DATABASE shop OWNER shop",
                "CREATE DATABASE bare OWNER shop",
            ):
                superuser.execute(statement)
        with psycopg.connect(server.url("shop", "shop", WORD), autocommit=True) as owner:
            owner.execute(
                """
                CREATE TABLE orders (id int PRIMARY KEY, state text NOT NULL);
                CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
                CREATE TABLE ledger (id int PRIMARY KEY);
                INSERT INTO orders SELECT i, 'new' FROM generate_series(1, 2000) i;
                INSERT INTO customers SELECT i, 'somebody' FROM generate_series(1, 2000) i;
                GRANT SELECT ON orders, customers TO reader, blind_reader, operator;
                """
            )
        yield server


@dataclass
class Shop:
    """The shop's database and its sessions. All of them end with the test."""

    server: Postgres
    threads: list[threading.Thread] = field(default_factory=list)
    open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def ask(self, statement: str, *values: Any) -> list[tuple]:
        """Rows that the superuser sees."""
        with psycopg.connect(self.server.url(database="shop"), autocommit=True) as superuser:
            return superuser.execute(statement, values).fetchall()

    def session(self, application: str = "orders-api", **options: Any) -> psycopg.Connection:
        """A session of the shop that stays open, in a transaction from its first statement on."""
        connection = psycopg.connect(self.server.url("shop", "shop", WORD), application_name=application, **options)
        self.open.callback(connection.close)
        return connection

    def run(self, *statements: str, application: str = "orders-api") -> int:
        """A session that runs these in one transaction, in a thread, and may block; its pid."""
        connection = self.session(application)

        def work() -> None:
            with contextlib.suppress(psycopg.Error):
                for statement in statements:
                    connection.execute(statement)
                connection.commit()

        thread = threading.Thread(target=work)
        self.threads.append(thread)
        thread.start()
        return connection.info.backend_pid

    def pile_up(self, count: int, statement: str, waited: float) -> None:
        """This many sessions that run the statement and have waited for a lock for so many seconds."""
        for _ in range(count):
            self.run(statement)
        self.until(
            lambda: (
                self.ask(
                    "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted "
                    "AND clock_timestamp() - waitstart > make_interval(secs => %s)",
                    waited,
                )[0][0]
                >= count
            )
        )

    def take_all_connections(self) -> None:
        """Open sessions until the shop gets no more."""
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                self.session()

    def until(self, condition: Callable[[], Any]) -> None:
        """Come back when the condition holds."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it never came to that"
            time.sleep(0.02)

    def alive(self, pid: int) -> bool:
        return bool(self.ask("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))

    def close(self) -> None:
        self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'")
        for thread in self.threads:
            thread.join(10)
        self.open.close()


@pytest.fixture
def shop(orders_server) -> Iterator[Shop]:
    """The shop's database with nobody in it."""
    shop = Shop(orders_server)
    yield shop
    shop.close()


@dataclass
class Ran:
    """What came out of one kernel: its bundles by kind, printed text, and errors by cell."""

    findings: list[dict[str, Any]] = field(default_factory=list)
    proposals: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, BaseException] = field(default_factory=dict)
    pictures: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    names: dict[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> set[str]:
        return {finding["severity"] for finding in self.findings}

    def told(self, severity: str) -> str:
        return "\n".join(f["summary"] for f in self.findings if f["severity"] == severity)


class Kernel:
    """Runs cells of a notebook as the service lays them out: parameters, setup, inputs, then the cells."""

    def __init__(self, shell: InteractiveShell, server: Postgres) -> None:
        self.shell = shell
        self.server = server
        self.cells = {
            cell["id"]: cell
            for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
        }
        order = list(self.cells)
        first, second = order.index("cancel-query"), order.index("terminate-session")
        self.diagnosis = order[2:first]
        self.after = {
            "cancel-query": order[first + 1 : second],
            "terminate-session": order[second + 1 :],
        }

    def run(
        self,
        stage: str | None,
        cells: list[str],
        *,
        user: str = "reader",
        database: str = "shop",
        inputs: dict[str, Any] | None = None,
        kept: dict[str, Any] | None = None,
        setup: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> Ran:
        """One kernel; of stage None, plain JupyterLab. `setup` overrides names that the setup cell sets."""
        granted = {
            "kind": "postgres",
            "host": self.server.host,
            "port": self.server.port,
            "database": database,
            "user": user,
            "password": WORD,
            "stage": "remediate" if user == "operator" else "diagnose",
        }
        if stage is not None:
            service.configure(stage, {"orders-db": granted}, kept)
        self.shell.reset(new_session=False)
        ran = Ran()
        self._run("parameters", ran)
        self.shell.push({"database": "orders-db", "blocked_after": 0.2, **parameters})
        self._run("setup", ran)
        self.shell.push({"PROBE_TIME": 0.4, **(setup or {}), **(inputs or {})})
        for cell in cells:
            self._run(cell, ran)
        ran.names = dict(self.shell.user_ns)
        return ran

    def diagnose(self, *cells: str, **options: Any) -> Ran:
        """The whole diagnosis, or some of its cells."""
        return self.run("diagnose", list(cells) or self.diagnosis, **options)

    def propose(self, **options: Any) -> dict[str, Any]:
        """The one proposal to which the diagnosis comes."""
        (proposal,) = self.diagnose("blocking-tree", "what-would-help", **options).proposals
        return proposal

    def remediate(self, proposal: dict[str, Any], **options: Any) -> Ran:
        """The one cell of this proposal, as the operator."""
        return self.run("remediate", [proposal["gate"]], user="operator", inputs=proposal["inputs"], **options)

    def verify(self, proposal: dict[str, Any], diagnosed: Ran, **options: Any) -> Ran:
        """The verification cells of this proposal."""
        return self.run(
            "verify", self.after[proposal["gate"]], inputs=proposal["inputs"], kept=diagnosed.kept, **options
        )

    def _run(self, cell: str, ran: Ran) -> None:
        with capture_output() as captured:
            result = self.shell.run_cell("".join(self.cells[cell]["source"]))
        ran.text += captured.stdout
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            ran.errors[cell] = error
        for output in captured.outputs:
            for mime, value in output.data.items():
                match mime:
                    case "application/vnd.runbook.finding+json":
                        ran.findings.append(value)
                    case "application/vnd.runbook.proposal+json":
                        ran.proposals.append(value)
                    case "application/vnd.runbook.check+json":
                        ran.checks.append(value)
                    case "application/vnd.runbook.keep+json":
                        ran.kept |= value["values"]
                    case "image/png":
                        ran.pictures.append(output.metadata)
                if mime.startswith("application/"):
                    json.dumps(value, allow_nan=False)  # as it must travel


@pytest.fixture
def plain(monkeypatch) -> Iterator[service.State]:
    """The kit as in plain JupyterLab, with nothing opened."""
    monkeypatch.setattr(service, "state", service.State())
    yield service.state
    for connection in service.state.opened.values():
        connection.close()


@pytest.fixture(scope="session")
def shell() -> Iterator[InteractiveShell]:
    """IPython without a terminal, history or files."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.fixture
def kernel(plain, shell, orders_server) -> Kernel:
    """What runs the cells of db-latency."""
    return Kernel(shell, orders_server)


@pytest.fixture
def own_connections(plain, monkeypatch, tmp_path, orders_server):
    file = tmp_path / "connections.toml"
    monkeypatch.setenv("RUNBOOKS_KIT_CONNECTIONS", str(file))
    dsn = orders_server.url("reader", "shop", "orders-password")
    file.write_text(f'[orders-db]\ndsn = "{dsn}"\n[prometheus]\nurl = "http://127.0.0.1:9"\n', encoding="utf-8")
    return file

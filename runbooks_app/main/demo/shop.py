"""The orders shop: a database with real tables, whose API's sessions never stop and which can be broken.

    shop = Shop.open(folder)                  # its own cluster, schema, roles
    traffic = shop.traffic()                  # the API's sessions, in a process of their own
    fault = shop.inject("migration")          # returns when the lock is held; heals by itself never
    …
    fault.stop(); traffic.stop(); shop.close()

What a DBA would set up for the service is done by `deploy/postgres/minter.sql`, unchanged. The processes'
own work is in `shop_sessions.py`; they get the database's address by standard input, since an argument
would show the password to everybody on the machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg import sql

from runbooks_app.core.errors import NotFound, Unavailable
from runbooks_app.main.embedded import Guarded, Postgres
from runbooks_app.main.embedded.account import private, secret_in

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE = "orders"
OWNER = "orders_owner"
API = "orders_api"
MINTER = "runbooks_minter"
FAULTS = ("migration", "idle-row-lock")
CUSTOMERS, ORDERS = 2_000, 10_000
CHECKOUT = Path(__file__).parents[3]
MINTER_SQL = CHECKOUT / "deploy" / "postgres" / "minter.sql"
SETTINGS = {
    # Those of minter.sql's advice: what is left for roles that may use reserved connections.
    "reserved_connections": "8",
    # Sessions that wait for a lock notice that their client has gone.
    "client_connection_check_interval": "1s",
}

SCHEMA = """
CREATE TABLE customers (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  balance numeric NOT NULL DEFAULT 0,
  seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES customers,
  status text NOT NULL DEFAULT 'placed',
  placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE order_items (
  order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
  line int NOT NULL,
  product text NOT NULL,
  quantity int NOT NULL,
  price numeric NOT NULL,
  PRIMARY KEY (order_id, line)
);
CREATE INDEX ON orders (customer_id);
INSERT INTO customers (id, name) SELECT n, 'Customer ' || n FROM generate_series(1, {customers}) n;
INSERT INTO orders (customer_id, status, placed_at)
  SELECT 1 + n * 7919 % {customers}, 'shipped', now() - make_interval(mins => {orders} - n)
  FROM generate_series(1, {orders}) n;
INSERT INTO order_items
  SELECT id, line, 'Product ' || (id * line) % 500, 1 + id % 3, 5 + (id * line) % 90
  FROM orders, generate_series(1, 2) line;
GRANT SELECT, UPDATE ON customers TO {api};
GRANT SELECT, INSERT, UPDATE, DELETE ON orders, order_items TO {api};
"""


@dataclass(frozen=True)
class Shop:
    """A shop whose database runs. `folder` holds the roles' passwords, each in a file of mode 0600."""

    folder: Path
    server: Postgres
    passwords: Mapping[str, str] = field(repr=False)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Start the shop's cluster in `folder`; the first time, make the database, its roles and its rows."""
        server = Postgres.start(folder, port=port, durable=durable, settings={**SETTINGS, **(settings or {})})
        try:
            secrets = private(folder / "passwords", passable=False)
            passwords = {role: secret_in(secrets / f"{role}.password") for role in (OWNER, API, MINTER)}
            _prepare(server, passwords)
        except BaseException:
            server.stop()
            raise
        return cls(folder, server, passwords)

    def close(self) -> None:
        """Stop the cluster; its state stays."""
        self.server.stop()

    def url(self, role: str) -> str:
        """Address of the shop's database for one of its roles."""
        return self.server.url(role, DATABASE, self.passwords[role])

    def connection(self, name: str = "orders-db", label: str = "Orders database") -> str:
        """The shop as a table for the connections file."""
        return connection(self.folder, self.server.port, name, label)

    def traffic(self) -> Guarded:
        """Start the API's sessions: a dozen, and more when they are kept waiting; returns when they work."""
        return self._process("traffic", API)

    def inject(self, fault: str) -> Guarded:
        """Break the shop: returns when the session that does it holds its lock.

        `migration` leaves a transaction idle that has the table `orders` for itself alone; `idle-row-lock`
        one that has changed a row which the API often wants. The process ends when its session is ended.
        """
        if fault not in FAULTS:
            raise NotFound(f"There is no fault {fault!r}. Inject one of: {', '.join(FAULTS)}.")
        return self._process(fault, OWNER)

    def _process(self, what: str, role: str) -> Guarded:
        log_file = self.folder / "passwords" / f"{what}.log"
        with tempfile.TemporaryFile() as given, log_file.open("wb") as log:
            given.write(self.url(role).encode())
            given.seek(0)
            process = Guarded.start(
                f"the shop's {what}",
                [sys.executable, "-m", "runbooks_app.main.demo.shop_sessions", what],
                stops="TERM:5,KILL:5",
                cwd=CHECKOUT,
                log=log,
                stdin=given,
                stdout=subprocess.PIPE,
            )
        said = process.guard.stdout.readline() if process.guard.stdout else b""
        if said.strip() != b"ready":
            process.stop()
            raise Unavailable(f"The shop's {what} did not start:\n{log_file.read_text()[-2000:]}")
        return process


def connection(
    folder: Path,
    port: int,
    name: str = "orders-db",
    label: str = "Orders database",
    diagnosers: tuple[str, ...] = ("responder",),
) -> str:
    """A shop in this folder, on this port, as a table for the connections file; it need not run yet."""
    source = (
        f'provider = "postgres-role"\nrole = "{{role}}"\nminter = "{MINTER}"\n'
        f"password_file = {json.dumps(str(folder / 'passwords' / f'{MINTER}.password'))}\n"
    )
    return (
        f'[{name}]\nkind = "postgres"\nlabel = {json.dumps(label)}\ndiagnosers = {json.dumps(diagnosers)}\n'
        f'host = "127.0.0.1"\nport = {port}\ndatabase = "{DATABASE}"\n'
        f"[{name}.diagnose]\n{source.format(role='orders_reader')}"
        f"[{name}.remediate]\n{source.format(role='orders_operator')}"
        f'[{name}.floor]\nrisk = "low"\napprovals = 1\napprovers = ["database"]\n'
        f'recheck = true\nexpires = "30m"\n'
    )


def _prepare(server: Postgres, passwords: Mapping[str, str]) -> None:
    """Make what is not there yet: roles, database, tables, and what the service needs."""
    with psycopg.connect(server.url(), autocommit=True) as session:
        if session.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            return
        # The database gets its name last: half a shop is never taken for one, and made anew.
        session.execute("DROP DATABASE IF EXISTS orders_unfinished")
        for role in (OWNER, API):
            if not session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                session.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        session.execute(sql.SQL("CREATE DATABASE orders_unfinished OWNER {}").format(sql.Identifier(OWNER)))
    with psycopg.connect(server.url(database="orders_unfinished")) as session:
        session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
        session.execute(SCHEMA.format(customers=CUSTOMERS, orders=ORDERS, api=API))
        session.execute("RESET ROLE")
        session.execute(MINTER_SQL.read_bytes())
        for role, password in passwords.items():
            verifier = session.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            session.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
            )
        session.commit()
        session.autocommit = True
        session.execute("VACUUM ANALYZE")
    with psycopg.connect(server.url(), autocommit=True) as session:
        session.execute(sql.SQL("ALTER DATABASE orders_unfinished RENAME TO {}").format(sql.Identifier(DATABASE)))

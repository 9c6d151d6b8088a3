"""The app over a real database, browsers that are signed in as somebody, and a look at what the database holds."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import hostile_provider
import psycopg
import pytest
from hostile_provider import Provider
from service_database import APP_PASSWORD
from slack_senders import TEAM, SlackSender, SocketSender
from slack_signing import SIGNING_SECRET
from slack_socket import APP_TOKEN, SocketModeServer, serve_socket_mode

from runbooks_app.actions import diagnosing, people, running
from runbooks_app.actions.context import Service
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.chat.client import Slack
from runbooks_app.connections import Connection
from runbooks_app.core.bundles import Proposed
from runbooks_app.core.people import Person
from runbooks_app.core.policy import Floor
from runbooks_app.core.run import CellState
from runbooks_app.library import Library
from runbooks_app.settings import Settings
from runbooks_app.store import incidents
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.store.database import connect, reading, transaction
from runbooks_app.web import limits
from runbooks_app.web.app import create_app
from runbooks_app.web.context import EXTENSION
from runbooks_app.web.slack.socket import SocketMode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine
    from werkzeug.test import TestResponse

    from runbooks_app.main.embedded import Postgres

ORIGIN = "http://127.0.0.1:8080"
SECRET_KEY = b"a key for tests, and for nothing else at all"
ROLES = {"oncall": ["responder"], "dba": ["approver:database"], "watch": ["viewer"], "audit": ["auditor"]}

_numbers = itertools.count(1)


def notebook() -> dict[str, Any]:
    """A runbook with one diagnostic cell and one gate, for one database."""

    def code(cell_id: str, source: str, *tags: str) -> dict[str, Any]:
        return {
            "cell_type": "code",
            "id": cell_id,
            "metadata": {"tags": list(tags)} if tags else {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }

    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "runbook": {
                "id": "4b0e3a52-7b7d-4a53-9a0e-5f3f5d3c9c11",
                "title": "Disk full",
                "owner": "sre",
                "description": "Says how full the disk is.",
                "connections": {},
                "timeouts": {"cell": "60s", "run": "10m"},
            }
        },
        "cells": [
            code(
                "parameters",
                "from runbook_library.kit import Connection\n\n"
                'database: Connection["postgres"] = "orders-db"  # Where\n'
                'note: str = ""  # For the record\n'
                "limit: int = 10  # Rows shown\n",
                "parameters",
            ),
            code("setup", "from runbook_library import kit\n", "setup"),
            code("look", 'rows = limit\nkit.finding("info", f"{rows} rows")\n', "diagnostic"),
            code(
                "end-session",
                "pid: int  # session to end\n"
                'kit.gate("end-session", "End session {pid} on {database}", risk="medium", target="{database}")\n'
                "kit.postgres(database).execute('SELECT pg_terminate_backend(%s)', [pid])\n",
                "remediation",
            ),
            code("verify", 'kit.check("it is gone", True)\n', "diagnostic"),
        ],
    }


@pytest.fixture(scope="session")
def web_engine(postgres_server: Postgres, migrated_template: str) -> Iterator[Engine]:
    """One database for all of these tests: each acts as people of its own."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE runbooks_web TEMPLATE {migrated_template}")
    engine = connect(postgres_server.url("runbooks_app", "runbooks_web", APP_PASSWORD), APP_PASSWORD)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("library")
    (folder / "disk-full.ipynb").write_text(json.dumps(notebook()))
    (folder / "broken.ipynb").write_text("{")
    return Library(folder)


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings that a module may change for its tests."""
    # Tests share a database and leave runs behind: nobody's quota is used up by another test.
    unlimited = {"runs_per_person": 0, "runs_per_runbook": 0}
    return {"public_url": ORIGIN, "environment": "tests", "slack_team": TEAM, "roles": ROLES, **unlimited}


@pytest.fixture(scope="session")
def apps() -> dict[str, Flask]:
    """Apps by their settings: putting one together takes longer than most of these tests."""
    return {}


@pytest.fixture
def app(
    apps: dict[str, Flask], web_engine: Engine, library: Library, settings: dict[str, Any], servers_folder: Path
) -> Flask:
    key = json.dumps(settings)
    if key not in apps:
        floor = Floor(approvers=("database",))
        orders = Connection("orders-db", "postgres", "Orders", host="127.0.0.1", port=1, database="o", floor=floor)
        artifacts = Artifacts("file://artifacts", servers_folder)
        service = Service(web_engine, library, {"orders-db": orders}, Settings(**settings), artifacts)
        with pytest.MonkeyPatch.context() as patch:  # all tests come from one address
            patch.setattr(limits, "LIMITS", dict.fromkeys(limits.LIMITS, "1000000 per minute"))
            apps[key] = create_app(service, secret_key=SECRET_KEY, slack_signing_secret=SIGNING_SECRET)
    return apps[key]


@pytest.fixture(scope="session")
def served() -> Iterator[Provider]:
    with hostile_provider.serve() as running:
        yield running


@pytest.fixture
def provider(served: Provider) -> Provider:
    """The provider, behaving well until a test says otherwise; a module's `settings` name it."""
    served.__init__(url=served.url)
    return served


@pytest.fixture
def anew(apps: dict[str, Flask], settings: dict[str, Any]) -> Iterator[None]:
    """An app that knows nothing of the provider yet, and is forgotten afterwards."""
    apps.pop(json.dumps(settings), None)
    yield
    apps.pop(json.dumps(settings), None)


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    """A browser that is about to sign in."""
    return app.test_client()


@pytest.fixture
def service(app: Flask) -> Service:
    return app.extensions[EXTENSION].service


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser in which nobody is signed in."""
    return app.test_client()


@dataclass
class Browser:
    """A browser in which somebody is signed in; it sends what a page of the service would send."""

    client: FlaskClient
    person: Person
    cookie: str
    csrf: str
    headers: dict[str, str] = field(default_factory=lambda: {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"})

    def get(self, path: str, **rest: Any) -> TestResponse:
        return self.client.get(path, **rest)

    def post(self, path: str, told: Any = None, **headers: str | None) -> TestResponse:
        """Send JSON; headers with underscores for dashes, None to leave one out."""
        return self.send("POST", path, {} if told is None else told, **headers)

    def put(self, path: str, told: Any, **headers: str | None) -> TestResponse:
        """Change something; as `post`."""
        return self.send("PUT", path, told, **headers)

    def send(self, method: str, path: str, told: Any, **headers: str | None) -> TestResponse:
        """A request with effect by any method; as `post`."""
        sent: dict[str, str | None] = {**self.headers, "X-CSRF-Token": self.csrf}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(path, method=method, json=told, headers={k: v for k, v in sent.items() if v})


@pytest.fixture
def sign_in_as(app: Flask, service: Service):
    """`sign_in_as("responder", "approver:database")` gives the browser of somebody new with these roles."""

    def sign_in(*roles: str, subject: str = "", name: str = "") -> Browser:
        subject = subject or f"https://idp.example#p{next(_numbers)}"
        person = Person(subject, name or subject.rpartition("#")[2], roles=frozenset(roles))
        secret, session = people.sign_in(service, person, {"surface": "web", "auth_time": int(time.time())})
        client = app.test_client()
        client.set_cookie("runbooks", secret)
        return Browser(client, person, secret, session.csrf)

    return sign_in


@pytest.fixture
def diagnosed(service: Service):
    """`diagnosed(person, pid)` gives ids of a run that has ended, and of the proposal that it made."""

    def diagnose(person: Person, pid: int = 4711) -> tuple[str, str]:
        run = running.request_run(service, person, {"surface": "web"}, "disk-full", {})
        assert run is not None
        claim = diagnosing.claim_run(service, run.id, "w1")
        assert claim is not None
        said, now = diagnosing.Said(), datetime.now(UTC)
        told = [CellTold(cell.id, CellState.OK, now, now, execution_count=1) for cell in claim.cells]
        record_cells(service, claim, told, said)
        said.proposed.append(Proposed("end-session", {"pid": pid}, "it blocks others"))
        diagnosing.finish_run(service, claim, said, "")
        with reading(service.engine) as tx:
            return run.id, tx.execute("SELECT id FROM proposals WHERE run_id = :id", id=run.id).scalar_one()

    return diagnose


@dataclass(frozen=True)
class Held:
    """What the database held at a moment: a digest of every table, and the events entered."""

    tables: dict[str, str]
    events: list[str]

    def since(self, before: Held) -> list[str]:
        """The events entered since."""
        return self.events[len(before.events) :]


_BESIDE = ("audit_entries", "audit_head", "refusals", "alembic_version")
"""Where refusals leave their trace."""


@pytest.fixture
def held(web_engine: Engine):
    """`held()` tells what the database holds; two of them compare."""

    def look() -> Held:
        with reading(web_engine) as tx:
            names = tx.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").scalars()
            digest = "SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {} t"
            tables = {n: tx.execute(digest.format(n)).scalar_one() for n in list(names) if n not in _BESIDE}
            events = tx.execute("SELECT event FROM audit_entries ORDER BY seq").scalars()
            return Held(tables, list(events))

    return look


@pytest.fixture(params=["http", "socket"])
def way(request: pytest.FixtureRequest) -> str:
    """How Slack's requests come in; what `slack` sends is sent both ways, unless a test names one."""
    return request.param


@pytest.fixture(scope="session")
def socket_mode() -> Iterator[SocketModeServer]:
    with serve_socket_mode() as server:
        yield server


@pytest.fixture
def slack(way: str, client: FlaskClient, service: Service, socket_mode: SocketModeServer) -> Iterator[SlackSender]:
    """Slack, with a user and a channel that nobody has used yet."""
    number = next(_numbers)
    if way == "http":
        yield SlackSender(client, f"U{number}", f"C{number}")
        return
    before = len(socket_mode.connections)

    class Watched(SocketMode):
        """Says when it is done with an envelope, so that no test waits for an acknowledgement that never comes."""

        def _take(self, connection: Any, envelope: Any) -> None:
            super()._take(connection, envelope)
            socket_mode.handle(envelope["envelope_id"])

    fetching = Watched(service, Slack(APP_TOKEN, base_url=f"{socket_mode.url}api/"))
    fetching.start()
    socket_mode.newest(before + 1)
    yield SocketSender(client, f"U{number}", f"C{number}", socket_mode)
    fetching.stop()


@pytest.fixture
def linked(service: Service, slack: SlackSender, sign_in_as):
    """`linked("responder")` ties the Slack user to somebody with these roles."""

    def link(*roles: str) -> Person:
        person = sign_in_as(*roles).person
        code = people.offer_chat_link(service, TEAM, slack.user, "ana")
        people.link_chat(service, person, {"surface": "web"}, code)
        return person

    return link


@pytest.fixture
def said_later(service: Service):
    """`said_later()` takes the jobs that say something to somebody, or open a form, off the queue: their arguments."""

    def take(task: str = "answer") -> list[dict[str, Any]]:
        with transaction(service.engine) as tx:
            rows = tx.execute(
                "DELETE FROM procrastinate_jobs WHERE task_name = :task AND status = 'todo' RETURNING id, args",
                task=task,
            )
            return [row.args for row in sorted(rows, key=lambda row: row.id)]

    take()
    take("open_form")
    return take


@pytest.fixture
def here(service: Service, slack: SlackSender):
    """`here()` is what is open in the channel, newest first."""

    def look() -> list[Any]:
        with reading(service.engine) as tx:
            return incidents.open_in(tx, slack.channel)

    return look

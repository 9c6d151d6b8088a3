"""A whole service without its web: real databases, real kernels, jobs done one by one as the queue would."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from notebooks import cell, write
from service_database import APP_PASSWORD, Database
from signing import signatures
from stuck_orders import CHECK, FREE, LOOK
from worker.chats import ACT, ROWS, served, tell
from worker.room import TOKEN, Room, parts

from runbooks_app.actions import running
from runbooks_app.actions.context import Service
from runbooks_app.chat.client import Slack
from runbooks_app.chat.elsewhere import read_places
from runbooks_app.connections import read_connections
from runbooks_app.core.people import Person
from runbooks_app.kernels.engine import Engine
from runbooks_app.library import Library
from runbooks_app.live.streams import Live
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.settings import Settings
from runbooks_app.store import people, proposals, runs
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.store.database import reading, transaction
from runbooks_app.store.records import Proposal, Run
from runbooks_app.worker import jobs, work
from runbooks_app.worker.context import Leases, Worker

LIBRARY = Path(__file__).parents[2] / "runbook_library"
ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
CAT = Person("https://idp#cat", "Cat", roles=frozenset({"approver:database"}))
WEB = {"surface": "web", "auth_time": 1}


@dataclass
class House:
    """The service, a worker, and what tests do with them."""

    service: Service
    worker: Worker
    database: Database

    def job(self, *names: str) -> tuple[str, dict] | None:
        """Take the oldest due job of these names off the queue."""
        with transaction(self.service.engine) as tx:
            row = tx.execute(
                """UPDATE procrastinate_jobs SET status = 'doing' WHERE id = (
                     SELECT id FROM procrastinate_jobs WHERE status = 'todo' AND task_name = ANY(CAST(:names AS text[]))
                     ORDER BY priority DESC, id LIMIT 1) RETURNING task_name, args""",
                names="{" + ",".join(names) + "}",
            ).first()
            return (row.task_name, row.args) if row else None

    def do_all(self) -> list[str]:
        """Do what is queued until nothing is left (what is told to chats apart); the names of the jobs."""
        done = []
        while job := self.job("diagnose", "remediate", "verify"):
            name, arguments = job
            getattr(work, name)(self.worker, **arguments)
            done.append(name)
        return done

    def diagnosed(
        self, person: Person = ANA, name: str = "stuck-orders", **given: object
    ) -> tuple[Run, list[Proposal]]:
        """Ask for a run and diagnose it; the run, and what it proposes."""
        run = running.request_run(self.service, person, WEB, name, given)
        assert self.do_all() == ["diagnose"]
        with reading(self.service.engine) as tx:
            return runs.get(tx, run.id), proposals.of_run(tx, run.id)

    def diagnosed_beside(self, name: str) -> Proposal:
        """What a run proposes that is diagnosed while other jobs are left to wait."""
        run = running.request_run(self.service, ANA, WEB, name, {})
        work.diagnose(self.worker, run.id)
        with reading(self.service.engine) as tx:
            return proposals.of_run(tx, run.id)[0]

    def now(self, proposal: Proposal) -> Proposal:
        """The proposal as it stands."""
        with reading(self.service.engine) as tx:
            return proposals.get(tx, proposal.id)

    def as_worker(self, name: str) -> Worker:
        return replace(self.worker, name=name, leases=Leases(self.service, name))


def while_working(house: House, do: Callable[[], object]) -> None:
    """Do this beside a worker that works on the queue."""
    url = house.database.server.url("runbooks_app", house.database.name, APP_PASSWORD)

    async def both() -> None:
        going = asyncio.create_task(jobs.run_worker(jobs.queue_app(url, house.worker), house.worker))
        try:
            await asyncio.to_thread(do)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await going

    asyncio.run(both())


@pytest.fixture(scope="session")
def engine_of_kernels(tmp_path_factory):
    engine = Engine.start(tmp_path_factory.mktemp("kernels"))
    yield engine
    engine.close()


@pytest.fixture
def library_folder(tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    return folder


@pytest.fixture
def house(database, orders_server, engine_of_kernels, tmp_path, library_folder):
    """`library_folder` holds the runbooks; the connection is `orders-db`, approved by `database`."""
    connections = tmp_path / "connections.toml"
    connections.write_text(orders_server.connection())
    settings = Settings(config_dir=tmp_path, library=library_folder, lease=60, verify_timeout=30)
    service = Service(
        engine=database.engine,
        library=Library(library_folder),
        connections=read_connections(connections),
        settings=settings,
        artifacts=Artifacts("file://artifacts", tmp_path),
    )
    with transaction(service.engine) as tx:
        for person in (ANA, BEN, CAT):
            people.remember(tx, person)
    worker = Worker("w1", service, engine_of_kernels, Live(""), None, Leases(service, "w1"), signatures())
    worker.leases.start()
    yield House(service, worker, database)
    worker.leases.stop()
    assert threading.active_count() < 50


@pytest.fixture
def stuck(orders_server):
    """Three stuck orders, set right afterwards."""
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as admin:
        admin.execute("GRANT UPDATE (status) ON orders TO orders_operator")
        admin.execute("UPDATE orders SET status = 'stuck' WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 3)")
        yield admin
        admin.execute("REVOKE UPDATE (status) ON orders FROM orders_operator")
        admin.execute("UPDATE orders SET status = 'new' WHERE status = 'stuck'")


@pytest.fixture
def runbook(library_folder):
    write(
        library_folder,
        "stuck-orders",
        cell("look", LOOK, "diagnostic"),
        cell("free", FREE, "remediation"),
        cell("freed", CHECK, "diagnostic"),
    )


@pytest.fixture
def office(house, library_folder):
    from worker.office import Office  # which stands on what is above

    for name in ("look", "peek"):
        write(library_folder, name, cell(name, "1 + 1", "diagnostic"))
    return Office(house)


@pytest.fixture
def room(house):
    app = create_slack(SlackConfig(TOKEN, "the signing secret", "http://127.0.0.1:9", rates=False))
    with serve(app) as url:
        slack = Slack(TOKEN, base_url=f"{url}api/", timeout=5)
        yield Room(house, app.extensions["slack_workspace"], slack, parts("one"))


@pytest.fixture
def mail():
    with served() as one:
        yield one


@pytest.fixture
def teams():
    with served() as one:
        yield one


@pytest.fixture
def told(house, mail, teams, library_folder):
    """A worker that tells two places, which hear what happens from now on."""
    write(
        library_folder,
        "rows",
        cell("rows", ROWS, "diagnostic"),
        cell("act", ACT, "remediation"),
        connections={"orders-db": "postgres"},
    )
    places = read_places(f"# mail\n{mail.address()}\n\n{teams.address()}\n")
    house = replace(house, worker=replace(house.worker, elsewhere=places))
    tell(house)
    return house

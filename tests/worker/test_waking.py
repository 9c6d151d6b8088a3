"""What wakes a worker: notifications, also those that come in while it fetches, and a look for what none tells of."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest
from procrastinate.manager import JobManager
from procrastinate.worker import Worker
from worker.conftest import while_working

from runbooks_app.store.database import QUEUES, transaction
from runbooks_app.worker import waking, work

pytestmark = pytest.mark.kernels

SOON = 45
"""Seconds: more than the bell ever takes, less than the five after which Procrastinate would look by itself."""

LISTENING = "query LIKE 'SELECT queue FROM unnest%' AND datname = current_database()"
"""What PostgreSQL knows of the bell's connection: the latest statement on it."""


@pytest.fixture(autouse=True)
def no_polling(monkeypatch):
    """Only the bell wakes: Procrastinate itself would look every five seconds."""
    made = Worker.__init__

    def without_polling(self, *arguments, **options):
        made(self, *arguments, **{**options, "fetch_job_polling_interval": 3600})

    monkeypatch.setattr(Worker, "__init__", without_polling)


@pytest.fixture
def picked(monkeypatch):
    """Set when a diagnosis is picked up."""
    event = threading.Event()
    monkeypatch.setattr(work, "diagnose", lambda *_, **__: event.set())
    return event


@pytest.fixture
def idle(monkeypatch):
    """Set when the worker has looked for diagnoses and found none."""
    event = threading.Event()
    fetch = waking.Bell.fetch_job

    async def then_idle(self, queues, worker_id):
        job = await fetch(self, queues, worker_id)
        if list(queues) == [QUEUES["diagnose"]] and job is None:
            event.set()
        return job

    monkeypatch.setattr(waking.Bell, "fetch_job", then_idle)
    return event


def ask(house, **when) -> None:
    with transaction(house.service.engine) as tx:
        tx.defer("diagnose", run_id="anything", **when)


def test_a_notification_that_comes_in_while_the_worker_fetches_is_not_lost(house, picked, monkeypatch):
    monkeypatch.setattr(waking, "LOOK", 60)
    fetch = JobManager.fetch_job
    asked = []

    async def and_meanwhile_one_comes_in(self, queues, worker_id):
        job = await fetch(self, queues, worker_id)
        if list(queues) == [QUEUES["diagnose"]] and not asked:
            rung = self._rung[QUEUES["diagnose"]]
            asked.append(await asyncio.to_thread(ask, house))
            while self._rung[QUEUES["diagnose"]] == rung:  # noqa: ASYNC110 -- the bell tells nobody but its workers
                await asyncio.sleep(0)
        return job

    monkeypatch.setattr(JobManager, "fetch_job", and_meanwhile_one_comes_in)
    while_working(house, lambda: picked.wait(SOON))
    assert asked
    assert picked.is_set()


def test_a_job_that_becomes_due_without_a_notification_is_found_by_a_look(house, picked, idle):
    ask(house, after=3600)

    def becomes_due() -> None:
        assert idle.wait(20)
        with transaction(house.service.engine) as tx:
            tx.execute("UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = 'diagnose'")
        picked.wait(SOON)

    while_working(house, becomes_due)
    assert picked.is_set()


def test_a_worker_whose_listening_connection_breaks_goes_on_with_another(house, picked, idle):
    def breaks() -> None:
        assert idle.wait(20)
        with psycopg.connect(house.database.owner_url, autocommit=True) as admin:
            ended = admin.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LISTENING}"
            ).fetchall()
        assert ended
        ask(house)
        picked.wait(SOON)

    while_working(house, breaks)
    assert picked.is_set()


def test_one_connection_listens_and_looks_for_all_queues_of_a_worker(house, picked, idle):
    found = []

    def counts() -> None:
        assert idle.wait(20)
        with psycopg.connect(house.database.owner_url, autocommit=True) as admin:
            found.append(admin.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {LISTENING}").fetchone()[0])

    while_working(house, counts)
    assert found == [1]
    assert not picked.is_set()

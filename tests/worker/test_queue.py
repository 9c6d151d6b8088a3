"""The loop that works on the queue: what must go on whatever else does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import replace

import pytest
from service_database import APP_PASSWORD

from runbooks_app.store.database import transaction
from runbooks_app.worker import jobs, work


@pytest.fixture
def worker(house):
    """One that does a single job at a time."""
    settings = house.service.settings.model_copy(update={"concurrency": 1})
    return replace(house.worker, service=replace(house.service, settings=settings))


def test_sweeps_go_on_while_diagnoses_fill_every_place_and_more_wait(house, worker, monkeypatch):
    began, swept, enough = threading.Event(), threading.Event(), threading.Event()

    def long_diagnosis(*_, **__):
        began.set()
        enough.wait(60)

    def sweep(_):
        if began.is_set():
            swept.set()
            enough.set()

    monkeypatch.setattr(work, "diagnose", long_diagnosis)
    monkeypatch.setattr(jobs, "_sweep", sweep)
    with transaction(house.service.engine) as tx:
        for number in range(3):
            tx.defer("diagnose", run_id=f"run{number}", priority=10)
    url = house.database.server.url("runbooks_app", house.database.name, APP_PASSWORD)
    app = jobs.queue_app(url, worker)

    async def until_swept():
        going = asyncio.create_task(jobs.run_worker(app, worker))
        await asyncio.to_thread(swept.wait, 60)
        enough.set()
        os.kill(os.getpid(), signal.SIGTERM)
        await going

    asyncio.run(until_swept())
    assert began.is_set()
    assert swept.is_set()

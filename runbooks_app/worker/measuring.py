"""What a worker tells by metrics: runs that are queued and what they wait for, kernels lost, how connections stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from runbooks_app.actions import connections, waiting
from runbooks_app.actions.context import Service
from runbooks_app.core.connection_tests import Standing
from runbooks_app.core.errors import Unavailable
from runbooks_app.core.quotas import Waits
from runbooks_app.kernels.engine import Engine
from runbooks_app.store.database import reading


def watch_the_line(service: Service, meter: Meter) -> None:
    """Tell it whenever metrics are collected. Each worker tells of all runs: their numbers are not to be added up."""

    def look(_: CallbackOptions) -> Iterable[Observation]:
        try:
            with reading(service.engine) as tx:
                found = Counter(place.waits for place in waiting.line(tx, service).values())
        except Unavailable:
            return []  # nobody knows; a 0 would say that nothing waits
        return [Observation(found[waits], {"runbooks.run.waits_for": str(waits)}) for waits in Waits]

    meter.create_observable_gauge(
        "runbooks.run.queued",
        callbacks=[look],
        unit="{run}",
        description="Diagnoses that are queued in the whole service, by what they wait for.",
    )


def watch_the_kernels(engine: Engine, meter: Meter) -> None:
    """Tell how often this worker has lost all its kernels at once; runs that were in them say so themselves."""
    meter.create_observable_counter(
        "runbooks.kernels.lost",
        callbacks=[lambda _: [Observation(engine.losses)]],
        unit="{loss}",
        description="Times that the process died which this worker's kernels are forked from.",
    )


def watch_the_connections(service: Service, meter: Meter) -> None:
    """Tell by their latest tests how connections stand: 1 for each that a diagnosis is proved to only read, else 0."""

    def look(_: CallbackOptions) -> Iterable[Observation]:
        try:
            with reading(service.engine) as tx:
                found = connections.seen(tx, service.connections)
        except Unavailable:
            return []
        return [
            Observation(
                int(seen.standing is Standing.HOLDS),
                {"runbooks.connection.name": name, "runbooks.connection.standing": str(seen.standing)},
            )
            for name, seen in found.items()
        ]

    meter.create_observable_gauge(
        "runbooks.connection.proved",
        callbacks=[look],
        description="1 where the latest test proved that a diagnosis only reads, 0 where it did not.",
    )

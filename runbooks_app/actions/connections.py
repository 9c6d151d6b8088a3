"""Connections and their tests: how each stands, whose turn it is, what came of a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.connections import Connection
from runbooks_app.core import connection_tests as rules
from runbooks_app.core.audit import Event
from runbooks_app.core.connection_tests import Outcome, Standing, Tested
from runbooks_app.core.digests import digest
from runbooks_app.store import connection_tests
from runbooks_app.store.database import Transaction, reading, transaction


@dataclass(frozen=True)
class Seen:
    """A connection with its latest test: of the connection as it is configured now, else None."""

    connection: Connection
    tested: Tested | None

    @property
    def standing(self) -> Standing:
        """How it stands, in a word."""
        return self.tested.outcome.standing if self.tested else Standing.UNTESTED


def configured(connection: Connection) -> str:
    """Digest of what a test depends on: where the system is, and with what a diagnosis comes.

    Where files lie is no part of it: that may differ between workers.
    """
    source = connection.diagnose
    options = source.options if source else {}
    return digest(
        "connection/1",
        {
            "kind": connection.kind,
            "address": connection.address,
            "provider": source.provider if source else "",
            "options": {name: value for name, value in options.items() if not name.endswith("_file")},
            "rules": list(map(str, connection.diagnose_rules)),
        },
    )


def seen(tx: Transaction, connections: Mapping[str, Connection]) -> dict[str, Seen]:
    """These connections as they stand, by name."""
    latest = connection_tests.latest(tx)
    found = {}
    for name, connection in sorted(connections.items()):
        tested = latest.get(name)
        now = tested is not None and tested.outcome.configured == configured(connection)
        found[name] = Seen(connection, tested if now else None)
    return found


def next_due(service: Service) -> Connection | None:
    """The one whose turn it is to be tested, by the database's clock: those that never were first."""
    with reading(service.engine) as tx:
        latest = connection_tests.latest(tx)
        waiting = [
            (latest[name].tested_at.timestamp() if name in latest else 0.0, name)
            for name, connection in service.connections.items()
            if rules.due(latest.get(name), configured(connection), name, tx.now)
        ]
    return service.connections[min(waiting)[1]] if waiting else None


def record(service: Service, worker: str, connection: Connection, outcome: Outcome) -> None:
    """Keep what came of a test, and tell the audit trail where it is news."""
    with transaction(service.engine) as tx:
        entered = rules.worth_an_entry(connection_tests.locked(tx, connection.name), outcome, tx.now)
        connection_tests.put(tx, connection.name, outcome, entered=entered)
        if entered:
            tx.audit(
                worker_actor(worker),
                Event.CONNECTION_TESTED,
                {"connection": connection.name},
                {
                    "standing": str(outcome.standing),
                    "says": outcome.says,
                    "tried": list(outcome.tried),
                    "address": connection.address,
                    "role": connection.diagnose_role,
                    "configured": outcome.configured,
                },
            )

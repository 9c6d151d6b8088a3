"""The engine, and the one shape of a transaction: state first, then what is told, jobs, audit entries, commit."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import procrastinate
import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, CursorResult, Engine, TextClause, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from runbooks_app.core.audit import Event, canonical
from runbooks_app.core.errors import Conflict, DatabaseAway, Unavailable
from runbooks_app.core.people import Actor

QUEUES = {
    "diagnose": "diagnoses",
    "remediate": "approved",
    "verify": "approved",
    "tell": "tell",
    "tell_run": "tell",  # as the release before this one queued them
    "tell_proposal": "tell",
    "tell_break_glass": "tell",
    "answer": "tell",
    "open_form": "forms",
    "wake": "wake",
    "page": "wake",
}
"""The queue of each job. Each has workers of its own: neither a burst of diagnoses nor a chat that hangs may
hold up what people have approved."""

TELLING_WAITS = 0.25
"""Seconds until a channel is told. Whoever asked has had an answer, and what the run itself shows comes first: messages
that were composed at the same moment made a first output 20 ms later."""

LETS_GO = "-c idle_in_transaction_session_timeout=5s"
"""What every session asks of PostgreSQL: whoever stops in the middle of a transaction, frozen or cut off, loses it and
its locks. Others wait up to ten seconds for a lock; without this, one frozen worker with the head of the audit trail
stopped the whole service."""

NOTICES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""libpq's settings by which a session notices within 25 s that its server's machine is gone; by default the system
waits a quarter of an hour for an answer, and two hours before it asks."""

_RAISED = """UPDATE chat_threads SET wanted = wanted + 1, due_at = CASE
        WHEN :progress AND wanted > told THEN due_at
        WHEN :progress THEN greatest(due_at, now() + make_interval(secs => :wait))
        WHEN wanted > told THEN least(due_at, greatest(shown_at + interval '1 s', now() + make_interval(secs => :wait)))
        ELSE greatest(shown_at + interval '1 s', now() + make_interval(secs => :wait)) END
    WHERE about = :about
    RETURNING channel, place, due_at, ended_at IS NOT NULL AS ended, wanted - 1 > told AS awaited"""
_BEGUN = """INSERT INTO chat_threads (about, channel, due_at)
    VALUES (:about, :channel, now() + make_interval(secs => :wait)) ON CONFLICT DO NOTHING
    RETURNING channel, place, due_at, false AS ended, false AS awaited"""

_FOR_READING = text(
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = '10min'"
)
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_QUEUE = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
"""Never opened: jobs are deferred on the caller's own connection, in the caller's transaction."""


def new_id() -> str:
    """A fresh id: 16 characters of base32, 80 random bits."""
    return "".join(secrets.choice(_BASE32) for _ in range(16))


def connect(url: str, password: str = "", *, pool_size: int = 10, spare: int = 10, patience: float = 5) -> Engine:
    """An engine for this URL; the password is given apart so that it stands in no URL and no log.

    It has `pool_size` connections that stay and `spare` more in need; one gets free within `patience` seconds, or who
    wants it is told to try again.
    """
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    if password:
        parsed = parsed.set(password=password)
    return create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=spare,
        pool_pre_ping=True,
        pool_timeout=patience,
        # Statements here are short: PostgreSQL would compile some for longer than they run.
        connect_args={**NOTICES, "options": f"-c timezone=UTC -c lock_timeout=10s -c jit=off {LETS_GO}"},
        hide_parameters=True,
    )


@dataclass
class Transaction:
    """An open transaction. What is to be told, jobs and audit entries collect here and are written last, before commit.

    The audit append locks the head of the chain until commit, so nothing slow may come after it.
    """

    connection: Connection
    _now: datetime | None = None
    _told: dict[tuple[str, str], bool] = field(default_factory=dict)
    _jobs: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    _entries: list[tuple[Actor, Event, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The database's clock at the transaction's begin. Asked for once, where somebody wants it: a round trip."""
        if self._now is None:
            self._now = self.connection.execute(text("SELECT now()")).scalar_one()
        return self._now

    def execute(self, sql: str, **values: Any) -> CursorResult[Any]:
        """Run one statement; dicts and lists become jsonb."""
        return self.connection.execute(
            _statement(sql), {k: Jsonb(v) if isinstance(v, dict | list) else v for k, v in values.items()}
        )

    def moved(self, what: str, sql: str, **values: Any) -> None:
        """Run a guarded change of state; raise `Conflict` when the prior state was another."""
        if self.execute(sql, **values).rowcount != 1:
            raise Conflict(f"{what} has moved on in the meantime; look at it again.")

    def audit(self, actor: Actor, event: Event, objects: dict[str, Any], body: dict[str, Any] | None = None) -> None:
        """Enter this in the audit trail when the transaction commits, and not otherwise."""
        self._entries.append((actor, event, objects, body or {}))

    def tell(self, about: str, channel: str, *, progress: bool) -> None:
        """Raise what is wanted of a conversation when the transaction commits, and not otherwise: `actions.telling`."""
        self._told[about, channel] = progress and self._told.get((about, channel), True)

    def defer(
        self, task: str, *, after: int = 0, at: datetime | None = None, priority: int = 0, **arguments: Any
    ) -> None:
        """Queue a job when the transaction commits, and not otherwise.

        `at` such a time, or `after` so many seconds, both of the database's clock.
        """
        options: dict[str, Any] = {"queue": QUEUES[task], "priority": priority}
        if after:
            at = self.now + timedelta(seconds=after)
        if at is not None:
            options["schedule_at"] = at
        self._jobs.append((task, arguments, options))

    def flush(self) -> None:
        """Write what is to be told, then the jobs, then the audit entries."""
        for (about, channel), progress in sorted(self._told.items()):  # always in one order: nobody waits in a circle
            self._raise_wanted(about, channel, progress=progress)
        raw = self.connection.connection.driver_connection
        for task, arguments, options in self._jobs:
            _QUEUE.configure_task(task, connection=raw, **options).defer(**arguments)
        for actor, event, objects, body in self._entries:
            self.connection.execute(
                _statement("SELECT audit_append(:actor, :event, :objects, :body)"),
                {
                    "actor": canonical(actor.as_json()),
                    "event": str(event),
                    "objects": canonical(objects),
                    "body": canonical(body),
                },
            )
        self._told, self._jobs, self._entries = {}, [], []

    def _raise_wanted(self, about: str, channel: str, *, progress: bool) -> None:
        rows = list(self.execute(_RAISED, about=about, progress=progress, wait=TELLING_WAITS))
        if channel and not any(channel in {row.channel, row.place} for row in rows):
            rows += self.execute(_BEGUN, about=about, channel=channel, wait=TELLING_WAITS)
        # Somebody comes in any case where something was wanted before; a change of state does not wait for them.
        due = [row.due_at for row in rows if not row.ended and not (progress and row.awaited)]
        if due:
            self.defer("tell", at=min(due))


@lru_cache(1000)
def _statement(sql: str) -> TextClause:
    """The statements of the code, each read once: to look for its parameters takes as long as to send it."""
    return text(sql)


@contextmanager
def transaction(engine: Engine) -> Iterator[Transaction]:
    """One transaction: commits with its jobs and audit entries, or leaves no trace at all.

    Raises `DatabaseAway` when PostgreSQL is away, `Unavailable` when no connection gets free.
    """
    with _told_as_unavailable(), engine.begin() as connection:
        opened = Transaction(connection)
        yield opened
        opened.flush()


@contextmanager
def reading(engine: Engine) -> Iterator[Transaction]:
    """A transaction for reading alone: one snapshot, and the database refuses writes.

    It may idle, while outputs are fetched from the artifact store: nobody waits for its locks.
    """
    with _told_as_unavailable(), engine.connect() as connection:
        connection.execute(_FOR_READING)
        yield Transaction(connection)


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("Every connection to the service's database is in use; try again shortly.") from error
    except OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
            raise Unavailable("Others change the same thing right now; nothing was changed. Try again.") from error
        raise DatabaseAway from error
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(error.orig, psycopg.InterfaceError):
            raise DatabaseAway from error
        raise

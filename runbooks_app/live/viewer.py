"""The web process's side of the streams: one reader thread serves everybody who watches anything.

Each subscriber has a bounded queue. The thread reads all watched streams with one blocking `XREAD`; a new
subscription wakes it with `CLIENT UNBLOCK`. A subscriber of a stream that others watch already is given what
came before by its own `XRANGE`, up to the place where the thread goes on: nothing twice, nothing left out.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from runbooks_app.live.streams import FIELD, LENGTH, client, key

BLOCK = 1_000
"""Milliseconds of one blocking read: far below the socket's timeout, which would end the connection."""

BATCH = 500
"""Events read of each stream at once."""

BACKLOG = 2_000
"""Events that wait for a slow subscriber; beyond these he is told to look again."""

RETRY = 1.0
"""Seconds between tries to reach a Redis that is away."""

CHANGED: dict[str, Any] = {"kind": "changed"}

_log = logging.getLogger(__name__)

Events = queue.Queue[dict[str, Any]]


class _Watched:
    """A stream that somebody watches: where reading goes on, and who listens."""

    def __init__(self) -> None:
        self.position = b"0-0"
        self.queues: list[Events] = []


class Viewer:
    """Follows runs for one web process; `connected` says whether Redis answers (else nothing is told)."""

    def __init__(self, redis_url: str, password: str = "") -> None:
        self._redis = client(redis_url, password, 4.0) if redis_url else None
        self._lock = threading.Lock()
        self._watched: dict[bytes, _Watched] = {}
        self._something = threading.Event()
        self._closing = threading.Event()
        self._reader: threading.Thread | None = None
        self._reader_id: int | None = None
        self.connected = False

    @property
    def closed(self) -> bool:
        """Whether nothing more will be told, and who follows a run here shall end."""
        return self._closing.is_set()

    @contextmanager
    def subscribe(self, run_id: str) -> Iterator[Events]:
        """A queue of the run's events from the first that is kept; empty for ever where Redis is absent."""
        events: Events = queue.Queue(BACKLOG)
        if self._redis is None:
            yield events
            return
        name = key(run_id).encode()
        with self._lock:
            watched = self._watched.setdefault(name, _Watched())
            watched.queues.append(events)
            position = watched.position
            self._start()
        self._something.set()
        self._wake()
        try:
            if position != b"0-0":
                self._give_earlier(name, position, events)
            yield events
        finally:
            with self._lock:
                watched.queues.remove(events)
                if not watched.queues:
                    self._watched.pop(name, None)

    def close(self) -> None:
        """End the reader thread and let go of the connections."""
        self._closing.set()
        self._something.set()
        self._wake()
        with self._lock:  # whoever subscribes at this moment has started it by then
            reader = self._reader
        if reader is not None:
            reader.join(timeout=5)
        if self._redis is not None:
            self._redis.close()

    def _start(self) -> None:
        """Start the thread with the first subscription: a process that forks after its start has none yet."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._follow, name="live-viewer", daemon=True)
            self._reader.start()

    def _wake(self) -> None:
        if self._redis is not None and self._reader_id is not None:
            # Where this is not allowed or comes too early, the read ends by itself within BLOCK.
            with suppress(RedisError, OSError):
                self._redis.client_unblock(self._reader_id)

    def _give_earlier(self, name: bytes, until: bytes, events: Events) -> None:
        with suppress(RedisError, OSError):
            assert self._redis is not None  # noqa: S101 -- subscribe returned early without it
            entries: Any = self._redis.xrange(name, "-", until, count=LENGTH)
            for _, fields in entries:
                _put(events, _event(fields))

    def _follow(self) -> None:
        """Read until closed; a connection that broke is made anew."""
        while not self._closing.is_set():
            try:
                self._read()
            except (RedisError, OSError) as error:
                if self.connected:
                    _log.warning("Redis is away (%s); live pages look into the database.", type(error).__name__)
                self.connected = False
                self._closing.wait(RETRY)

    def _read(self) -> None:
        assert self._redis is not None  # noqa: S101 -- the thread is started only with it
        # One connection of its own: its id is what CLIENT UNBLOCK takes.
        own: Redis = self._redis.client()  # type: ignore[no-untyped-call]  # redis-py leaves this one out
        with own as reader:
            self._reader_id = int(reader.client_id())
            self.connected = True
            while not self._closing.is_set():
                with self._lock:
                    places: dict[Any, Any] = {name: watched.position for name, watched in self._watched.items()}
                    if not places:
                        self._something.clear()
                if not places:
                    self._something.wait()
                    continue
                answer: Any = reader.xread(places, count=BATCH, block=BLOCK)
                # RESP2 answers with a list of pairs, RESP3 with a map.
                streams = answer.items() if isinstance(answer, dict) else answer or ()
                for name, entries in streams:
                    self._deliver(name, entries)

    def _deliver(self, name: bytes, entries: Any) -> None:
        # RESP3 nests the entries of a stream once more.
        entries = entries[0] if entries and isinstance(entries[0], list) else entries
        with self._lock:
            watched = self._watched.get(name)
            if watched is None or not entries:
                return
            for place, fields in entries:
                watched.position = place
                event = _event(fields)
                for events in watched.queues:
                    _put(events, event)


def _event(fields: Any) -> dict[str, Any]:
    try:
        event = json.loads(fields[FIELD])
    except (KeyError, TypeError, ValueError):
        return CHANGED
    return event if isinstance(event, dict) else CHANGED


def _put(events: Events, event: dict[str, Any]) -> None:
    try:
        events.put_nowait(event)
    except queue.Full:
        # Whoever reads too slowly loses live output, never the result: the next look shows what is stored.
        with suppress(queue.Empty):
            events.get_nowait()
        with suppress(queue.Full):
            events.put_nowait(CHANGED)

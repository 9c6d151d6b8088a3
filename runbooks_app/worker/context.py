"""What every job stands on, and the lease that keeps a worker's work its own."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runbooks_app.actions.context import Service
from runbooks_app.actions.leases import renew
from runbooks_app.chat.client import Slack
from runbooks_app.core.errors import RunbooksError
from runbooks_app.kernels.engine import Engine
from runbooks_app.live.streams import Live

log = logging.getLogger(__name__)


def worker_name() -> str:
    """A name that no other worker has or had."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass
class Leases:
    """The attempts that this worker holds, renewed each second by one thread.

    An attempt that another took over, or whose run is to be cancelled, has its event set: the kernel is then
    interrupted and killed, and what it would still have written is refused by the database anyway.
    """

    service: Service
    worker: str
    _held: dict[int, threading.Event] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to renew."""
        threading.Thread(target=self._renew, name="leases", daemon=True).start()

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()

    @contextmanager
    def holding(self, attempt_id: int) -> Iterator[threading.Event]:
        """Keep an attempt alive; the event says that it is to stop."""
        stop = threading.Event()
        with self._guard:
            self._held[attempt_id] = stop
        try:
            yield stop
        finally:
            with self._guard:
                del self._held[attempt_id]

    def stop_all(self) -> None:
        """Stop every attempt: the worker shuts down."""
        with self._guard:
            for stop in self._held.values():
                stop.set()

    def _renew(self) -> None:
        while not self._stop.wait(1.0):
            with self._guard:
                held = dict(self._held)
            if not held:
                continue
            try:
                ours, cancel = renew(self.service, self.worker)
            except RunbooksError as error:
                # Nothing is stopped for it: should the lease lapse, the database refuses what comes late.
                log.warning(
                    "The leases could not be renewed: %s They lapse in %d s.",
                    error,
                    self.service.settings.lease,
                )
                continue
            for attempt_id, stop in held.items():
                if attempt_id not in ours or attempt_id in cancel:
                    stop.set()


@dataclass(frozen=True)
class Worker:
    """One worker: the service's public side, and what only workers have."""

    name: str
    service: Service
    engine: Engine
    live: Live
    slack: Slack | None
    leases: Leases
    secrets: tuple[str, ...] = field(default=(), repr=False)

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
from runbooks_app.actions.signatures import Signatures
from runbooks_app.chat.client import Slack
from runbooks_app.chat.elsewhere import Place
from runbooks_app.credentials.issuer import Issuer
from runbooks_app.kernels.engine import Engine
from runbooks_app.live.streams import Live

log = logging.getLogger(__name__)


def worker_name() -> str:
    """A name that no other worker has or had."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass
class Hold:
    """One held attempt: `stop` ends its kernel; `abandoned` says that it is no longer ours to tell of."""

    stop: threading.Event = field(default_factory=threading.Event)
    abandoned: bool = False

    def abandon(self) -> None:
        """Stop, and write nothing more."""
        self.abandoned = True
        self.stop.set()


@dataclass
class Leases:
    """The attempts that this worker holds, renewed each second by one thread.

    A hold that is to stop has its event set: the kernel is then interrupted and killed. Where that is because
    another worker took over, or because this one shuts down, nothing more is written of the attempt.
    """

    service: Service
    worker: str
    _held: dict[int, Hold] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to renew."""
        threading.Thread(target=self._renew, name="leases", daemon=True).start()

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()

    @contextmanager
    def holding(self, attempt_id: int) -> Iterator[Hold]:
        """Keep an attempt alive."""
        hold = Hold()
        with self._guard:
            self._held[attempt_id] = hold
        try:
            yield hold
        finally:
            with self._guard:
                del self._held[attempt_id]

    def abandon_all(self) -> None:
        """Give every attempt up: the worker shuts down, their leases lapse, others take over."""
        with self._guard:
            for hold in self._held.values():
                hold.abandon()

    def _renew(self) -> None:
        while not self._stop.wait(1.0):
            with self._guard:
                held = dict(self._held)
            if not held:
                continue
            try:
                ours, cancel = renew(self.service, self.worker, held)
            except Exception as error:  # noqa: BLE001 -- this thread must outlive whatever happens
                # Nothing is stopped for it: should the lease lapse, the database refuses what comes late.
                log.warning(
                    "The leases could not be renewed: %s They lapse in %d s.", error, self.service.settings.lease
                )
                continue
            for attempt_id, hold in held.items():
                if attempt_id in cancel:
                    hold.stop.set()
                elif attempt_id not in ours:
                    hold.abandon()


@dataclass(frozen=True)
class Worker:
    """One worker: the service's public side, and what only workers have."""

    name: str
    service: Service
    engine: Engine
    live: Live
    slack: Slack | None
    leases: Leases
    signatures: Signatures
    secrets: tuple[str, ...] = field(default=(), repr=False)
    issuer: Issuer | None = None
    elsewhere: tuple[Place, ...] = ()
    telling: threading.Lock = field(default_factory=threading.Lock)
    """Held for as long as telling has a session at the database: it has one at most, of the few that jobs share."""

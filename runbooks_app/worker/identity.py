"""Looks after the keys of the run identity, in each worker: publishes them, changes them in time, lets old ones go."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime

from opentelemetry import metrics

from runbooks_app.actions import identity
from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.core.errors import Misconfigured, RunbooksError, Unavailable
from runbooks_app.core.run_identity import turn
from runbooks_app.credentials.issuer import Issuer
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two turns."""
AGAIN = 5.0
"""Seconds until a turn that failed is tried again."""

_FAILED = metrics.get_meter("runbooks.identity").create_counter(
    "runbooks.identity.failures", unit="{turn}", description="Turns in which the keys could not be looked after."
)


def look_after(service: Service, worker: str, issuer: Issuer, *, now: datetime | None = None) -> None:
    """One turn. `now` is the database's time, unless a test moves it.

    A key is written before it is published and signs afterwards, so that no token is signed by a key that nobody
    finds; withdrawn before it is removed, so that none is found that nobody has.
    """
    usable = issuer.usable()
    with issuer.folder.locked():
        while True:
            keys = issuer.folder.keys()
            public = [key.as_dict(private=False) for key in keys.values()]
            standing = identity.publish(service, worker, public, now=now)
            for kid in standing.withdrawn:
                log.warning("Key %s of the run identity was withdrawn: its private half is removed.", kid)
                issuer.folder.remove(kid)
            plan = turn(standing.published, standing.now, service.settings.identity_key_days, usable)
            if not plan.make:
                break
            issuer.folder.make()
        for done in plan.withdraw:
            identity.withdraw(service, worker_actor(worker), done.kid, identity.DONE, now=now)
            issuer.folder.remove(done.kid)
        if plan.signs is not None:
            issuer.sign_with(keys[plan.signs.kid])
        else:
            told = f"No key of the run identity is published at {issuer.jwks_uri} yet."
            issuer.fail(Misconfigured(f"{told} Put there what `runbooks identity jwks` prints."), at_once=True)
    for kid in identity.withdraw_forgotten(service, worker, now=now):
        log.warning("Key %s of the run identity was withdrawn: no worker has had it for a day.", kid)


@dataclass
class Keeper:
    """One thread of a worker that takes turns, where it has a run identity."""

    worker: Worker
    _stop: threading.Event = field(default_factory=threading.Event)
    _told: str = ""

    def start(self) -> None:
        """Take the first turn before this returns: runs that are about to begin want tokens."""
        if self.worker.issuer is not None:
            wait = self._turn(self.worker.issuer)
            threading.Thread(target=self._go_on, args=(self.worker.issuer, wait), name="keys", daemon=True).start()

    def stop(self) -> None:
        """Take no more turns."""
        self._stop.set()

    def _go_on(self, issuer: Issuer, wait: float) -> None:
        while not self._stop.wait(wait):
            wait = self._turn(issuer)

    def _turn(self, issuer: Issuer) -> float:
        """Take one; seconds until the next."""
        try:
            look_after(self.worker.service, self.worker.name, issuer)
        except Exception as error:  # noqa: BLE001 -- this thread must outlive whatever happens
            _FAILED.add(1)
            trouble = error if isinstance(error, RunbooksError) else Unavailable(f"A defect: {error!r}. Report it.")
            if str(trouble) != self._told:  # it is tried again every few seconds
                log.error("The keys of the run identity could not be looked after: %s", trouble)  # noqa: TRY400
                self._told = str(trouble)
            issuer.fail(trouble)
            return AGAIN
        self._told = ""
        return EVERY

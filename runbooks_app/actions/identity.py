"""The keys of the run identity in public: published before they sign, withdrawn when they are done.

Each worker publishes those that it has in its folder. Times are the database's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import NotFound
from runbooks_app.core.people import Actor
from runbooks_app.core.run_identity import FORGOTTEN, Key
from runbooks_app.core.writing import LONGEST_REASON, written
from runbooks_app.store import identity_keys
from runbooks_app.store.database import transaction

DONE = "Its successor has signed for long enough."
LEFT = "No worker has had it in its folder for a day."


@dataclass(frozen=True)
class Standing:
    """How the keys of a folder stand in public at `now`: those that are published, and those that were withdrawn."""

    now: datetime
    published: tuple[Key, ...]
    withdrawn: tuple[str, ...]


def publish(
    service: Service, worker: str, keys: Iterable[Mapping[str, Any]], *, now: datetime | None = None
) -> Standing:
    """Publish the public halves (JWKs) of a worker's keys; one that is known already is noted as still at hand.

    When this returns they are committed: only then may they sign. One that was withdrawn stays so.
    """
    shown = [identity_keys.public(key) for key in keys]
    with transaction(service.engine) as tx:
        at = now or tx.now
        for jwk in shown:
            if identity_keys.publish(tx, jwk, at):
                tx.audit(worker_actor(worker), Event.IDENTITY_KEY_PUBLISHED, {"key": jwk["kid"]}, {"jwk": jwk})
        found = identity_keys.seen(tx, [jwk["kid"] for jwk in shown], at)
    return Standing(
        at,
        tuple(key for key in found.values() if key is not None),
        tuple(kid for kid, key in found.items() if key is None),
    )


def withdraw(service: Service, actor: Actor, kid: str, reason: str, *, now: datetime | None = None) -> None:
    """Serve a key no longer: tokens that it signed are believed no more. Raises `NotFound` where it is not served."""
    reason = written("reason", reason, LONGEST_REASON)
    with transaction(service.engine) as tx:
        if not identity_keys.withdraw(tx, kid, now or tx.now):
            raise NotFound(f"No key {kid} is published. `runbooks identity jwks` lists those that are.")
        tx.audit(actor, Event.IDENTITY_KEY_WITHDRAWN, {"key": kid}, {"reason": reason})


def withdraw_forgotten(service: Service, worker: str, *, now: datetime | None = None) -> list[str]:
    """Withdraw keys of workers that are no more; those withdrawn."""
    with transaction(service.engine) as tx:
        at = now or tx.now
        left = [kid for kid in identity_keys.unseen_since(tx, at - FORGOTTEN) if identity_keys.withdraw(tx, kid, at)]
        for kid in left:
            tx.audit(worker_actor(worker), Event.IDENTITY_KEY_WITHDRAWN, {"key": kid}, {"reason": LEFT})
    return left

"""Keeping a worker's attempts its own."""

from __future__ import annotations

from collections.abc import Iterable

from runbooks_app.actions.context import Service
from runbooks_app.store import runs
from runbooks_app.store.database import transaction


def renew(service: Service, worker: str, held: Iterable[int]) -> tuple[set[int], set[int]]:
    """Renew the leases of held attempts: those that are still the worker's own, and those to be cancelled."""
    with transaction(service.engine) as tx:
        return runs.renew_leases(tx, worker, held, service.settings.lease)

"""Keeping a worker's attempts its own."""

from __future__ import annotations

from runbooks_app.actions.context import Service
from runbooks_app.store import runs
from runbooks_app.store.database import transaction


def renew(service: Service, worker: str) -> tuple[set[int], set[int]]:
    """Renew the worker's leases: attempts that are still its own, and those whose run is to be cancelled."""
    with transaction(service.engine) as tx:
        return runs.renew_leases(tx, worker, service.settings.lease)

"""Taking a chat's delivery once, where what follows is no run (`request_run` does the same in its own transaction)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.store import people
from runbooks_app.store.database import transaction

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service


def first_delivery(service: Service, key: str) -> bool:
    """Whether this is delivered for the first time; remembered before anything is done about it."""
    with transaction(service.engine) as tx:
        return people.first_delivery(tx, key)

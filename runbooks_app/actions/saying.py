"""What is said to a person in the chat, once: a job of its own, for only workers hold the chat's token.

Its arguments hold what is said and where. What somebody unknown gets in place of it, the link to sign in by, is made
by the worker that sends it: no such link stands in a job.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbooks_app.actions.context import Service
from runbooks_app.actions.delivering import Taken, once
from runbooks_app.store.database import transaction

AHEAD = 10
"""Priority of answers before whatever else is told: somebody looks at the place where they asked."""


@dataclass(frozen=True)
class Place:
    """Where somebody is answered: through the address that came with what they pressed, else in the channel's thread.

    `alone`: for their eyes only; an address of the chat always is.
    """

    team: str
    user: str
    user_name: str
    channel: str = ""
    thread_ts: str = ""
    response_url: str = ""
    alone: bool = True

    def as_json(self) -> dict[str, Any]:
        """A job's argument."""
        return dict(vars(self))


def say(service: Service, place: Place, message: Mapping[str, Any] | None, *, delivery: str) -> None:
    """Say this once, however often it is delivered; without a message: the link to sign in by, for their eyes only."""
    try:
        with transaction(service.engine) as tx:
            once(tx, f"{delivery}:said")
            said = message and dict(message)
            tx.defer("answer", priority=AHEAD, place=place.as_json(), message=said, key=delivery, asked_at=time.time())
    except Taken:
        return


def open_form(service: Service, trigger_id: str, view: Mapping[str, Any], *, at: float, delivery: str) -> None:
    """Have a form opened over the person's chat. A trigger is good for three seconds from `at` (since the epoch).

    Raises `Taken` where this was delivered before.
    """
    with transaction(service.engine) as tx:
        once(tx, delivery)
        if trigger_id:
            tx.defer("open_form", trigger_id=trigger_id, view=dict(view), asked_at=at)

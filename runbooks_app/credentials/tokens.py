"""Tokens: the run's own, and one that lapses while a stage goes on and is followed by another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runbooks_app.core.errors import Misconfigured, RunbooksError
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.credentials.provider import Endpoint, Purpose

log = logging.getLogger(__name__)

RENEWED_AT = 30.0
"""Seconds that are left of a token when another takes its place; of one that lasts less than a minute, half of it."""


def run_token(connection: Endpoint, purpose: Purpose, audience: str) -> str:
    """A token of the run's own for this audience. Raises `Misconfigured` where the service has no run identity."""
    if purpose.identity is None:
        raise Misconfigured(
            f"{connection.name} is opened by a run token, and this service has no run identity. "
            "Name a folder for its keys by the setting RUNBOOKS_IDENTITY_KEYS."
        )
    return purpose.identity(audience)


@dataclass(frozen=True)
class Token:
    """One that was given: good for so many `seconds` from when it was asked for. `scope` is what it may do."""

    value: str = field(repr=False)
    seconds: float
    scope: str = ""


class Bearer:
    """A token in use: the one of this moment, and the `secrets` of all that there were.

    `ask` has another one given; `renewed` is told, before that is used, how many seconds it lasts.
    """

    def __init__(self, ask: Callable[[], Token], renewed: Callable[[int], None] | None = None) -> None:
        self._ask, self._renewed = ask, renewed
        self._one_at_a_time = threading.Lock()
        self.secrets: list[str] = []
        self.token, self._until = self._another()

    def authorize(self, _: Outgoing) -> Mapping[str, str]:
        """The header with the token, after a renewal where that is due."""
        with self._one_at_a_time:
            left = self._until - time.monotonic()
            if left < min(RENEWED_AT, self.token.seconds / 2):
                try:
                    token, until = self._another()
                    if self._renewed is not None:
                        self._renewed(int(token.seconds))
                    self.token, self._until = token, until
                except RunbooksError as error:
                    if left <= 0:
                        raise
                    log.warning("A token goes on for %.0f s, for there is no other one yet: %s", left, error)
            return {"Authorization": f"Bearer {self.token.value}"}

    def _another(self) -> tuple[Token, float]:
        begun = time.monotonic()
        token = self._ask()
        self.secrets.append(telltale(token.value))
        return token, begun + token.seconds


def telltale(token: str) -> str:
    """The part without which a token opens nothing: of a JWT, its signature. What it says is no secret, and long."""
    parts = token.split(".")
    return parts[2] if len(parts) == 3 and token.startswith("eyJ") and len(parts[2]) > 40 else token

"""The run's own token, and what lapses while a stage goes on and is followed by another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from runbooks_app.core.errors import Misconfigured, RunbooksError
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.credentials.provider import Endpoint, Purpose

log = logging.getLogger(__name__)

RENEWED_AT = 30.0
"""Seconds that are left of one when another takes its place; of one that lasts less than a minute, half of it."""


def run_token(connection: Endpoint, purpose: Purpose, audience: str) -> str:
    """A token of the run's own for this audience. Raises `Misconfigured` where the service has no run identity."""
    if purpose.identity is None:
        raise Misconfigured(
            f"{connection.name} is opened by a run token, and this service has no run identity. "
            "Name a folder for its keys by the setting RUNBOOKS_IDENTITY_KEYS."
        )
    return purpose.identity(audience)


class Lapsing(Protocol):
    """What a system gave for a while."""

    @property
    def seconds(self) -> float:
        """For how long it is good, from when it was asked for."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that gives it away."""


Given = TypeVar("Given", bound=Lapsing)


class InUse(Generic[Given]):
    """What lapses while a stage goes on, and is followed by another: the one of this moment is `held`.

    `ask` has another one given; `renewed` is told, before that is used, how many seconds it lasts. `secrets` are of all
    that there were.
    """

    def __init__(self, ask: Callable[[], Given], renewed: Callable[[int], None] | None = None) -> None:
        self._ask, self._renewed = ask, renewed
        self._one_at_a_time = threading.Lock()
        self.secrets: list[str] = []
        self.held, self._until = self._another()

    def now(self) -> Given:
        """The one to use now, after a renewal where that is due."""
        with self._one_at_a_time:
            left = self._until - time.monotonic()
            if left < min(RENEWED_AT, self.held.seconds / 2):
                try:
                    held, until = self._another()
                    if self._renewed is not None:
                        self._renewed(int(held.seconds))
                    self.held, self._until = held, until
                except RunbooksError as error:
                    if left <= 0:
                        raise
                    log.warning("A credential goes on for %.0f s, for there is no other one yet: %s", left, error)
            return self.held

    def _another(self) -> tuple[Given, float]:
        begun = time.monotonic()
        given = self._ask()
        self.secrets += given.secrets
        return given, begun + given.seconds


@dataclass(frozen=True)
class Token:
    """One that was given: good for so many `seconds` from when it was asked for. `scope` is what it may do."""

    value: str = field(repr=False)
    seconds: float
    scope: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The part without which it opens nothing."""
        return (telltale(self.value),)


class Bearer(InUse[Token]):
    """A token in use, as HTTP systems are given it."""

    def authorize(self, _: Outgoing) -> Mapping[str, str]:
        """The header with the token."""
        return {"Authorization": f"Bearer {self.now().value}"}


def telltale(token: str) -> str:
    """The part without which a token opens nothing: of a JWT, its signature. What it says is no secret, and long."""
    parts = token.split(".")
    return parts[2] if len(parts) == 3 and token.startswith("eyJ") and len(parts[2]) > 40 else token

"""What a provider of credentials is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from runbooks_app.core.outgoing import Authorize
from runbooks_app.core.run_identity import Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Credential", "Endpoint", "Provider", "Purpose", "Source"]


class Endpoint(Protocol):
    """The part of a connection that a provider needs."""

    @property
    def name(self) -> str:
        """Name of the connection, for messages."""

    @property
    def host(self) -> str:
        """Host of the system."""

    @property
    def port(self) -> int:
        """Port of the system."""

    @property
    def database(self) -> str:
        """Database on it."""

    @property
    def url(self) -> str:
        """Where it is, if it speaks HTTP."""


class Source(Protocol):
    """Where a connection's credentials for one stage come from, as the connections file says."""

    @property
    def provider(self) -> str:
        """Name of the provider."""

    @property
    def options(self) -> Mapping[str, str]:
        """Its options; paths are absolute."""


@dataclass(frozen=True)
class Credential:
    """A credential while it lives.

    `identity` is who one logs in as, and no secret. `expires_at` is by the system's own clock; None for one that
    stays as it is. `note` is empty, or tells people what is unusual about it. `scope` is what it may do, as far as
    the system that gave it said so.

    An HTTP system is given it by `authorize`, for each request anew; where it `signs_body`, the request's body is read
    whole first. `secrets` are all that gives it away, in whichever form it is sent: one that is renewed adds to them.
    """

    identity: str
    secret: str = field(repr=False)
    expires_at: datetime | None
    note: str = ""
    scope: str = ""
    authorize: Authorize | None = field(default=None, repr=False, compare=False)
    signs_body: bool = False
    secrets: list[str] = field(default_factory=list, repr=False)


class Provider(Protocol):
    """Mints and takes back credentials of one stage of a connection.

    A stage keeps its provider from mint to revoke, so that it can remember what only its memory may hold. A sweep has a
    new one. All raise `Unavailable` where the system cannot be reached or refuses, `Misconfigured` where somebody
    has to set something up first; both name the connection and the mend.
    """

    def mint(self, connection: Endpoint, purpose: Purpose) -> Credential:
        """Make a new credential."""

    def revoke(self, connection: Endpoint, identity: str) -> bool:
        """End it; whether it is gone. False where nothing but time ends it, or no longer anybody who could."""

    def sweep(self, connection: Endpoint, live: frozenset[str]) -> list[str]:
        """Revoke what this provider made and what has expired or is not `live`; those revoked."""


class EndsByItself:
    """A provider whose credentials nobody has to look for: what a killed worker held ends by time, or never does."""

    def sweep(self, connection: Endpoint, live: frozenset[str]) -> list[str]:  # noqa: ARG002  others need them
        """Nothing."""
        return []

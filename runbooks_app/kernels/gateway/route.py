"""One connection as a kernel of this stage may reach it: where it is, what may be sent, and the credential."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from runbooks_app.core.http_rules import Rule
from runbooks_app.core.outgoing import Authorize

NONCE_HEADER = "X-Runbooks-Nonce"
"""Every request to an HTTP connection's port carries the run's nonce in it; it goes no further."""

TOLD_HEADER = "X-Runbooks-Gateway"
"""Stands in answers that are the gateway's own (`refused`, `unavailable`, `timeout`), and in no other."""


@dataclass(frozen=True)
class Route:
    """Where a connection leads. For `http`: `base` is the path of its url, without a slash at the end.

    `authorize` gives the credential to each request; where it `signs_body`, that is read whole first. `secrets` are
    what must never come back: there are more of them once it has renewed itself. `trusted` are the certificates to
    believe, where they are not the machine's. `rules` say which requests pass; a database has none. `stage` is the
    credential's: `diagnose` or `remediate`.
    """

    name: str
    kind: Literal["postgres", "http"]
    host: str
    port: int
    stage: str = "diagnose"
    tls: bool = False
    base: str = ""
    authorize: Authorize | None = field(default=None, repr=False, compare=False)
    signs_body: bool = False
    rules: tuple[Rule, ...] = ()
    secrets: Sequence[str] = field(default=(), repr=False)
    trusted: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    @property
    def authority(self) -> str:
        """What the system expects as its own name: host, and the port where it is not the scheme's."""
        usual = 443 if self.tls else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == usual else f"{host}:{self.port}"

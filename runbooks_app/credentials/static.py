"""`static`: a token or password that stands in a file, for HTTP systems that can do no better.

It is the same for every run, so nothing ends it with the stage. What bounds it: it stays in the worker, whose gateway
puts it on the requests that the stage's rules let through. Rotate it where it was made; the file is read for each
stage anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from runbooks_app.core.errors import Misconfigured
from runbooks_app.credentials.presenting import present
from runbooks_app.credentials.provider import Credential, Endpoint, EndsByItself, Purpose

SHORTEST = 8
"""Characters; a shorter secret could not be told from harmless text where outputs are searched for it."""

NOTE = "It is the same for every run and does not end with the stage: rotate it where it was made."


@dataclass(frozen=True)
class Static(EndsByItself):
    """Hands out what stands in `secret_file`, as the value of `header` after `scheme`."""

    header: str
    scheme: str
    secret_file: Path

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Build it from the options of the connections file."""
        return cls(options["header"], options["scheme"], Path(options["secret_file"]))

    def mint(self, connection: Endpoint, purpose: Purpose) -> Credential:
        """Read the file; the identity tells one stage's use of it from another's in the trail."""
        secret = self._read(connection)
        headers, parts = present(secret, self.header, self.scheme)
        return Credential(
            identity=f"static_{purpose.stage}_{secrets.token_hex(8)}",
            secret=secret,
            expires_at=None,
            note=NOTE,
            authorize=lambda _: headers,
            secrets=parts,
        )

    def revoke(self, connection: Endpoint, identity: str) -> bool:  # noqa: ARG002  others need them
        """Nothing: it stays as it is."""
        return False

    def _read(self, connection: Endpoint) -> str:
        try:
            secret = self.secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                f"{connection.name}: its credential cannot be read from {self.secret_file} "
                f"({getattr(error, 'strerror', 'not UTF-8')}). Let the worker's user read that file."
            ) from None
        if len(secret) < SHORTEST or not secret.isascii() or not secret.isprintable():
            raise Misconfigured(
                f"{connection.name}: {self.secret_file} must hold one line of at least {SHORTEST} plain characters."
            )
        if self.scheme.lower() == "basic" and not all(secret.partition(":")):
            raise Misconfigured(f"{connection.name}: {self.secret_file} must hold user:password for the scheme Basic.")
        return secret

"""`kubernetes`: the run token itself, for a cluster whose API server trusts this service as an OpenID issuer.

The cluster maps the token's claims to a user and groups, to which RBAC gives what each stage may do:
`runbooks identity show kubernetes` prints both. The token is sent by the gateway alone, and renewed before it lapses.
Nobody can take it back: it ends by itself five minutes after it was signed.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

from runbooks_app.core.run_identity import TOKEN_SECONDS
from runbooks_app.credentials.provider import Credential, Endpoint, EndsByItself, Purpose
from runbooks_app.credentials.tokens import Bearer, Token, run_token


@dataclass(frozen=True)
class Kubernetes(EndsByItself):
    """Signs run tokens for `audience`, which the API server asks for."""

    audience: str

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Build it from the options of the connections file."""
        return cls(**options)

    def mint(self, connection: Endpoint, purpose: Purpose) -> Credential:
        """Sign a token; for as long as the credential is used another one follows in time."""
        identity = f"run_token_{purpose.stage}_{secrets.token_hex(8)}"
        bearer = Bearer(
            lambda: Token(run_token(connection, purpose, self.audience), TOKEN_SECONDS),
            partial(purpose.renewed, identity) if purpose.renewed else None,
        )
        return Credential(
            identity=identity,
            secret=bearer.held.value,
            expires_at=datetime.now(UTC) + timedelta(seconds=TOKEN_SECONDS),
            scope=f"audience {self.audience}",
            authorize=bearer.authorize,
            secrets=bearer.secrets,
        )

    def revoke(self, connection: Endpoint, identity: str) -> bool:  # noqa: ARG002  others need them
        """Nothing but time ends a run token."""
        return False

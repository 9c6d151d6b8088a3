"""Both sides of a run token: an issuer, and what stands behind every system that trusts it."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey
from kernels.gateway.servers import HOST, System, answer, http_server

from runbooks_app.core.run_identity import Purpose, claims, discovery

RUNBOOK = "1f0c3a52-7b64-4c8f-9d2e-5a6b7c8d9e0f"


class NotTrustedError(Exception):
    """This token opens nothing here."""


@dataclass
class Trust:
    """A relying party: reads the issuer's discovery document, then its keys, as clouds and Vault do.

    `clock` is in seconds since 1970; a test may set it wrong. `seen` are claims of what was believed, of `tokens`.
    """

    issuer: str
    clock: Any = time.time
    leeway: float = 60
    seen: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature, issuer and times hold; which audience is for the caller to say."""
        with httpx.Client(trust_env=False) as client:
            document = client.get(f"{self.issuer}/.well-known/openid-configuration").raise_for_status().json()
            keys = KeySet.import_key_set(client.get(document["jwks_uri"]).raise_for_status().json())
        if document["issuer"] != self.issuer:
            raise NotTrustedError("the issuer says that it is another")
        try:
            decoded = jwt.decode(token, keys, algorithms=["RS256"])
        except (JoseError, ValueError) as error:
            raise NotTrustedError(f"error verifying token signature: {type(error).__name__}") from None
        claims, now = decoded.claims, self.clock()
        if claims.get("iss") != self.issuer:
            raise NotTrustedError("invalid issuer (iss) claim")
        if not claims["nbf"] - self.leeway <= now:
            raise NotTrustedError("token is not valid yet (nbf)")
        if not now < claims["exp"] + self.leeway:
            raise NotTrustedError("token is expired (exp)")
        self.seen.append(claims)
        self.tokens.append(token)
        return claims


@dataclass
class Issuer:
    """An issuer of run tokens: its documents over HTTP, and a key that signs. `clock` may be set wrong."""

    port: int
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048))
    clock: Any = time.time
    given: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def keys(self) -> str:
        return f"{self.url}/.well-known/jwks.json"

    def token(self, audience: str, purpose: Purpose) -> str:
        """A run token, as workers sign it."""
        said = claims(purpose, issuer=self.url, audience=audience, now=self.clock(), jti=secrets.token_hex(8))
        token = jwt.encode({"alg": "RS256", "kid": self.key.thumbprint(), "typ": "JWT"}, said, self.key)
        self.given.append(token)
        return token

    def purpose(self, stage: str = "diagnose", **given: Any) -> Purpose:
        """A run of RUNBOOK, whose tokens come from here."""
        known: dict[str, Any] = {
            "lifetime": 600,
            "runbook_id": RUNBOOK,
            "runbook_digest": "sha256:a",
            "params_digest": "sha256:b",
            "environment": "production",
            "requesters": ("https://idp#ana",),
        }
        if stage == "remediate":
            known |= {"proposal_id": "p-1", "proposal_digest": "sha256:c", "approvers": ("https://idp#ben",)}
        purpose = Purpose("run-1", stage, **(known | given))
        return replace(purpose, identity=lambda audience: self.token(audience, purpose))


@contextlib.contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer that is up."""

    def serve(handler: Any, system: System) -> None:
        documents = {
            "/.well-known/openid-configuration": discovery(issuer.url, issuer.keys),
            "/.well-known/jwks.json": {"keys": [{**issuer.key.as_dict(private=False), "kid": issuer.key.thumbprint()}]},
        }
        answer(handler, json.dumps(documents[handler.path]).encode())

    with http_server(serve) as system:
        issuer = Issuer(system.port)
        yield issuer


def subject(stage: str) -> str:
    """What RUNBOOK is in a stage, to whoever trusts it."""
    return f"runbook:{RUNBOOK}:env:production:stage:{stage}"

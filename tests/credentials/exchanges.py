"""An authorization server that exchanges run tokens (RFC 8693) and ends what it gave (RFC 7009).

Like a real one it verifies the run token by the issuer's published keys, and holds it against what
`runbooks identity show token-exchange` prints, and against rules of its own: which stage may have which scope. What
opens nothing is told in the terms of RFC 6749.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from credentials.trusting import NotTrustedError, Trust
from kernels.gateway.servers import HOST, System, answer, body_of, http_server
from printed_policies import files

from runbooks_app.core.trust import Trusted, token_exchange

Spoiled = Callable[[dict[str, Any]], Any]


@dataclass
class ExchangeServer:
    """A running one. `client` is whom it wants to prove itself; `spoil` changes what it gives."""

    port: int = 0
    trusted: dict[str, Any] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=lambda: {"diagnose": "read", "remediate": "read write"})
    audience: str = ""
    client: tuple[str, str] | None = None
    lasts: int = 120
    spoil: Spoiled = lambda given: given
    published: dict[str, Any] = field(default_factory=dict)
    revoking: tuple[int, dict[str, str]] = (200, {})
    given: dict[str, str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def trust(self, issuer: str, runbooks: tuple[str, ...]) -> None:
        """Take what `runbooks identity show token-exchange` prints for these."""
        keys = f"{issuer}/.well-known/jwks.json"
        printed = token_exchange(Trusted(issuer, keys, "production", runbooks, audience=self.url))
        self.trusted = files(printed)["runbooks.trust.json"]

    def exchange(self, asked: dict[str, str]) -> tuple[int, Any]:
        """Give a token, or say by RFC 6749 why not."""
        trusted = self.trusted
        if asked.get("subject_token_type") != trusted["subject_token_type"]:
            return 400, {"error": "invalid_request", "error_description": "no subject_token of that type"}
        try:
            claims = Trust(trusted["issuer"]).claims(asked["subject_token"])
        except NotTrustedError as error:
            return 400, {"error": "invalid_grant", "error_description": f"{error}: {asked['subject_token']}"}
        stage = trusted["stages"].get(claims["stage"], {})
        if (
            claims["aud"] != trusted["audience"]
            or any(claims[name] != value for name, value in stage["claims"].items())
            or claims["sub"] not in stage["subjects"]
            or not claims["sub"].endswith(f":stage:{claims['stage']}")
        ):
            return 400, {"error": "invalid_grant", "error_description": f"{claims['sub']} is not trusted"}
        if asked.get("audience", "") != self.audience:
            return 400, {"error": "invalid_target", "error_description": "no such audience"}
        if not set(asked["scope"].split()) <= set(self.scopes[claims["stage"]].split()):
            return 400, {"error": "invalid_scope", "error_description": f"{claims['stage']} may not {asked['scope']}"}
        token = secrets.token_urlsafe(24)
        self.given[token] = asked["scope"]
        self.claims.append(claims)
        return 200, self.spoil(
            {
                "access_token": token,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": self.lasts,
                "scope": asked["scope"],
            }
        )

    def may(self, authorization: str, scope: str) -> bool:
        """What a system asks it: whether this header's token may do that now."""
        token = authorization.removeprefix("Bearer ")
        return token not in self.ended and scope in self.given.get(token, "").split()

    def proven(self, authorization: str) -> bool:
        """Whether the client is the one that is wanted (RFC 6749, 2.3.1)."""
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        return self.client is None or tuple(map(unquote_plus, pair.split(":"))) == self.client

    def serve(self, handler: Any, _: System) -> None:
        """Answer one request."""
        body = body_of(handler)
        if handler.path == "/.well-known/openid-configuration":
            answer(handler, json.dumps(self.published).encode())
            return
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.asked.append({"path": handler.path, **asked})
        if not self.proven(handler.headers.get("Authorization", "")):
            status, found = 401, {"error": "invalid_client"}
        elif handler.path == "/revoke":
            status, found = self.revoking
            self.ended += [asked["token"]] if status == 200 else []
        else:
            status, found = self.exchange(asked)
        answer(handler, found if isinstance(found, bytes) else json.dumps(found).encode(), status)


@contextlib.contextmanager
def exchanging(issuer: str, *runbooks: str) -> Iterator[ExchangeServer]:
    """A server that trusts the run tokens of this issuer, of these runbooks."""
    server = ExchangeServer()
    with http_server(server.serve) as system:
        server.port = system.port
        url = server.url
        server.published = {"issuer": url, "token_endpoint": f"{url}/token", "revocation_endpoint": f"{url}/revoke"}
        server.trust(issuer, runbooks)
        yield server

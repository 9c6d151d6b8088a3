"""`token-exchange`: an access token for this stage, given by an authorization server for the run token (RFC 8693).

    discovery   <issuer>/.well-known/openid-configuration     where there is no `token_url` (OpenID Connect Discovery)
    exchange    POST token endpoint                           the run token for an audience and the scope of the stage
    end         POST revocation endpoint                      where the server has one (RFC 7009); else time ends it

The token stays in the worker, whose gateway sends it. It is exchanged anew before it lapses. Only the memory of this
worker has it: what a killed one held ends by itself.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote_plus, urlencode

from runbooks_app.asking import Answer, ask, told
from runbooks_app.core.addresses import keeps_secrets
from runbooks_app.core.errors import Misconfigured, RunbooksError, Unavailable
from runbooks_app.credentials.provider import Credential, Endpoint, EndsByItself, Purpose
from runbooks_app.credentials.tokens import Bearer, Token, run_token

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name of RFC 8693, 3
GIVEN = frozenset((ACCESS_TOKEN, JWT, ""))
"""Types of what may be given, RFC 8693, 3; some servers tell none."""

DISCOVERED_FOR = 3600.0
"""Seconds for which what a server publishes about itself is good."""

SECRET = re.compile(r"[A-Za-z0-9._~+/-]{8,}=*")
"""What can be a bearer token (RFC 6750, 2.1), and is long enough to be told from harmless text."""

MENDS = {
    "invalid_client": "Check client_id, and the secret in client_secret_file.",
    "unauthorized_client": "Let this client use the grant type of token exchange.",
    "unsupported_grant_type": "Let the server offer token exchange (RFC 8693).",
    "invalid_scope": "Let it give that scope to this client and to the run's subject.",
    "invalid_target": "Check audience.",
    "access_denied": "Let it give that scope to the run's subject.",
}
"""By the server's code of an error, RFC 6749, 5.2 and RFC 8693, 2.2.2."""
MISTRUST = (
    "Let it trust this service's run tokens: their issuer, `aud` ({audience}) and `sub`, as `runbooks identity show` "
    "tells."
)

_discovered: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = {}


@dataclass(frozen=True)
class TokenExchange(EndsByItself):
    """Asks for `scope` at `audience`, by a run token for `subject_audience`.

    The server is found by its `issuer` or by `token_url`. Where it wants the client to prove itself, `client_id` does
    with what stands in `client_secret_file`.
    """

    issuer: str
    token_url: str
    revocation_url: str
    audience: str
    scope: str
    subject_audience: str
    client_id: str
    client_secret_file: str
    ca_file: str
    _held: dict[str, Bearer] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Build it from the options of the connections file."""
        return cls(**options)

    def mint(self, connection: Endpoint, purpose: Purpose) -> Credential:
        """Exchange the run token; for as long as the credential is used another one follows in time."""
        identity = f"exchanged_{purpose.stage}_{secrets.token_hex(8)}"
        bearer = Bearer(
            partial(self._exchange, connection, purpose),
            partial(purpose.renewed, identity) if purpose.renewed else None,
        )
        self._held[identity] = bearer
        return Credential(
            identity=identity,
            secret=bearer.held.value,
            expires_at=datetime.now(UTC) + timedelta(seconds=bearer.held.seconds),
            scope=bearer.held.scope,
            authorize=bearer.authorize,
            secrets=bearer.secrets,
        )

    def revoke(self, connection: Endpoint, identity: str) -> bool:
        """End the token where the server has a way to. The one before it had half a minute left when it was renewed."""
        bearer = self._held.get(identity)
        url = self.revocation_url or self._published(connection).get("revocation_endpoint", "") if bearer else ""
        if bearer is None or not url:
            return False
        answer = self._ask(connection, url, {"token": bearer.held.value, "token_type_hint": "access_token"})
        if answer.object().get("error") == "unsupported_token_type":  # RFC 7009, 2.2.1: of this kind it ends none
            return False
        if answer.status != HTTPStatus.OK:
            raise self._refused(connection, answer, "did not end the token", bearer.held.value)
        del self._held[identity]
        return True

    @property
    def _server(self) -> str:
        return self.issuer or self.token_url

    def _exchange(self, connection: Endpoint, purpose: Purpose) -> Token:
        """One exchange, RFC 8693, 2."""
        url = self.token_url or self._published(connection).get("token_endpoint", "")
        subject = run_token(connection, purpose, self.subject_audience)
        asked = {
            "grant_type": EXCHANGE,
            "subject_token": subject,
            "subject_token_type": JWT,
            "requested_token_type": ACCESS_TOKEN,
            "scope": self.scope,
        }
        answer = self._ask(connection, url, asked | ({"audience": self.audience} if self.audience else {}))
        if answer.status != HTTPStatus.OK:
            raise self._refused(connection, answer, f"gave no token of scope {self.scope!r}", subject)
        return self._token(connection, answer.object())

    def _token(self, connection: Endpoint, given: Mapping[str, Any]) -> Token:
        """What may be used of an answer, RFC 8693, 2.2.1."""
        value, seconds, scope = given.get("access_token"), given.get("expires_in"), given.get("scope", self.scope)
        if not isinstance(value, str) or not SECRET.fullmatch(value):
            fault, mend = "answered without an access token", "Check that this is its token endpoint."
        elif str(given.get("token_type", "")).lower() != "bearer" or given.get("issued_token_type", "") not in GIVEN:
            fault, mend = "gave a token that is no bearer token", "Let it give plain access tokens to this client."
        elif isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
            fault, mend = "gave a token without telling when it ends", "Let its answers have expires_in, in seconds."
        elif not isinstance(scope, str) or (more := set(scope.split()) - set(self.scope.split())):
            named = " ".join(sorted(more)) if isinstance(scope, str) else "no text"
            fault = f"gave more than was asked for: {told(named)}"
            mend = "Take that away from this client, or name it in scope where this stage may have it."
        else:
            return Token(value, seconds, scope)
        raise Misconfigured(f"{self._place(connection)} {fault}. {mend}")

    def _published(self, connection: Endpoint) -> Mapping[str, Any]:
        """What the server tells of itself; nothing where its addresses are given."""
        if not self.issuer:
            return {}
        until, found = _discovered.get((self.issuer, self.ca_file), (0.0, {}))
        if time.monotonic() < until:
            return found
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        answer = ask(self._place(connection), "GET", url, ca_file=self.ca_file)
        found = answer.object()
        named = [found.get(name) for name in ("token_endpoint", "revocation_endpoint")]
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable(f"{self._place(connection)} answered {answer.status} to {url}. Try again.")
        if answer.status != HTTPStatus.OK or found.get("issuer") != self.issuer:
            fault = f"does not say at {url} that it is the issuer {self.issuer}"
        elif not all(isinstance(place, str) and keeps_secrets(place) for place in named if place is not None):
            fault = f"names endpoints at {url} that nothing secret may be sent to"
        elif named[0] is None and not self.token_url:
            fault = f"names no token endpoint at {url}"
        else:
            _discovered[self.issuer, self.ca_file] = (time.monotonic() + DISCOVERED_FOR, found)
            return found
        mend = "Write its issuer as it names itself, or its token_url."
        raise Misconfigured(f"{self._place(connection)} {fault}. {mend}")

    def _ask(self, connection: Endpoint, url: str, asked: Mapping[str, str]) -> Answer:
        """POST a form, with the client's name and proof where it has them (RFC 6749, 2.3.1)."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.client_secret_file:
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self._client_secret(connection))}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif self.client_id:
            asked = {**asked, "client_id": self.client_id}
        content = urlencode(asked).encode()
        return ask(self._place(connection), "POST", url, headers=headers, content=content, ca_file=self.ca_file)

    def _client_secret(self, connection: Endpoint) -> str:
        try:
            secret = Path(self.client_secret_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                f"{connection.name}: the client's secret cannot be read from {self.client_secret_file} "
                f"({getattr(error, 'strerror', 'not UTF-8')}). Let the worker's user read that file."
            ) from None
        if not secret:
            raise Misconfigured(f"{connection.name}: {self.client_secret_file} is empty; write the client's secret.")
        return secret

    def _place(self, connection: Endpoint) -> str:
        return f"{connection.name} ({self._server})"

    def _refused(self, connection: Endpoint, answer: Answer, what: str, token: str) -> RunbooksError:
        """The error for an answer that is no success, in the server's own words as far as they may be shown."""
        found = answer.object()
        code = found.get("error")
        words = [told(word, token) for word in (code, found.get("error_description")) if isinstance(word, str)]
        said = f"{self._place(connection)} {what} ({answer.status}): {': '.join(words) or 'it did not say why'}."
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Unavailable(f"{said} Try again.")
        mend = MENDS.get(code) if isinstance(code, str) else None
        return Misconfigured(f"{said}{answer.clocks} {mend or MISTRUST.format(audience=self.subject_audience)}")

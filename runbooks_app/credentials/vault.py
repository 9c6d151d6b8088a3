"""`vault`: a secret that HashiCorp Vault or OpenBao gives for this stage, and takes back at its end.

    login   POST auth/<mount>/login    the run token, for one role of Vault's JWT method; that role pins its `sub`
    read    GET <path>                 database/creds/<role>: a login that Vault makes, with a lease; or any secret
    end     POST sys/leases/revoke     with `sync`: the login is gone when this returns
            POST auth/token/revoke-self

A lease dies with the login that it was read by. So a sweep finds nothing to do: what a killed worker held ends when the
TTL of its login is over. The tokens of logins are in the memory of the worker that holds them, and nowhere else.
https://developer.hashicorp.com/vault/api-docs: auth/jwt#jwt-login, system/leases, auth/token; concepts/lease
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote

from runbooks_app.asking import Answer, ask, told
from runbooks_app.core.errors import Misconfigured, RunbooksError, Unavailable
from runbooks_app.credentials.presenting import present
from runbooks_app.credentials.provider import Credential, Endpoint, EndsByItself, Purpose
from runbooks_app.credentials.tokens import run_token

SHORTEST = 8
"""Characters of a secret; a shorter one could not be told from harmless text where outputs are searched for it."""

TOO_SOON = 30
"""Seconds by which it may end before its stage's limit: asking for it takes some, and limits have as many to spare."""

TOO_LONG = 3600
"""Seconds that a login may outlive its stage, should the worker be killed, before people are told."""

DONE = (HTTPStatus.OK, HTTPStatus.NO_CONTENT)

STANDS = "Vault gives it to every run alike, and it does not end with the stage: rotate it where it was made."


@dataclass(frozen=True)
class _Login:
    """A login that goes on. It ends at `until` (of time.monotonic) by itself, and `lease` with it."""

    token: str = dataclasses.field(repr=False)
    until: float
    lease: str = ""


@dataclass(frozen=True)
class Vault(EndsByItself):
    """Logs in as `login_role` by a run token for `audience`, and reads `path` as it stands in Vault's API.

    For a database that gives `username` and `password`. Where `field` is named, that field of the secret is the value
    of `header` after `scheme`.
    """

    address: str
    login_role: str
    path: str
    audience: str
    mount: str = "jwt"
    namespace: str = ""
    ca_file: str = ""
    field: str = ""
    header: str = "Authorization"
    scheme: str = "Bearer"
    logins: dict[str, _Login] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)
    """Those that go on, by the identity of what was read with them."""

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Build it from the options of the connections file."""
        return cls(**options)

    def mint(self, connection: Endpoint, purpose: Purpose) -> Credential:
        """Log in and read. What was begun is taken back where it cannot be finished."""
        login = self._login(connection, run_token(connection, purpose, self.audience))
        try:
            return self._credential(connection, purpose, login)
        except BaseException:
            with suppress(RunbooksError):  # its TTL ends it
                self._ask(connection, login.token, "auth/token/revoke-self", {})
            raise

    def revoke(self, connection: Endpoint, identity: str) -> bool:
        """End the lease, and the login with all that was read by it. False where another worker held that login."""
        login = self.logins.get(identity)
        if login is None:
            return False
        if login.lease:
            answer = self._ask(connection, login.token, "sys/leases/revoke", {"lease_id": login.lease, "sync": True})
            # Without this permission the login's own end takes the lease along, if a moment later.
            if answer.status not in (*DONE, HTTPStatus.FORBIDDEN):
                raise self._refused(connection, answer, f"end the lease {login.lease}", "Look into Vault's own log.")
        answer = self._ask(connection, login.token, "auth/token/revoke-self", {})
        if answer.status not in DONE and time.monotonic() < login.until:
            raise self._refused(connection, answer, "end its login", "Let the policy update auth/token/revoke-self.")
        del self.logins[identity]
        return True

    def may(self, connection: Endpoint, identity: str, path: str) -> list[str]:
        """What the login behind `identity` may do at a path, in Vault's words (sys/capabilities-self)."""
        answer = self._ask(connection, self.logins[identity].token, "sys/capabilities-self", {"paths": [path]})
        found = _part(answer.object(), "data").get(path)
        if answer.status != HTTPStatus.OK or not isinstance(found, list):
            mend = "Let the policy update sys/capabilities-self, as Vault's own policy `default` does."
            raise self._refused(connection, answer, "ask what its login may do", mend)
        return [str(word) for word in found]

    def _login(self, connection: Endpoint, token: str) -> _Login:
        begun = time.monotonic()
        asked = {"role": self.login_role, "jwt": token}
        answer = self._ask(connection, "", f"auth/{self.mount}/login", asked)
        if answer.status != HTTPStatus.OK:
            mend = "Compare that role with what `runbooks identity show vault` prints."
            raise self._refused(connection, answer, f"log in as {self.login_role}", mend, token)
        given = _part(answer.object(), "auth")
        login, ttl = given.get("client_token"), _seconds(given, "lease_duration")
        if not _secret(login) or not ttl or given.get("token_type", "service") != "service":
            raise Misconfigured(
                f"{self._at(connection)}: logging in as {self.login_role} gives no token that can be taken back. "
                "Set token_type=service and a token_ttl on that role."
            )
        return _Login(str(login), begun + ttl)

    def _credential(self, connection: Endpoint, purpose: Purpose, login: _Login) -> Credential:
        answer = self._ask(connection, login.token, self.path)
        if answer.status != HTTPStatus.OK:
            mend = f"Check the path, and that the policy of {self.login_role} lets it read there."
            raise self._refused(connection, answer, f"read {self.path}", mend, login.token)
        found = answer.object()
        data = _part(found, "data")
        if isinstance(data.get("metadata"), dict):  # the second version of the key-value engine
            data = _part(data, "data")
        names = [self.field] if self.field else ["username", "password"]
        values = [data.get(name) for name in names]
        if not all(map(_secret, values)):
            raise Misconfigured(
                f"{self._at(connection)}: {self.path} gives no {' and '.join(names)} of one line "
                f"and at least {SHORTEST} plain characters. Name a path that does."
            )
        lease, ttl = found.get("lease_id"), _seconds(found, "lease_duration")
        leased = isinstance(lease, str) and bool(lease) and ttl > 0
        if not leased and not self.field:
            raise Misconfigured(
                f"{self._at(connection)}: {self.path} gives a login without a lease, so nothing would end it. "
                "Name a path of the database secrets engine, as in database/creds/<role>."
            )
        login = _Login(login.token, login.until, str(lease) if leased else "")
        lasts = login.until - time.monotonic()
        if leased:
            lasts = min(lasts, ttl)
        secret = str(values[-1])
        headers, parts = present(secret, self.header, self.scheme) if self.field else ({}, [secret])
        identity = f"vault_{purpose.stage}_{secrets.token_hex(8)}" if self.field else str(values[0])
        self.logins[identity] = login
        return Credential(
            identity=identity,
            secret=secret,
            expires_at=datetime.now(UTC) + timedelta(seconds=lasts),
            note=" ".join(filter(None, [self._note(purpose, lasts), "" if leased else STANDS])),
            authorize=(lambda _: headers) if self.field else None,
            secrets=parts,
        )

    def _note(self, purpose: Purpose, lasts: float) -> str:
        """What is unusual about how long it lasts."""
        if lasts + TOO_SOON < purpose.lifetime:
            return (
                f"It ends after {lasts:.0f} s, and this stage may take {purpose.lifetime} s: "
                f"raise token_ttl of {self.login_role}, or the lease's own."
            )
        if lasts > purpose.lifetime + TOO_LONG:
            return (
                f"Should the worker die it lives on for {lasts / 3600:.0f} h: "
                f"lower token_ttl of {self.login_role} to an hour or less."
            )
        return ""

    def _at(self, connection: Endpoint) -> str:
        return f"{connection.name} (Vault at {self.address})"

    def _ask(self, connection: Endpoint, token: str, path: str, sent: Mapping[str, Any] | None = None) -> Answer:
        """POST what is sent, or GET; `X-Vault-Request` is wanted where an agent stands in front of Vault."""
        headers = {"X-Vault-Request": "true"}
        if token:
            headers["X-Vault-Token"] = token
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        return ask(
            self._at(connection),
            "GET" if sent is None else "POST",
            f"{self.address.rstrip('/')}/v1/{quote(path)}",
            headers=headers,
            content=b"" if sent is None else json.dumps(sent).encode(),
            ca_file=self.ca_file,
        )

    def _refused(self, connection: Endpoint, answer: Answer, doing: str, mend: str, secret: str = "") -> RunbooksError:
        """The error for an answer that is none of those hoped for."""
        found = answer.object()
        lists = [found.get(name) for name in ("errors", "warnings")]
        said = [str(word) for words in lists if isinstance(words, list) for word in words if word]
        what = f"{self._at(connection)} did not let it {doing} ({answer.status})"
        what += f": {told('; '.join(said), secret)}." if said else "."
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Unavailable(f"{what} Try again, or see whether Vault is sealed or overloaded.")
        return Misconfigured(f"{what}{answer.clocks} {mend}")


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within an object; empty where there is none."""
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _seconds(found: Mapping[str, Any], name: str) -> int:
    """A time to live; 0 where there is none, which to Vault means that it never ends."""
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _secret(value: object) -> bool:
    return isinstance(value, str) and len(value) >= SHORTEST and value.isascii() and value.isprintable()

"""Vault as far as the service needs it, over real HTTP and in front of a real PostgreSQL.

It verifies run tokens by their issuer's keys, holds them to JWT roles exactly as these are configured, checks policies
for each path, makes database logins with leases, and takes them back with the tokens that they were read with. Answers
have the shapes of Vault's own API documentation. `pass_time` moves its clock, so that no test waits for a TTL.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from credentials.trusting import NotTrustedError, Trust
from kernels.gateway.servers import HOST, answer, body_of, http_server
from printed_policies import commands, files


class SaidError(Exception):
    """An answer that is an error: status and Vault's words."""

    def __init__(self, status: int, *errors: str) -> None:
        self.status, self.errors = status, errors
        super().__init__(status)


@dataclass
class Token:
    """A login."""

    policies: list[str]
    ends: float
    role: str
    leases: set[str] = field(default_factory=set)


@dataclass
class Lease:
    """A database login that somebody holds."""

    username: str
    ends: float
    token: str


DEFAULT = {"auth/token/revoke-self": ["update"], "sys/capabilities-self": ["update"]}
"""Of Vault's own policy `default`, which every login has."""


@dataclass
class Vault:
    """A running one. `make` and `drop` make and drop logins of a database; `spell` answers in its place."""

    port: int
    trust: Trust
    namespace: str = ""
    mount: str = "jwt"
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    """JWT roles, as `vault write auth/jwt/role/<name>` takes them."""
    policies: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"default": dict(DEFAULT)})
    """Capabilities by policy and path."""
    kv: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What stands at a path."""
    creds: dict[str, int] = field(default_factory=dict)
    """How long logins last that are made at a path, in seconds."""
    make: Callable[[str, str, str], None] = lambda *_: None
    drop: Callable[[str], None] = lambda _: None
    tokens: dict[str, Token] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    """All logins that there ever were."""
    spell: Callable[[str, str], tuple[int, bytes] | None] = lambda *_: None
    ahead: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    def paste(self, printed: str) -> None:
        """Do what a pasted script of `vault` commands does."""
        written = files(printed)
        for command in commands(printed):
            match command:
                case ["vault", "auth", "enable", "jwt"]:
                    self.mount = "jwt"
                case ["vault", "policy", "write", name, file]:
                    self.policies[name] = {path: may["capabilities"] for path, may in written[file]["path"].items()}
                case ["vault", "write", "auth/jwt/config", file]:
                    config = written[file.removeprefix("@")]
                    assert config["bound_issuer"] == config["oidc_discovery_url"] == self.trust.issuer
                    assert config["jwt_supported_algs"] == ["RS256"]
                case ["vault", "write", place, file] if place.startswith("auth/jwt/role/"):
                    self.roles[place.rpartition("/")[2]] = written[file.removeprefix("@")]
                case _:
                    raise AssertionError(f"no command of Vault's: {command}")

    def now(self) -> float:
        return time.time() + self.ahead

    def pass_time(self, seconds: float) -> None:
        """Let time go by, and end what ends meanwhile."""
        with self.lock:
            self.ahead += seconds
            for lease in [lease for lease, held in self.leases.items() if held.ends <= self.now()]:
                self.end_lease(lease)
            for token in [token for token, held in self.tokens.items() if held.ends <= self.now()]:
                self.end_token(token)

    def end_lease(self, lease: str) -> None:
        held = self.leases.pop(lease)
        self.drop(held.username)
        if held.token in self.tokens:
            self.tokens[held.token].leases.discard(lease)

    def end_token(self, token: str) -> None:
        for lease in list(self.tokens[token].leases):
            self.end_lease(lease)
        del self.tokens[token]

    # ---- the API

    def respond(self, method: str, path: str, token: str, namespace: str, sent: Any) -> dict[str, Any] | None:
        """The answer to a request; None where there is nothing to say."""
        if namespace != self.namespace:
            raise SaidError(404, f'no handler for route "{path}". route entry not found.')
        if path == f"auth/{self.mount}/login" and method == "POST":
            return self.login(sent["role"], sent["jwt"])
        if token not in self.tokens:
            raise SaidError(403, "permission denied", "invalid token")
        capability = "update" if method == "POST" else "read"
        if path != "sys/capabilities-self" and capability not in self.capabilities(token, path):
            raise SaidError(403, f"1 error occurred:\n\t* permission denied for {path}\n\n")
        if path == "auth/token/revoke-self":
            self.end_token(token)
            return None
        if path == "sys/capabilities-self":
            return {"data": {name: self.capabilities(token, name) for name in sent["paths"]}}
        if path == "sys/leases/revoke":
            assert sent["sync"] is True, "else the login may outlive the answer"
            if sent["lease_id"] in self.leases:
                self.end_lease(sent["lease_id"])
            return None
        if path in self.creds:
            return self.lend(token, path)
        if path in self.kv:
            return {"lease_id": "", "lease_duration": 2764800, "renewable": False, "data": self.kv[path]}
        raise SaidError(404)

    def capabilities(self, token: str, path: str) -> list[str]:
        found = [name for policy in self.tokens[token].policies for name in self.policies.get(policy, {}).get(path, [])]
        return sorted(set(found)) or ["deny"]

    def login(self, name: str, jwt: str) -> dict[str, Any]:
        """Of the JWT method: https://developer.hashicorp.com/vault/api-docs/auth/jwt#jwt-login."""
        role = self.roles.get(name)
        if role is None:
            raise SaidError(400, f'role "{name}" could not be found')
        try:
            claims = self.trust.claims(jwt)
        except NotTrustedError as error:
            raise SaidError(400, f"error validating token: {error}") from None
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if not set(audiences) & set(role["bound_audiences"]):
            raise SaidError(400, "error validating token: invalid audience (aud) claim: audience claim does not match")
        assert (role["role_type"], role["bound_claims_type"], role["user_claim"]) == ("jwt", "string", "sub")
        for claim, wanted in role["bound_claims"].items():
            if claims.get(claim) not in (wanted if isinstance(wanted, list) else [wanted]):
                raise SaidError(
                    400, f'error validating claims: claim "{claim}" does not match any associated bound claim'
                )
        token = f"hvs.{secrets.token_urlsafe(24)}"
        self.given.append(token)
        policies = ["default", *role["token_policies"]]
        self.tokens[token] = Token(policies, self.now() + role["token_ttl"], name)
        auth = {
            "client_token": token,
            "accessor": secrets.token_urlsafe(18),
            "policies": policies,
            "metadata": {"role": name},
            "lease_duration": role["token_ttl"],
            "renewable": True,
            "token_type": role.get("token_type", "service"),
        }
        return {"auth": auth, "data": None, "lease_id": "", "lease_duration": 0}

    def lend(self, token: str, path: str) -> dict[str, Any]:
        """A database login, under a lease."""
        name = path.rpartition("/")[2]
        username, password = f"v-jwt-{name[:8]}-{secrets.token_hex(10)}", secrets.token_urlsafe(20)
        self.make(path, username, password)
        lease = f"{path}/{secrets.token_urlsafe(18)}"
        lasts = int(min(self.creds[path], self.tokens[token].ends - self.now()))
        self.leases[lease] = Lease(username, self.now() + lasts, token)
        self.tokens[token].leases.add(lease)
        data = {"username": username, "password": password}
        return {"lease_id": lease, "lease_duration": lasts, "renewable": True, "data": data}


@contextlib.contextmanager
def vault_server(issuer: str, **configured: Any) -> Iterator[Vault]:
    """Vault, in front of this issuer."""

    def serve(handler: Any, _: Any) -> None:
        body = body_of(handler)
        path = handler.path.removeprefix("/v1/")
        vault.seen.append((handler.command, path))
        if spelled := vault.spell(handler.command, path):
            answer(handler, spelled[1], spelled[0])
            return
        assert handler.headers.get("X-Vault-Request") == "true"
        try:
            token, namespace = (handler.headers.get(f"X-Vault-{name}", "") for name in ("Token", "Namespace"))
            with vault.lock:
                found = vault.respond(handler.command, path, token, namespace, json.loads(body) if body else None)
        except SaidError as error:
            answer(handler, json.dumps({"errors": error.errors}).encode(), error.status)
        else:
            answer(handler, b"" if found is None else json.dumps(found).encode(), 204 if found is None else 200)

    with http_server(serve) as system:
        trust = Trust(issuer)
        vault = Vault(system.port, trust, **configured)
        trust.clock = vault.now
        yield vault

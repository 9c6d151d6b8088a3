"""A small OpenID provider that does as it is told: rightly, or wrongly in one point.

It speaks the real protocol over HTTP on loopback and, unlike oidc-provider-mock, checks PKCE, the redirect URI and
that a code is used once. What it says in a token is `claims` changed by `forge`; how the token is signed is `sign`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

CLIENT_ID = "runbooks"
RSA = RSAKey.generate_key(2048, parameters={"kid": "first", "use": "sig"})
OTHER_RSA = RSAKey.generate_key(2048, parameters={"kid": "second", "use": "sig"})
EC = ECKey.generate_key("P-256", parameters={"kid": "curve", "use": "sig"})

Claims = dict[str, Any]


def rs256(claims: Claims, kid: str | None = "first", key: RSAKey = RSA, **header: Any) -> str:
    """Signed as it should be."""
    named = {"kid": kid} if kid else {}
    return jwt.encode({"alg": "RS256", **named, **header}, claims, key, algorithms=["RS256"])


def es256(claims: Claims) -> str:
    return jwt.encode({"alg": "ES256", "kid": "curve"}, claims, EC, algorithms=["ES256"])


def rs512(claims: Claims) -> str:
    """A sound signature by an algorithm that nobody named."""
    return jwt.encode({"alg": "RS512", "kid": "first"}, claims, RSA, algorithms=["RS512"])


def hs256_with_public_key(claims: Claims) -> str:
    """A MAC whose key is the public key in PEM: what a verifier that trusts the header's algorithm takes."""
    signed = _b64({"alg": "HS256", "kid": "first", "typ": "JWT"}) + "." + _b64(claims)
    return signed + "." + _mac(RSA.as_pem(private=False), signed)


def hs256_with_client_secret(claims: Claims) -> str:
    key = OctKey.import_key("the client secret that somebody published")
    return jwt.encode({"alg": "HS256", "kid": "first"}, claims, key, algorithms=["HS256"])


def unsigned(claims: Claims) -> str:
    return _b64({"alg": "none", "typ": "JWT"}) + "." + _b64(claims) + "."


def critical(claims: Claims) -> str:
    """Soundly signed, with a header that a verifier must refuse unless it knows what it means (RFC 7515, 4.1.11)."""
    signed = _b64({"alg": "RS256", "kid": "first", "crit": ["urn:x"], "urn:x": True}) + "." + _b64(claims)
    signature = RSA.private_key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return signed + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def altered(claims: Claims) -> str:
    """Signed, and then somebody else's subject put in."""
    head, _, signature = rs256(claims).split(".")
    return f"{head}.{_b64({**claims, 'sub': 'admin'})}.{signature}"


def _b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _mac(key: bytes, signed: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).rstrip(b"=").decode()


@dataclass
class Provider:
    """How the provider behaves; a test changes what it wants to be wrong."""

    url: str = ""
    sign: Callable[[Claims], Any] = rs256
    forge: Callable[[Claims], Claims] = dict
    keys: tuple[Any, ...] = (RSA, EC)
    discovery: Callable[[dict[str, Any]], Any] = dict
    token_answer: Callable[[dict[str, Any]], Any] = dict
    user: Claims = field(default_factory=lambda: {"sub": "anna", "name": "Anna", "groups": ["oncall"]})
    failing: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def authorize(self, location: str) -> str:
        """What its sign-in page does with where the service sends a browser: the way back, with a code."""
        asked = dict(parse_qsl(urlsplit(location).query))
        assert asked["code_challenge_method"] == "S256"
        assert asked["response_type"] == "code"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return urlsplit(asked["redirect_uri"]).path + "?" + urlencode({"code": code, "state": asked["state"]})

    def claims(self, asked: dict[str, str]) -> Claims:
        now = int(time.time())
        fixed = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "auth_time": now - 5}
        return self.forge({**fixed, "nonce": asked.get("nonce"), **self.user})

    def exchange(self, form: dict[str, str]) -> tuple[int, Any]:
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None:
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return 400, {"error": "invalid_grant", "error_description": "PKCE"}
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "redirect_uri"}
        access = rs256({**self.claims(asked), "aud": "https://api.example", "scope": "openid"}, typ="at+jwt")
        told = {"access_token": access, "token_type": "Bearer", "expires_in": 300}
        return 200, self.token_answer({**told, "id_token": self.sign(self.claims(asked))})

    def metadata(self) -> Any:
        return self.discovery(
            {
                "issuer": self.url,
                "authorization_endpoint": self.url + "/authorize",
                "token_endpoint": self.url + "/token",
                "jwks_uri": self.url + "/jwks",
                "response_types_supported": ["code"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            }
        )


def sign_in(browser: FlaskClient, provider: Provider, to: str = "/") -> TestResponse:
    """Sign in as whoever the provider has: what the service answers in the end."""
    begun = browser.get("/login?" + urlencode({"next": to}))
    assert begun.status_code == 303, begun.text
    return browser.get(provider.authorize(begun.location))


def me(browser: FlaskClient) -> dict[str, Any] | None:
    """Who is signed in there."""
    told = browser.get("/api/v1/me")
    return told.json if told.status_code == 200 else None


@contextmanager
def serve() -> Iterator[Provider]:
    """The provider on an ephemeral loopback port."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/.well-known/openid-configuration":
                self._answer(200, provider.metadata())
            elif path in {"/jwks", "/elsewhere"}:
                self._answer(200, {"keys": [key.as_dict(private=False) for key in provider.keys]})
            elif path == "/authorize":  # a browser, whose person signs in at once
                self._send_back(provider.authorize(self.path))
            else:
                self._answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            self._answer(*provider.exchange({name: values[0] for name, values in parse_qs(body).items()}))

        def _send_back(self, place: str) -> None:
            service = urlsplit(dict(parse_qsl(urlsplit(self.path).query))["redirect_uri"])
            self.send_response(303)
            self.send_header("Location", f"{service.scheme}://{service.netloc}{place}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, status: int, told: Any) -> None:
            path = urlsplit(self.path).path
            provider.asked.append(path)
            if path in provider.failing:
                status, told = 503, "<html>gone</html>"
            raw = told if isinstance(told, str) else json.dumps(told)
            self.send_response(302 if path in provider.moved else status)
            if path in provider.moved:
                self.send_header("Location", provider.moved[path])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw.encode())))
            self.end_headers()
            self.wfile.write(raw.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A service somewhere and its sign-in provider, in one small HTTP server that does as it is told.

What the command line sends is kept in `asked`; what it is answered stands in `answers` by method and path: a list is
used up from its front, its last entry stays. It speaks the real protocols (RFC 9728, 8628, 6749, 7009) over loopback.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN, REFRESH = "access-token-of-ana", "refresh-token-of-ana"


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    what: str
    query: dict[str, str]
    token: str
    agent: str
    form: dict[str, str]
    body: Any


@dataclass
class FarService:
    """How it answers; a test changes what it wants to be otherwise."""

    url: str = ""
    answers: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def usual(self) -> None:
        """As a service does whose Ana has just signed in at the provider."""
        url = self.url
        self.asked.clear()
        self.answers = {
            "GET /.well-known/oauth-protected-resource": [
                {
                    "resource": url,
                    "authorization_servers": [url],
                    "scopes_supported": ["openid", "offline_access"],
                    "runbooks_cli_client_id": "runbooks-cli",
                    "runbooks_agent_client_id": "runbooks-agent",
                }
            ],
            "GET /.well-known/openid-configuration": [
                {
                    "issuer": url,
                    "authorization_endpoint": f"{url}/authorize",
                    "jwks_uri": f"{url}/jwks",
                    "token_endpoint": f"{url}/token",
                    "device_authorization_endpoint": f"{url}/device",
                    "revocation_endpoint": f"{url}/revoke",
                }
            ],
            "POST /device": [
                {
                    "device_code": "device-code",
                    "user_code": "ABCD-EFGH",
                    "verification_uri": f"{url}/enter",
                    "verification_uri_complete": f"{url}/enter?code=ABCD-EFGH",
                    "expires_in": 600,
                    "interval": 0.01,
                }
            ],
            "POST /token": [self.tokens()],
            "POST /revoke": [{}],
            "GET /api/v1/me": [{"name": "Ana", "roles": ["responder"]}],
        }

    def tokens(self, **changes: Any) -> dict[str, Any]:
        """What a token endpoint gives."""
        given = {"access_token": TOKEN, "refresh_token": REFRESH, "token_type": "Bearer", "expires_in": 600, **changes}
        return {name: value for name, value in given.items() if value is not None}

    def requests(self, what: str) -> list[Asked]:
        """The requests of this method and path."""
        return [asked for asked in self.asked if asked.what == what]

    def answer(self, what: str) -> tuple[int, Any]:
        """The next answer: a body, or a status with one."""
        waiting = self.answers.get(what)
        if not waiting:
            return 404, {"error": {"code": "not_found", "message": "There is no such page.", "problems": []}}
        told = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return told if isinstance(told, tuple) else (200, told)


@contextmanager
def serve() -> Iterator[FarService]:
    """The service on an ephemeral loopback port."""
    service = FarService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            is_json = self.headers.get("Content-Type") == "application/json"
            service.asked.append(
                Asked(
                    f"{method} {parts.path}",
                    dict(parse_qsl(parts.query)),
                    self.headers.get("Authorization", "").removeprefix("Bearer "),
                    self.headers.get("Runbooks-Agent", ""),
                    {} if is_json else dict(parse_qsl(raw.decode())),
                    json.loads(raw) if is_json else None,
                )
            )
            status, told = service.answer(f"{method} {parts.path}")
            if told is None:  # hang up
                self.close_connection = True
                return
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{service.url}/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error(code: str, message: str, *problems: tuple[str, str, str]) -> dict[str, object]:
    """What the service says when it refuses."""
    told = [dict(zip(("where", "message", "fix"), problem, strict=True)) for problem in problems]
    return {"error": {"code": code, "message": message, "problems": told}}

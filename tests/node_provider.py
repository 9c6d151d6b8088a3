"""An independent, certified OpenID provider (npm's `oidc-provider`), as tests start, change and sign in at it.

    with running() as provider:
        provider.person("ana", name="Ana", groups=["sre"])
        provider.service("http://127.0.0.1:8080", secret="…")      # our service as its client
        back = provider.sign_in(browser, where_the_service_sent_it, "ana")

`identity/provider/server.mjs` says what else it can do.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
from components import lacking

FOLDER = Path(__file__).parent / "identity" / "provider"
PASSWORD, CODE = "right", "123456"


@dataclass
class NodeProvider:
    """The running provider."""

    issuer: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20, trust_env=False))

    def person(self, sub: str, **claims: Any) -> None:
        """Somebody who can sign in, or who has changed: name, email, email_verified, groups, realm_access."""
        self._control("PUT", f"users/{sub}", claims)

    def client(self, client_id: str, **metadata: Any) -> None:
        """A client, by its metadata (OpenID Connect Dynamic Client Registration 1.0, section 2)."""
        self._control("PUT", f"clients/{client_id}", metadata)

    def service(self, url: str, *, secret: str = "", client_id: str = "runbooks") -> None:
        """Our service, with all that a production registration has; without a secret as a public client."""
        self.client(
            client_id,
            redirect_uris=[f"{url}/login/callback"],
            post_logout_redirect_uris=[f"{url}/signed-out"],
            backchannel_logout_uri=f"{url}/login/back-channel",
            backchannel_logout_session_required=True,
            grant_types=["authorization_code"],
            response_types=["code"],
            **({"client_secret": secret} if secret else {"token_endpoint_auth_method": "none"}),
        )

    def device(self, client_id: str = "runbooks-cli") -> None:
        """A command line: a public client of the device flow, with refresh tokens."""
        self.client(
            client_id,
            redirect_uris=[],
            response_types=[],
            grant_types=["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
            token_endpoint_auth_method="none",
            application_type="native",
        )

    def exchange(self, issuer: str, jwks_uri: str, rules: list[dict[str, str]]) -> None:
        """What run tokens of this issuer may become: rules with `sub` (one `*` allowed), `audience` and `scope`."""
        self._control("PUT", "exchange", {"issuer": issuer, "jwks_uri": jwks_uri, "rules": rules})

    def exchanged(self) -> list[dict[str, Any]]:
        """Claims of the run tokens that were exchanged so far."""
        found: list[dict[str, Any]] = self._control("GET", "exchanged")
        return found

    def rotate(self, *, keep: bool = False) -> None:
        """Sign with a new key from here on; with `keep` the ones before it stay published."""
        self._control("POST", "rotate", {"keep": keep})

    def sign_in(self, browser: httpx.Client, location: str, sub: str, *, code: str = "", cancel: bool = False) -> str:
        """Do at the provider what a person does, from where a service sent the browser: the address it is sent back to.

        `browser` keeps the provider's cookies: who is signed in there already is not asked, unless the service says so.
        With the one-time `CODE` the sign-in is a strong one.
        """
        answer = browser.get(location, follow_redirects=False)
        while answer.is_redirect:
            target = urljoin(str(answer.url), answer.headers["Location"])
            if not target.startswith(self.issuer + "/"):
                return target
            answer = browser.get(target, follow_redirects=False)
            if answer.status_code == 200 and "/interaction/" in str(answer.url):
                form = {"cancel": "yes"} if cancel else {"sub": sub, "password": PASSWORD, "code": code}
                answer = browser.post(answer.url, data=form, follow_redirects=False)
        raise AssertionError(f"the provider answered {answer.status_code} at {answer.url}: {answer.text[:500]}")

    def _control(self, method: str, what: str, told: Any = None) -> Any:
        answer = self.http.request(method, f"{self.issuer}/control/{what}", json=told)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running(port: int = 0) -> Iterator[NodeProvider]:
    """The provider on a loopback port; it ends with this process at the latest."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        lacking("The node provider is not installed; `make node` does it.")
        raise AssertionError
    process = subprocess.Popen(
        [node, "server.mjs", str(port)], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        provider = NodeProvider(json.loads(process.stdout.readline())["issuer"])
        yield provider
        provider.http.close()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()

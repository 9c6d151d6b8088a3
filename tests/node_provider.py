"""An independent, certified OpenID provider (npm's `oidc-provider`), as tests start, change and sign in at it.

    with running() as provider:
        provider.person("ana", name="Ana", groups=["sre"])
        provider.service("http://127.0.0.1:8080", secret="…")      # our service as its client
        back = provider.sign_in(browser, where_the_service_sent_it, "ana")

`identity/provider/server.mjs` says what else it can do.
"""

from __future__ import annotations

import json
import re
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
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class NodeProvider:
    """The running provider."""

    issuer: str
    process: subprocess.Popen[str]
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
            require_auth_time=True,
            **({"client_secret": secret} if secret else {"token_endpoint_auth_method": "none"}),
        )

    def device(self, client_id: str = "runbooks-cli") -> None:
        """A command line: a public client of the device flow, with refresh tokens."""
        self.client(
            client_id,
            redirect_uris=[],
            response_types=[],
            grant_types=[DEVICE, "refresh_token"],
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
        form = {"cancel": "yes"} if cancel else {"sub": sub, "password": PASSWORD, "code": code}
        answer = browser.get(location, follow_redirects=False)
        for _ in range(12):
            place = str(answer.url)
            if answer.is_redirect:
                target = urljoin(place, answer.headers["Location"])
                if not target.startswith(self.issuer + "/"):
                    return target
                answer = browser.get(target, follow_redirects=False)
            elif answer.status_code == 200 and "/interaction/" in place:
                answer = browser.post(place, data=form, follow_redirects=False)
            elif answer.status_code == 200 and "Submitting Callback" in answer.text:
                # Somebody else is signed in there, whom it signs out first: by a form that sends itself off.
                hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
                action = re.search(r'action="([^"]+)"', answer.text)
                answer = browser.post(action.group(1) if action else place, data=hidden, follow_redirects=False)
            else:
                break
        raise AssertionError(f"the provider answered {answer.status_code} at {answer.url}: {answer.text[:500]}")

    def asks(self, browser: httpx.Client, location: str) -> bool:
        """Whether it has somebody sign in whom a service sent to it, for it does not know this browser."""
        answer = browser.get(location, follow_redirects=False)
        return answer.is_redirect and answer.headers["Location"].startswith("/interaction/")

    def sign_out(self, browser: httpx.Client, location: str = "") -> str:
        """Say yes to signing out there, where a service sent the browser or by oneself: the address it is sent to."""
        page = browser.get(location or f"{self.issuer}/session/end", follow_redirects=False)
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        end = f"{self.issuer}/session/end/confirm"
        answer = browser.post(end, data={**hidden, "logout": "yes"}, follow_redirects=False)
        assert answer.is_redirect, answer.text
        return answer.headers["Location"]

    def stop(self) -> None:
        """End it; afterwards nobody answers at its address."""
        self.http.close()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(10)

    def enter(self, address: str, sub: str, *, code: str = "", refuse: bool = False) -> None:
        """Do in a browser what a device asks of a person: enter the code or find it there, compare it, sign in."""
        said = {"abort": "yes"} if refuse else {"confirm": "yes"}
        with httpx.Client(follow_redirects=True, trust_env=False, timeout=20) as browser:
            page = browser.get(address)
            while "Go back to your device" not in page.text:
                if "/interaction/" in str(page.url):
                    page = browser.post(page.url, data={"sub": sub, "password": PASSWORD})
                    continue
                where = re.search(r'action="([^"]+)"', page.text)
                assert where, page.text
                hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
                asked = {"user_code": code} if code and "Go on" in page.text else said
                page = browser.post(urljoin(str(page.url), where.group(1)), data={**dict(hidden), **asked})
                if refuse and asked is said:
                    return

    def device_tokens(self, sub: str, resource: str = "", client_id: str = "runbooks-cli") -> dict[str, Any]:
        """What a device gets for a person: tokens for this resource, or for none in particular."""
        asked = {"client_id": client_id, **({"resource": resource} if resource else {})}
        form = {**asked, "scope": "openid profile groups offline_access"}
        begun = self.http.post(f"{self.issuer}/device/auth", data=form).json()
        self.enter(begun["verification_uri_complete"], sub)
        form = {**asked, "device_code": begun["device_code"], "grant_type": DEVICE}
        answer = self.http.post(f"{self.issuer}/token", data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

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
    assert process.stdout is not None
    provider = NodeProvider(json.loads(process.stdout.readline())["issuer"], process)
    try:
        yield provider
    finally:
        provider.stop()

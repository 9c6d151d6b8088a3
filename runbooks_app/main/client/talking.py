"""One request and its answer, over HTTP.

The standard library's client is enough for this, and is loaded in a third of the time that httpx takes. Redirects are
answers like others and are not followed, so a token goes where it was meant to go and nowhere else; proxies of the
environment are used, save for this very machine.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from runbooks_app import __version__
from runbooks_app.main.client.failures import Failure, Lost, Unreachable

PATIENCE = 20.0
"""Seconds that the other side has for each step of its answer."""
LARGEST = 256 * 1024 * 1024
"""Bytes of an answer that are read; a postmortem with many charts is large."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Answer:
    """What came back; `body` may hold a token."""

    status: int
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def base_url(given: str) -> str:
    """Scheme, host and port of a service, as they are kept. Raises `Failure` for what no token may be sent to."""
    try:
        parts = urlsplit(given.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in {"http", "https"} or parts.path.strip("/") or parts.query or parts.username:
        raise Failure(f"{given!r} is no address of a service. Write it like https://runbooks.example.com")
    require_private(given)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def require_private(url: str) -> None:
    """Raise `Failure` where a token would go over a network unencrypted."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise Failure(f"{url} is not encrypted, so your sign-in could be read on its way. Use https://{parts.netloc}")


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs lead to the same scheme, host and port."""

    def origin(url: str) -> tuple[str, str | None, int | None]:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

    try:
        return origin(one) == origin(other)
    except ValueError:
        return False


def ask(
    method: str,
    url: str,
    *,
    token: str = "",
    body: Any = None,
    form: dict[str, str] | None = None,
    agent: str = "",
    key: str = "",
) -> Answer:
    """Send JSON, a form or nothing. Raises `Unreachable`, in words for whoever typed the command; else `Lost`.

    `agent` is what the program calls itself that acts for the token's person; by `key` the service knows a request
    that it was sent before.
    """
    headers = {"Accept": "application/json", "User-Agent": f"runbooks/{__version__}"}
    data: bytes | None = None
    if form is not None:
        data, headers["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
    elif body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    if agent:
        headers["Runbooks-Agent"] = " ".join(agent.encode("ascii", "replace").decode().split())[:100]
    if key:
        headers["Idempotency-Key"] = key
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        # The address is one that `base_url` or discovery has looked at: http or https.
        with _opener(url).open(Request(url, data, headers, method=method), timeout=PATIENCE) as answer:  # noqa: S310
            read = answer.read(LARGEST + 1)
            status = int(answer.status)
    except (URLError, ValueError) as error:
        raise Unreachable(f"{_place(url)} {_why(error)}") from None
    except (HTTPException, OSError) as error:  # the opener tells by a URLError what went wrong until all was sent
        raise Lost(f"{_place(url)} {_why(error)}") from None
    if len(read) > LARGEST:
        raise Unreachable(f"{_place(url)} answers more than {LARGEST // 2**20} MB; that was not read.")
    return Answer(status, read)


def _opener(url: str) -> OpenerDirector:
    """An opener for http and https alone, which gives every answer as it is."""
    opener = OpenerDirector()
    proxies = ProxyHandler({}) if urlsplit(url).hostname in _LOOPBACK else ProxyHandler()
    for handler in (proxies, HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    return opener


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that this machine does not trust ({reason.verify_message})."
            " SSL_CERT_FILE names a file with your company's authority."
        )
    if isinstance(reason, TimeoutError):
        return f"did not answer within {PATIENCE:.0f} s. Try again."
    if isinstance(reason, socket.gaierror):
        return "cannot be found: its name is unknown here. Check how it is spelt, and your network."
    if isinstance(reason, ConnectionRefusedError):
        return "takes no connections: is it running, and is the port right?"
    return f"cannot be reached ({reason if isinstance(reason, OSError) else type(reason).__name__})."

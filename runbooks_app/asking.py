"""One question to a system that takes or gives secrets (Vault, PagerDuty): bounded in time and size, told in words.

What is asked holds a token and what is answered may hold credentials, so neither stands in an error or a repr.
Nothing is sent on to another address: a redirect is refused. Proxies and netrc files of the environment are not used.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from runbooks_app.core.errors import Misconfigured, Unavailable

PATIENCE = 10.0
"""Seconds for the whole of it: to connect, to ask and to read the answer."""

MOST = 256 * 1024
"""Bytes of an answer."""

MOST_SAID = 300
"""Characters that are told of what a system says."""

SKEW = 60
"""Seconds that two clocks may differ before an error tells of it."""

TOKEN_LIKE = re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)*")
"""JSON Web Tokens, whole or cut off: what is asked with, should it be quoted."""


@dataclass(frozen=True)
class Answer:
    """What came back. `ahead` is by how many seconds the system's clock is ahead of ours, where it tells its time."""

    status: int
    body: bytes = field(repr=False)
    ahead: float | None = None

    def object(self) -> Mapping[str, Any]:
        """The JSON object in it; an empty one where there is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def clocks(self) -> str:
        """A sentence where the clocks differ by too much for tokens to be believed; else empty."""
        if self.ahead is None or abs(self.ahead) <= SKEW:
            return ""
        side = "behind" if self.ahead > 0 else "ahead of"
        return f" This worker's clock is {abs(self.ahead):.0f} s {side} its clock: set both by NTP."


def ask(
    place: str,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    ca_file: str = "",
    within: float | None = None,
) -> Answer:
    """Ask once, from a thread without an event loop of its own. `place` names connection and system in errors.

    Raises `Unavailable` where no usable answer comes within PATIENCE (or `within`) seconds, `Misconfigured` for a
    redirect and for a `ca_file` that cannot be used.
    """
    within = PATIENCE if within is None else within
    try:
        return asyncio.run(_ask(method, url, headers or {}, content, trust(place, ca_file), within))
    except TimeoutError:
        why = f"did not answer within {within:g} s"
    except _RefusedAnswerError as error:
        if error.mend:
            raise Misconfigured(f"{place} {error}. {error.mend}") from None
        why = str(error)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        why = f"could not be reached: {told(str(error)) or type(error).__name__}"
    raise Unavailable(f"{place} {why}. Check that it is up, its address, and its certificate.")


def told(text: str, *secrets: str) -> str:
    """What a system says, fit to be shown: one line, cut short, without tokens and these secrets."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = TOKEN_LIKE.sub("***", text)
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line[:MOST_SAID].rstrip(".")


class _RefusedAnswerError(Exception):
    """The answer is none that may be used; `mend`: what to set up otherwise."""

    def __init__(self, why: str, mend: str = "") -> None:
        self.mend = mend
        super().__init__(why)


async def _ask(
    method: str, url: str, headers: Mapping[str, str], content: bytes, trusted: ssl.SSLContext, within: float
) -> Answer:
    async with (
        # One limit for all of it: limits for each read alone let a server take as long as it likes.
        asyncio.timeout(within),
        httpx.AsyncClient(verify=trusted, trust_env=False, timeout=within) as client,
        # What is compressed could be far longer than what is counted.
        client.stream(method, url, headers={**headers, "Accept-Encoding": "identity"}, content=content) as response,
    ):
        if response.is_redirect:
            raise _RefusedAnswerError(
                f"answered with a redirect ({response.status_code}), and nothing secret is sent elsewhere",
                "Write the address that it really has into the file that names it.",
            )
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MOST:
                raise _RefusedAnswerError(f"answered with more than {MOST // 1024} KiB, which is no such answer")
        return Answer(response.status_code, body, _ahead(response.headers.get("Date", "")))


def _ahead(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def trust(place: str, ca_file: str) -> ssl.SSLContext:
    """Certificates to believe: those of `ca_file` alone, read anew each time; else those that the machine trusts."""
    if not ca_file:
        return _machine()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"{place}: {ca_file} cannot be used as its authority ({error.strerror or error.__class__.__name__}). "
            "It must hold certificates in PEM form that the worker's user may read."
        ) from None


@functools.cache
def _machine() -> ssl.SSLContext:
    return ssl.create_default_context()

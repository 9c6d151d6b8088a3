"""The services that page, as workers use them: one interface, one class each.

Errors say what follows: `Unavailable`, try again; `Misconfigured`, it will not go until somebody mends it. No token and
no key stands in either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from runbooks_app import asking
from runbooks_app.asking import Answer
from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.oncall.groups import OnCall, PagingService
from runbooks_app.oncall.reading import is_email

SECONDS = 5.0
"""In which a service answers, the whole of it."""
MOST_ON_CALL = 100
"""People whom a schedule names at most; who is named beyond is left out."""


@dataclass(frozen=True)
class Page:
    """What wakes somebody: one sentence, what else there is to know, where to decide; `urgent` where the risk is."""

    summary: str
    details: Mapping[str, str]
    link: str
    source: str
    urgent: bool


class Pager(Protocol):
    """A service that pages people."""

    def who(self, schedule: str) -> frozenset[str]:
        """E-mail addresses, in small letters, of those whom this schedule has on call just now."""

    def page(self, key: str, page: Page) -> None:
        """Wake those whom the service knows; with the same key, only once."""

    def resolve(self, key: str) -> None:
        """Nobody need wake up for this any more."""


@dataclass(frozen=True)
class Place:
    """One address of a service, and how it is asked."""

    service: PagingService
    authorization: str = ""

    def ask(self, method: str, url: str, secret: str, sent: Mapping[str, Any] | None = None, **more: str) -> Answer:
        """Ask once; a status that is none of success is raised. `secret` opens it, and is told to nobody."""
        headers = {"Accept": "application/json", **more}
        if self.authorization:
            headers["Authorization"] = self.authorization + secret
        if sent is not None:
            headers["Content-Type"] = "application/json"
        name = f"{self.service.kind} ({self.service.name})"
        content = json.dumps(sent).encode() if sent is not None else b""
        answer = asking.ask(name, method, url, headers=headers, content=content, within=SECONDS)
        status = answer.status
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        says = f"{name} answers {status}{_said(answer, secret)}."
        if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500:
            raise Unavailable(f"{says} It is tried again.")
        raise Misconfigured(f"{says} Mend [service.{self.service.name}] of the on-call file.")


def secret_of(service: PagingService, setting: str) -> str:
    """What a file of the service holds. Read each time, so that a new one counts at once."""
    path: Path | None = getattr(service, setting)
    where = f"[service.{service.name}] {setting}"
    if path is None:
        raise Misconfigured(f"{where} is not set. Name a file of mode 0600 that holds it.")
    try:
        value = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Misconfigured(f"{where}: {path} cannot be read ({error.strerror}). Put the secret there.") from None
    except UnicodeDecodeError:
        value = ""
    if not value or not value.isprintable() or " " in value:
        raise Misconfigured(f"{where}: {path} must hold the secret, in one line, and nothing else.")
    return value


def secrets_of(oncall: OnCall) -> tuple[str, ...]:
    """Every secret that the services hold; raises `Misconfigured` where one is missing."""
    return tuple(secret_of(service, setting) for service in oncall.services.values() for setting in service.files)


def addresses(found: object) -> frozenset[str]:
    """The e-mail addresses in what a service answers; whatever else is in it is left out."""
    given = found if isinstance(found, list) else []
    return frozenset(one.casefold() for one in given[:MOST_ON_CALL] if is_email(one))


def clip(text: str, most: int) -> str:
    """One line of at most so many characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def _said(answer: Answer, secret: str) -> str:
    given = answer.object()
    errors = given.get("errors")
    words = [given.get("message"), *(errors if isinstance(errors, list) else [])]
    told = asking.told("; ".join(word for word in words if isinstance(word, str)), secret)
    return f" ({told})" if told else ""

"""What handlers find at hand: the service, and the secrets that this process was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import current_app

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.oidc import OpenIDProvider

EXTENSION = "runbooks"
"""Under this name the app keeps its `Web`."""


@dataclass(frozen=True)
class Web:
    """The service as one Flask app serves it.

    `provider` is where people sign in and who signs their tokens; without one nobody can.
    """

    service: Service
    oidc_client_secret: str = field(default="", repr=False)
    slack_signing_secret: str = field(default="", repr=False)
    redis_password: str = field(default="", repr=False)
    provider: OpenIDProvider | None = None
    alert_secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def secure(self) -> bool:
        """Whether people reach the service by https: decides on cookies' names and flags, and on HSTS."""
        return self.service.settings.public_url.startswith("https://")

    @property
    def origin(self) -> str:
        """The one origin that requests with effect may come from, as browsers write it."""
        return origin_of(self.service.settings.public_url)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL as a browser writes an origin (RFC 6454); empty where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if not parts.scheme or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != usual else "")


def web() -> Web:
    """The app's own `Web`."""
    found: Web = current_app.extensions[EXTENSION]
    return found


def service() -> Service:
    """The service, as actions take it."""
    return web().service

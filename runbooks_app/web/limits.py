"""Rate limits, few and wide: they stop a flood, not a person.

Counted in Redis, so that they hold across processes. Where Redis is away each process counts for itself:
losing Redis never refuses anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, g, request
from flask_limiter import Limiter

if TYPE_CHECKING:
    from runbooks_app.web.context import Web

LIMITS = {
    "login": "60 per minute",
    "from_provider": "1200 per minute",
    "linking": "60 per minute",
    "identity": "600 per minute",
    "slack": "1200 per minute",
    "api": "600 per minute",
}
"""By blueprint, for each person, or each address where nobody is signed in."""

_PATIENCE = 0.5
"""Seconds that Redis has for an answer."""


def whose() -> str:
    """Whom a request counts for. Never a cookie's mere value: a client can make those up."""
    person = g.get("person")
    return person.subject if person else request.remote_addr or "unknown"


def register(app: Flask, web: Web) -> None:
    """Limit the blueprints named above; they are registered already, and so are the guards."""
    options: dict[str, str | int | float] = {}
    if web.service.settings.redis_url:
        options = {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE}
        if web.redis_password:
            options["password"] = web.redis_password
    limiter = Limiter(
        whose,
        storage_uri=web.service.settings.redis_url or "memory://",
        storage_options=options,  # type: ignore[arg-type]  # redis takes fractions of a second
        strategy="fixed-window",
        key_prefix="runbooks",
        in_memory_fallback_enabled=True,
        swallow_errors=True,
    )
    for name, limit in LIMITS.items():
        limiter.limit(limit)(app.blueprints[name])  # type: ignore[call-overload]  # Flask's own
    limiter.init_app(app)

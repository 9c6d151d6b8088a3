"""Puts the Flask app together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask, g
from werkzeug.middleware.proxy_fix import ProxyFix

from runbooks_app.core.errors import Misconfigured
from runbooks_app.oidc import OpenIDProvider
from runbooks_app.web import (
    alerts,
    api,
    client,
    errors,
    guards,
    headers,
    health,
    identity,
    limits,
    linking,
    login,
    pages,
    resource_metadata,
)
from runbooks_app.web.context import EXTENSION, Web
from runbooks_app.web.context import service as current_service
from runbooks_app.web.slack import http as slack

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service

LARGEST_BODY = 2 * 1024 * 1024
LOGIN_MINUTES = 15
"""How long somebody may take at the provider's sign-in page."""


def create_app(
    service: Service,
    *,
    secret_key: bytes,
    oidc_client_secret: str = "",
    slack_signing_secret: str = "",
    redis_password: str = "",
    alert_secrets: Mapping[str, tuple[str, ...]] | None = None,
) -> Flask:
    """The app for this service.

    `secret_key` (at least 32 random bytes, the same in all web processes) signs the cookie that carries a
    sign-in's state to the provider and back; sessions do not hang on it. Without a Slack signing secret every
    request of Slack is refused; `alert_secrets` are those of the sources of alerts, by name. Raises `Misconfigured` for
    a key that is too short.
    """
    if len(secret_key) < 32:
        raise Misconfigured("The key for sign-in cookies needs at least 32 random bytes.")
    issuer = service.settings.oidc_issuer
    provider = OpenIDProvider(issuer) if issuer else None
    web = Web(service, oidc_client_secret, slack_signing_secret, redis_password, provider, alert_secrets or {})
    app = Flask(__name__)
    if trusted := service.settings.trusted_proxies:
        # Rate limits go by the address of who asks. Nothing else that proxies tell is believed.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=trusted, x_proto=0, x_host=0)  # type: ignore[method-assign]
    app.extensions[EXTENSION] = web
    app.config.update(
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        MAX_FORM_MEMORY_SIZE=LARGEST_BODY,
        SECRET_KEY=secret_key,
        # Flask's own session carries nothing but the state of a sign-in under way.
        SESSION_COOKIE_NAME="__Host-runbooks-login" if web.secure else "runbooks-login",
        SESSION_COOKIE_SECURE=web.secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(minutes=LOGIN_MINUTES),
    )
    guards.open_to_all(app.view_functions["static"])
    for blueprint in (
        health.blueprint,
        identity.blueprint,
        login.blueprint,
        login.from_provider,
        linking.blueprint,
        pages.blueprint,
        api.blueprint,
        api.page,
        resource_metadata.blueprint,
        slack.blueprint,
        alerts.blueprint,
    ):
        app.register_blueprint(blueprint)
    errors.register(app)
    headers.register(app)
    app.before_request(guards.admit)
    limits.register(app, web)
    app.context_processor(_at_hand)
    client.register(app, web)
    return app


def _at_hand() -> dict[str, Any]:
    """What every template finds: who is signed in (None for nobody), their CSRF token, the installation."""
    settings = current_service().settings
    session = g.get("session")
    return {
        "person": g.get("person"),
        "csrf": session.csrf if session else "",
        "environment": settings.environment,
        "diagnose_only": settings.remediation == "off",
        "sandbox_off": settings.sandbox == "off",
        "styleguide": settings.styleguide == "on",
    }

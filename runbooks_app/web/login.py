"""Signing in with the OpenID provider, and signing out.

    GET  /login?next=/runs/…    on to the provider, with state, nonce and PKCE (S256)
    GET  /login/callback        back from it: code → id_token → session, under a new secret each time
    POST /logout                the session is revoked; its cookie is worth nothing from here on
    GET  /signed-out            says so

A person is `issuer#sub`, whatever the e-mail address says. What the provider says of groups becomes roles by the
settings. With the provider away nobody new can sign in; who is signed in goes on.
"""

from __future__ import annotations

import logging
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from authlib.integrations.flask_client import FlaskOAuth2App, OAuth, OAuthError
from flask import Blueprint, Flask, Response, current_app, make_response, redirect, request, session, url_for
from joserfc.errors import JoseError

from runbooks_app.actions import people
from runbooks_app.core.errors import Misconfigured, Refused
from runbooks_app.core.id_tokens import Untrusted, believed
from runbooks_app.oidc import NoProvider, OpenIDProvider
from runbooks_app.web import errors, sessions
from runbooks_app.web.claims import person_of, shown, signed_in_of
from runbooks_app.web.context import Web, origin_of, service
from runbooks_app.web.guards import guard, open_to_all

if TYPE_CHECKING:
    from runbooks_app.settings import Settings

log = logging.getLogger(__name__)

blueprint = Blueprint("login", __name__)

EXTENSION = "runbooks.login"
PATIENCE = 10
"""Seconds that the provider has for each answer."""
FRESH = 30
"""Seconds for which it is taken for granted, when somebody begins to sign in, that the provider answers."""
_MOST_PENDING = 5
"""Sign-ins under way in one browser, in as many tabs; their state has to fit into one cookie."""
_PLAIN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


class _Client(FlaskOAuth2App):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's client for the code flow. What it is told of the provider, and the id_token, are checked elsewhere."""

    published: OpenIDProvider

    def load_server_metadata(self) -> dict[str, Any]:
        """The endpoints of the code flow, and nothing else that could change how this client behaves."""
        found = self.published.metadata()
        return {name: found[name] for name in ("authorization_endpoint", "token_endpoint")}

    def parse_id_token(self, token: dict[str, Any], nonce: str, **_: Any) -> None:
        """Nothing: `core.id_tokens` looks at the token."""


class Provider:
    """The OpenID provider that the settings name, with this service as its client."""

    def __init__(self, app: Flask, settings: Settings, published: OpenIDProvider, client_secret: str) -> None:
        self.issuer = settings.oidc_issuer
        self.client_id = settings.oidc_client_id
        self.callback = settings.public_url + "/login/callback"
        self.published = published
        oauth = OAuth(app)
        oauth.oauth2_client_cls = _Client
        self.client = oauth.register(
            "provider",
            client_id=settings.oidc_client_id,
            client_secret=client_secret or None,
            client_kwargs={
                "scope": settings.oidc_scopes,
                "code_challenge_method": "S256",
                "default_timeout": PATIENCE,
                **({} if client_secret else {"token_endpoint_auth_method": "none"}),
            },
        )
        self.client.published = self.published


def register(app: Flask, web: Web) -> None:
    """Tie the app to the provider that the settings name; without one, signing in says that it is missing.

    Raises `Misconfigured` where the issuer is this service itself: its run tokens never sign anybody in.
    """
    settings = web.service.settings
    if web.provider is None:
        return
    if origin_of(settings.oidc_issuer) == web.origin:
        raise Misconfigured(
            "RUNBOOKS_OIDC_ISSUER names this service itself; name the provider that people sign in with."
        )
    logging.getLogger("authlib").setLevel(logging.INFO)  # below, it logs the verifier of each sign-in
    app.extensions[EXTENSION] = Provider(app, settings, web.provider, web.oidc_client_secret)


def safe_next(wanted: str) -> str:
    r"""The path to go on to after signing in; `/` for whatever could lead anywhere else.

    Browsers read `//host` and `/\\host` as other hosts, and drop tabs and line ends before they look.
    """
    if not _PLAIN_PATH.fullmatch(wanted) or len(wanted) > 500:
        return "/"
    parts = urlsplit(wanted)
    if parts.scheme or parts.netloc or parts.path.startswith(("/login", "/logout", "/signed-out")):
        return "/"
    return wanted


@blueprint.get("/login")
@open_to_all
def begin() -> Response:
    """Send the browser on to the provider."""
    provider = _provider()
    provider.published.metadata(fresh_within=FRESH)
    asked = provider.client.create_authorization_url(provider.callback)
    for key in list(session)[: max(0, len(session) - _MOST_PENDING + 1)]:
        session.pop(key)
    session.permanent = True  # the cookie's signature ages: a state is good for 15 minutes
    wanted = safe_next(request.args.get("next", "/"))
    provider.client.save_authorize_data(redirect_uri=provider.callback, next=wanted, **{**asked, "url": ""})
    return make_response(redirect(asked["url"], HTTPStatus.SEE_OTHER))


@blueprint.get("/login/callback")
@open_to_all
def finish() -> Response:
    """Take the provider's answer; open a session under a new secret and end the one that the browser had."""
    provider = _provider()
    metadata = provider.published.metadata()
    state = request.args.get("state", "")
    pending = provider.client.framework.get_state_data(session, state)
    if not pending:
        raise Untrusted("This sign-in was not begun in this browser, or longer than 15 minutes ago. Sign in again.")
    # RFC 9207: whose answer this is, where the provider says so, against mix-up.
    issuer = request.args.get("iss")
    named = metadata.get("authorization_response_iss_parameter_supported") is True
    if (issuer is None and named) or issuer not in {None, provider.issuer}:
        provider.client.framework.clear_state_data(session, state)
        raise Untrusted("The answer comes from another provider than the one that was asked. Sign in again.")
    claims = believed(
        _id_token(provider),
        provider.published,
        issuer=provider.issuer,
        client_id=provider.client_id,
        nonce=pending["nonce"],
        now=time.time(),
    )
    before = sessions.secret()
    if before:
        people.sign_out(service(), before)
    secret, _ = people.sign_in(service(), person_of(claims, service().settings), signed_in_of(claims))
    response = make_response(redirect(safe_next(str(pending.get("next", "/"))), HTTPStatus.SEE_OTHER))
    sessions.give(response, secret)
    return response


@blueprint.post("/logout")
@guard()
def end() -> Response:
    """Revoke the session."""
    people.sign_out(service(), sessions.secret())
    response = make_response(redirect(url_for("login.ended"), HTTPStatus.SEE_OTHER))
    sessions.take(response)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@blueprint.get("/signed-out")
@open_to_all
def ended() -> Response:
    """Say that the session has ended; nothing leads back in by itself."""
    return errors.page(HTTPStatus.OK, "Signed out", "You are signed out of this service. /login signs you in again.")


def _id_token(provider: Provider) -> str:
    """Exchange the code; only an id_token counts."""
    try:
        answered = provider.client.authorize_access_token()
    except OAuthError as error:
        code = shown(error.error)[:60]
        raise Refused(
            f"The sign-in provider did not sign you in ({code or 'no reason given'}). Sign in again."
        ) from error
    except (requests.RequestException, JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
        log.warning("The sign-in provider did not exchange a code (%s); nobody was signed in.", type(error).__name__)
        raise NoProvider from error
    token = answered.get("id_token")
    if not isinstance(token, str) or not token:
        raise Untrusted("The sign-in provider sent no id_token. Its client needs the scope openid.")
    return token


def _provider() -> Provider:
    found: Provider | None = current_app.extensions.get(EXTENSION)
    if found is None:
        raise Misconfigured("Nobody can sign in: no provider is configured. Set RUNBOOKS_OIDC_ISSUER.")
    return found

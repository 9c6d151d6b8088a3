"""This service as a client of the OpenID provider: a browser is sent there, and its answer is taken.

What is under way is kept in the browser, signed, for 15 minutes, under the request's `state`: the nonce, the PKCE
verifier, and what the caller of `send` wants to know again. An answer is taken once, by `answered`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from authlib.integrations.flask_client import FlaskOAuth2App, OAuth, OAuthError
from flask import Flask, Response, current_app, make_response, redirect, request, session
from joserfc.errors import JoseError

from runbooks_app.core.errors import Misconfigured, Refused
from runbooks_app.core.id_tokens import Untrusted, believed
from runbooks_app.oidc import NoProvider, OpenIDProvider
from runbooks_app.web.claims import shown
from runbooks_app.web.context import Web, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbooks_app.settings import Settings

log = logging.getLogger(__name__)

EXTENSION = "runbooks.client"
PATIENCE = 10
"""Seconds that the provider has to exchange a code."""
FRESH = 30
"""Seconds for which it is taken for granted that a provider which answered still does, before a browser goes there."""
_MOST_PENDING = 5
"""Sign-ins under way in one browser, in as many tabs; their state has to fit into one cookie."""


@dataclass(frozen=True)
class Answer:
    """What the provider answered: an id_token, its claims, believed, and what was kept when the browser was sent."""

    id_token: str = field(repr=False)
    claims: dict[str, Any]
    kept: Mapping[str, Any]


class _CodeFlow(FlaskOAuth2App):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's client for the code flow. What it is told of the provider, and the id_token, are checked elsewhere."""

    published: OpenIDProvider

    def load_server_metadata(self) -> dict[str, Any]:
        """The endpoints of the code flow, and nothing else that could change how this client behaves."""
        found = self.published.metadata()
        return {name: found[name] for name in ("authorization_endpoint", "token_endpoint")}

    def parse_id_token(self, token: dict[str, Any], nonce: str, **_: Any) -> None:
        """Nothing: `core.id_tokens` looks at the token."""


class Client:
    """This service as the client that the settings name, at the provider that they name."""

    def __init__(self, app: Flask, settings: Settings, client_secret: str, published: OpenIDProvider) -> None:
        self.issuer = settings.oidc_issuer
        self.published = published
        self.origin = sign_in_origin(settings)
        self.client_id = settings.oidc_client_id
        self.callback = settings.public_url + "/login/callback"
        oauth = OAuth(app)
        oauth.oauth2_client_cls = _CodeFlow
        self._client = oauth.register(
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
        self._client.published = published

    def send(self, kept: Mapping[str, Any], **asked: Any) -> Response:
        """Send the browser to the provider's sign-in page. `asked` are further parameters of the request.

        Raises `NoProvider` where the browser would find nobody there.
        """
        page = self.published.metadata(fresh_within=FRESH)["authorization_endpoint"]
        if origin_of(page) != self.origin:
            # Browsers hold forms that lead there to the one origin that pages name.
            raise Misconfigured(
                f"The provider's sign-in page is at {origin_of(page)}, and not at {self.origin}."
                f" Set RUNBOOKS_OIDC_ORIGIN={origin_of(page)}."
            )
        request_ = self._client.create_authorization_url(self.callback, **asked)
        for key in list(session)[: max(0, len(session) - _MOST_PENDING + 1)]:
            session.pop(key)
        session.permanent = True  # the cookie's signature ages: a state is good for 15 minutes
        self._client.save_authorize_data(redirect_uri=self.callback, kept=dict(kept), **{**request_, "url": ""})
        return make_response(redirect(request_["url"], HTTPStatus.SEE_OTHER))

    def kept(self) -> Mapping[str, Any]:
        """What was kept when this request's browser was sent. Raises `Untrusted` where it was not, or too long ago."""
        pending = self._client.framework.get_state_data(session, request.args.get("state", ""))
        if not pending:
            raise Untrusted("This sign-in was not begun in this browser, or longer than 15 minutes ago. Sign in again.")
        found: Mapping[str, Any] = pending["kept"]
        return found

    def answered(self) -> Answer:
        """The provider's answer, taken from the request. Raises `Untrusted`, `Refused` or `NoProvider`."""
        kept = self.kept()
        state = request.args.get("state", "")
        nonce = self._client.framework.get_state_data(session, state)["nonce"]
        # RFC 9207: whose answer this is, where the provider says so, against mix-up.
        issuer = request.args.get("iss")
        named = self.published.metadata().get("authorization_response_iss_parameter_supported") is True
        if (issuer is None and named) or issuer not in {None, self.issuer}:
            self._client.framework.clear_state_data(session, state)
            raise Untrusted("The answer comes from another provider than the one that was asked. Sign in again.")
        token = self._exchanged()
        claims = believed(
            token, self.published, issuer=self.issuer, client_id=self.client_id, nonce=nonce, now=time.time()
        )
        return Answer(token, claims, kept)

    def _exchanged(self) -> str:
        """Exchange the code; only an id_token counts."""
        try:
            answered = self._client.authorize_access_token()
        except OAuthError as error:
            code = shown(error.error)[:60]
            raise Refused(
                f"The sign-in provider did not sign you in ({code or 'no reason given'}). Sign in again."
            ) from error
        except (requests.RequestException, JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
            log.warning("The sign-in provider did not exchange a code (%s); nobody signed in.", type(error).__name__)
            raise NoProvider from error
        token = answered.get("id_token")
        if not isinstance(token, str) or not token:
            raise Untrusted("The sign-in provider sent no id_token. Its client needs the scope openid.")
        return token


def sign_in_origin(settings: Settings) -> str:
    """The one origin besides this service's own that a form's answer may lead to; empty without a provider."""
    return origin_of(settings.oidc_origin or settings.oidc_issuer)


def register(app: Flask, web: Web) -> None:
    """Make the app a client of the provider that the settings name; without one, signing in says that it is missing.

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
    app.extensions[EXTENSION] = Client(app, settings, web.oidc_client_secret, web.provider)


def client() -> Client:
    """The app as a client; raises `Misconfigured` where the settings name no provider."""
    found: Client | None = current_app.extensions.get(EXTENSION)
    if found is None:
        raise Misconfigured("Nobody can sign in: no provider is configured. Set RUNBOOKS_OIDC_ISSUER.")
    return found

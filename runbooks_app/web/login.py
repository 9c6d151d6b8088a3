"""Signing in with the OpenID provider, and signing out.

    GET  /login?next=/runs/…    on to the provider, with state, nonce and PKCE (S256)
    GET  /login/callback        back from it: code → id_token → session, under a new secret each time; or what
                                `stepup` began, where somebody who is signed in proved it afresh
    POST /logout                the session is revoked; its cookie is worth nothing from here on. Then on to the
                                provider, to sign out there as well (OpenID Connect RP-Initiated Logout 1.0)
    GET  /signed-out            says so
    POST /login/back-channel    the provider ends sessions: somebody signed out there, or was signed out

A person is `issuer#sub`, whatever the e-mail address says. What the provider says of groups becomes roles by the
settings. With the provider away nobody new can sign in; who is signed in goes on.
"""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, g, make_response, redirect, request, url_for

from runbooks_app.actions import people
from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.core.id_tokens import UntrustedLogout, believed_logout
from runbooks_app.web import errors, sessions, stepup
from runbooks_app.web.claims import person_of, sid_of, signed_in_of
from runbooks_app.web.client import FRESH, client
from runbooks_app.web.context import origin_of, service
from runbooks_app.web.guards import guard, open_to_all, signed_by_provider

blueprint = Blueprint("login", __name__)
from_provider = Blueprint("from_provider", __name__)
"""What the provider itself asks for: its limit is not that of people."""

_PLAIN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


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
    wanted = safe_next(request.args.get("next", "/"))
    g.back = _login(wanted)
    return client().send({"next": wanted})


@blueprint.get("/login/callback")
@open_to_all
def finish() -> Response:
    """Take the provider's answer; open a session under a new secret and end the one that the browser had."""
    g.back = "/login"
    kept = client().kept()
    wanted = safe_next(str(kept.get("next", "/")))
    if "kind" in kept:
        g.back = wanted
        return stepup.finish()
    g.back = _login(wanted)
    claims = client().answered().claims
    before = sessions.secret()
    if before:
        people.sign_out(service(), before)
    secret, _ = people.sign_in(service(), person_of(claims, service().settings), signed_in_of(claims), sid_of(claims))
    response = make_response(redirect(wanted, HTTPStatus.SEE_OTHER))
    sessions.give(response, secret)
    return response


@blueprint.post("/logout")
@guard()
def end() -> Response:
    """Revoke the session; then have the provider end its own, so that nobody comes back in without signing in."""
    people.sign_out(service(), sessions.secret())
    response = make_response(redirect(_end_at_provider() or url_for("login.ended"), HTTPStatus.SEE_OTHER))
    sessions.take(response)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@blueprint.get("/signed-out")
@open_to_all
def ended() -> Response:
    """Say that the session has ended; nothing leads back in by itself."""
    return errors.page(HTTPStatus.OK, "Signed out", "You are signed out of this service.")


@from_provider.post("/login/back-channel")
@signed_by_provider
def end_by_provider() -> Response:
    """End the sessions that the provider's logout token names (OpenID Connect Back-Channel Logout 1.0)."""
    try:
        found = client()
    except Misconfigured as error:
        raise UntrustedLogout("No sign-in provider is configured here.") from error
    claims = believed_logout(
        request.form.get("logout_token", ""),
        found.published,
        issuer=found.issuer,
        client_id=found.client_id,
        now=time.time(),
    )
    people.sign_out_by_provider(
        service(), found.issuer, claims["jti"], subject=claims.get("sub", ""), sid=claims.get("sid", "")
    )
    return make_response("", HTTPStatus.OK)


def _login(wanted: str) -> str:
    """Where somebody begins anew, and still gets to where they were going."""
    return url_for("login.begin", next=wanted)


def _end_at_provider() -> str:
    """Where the provider ends its own session; empty where it has no such page, or does not answer.

    No id_token is kept to show there: the provider asks the person instead whether they want this.
    """
    try:
        found = client()
        page = found.published.metadata(fresh_within=FRESH).get("end_session_endpoint")
    except (Unavailable, Misconfigured):
        return ""
    if not page or origin_of(page) != found.origin:
        return ""
    back = service().settings.public_url + url_for("login.ended")
    asked = urlencode({"client_id": found.client_id, "post_logout_redirect_uri": back})
    return f"{page}{'&' if urlsplit(page).query else '?'}{asked}"

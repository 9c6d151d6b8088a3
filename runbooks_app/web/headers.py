"""Security headers of every answer. A route may set one itself: what it sets stands.

A route that brings its own Content-Security-Policy shows what a notebook printed, in a frame of our own pages
(`documents` names the headers for that): it alone may be framed, and by this origin alone.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, Response, request

from runbooks_app.web.client import sign_in_origin
from runbooks_app.web.context import web

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No inline script, no other host, nobody frames us. `data:` is for charts out of notebooks."""


def policy(sign_in_origin: str) -> str:
    """The policy, with the one other origin that a form's answer may lead on to: the provider that people sign in with.

    Chromium holds redirects after a form to `form-action` too, and a decision of high risk leads to a fresh sign-in.
    """
    return POLICY.replace("form-action 'self'", f"form-action 'self' {sign_in_origin}".rstrip())


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
KEPT = "private, max-age=31536000, immutable"
HSTS = "max-age=31536000; includeSubDomains"


def protect(response: Response) -> Response:
    """Add what the answer does not carry yet."""
    own_policy = "Content-Security-Policy" in response.headers
    response.headers.setdefault("Content-Security-Policy", policy(sign_in_origin(web().service.settings)))
    response.headers.setdefault("X-Frame-Options", "SAMEORIGIN" if own_policy else "DENY")
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    elif "v" in request.args and response.status_code == HTTPStatus.OK:
        # Pages name their files with a mark of the content (`pages.asset`): such an address never means anything else.
        response.headers["Cache-Control"] = KEPT
    if web().secure:
        response.headers.setdefault("Strict-Transport-Security", HSTS)
    return response


def register(app: Flask) -> None:
    """Protect every answer of the app."""
    app.after_request(protect)

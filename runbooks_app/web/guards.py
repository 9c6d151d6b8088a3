"""Who may come in. Every handler declares it; what declares nothing is refused.

    @blueprint.post("/runs/<run_id>/cancel")
    @guard(Permission.CANCEL)            somebody signed in who holds the permission
    @guard()                             anybody signed in: the action itself decides
    @open_to_all                         everybody, for reading alone: health, sign-in, static files
    @signed_by_slack                     the handler checks Slack's signature first; no session counts
    @signed_by_source                    the handler checks first who sends alerts; no session counts
    @signed_by_provider                  the handler checks the sign-in provider's token first; no session counts

`admit` runs before every request. Of one that may have an effect (neither GET nor HEAD nor OPTIONS) it wants,
in this order: that it comes from a page of this very origin, a session, the session's CSRF token. Then the
permission. On the API an access token stands in place of all but the permission: no browser sends one by itself.
Afterwards handlers find `g.person`, `g.session` or `g.token` (the other is None), and `signed_in()` for the action.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from flask import current_app, g, request

from runbooks_app.actions import people
from runbooks_app.core.errors import NotSignedIn, Refused
from runbooks_app.web import bearer, sessions
from runbooks_app.web.context import origin_of, service, web

if TYPE_CHECKING:
    from runbooks_app.core.people import Permission, Person

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_DECLARED = "__runbooks_guard__"
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Open(StrEnum):
    """Declarations that want no session."""

    TO_ALL = "open to all"
    SIGNED_BY_SLACK = "signed by Slack"
    SIGNED_BY_SOURCE = "signed by who sends alerts"
    SIGNED_BY_PROVIDER = "signed by the sign-in provider"


class CrossSite(Refused):
    """The request does not come from a page of this service."""

    code = "cross_site"


def guard(permission: Permission | None = None) -> Callable[[Handler], Handler]:
    """Declare that the handler wants somebody signed in, and which permission they need to hold."""

    def declare(handler: Handler) -> Handler:
        setattr(handler, _DECLARED, (permission,))
        return handler

    return declare


def open_to_all(handler: Handler) -> Handler:
    """Declare that the handler wants no session. Without one nothing may have an effect."""
    setattr(handler, _DECLARED, Open.TO_ALL)
    return handler


def signed_by_slack(handler: Handler) -> Handler:
    """Declare that the handler proves the sender by Slack's signature over the raw body."""
    setattr(handler, _DECLARED, Open.SIGNED_BY_SLACK)
    return handler


def signed_by_source(handler: Handler) -> Handler:
    """Declare that the handler proves the sender by the secret of a source of alerts."""
    setattr(handler, _DECLARED, Open.SIGNED_BY_SOURCE)
    return handler


def signed_by_provider(handler: Handler) -> Handler:
    """Declare that the handler proves the sender by a token that the sign-in provider signed."""
    setattr(handler, _DECLARED, Open.SIGNED_BY_PROVIDER)
    return handler


def declaration(handler: Callable[..., Any]) -> Open | tuple[Permission | None] | None:
    """What a handler declared; None for nothing."""
    found: Open | tuple[Permission | None] | None = getattr(handler, _DECLARED, None)
    return found


def signed_in(surface: str = "") -> dict[str, Any]:
    """How the person is signed in, as the audit trail keeps it: the surface, and what the provider told."""
    if g.get("token"):
        said: dict[str, Any] = g.token.signed_in
        return said
    told: dict[str, Any] = g.session.signed_in if g.get("session") else {}
    return {**told, "surface": surface or ("api" if _is_api() else "web")}


def admit() -> None:
    """Let the request through to its handler, or raise `NotSignedIn` or `Refused`."""
    g.person, g.session, g.token, g.bearer = None, None, None, None
    if request.endpoint is None:  # no such page: Flask says so itself
        return
    declared = declaration(current_app.view_functions[request.endpoint])
    if declared is None:
        raise Refused(f"Nobody may use {request.path}: it declares no permission.")
    if declared in {Open.SIGNED_BY_SLACK, Open.SIGNED_BY_SOURCE, Open.SIGNED_BY_PROVIDER}:
        return
    effect = request.method not in _SAFE
    token = bearer.presented() if _is_api() else None
    if token is not None and isinstance(declared, tuple):
        _by_token(token, declared[0], effect=effect)
        return
    if effect:
        _same_origin()
    if declared is Open.TO_ALL:
        if effect:
            raise Refused(f"{request.path} is for reading alone.")
        return
    session = sessions.current()
    if session is None:
        raise NotSignedIn
    person = sessions.person_of(session)
    g.session, g.person = session, person
    if effect:
        _csrf_token(session.csrf)
    _permitted(person, declared[0])


def _by_token(token: str, permission: Permission | None, *, effect: bool) -> None:
    if sessions.secret():
        raise bearer.TwoWays
    found = bearer.believed(token)
    g.token, g.person = found, people.told_by_token(service(), found.person, found.issued)
    _permitted(g.person, permission)
    if effect and found.person.agent:  # reading leaves nothing behind
        people.know(service(), found.behind)
    elif effect:
        people.remember_by_token(service(), g.person, found.signed_in, found.issued)


def _permitted(person: Person, permission: Permission | None) -> None:
    if permission is not None:
        try:
            person.require(permission)
        except Refused as error:
            raise bearer.NotPermitted(error.message) from None


def _is_api() -> bool:
    return request.path.startswith("/api/")


def _same_origin() -> None:
    """Refuse what another site's page sends.

    Browsers tell the origin of every request with effect; a `null` one (sandboxed frames, redirects) is no
    origin of ours. Sec-Fetch-Site must agree where it is sent, whatever Sec-Fetch-Mode says
    (CVE-2026-40864: `no-cors` skipped the check).
    """
    origin = request.headers.get("Origin")
    told = origin if origin is not None else origin_of(request.headers.get("Referer", ""))
    if told != web().origin:
        raise CrossSite("The request does not come from a page of this service. Open the page afresh and try again.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise CrossSite("The request comes from another site. Open the page of this service and try again.")


def _csrf_token(wanted: str) -> None:
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise CrossSite(
            "The request lacks your session's token, or the page is from before you signed in. Load it again."
        )

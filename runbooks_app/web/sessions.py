"""The session's cookie. The session itself is a row that `actions.people` opens, finds and revokes.

Over https its name begins with `__Host-`: a browser then takes it only with Secure, for the whole host and
from the host itself, so neither a sibling domain nor plain http can plant one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request

from runbooks_app.actions import people
from runbooks_app.core.people import Person
from runbooks_app.web.context import service, web

if TYPE_CHECKING:
    from runbooks_app.store.records import Session


def cookie_name() -> str:
    """The cookie's name, by the scheme."""
    return "__Host-runbooks" if web().secure else "runbooks"


def secret() -> str:
    """The value of the request's session cookie; empty where there is none."""
    return request.cookies.get(cookie_name(), "")


def current() -> Session | None:
    """The live session that the request's cookie stands for."""
    value = secret()
    return people.session_of(service(), value) if value else None


def person_of(session: Session) -> Person:
    """Who is signed in, with the roles of their latest sign-in."""
    return Person(session.subject, session.name, session.email, frozenset(session.roles))


def give(response: Response, value: str) -> None:
    """Set the cookie, for as long as the session lives."""
    response.set_cookie(
        cookie_name(),
        value,
        max_age=service().settings.session_hours * 3600,
        path="/",
        secure=web().secure,
        httponly=True,
        samesite="Lax",
    )


def take(response: Response) -> None:
    """Have the browser forget the cookie."""
    response.delete_cookie(cookie_name(), path="/", secure=web().secure, httponly=True, samesite="Lax")

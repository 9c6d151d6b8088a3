"""Errors as answers. Here, and nowhere else, an error gets its HTTP status.

For `/api/` and for clients that would rather have JSON:

    {"error": {"code": "not_found", "message": "There is no run 'x'.",
               "problems": [{"where": "…", "message": "…", "fix": "…"}]}}

For people the template `error.html`, which is given `status`, `title`, `message`, `problems` and `code`.
Refusals leave a trace: an entry in the audit trail for people we know, a count for everybody else.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, g, jsonify, make_response, redirect, render_template, request
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException

from runbooks_app.actions.refusals import refused
from runbooks_app.core.errors import (
    BrokenRunbook,
    Conflict,
    InvalidInput,
    Misconfigured,
    NotFound,
    NotSignedIn,
    Problem,
    Refused,
    RunbooksError,
    Unavailable,
)
from runbooks_app.core.id_tokens import UntrustedLogout
from runbooks_app.web import bearer
from runbooks_app.web.context import service
from runbooks_app.web.guards import signed_in

log = logging.getLogger(__name__)

STATUS: dict[type[RunbooksError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    BrokenRunbook: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Refused: HTTPStatus.FORBIDDEN,
    UntrustedLogout: HTTPStatus.BAD_REQUEST,
    NotSignedIn: HTTPStatus.UNAUTHORIZED,
    bearer.TwoWays: HTTPStatus.BAD_REQUEST,  # RFC 6750, section 3.1
    Conflict: HTTPStatus.CONFLICT,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Misconfigured: HTTPStatus.SERVICE_UNAVAILABLE,
}

_TITLES = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read",
    HTTPStatus.UNAUTHORIZED: "Sign in first",
    HTTPStatus.FORBIDDEN: "Not allowed",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Not possible here",
    HTTPStatus.CONFLICT: "Moved on in the meantime",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Not the expected kind of content",
    HTTPStatus.UNPROCESSABLE_ENTITY: "This cannot be used",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available right now",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong in here",
}

_HTTP_MESSAGES = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read: it is malformed.",
    HTTPStatus.NOT_FOUND: "There is no such page.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take {method} requests.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is larger than the 2 MB that are taken.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Send JSON, with the header Content-Type: application/json.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests in a short time. Wait a minute and try again.",
}


def status_of(error: RunbooksError) -> HTTPStatus:
    """The HTTP status of an error, by the nearest class that has one."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def as_json(code: str, message: str, problems: tuple[Problem, ...] = ()) -> dict[str, Any]:
    """The one JSON shape of an error."""
    told = [{"where": p.where, "message": p.message, "fix": p.fix} for p in problems]
    return {"error": {"code": code, "message": message, "problems": told}}


def or_the_form(act: Callable[[], Response], form: Callable[[RunbooksError], str]) -> Response:
    """What acting answers. Where it is not taken, the page with its form again, so that nothing typed is lost.

    A refusal is entered as everywhere.
    """
    try:
        return act()
    except (InvalidInput, Conflict, Refused, Unavailable) as error:
        if isinstance(error, Refused):
            _trace(error)
        return make_response(form(error), status_of(error))


def beside_the_form(error: RunbooksError) -> tuple[Problem, ...]:
    """What a form that comes back says of it."""
    return error.problems or (Problem("", error.message),)


def wants_json() -> bool:
    """Whether the client gets JSON: a program always, others if they would rather have it than HTML."""
    if request.path.startswith(("/api/", "/alerts/")):
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], "text/html")
    return bool(best == "application/json")


def answer(status: HTTPStatus, code: str, message: str, problems: tuple[Problem, ...] = ()) -> Response:
    """An error as this client wants to have it."""
    if wants_json():
        return make_response(jsonify(as_json(code, message, problems)), status)
    return page(status, _TITLES.get(status, status.phrase), message, problems=problems, code=code)


def page(
    status: HTTPStatus, title: str, message: str, *, problems: tuple[Problem, ...] = (), code: str = ""
) -> Response:
    """A page that says one thing: an error, or a plain word such as "You are signed out"."""
    try:
        shown = render_template(
            "error.html", status=int(status), title=title, message=message, problems=problems, code=code
        )
    except Exception:  # the error page must come, also where what it stands on is the trouble
        log.exception("The error page could not be rendered; a plain one was sent instead. Mend error.html.")
        lines = [title, "", message, *(f"- {problem}" for problem in problems)]
        return Response("\n".join(lines), status, content_type="text/plain; charset=utf-8")
    return make_response(shown, status)


def register(app: Flask) -> None:
    """Have every error of the app answered in here."""
    app.register_error_handler(RunbooksError, _known)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(DataError, _unstorable)
    app.register_error_handler(Exception, _unknown)


def _known(error: RunbooksError) -> Response:
    status = status_of(error)
    if isinstance(error, Refused):
        _trace(error)
    elif isinstance(error, NotSignedIn):
        if request.method in {"GET", "HEAD"} and not wants_json():
            wanted = request.full_path.rstrip("?")
            return make_response(redirect("/login?" + urlencode({"next": wanted}), HTTPStatus.SEE_OTHER))
        _trace(error)
    elif status is HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, Misconfigured):
        log.error("%s %s failed: %s", request.method, request.path, error)
    response = answer(status, error.code, error.message, error.problems)
    if request.path.startswith("/api/") and (challenge := bearer.challenge(error)):
        response.headers["WWW-Authenticate"] = challenge
    return response


def _trace(error: RunbooksError) -> None:
    """Enter the refusal of somebody we know, count others by place and code: few enough that none can flood.

    That it cannot be written changes nothing about the refusal.
    """
    person = g.get("person")
    what = f"{request.method} {request.endpoint or 'nowhere'}"
    try:
        refused(service(), person, signed_in(), what, error.message if person else f"{what}: {error.code}")
    except Exception:
        log.exception("A refusal could not be entered in the audit trail; it was refused all the same.")


def _http(error: HTTPException) -> Response:
    if error.response is not None and not error.code:  # a redirect that werkzeug asks for
        return make_response(error.response)
    status = HTTPStatus(error.code or 500)
    if status < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response())
    message = _HTTP_MESSAGES.get(status, status.phrase + ".").format(method=request.method)
    code = "invalid_request" if status is HTTPStatus.BAD_REQUEST else status.phrase.lower().replace(" ", "_")
    response = answer(status, code, message)
    valid = getattr(error, "valid_methods", None)
    if valid:
        response.headers["Allow"] = ", ".join(sorted(valid))
    return response


def _unstorable(_error: DataError) -> Response:
    """PostgreSQL cannot hold a value as it came: a NUL in a text, a number beyond all bounds."""
    message = "A value in the request cannot be kept: a text with a NUL in it, or a number beyond all bounds."
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInput.code, message)


def _unknown(error: Exception) -> Response:
    """A mistake of ours: the log has all of it, the client a number by which to find it there."""
    number = secrets.token_hex(4)
    what = f"{request.method} {request.path}"
    log.error("%s failed (number %s). This is a defect: report it.", what, number, exc_info=error)
    message = f"See whether it was done before you try again. Your platform team finds the rest by the number {number}."
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", message)

"""What a route takes and answers, declared in one place beside its guard.

    @blueprint.post("/runs")
    @guard(Permission.RUN)
    @tells(answers.Run, body=asked.NewRun, status=HTTPStatus.CREATED, problems=(NotFound, Conflict))
    def ask_for_run(wanted: asked.NewRun) -> Created: …

The models that stand there validate what comes in, build what goes out, and make the OpenAPI file
(`runbooks_app.web.api.openapi`). So the three cannot say different things.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Blueprint, Response, g, request

from runbooks_app.actions.delivering import Keyed, Repeated
from runbooks_app.core.errors import InvalidInput, Problem, RunbooksError
from runbooks_app.web.api import reading
from runbooks_app.web.api.answers import Answer
from runbooks_app.web.api.asked import Body, NoQuery, Query
from runbooks_app.web.api.withholding import from_agents

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

_CONTRACT = "__runbooks_contract__"
JSON = "application/json"
KEY_HEADER = "Idempotency-Key"
KEY = r"[!-~]{1,100}"
"""What a client may take as the key of a request: printable ASCII without spaces."""

Told = TypeVar("Told")


@dataclass(frozen=True)
class Contract:
    """What a route takes and answers.

    `body` is None where it reads. Instead of JSON it may answer a document, of one of the content types `media`.
    `problems` are the errors that it answers beside those that every route may. `keyed`: whether a request may be sent
    again under its `Idempotency-Key`.
    """

    answer: type[Answer] | None
    status: HTTPStatus
    body: type[Body] | None
    query: type[Query]
    media: tuple[str, ...]
    problems: tuple[type[RunbooksError], ...]
    keyed: bool


@dataclass(frozen=True)
class Created:
    """Something that was made, and its address."""

    told: Answer
    where: str


Handler = Callable[..., Answer | Created | Response]


def tells(
    answer: type[Answer] | None = None,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    body: type[Body] | None = None,
    query: type[Query] = NoQuery,
    media: tuple[str, ...] = (),
    problems: tuple[type[RunbooksError], ...] = (),
    keyed: bool = True,
) -> Callable[[Handler], Callable[..., Response]]:
    """Declare what a route takes and answers; see `Contract`. A route with a body takes a key, unless it says not.

    The handler is given the body, else the query, unless that has no fields.
    """
    contract = Contract(answer, status, body, query, media, problems, keyed and body is not None)

    def declare(handler: Handler) -> Callable[..., Response]:
        @wraps(handler)
        def answered(**path: Any) -> Response:
            wanted = reading.body(body) if body else reading.query(query)
            told = handler(wanted, **path) if type(wanted).model_fields else handler(**path)
            return told if isinstance(told, Response) else _response(told, status)

        setattr(answered, _CONTRACT, contract)
        return answered

    return declare


def once(act: Callable[[Keyed | None], Told], again: Callable[[str], Told]) -> Told:
    """What the request does; or what it did, as it stands now, where its `Idempotency-Key` was sent before.

    `again` is given the id of what was made then.
    """
    try:
        return act(_keyed())
    except Repeated as repeated:
        return again(repeated.made)


def _keyed() -> Keyed | None:
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return None
    if not re.fullmatch(KEY, key):
        fix = "Send 1 to 100 printable ASCII characters without spaces."
        raise InvalidInput("The request's key cannot be used.", problems=(Problem(KEY_HEADER, "is malformed.", fix),))
    # An agent of theirs is another sender: what it sends under a person's key is not what they sent.
    head = json.dumps([request.method, request.path, g.person.agent]).encode()
    sent = sha256(head + b"\n" + request.get_data()).hexdigest()
    return Keyed(g.person.subject, key, sent)


def contract_of(handler: Callable[..., Any]) -> Contract | None:
    """What a handler declared; None for nothing."""
    found: Contract | None = getattr(handler, _CONTRACT, None)
    return found


def _response(told: Answer | Created, status: HTTPStatus) -> Response:
    """The answer as JSON. What was read has an `ETag`, and is not sent to whoever has it already (RFC 9110, 13.1.2)."""
    answer = from_agents(told.told if isinstance(told, Created) else told)
    response = Response(answer.model_dump_json(exclude_unset=True), status, mimetype=JSON)
    if isinstance(told, Created):
        response.headers["Location"] = told.where
    if request.method in {"GET", "HEAD"}:
        response.add_etag()
        response.make_conditional(request)
    return response

"""Slack's requests by HTTP: slash commands, buttons and forms, events.

A request is believed by its signature over the raw body alone; without a signing secret every one is refused. What it
asks for is `answering`'s. What went wrong is told to the person, and Slack gets 200: any other status it shows as a
failure without a word. Neither body nor text of a request is logged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from flask import Blueprint, Response, jsonify, request

from runbooks_app.chat.signature import verify
from runbooks_app.core.errors import InvalidInput
from runbooks_app.web.context import service, web
from runbooks_app.web.guards import signed_by_slack
from runbooks_app.web.slack.answering import answer
from runbooks_app.web.slack.asked import Asked, from_command, from_event, from_interaction

blueprint = Blueprint("slack", __name__, url_prefix="/slack")


@blueprint.post("/commands")
@signed_by_slack
def command() -> Response:
    """Answer a slash command."""
    body, copy = _proven()
    return _answered(from_command, _form(body), copy)


@blueprint.post("/interactivity")
@signed_by_slack
def interactivity() -> Response:
    """Do what a button, a form or a shortcut asks for."""
    body, copy = _proven()
    return _answered(from_interaction, _json(_form(body).get("payload", "")), copy)


@blueprint.post("/events")
@signed_by_slack
def events() -> Response:
    """Take an event; the first one that an address is sent asks whether it is ours."""
    body, copy = _proven()
    told = _json(body)
    if told.get("type") == "url_verification":
        return jsonify(challenge=str(told.get("challenge", ""))[:200])
    return _answered(from_event, told, copy)


def _answered(read: Callable[..., Asked | None], told: Mapping[str, Any], copy: str) -> Response:
    asked = read(told, settings=service().settings, copy=copy, at=time.time())
    body = answer(service(), asked).body() if asked is not None else None
    return jsonify(body) if body is not None else Response("")


def _proven() -> tuple[bytes, str]:
    """The raw body and its replay key, if the signature holds over exactly these bytes."""
    body = request.get_data()
    key = verify(
        web().slack_signing_secret,
        body,
        request.headers.get("X-Slack-Request-Timestamp"),
        request.headers.get("X-Slack-Signature"),
        now=time.time(),
    )
    return body, key


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise InvalidInput("The request from Slack cannot be read.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidInput("The request from Slack names a field twice.")
    return form


def _json(text: str | bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The request from Slack cannot be read.") from error
    if not isinstance(told, dict):
        raise InvalidInput("The request from Slack cannot be read.")
    return told

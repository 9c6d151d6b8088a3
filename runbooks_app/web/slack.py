"""Slack's requests: slash commands and buttons.

A request is believed by its signature over the raw body alone, and only from the one workspace of the settings;
with either unset every request is refused. It is taken once: a copy of it, within the window of the signature,
does nothing. What it asks for is done for the person whom the Slack account is linked to, with their roles, by
the same actions as everywhere; nobody linked gets a one-time link.

What went wrong is told to the person who typed, and Slack gets 200: any other status it shows as a failure
without a word. Neither body nor text of a request is logged.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flask import Blueprint, Response, jsonify, request

from runbooks_app.actions import people
from runbooks_app.actions.delivering import first_delivery
from runbooks_app.actions.refusals import refused
from runbooks_app.actions.running import cancel_run
from runbooks_app.chat import replies
from runbooks_app.chat.blocks import CANCEL_RUN
from runbooks_app.chat.commands import Command, parse
from runbooks_app.chat.signature import verify
from runbooks_app.core.errors import InvalidInput, Refused, RunbooksError
from runbooks_app.web import slack_commands
from runbooks_app.web.context import service, web
from runbooks_app.web.guards import signed_by_slack

if TYPE_CHECKING:
    from runbooks_app.chat.client import Responder
    from runbooks_app.chat.views import Message
    from runbooks_app.core.people import Person

log = logging.getLogger(__name__)

blueprint = Blueprint("slack", __name__, url_prefix="/slack")


@dataclass(frozen=True)
class Sender:
    """Who sent a request from where. `delivery` is the same for every copy of it."""

    team: str
    user: str
    user_name: str
    channel: str
    delivery: str

    def signed_in(self) -> dict[str, Any]:
        """How the person is known, as the audit trail keeps it."""
        return {"surface": "slack", "auth_time": None, "team": self.team, "chat_user": self.user}


@blueprint.post("/commands")
@signed_by_slack
def command() -> Response:
    """Answer a slash command."""
    body, delivery = _proven()
    form = _form(body)
    sender = _sender(form.get("team_id"), form.get("user_id"), form.get("user_name"), form.get("channel_id"), delivery)
    typed = form.get("command") or "/runbook"
    parsed: Command | None = None
    person: Person | None = None
    try:
        person = people.person_of_chat(service(), sender.team, sender.user)
        if person is None:
            return _told(_link(sender))
        parsed = parse(form.get("text", ""))
        message = slack_commands.answer(service(), person, sender.signed_in(), sender, parsed, typed)
    except RunbooksError as error:
        message = _error(error, person, sender, parsed, typed)
    return _told(message)


@blueprint.post("/interactivity")
@signed_by_slack
def interactivity() -> Response:
    """Do what a button asks for. Slack shows nothing of the answer's body: words go to the response URL."""
    body, delivery = _proven()
    try:
        payload = json.loads(_form(body).get("payload", ""))
        user, channel = payload["user"], payload.get("channel") or {}
        actions = [(str(a.get("action_id")), str(a.get("value"))) for a in payload.get("actions", ())]
        sender = _sender(
            (payload.get("team") or {}).get("id"), user.get("id"), user.get("username"), channel.get("id"), delivery
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidInput("The interaction cannot be read.") from error
    if payload.get("type") != "block_actions" or CANCEL_RUN not in [name for name, _ in actions]:
        return Response("")  # buttons that only open a page are told to us as well
    run_id = dict(actions)[CANCEL_RUN]
    person: Person | None = None
    try:
        person = people.person_of_chat(service(), sender.team, sender.user)
        if person is None:
            _whisper(payload, _link(sender))
        elif first_delivery(service(), sender.delivery):
            cancel_run(service(), person, sender.signed_in(), run_id)  # the run's message tells the rest
    except RunbooksError as error:
        _whisper(payload, _error(error, person, sender, None, "/runbook"))
    return Response("")


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
    return body, "slack:" + key


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise InvalidInput("The request from Slack cannot be read.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidInput("The request from Slack names a field twice.")
    return form


def _sender(team: Any, user: Any, name: Any, channel: Any, delivery: str) -> Sender:
    allowed = service().settings.slack_team
    if not allowed:
        raise Refused("No Slack workspace is configured, so commands are refused. Set RUNBOOKS_SLACK_TEAM.")
    if team != allowed:
        raise Refused("The request comes from another Slack workspace than the one of RUNBOOKS_SLACK_TEAM.")
    if not isinstance(user, str) or not user.isalnum() or len(user) > 40:
        raise Refused("The request from Slack names no user.")
    place = channel if isinstance(channel, str) and channel.isalnum() and len(channel) <= 40 else ""
    shown = "".join(c for c in name if c.isprintable())[:80] if isinstance(name, str) else ""
    return Sender(allowed, user, shown or user, place, delivery)


def _link(sender: Sender) -> Message:
    """A one-time link for somebody whom nobody is known to be; a copied request gets none."""
    if not first_delivery(service(), sender.delivery):
        return replies.done_reply("This was asked already.")
    code = people.offer_chat_link(service(), sender.team, sender.user, sender.user_name)
    url = f"{service().settings.public_url}/link/{code}"
    return replies.link_reply(url, minutes=people.LINK_MINUTES)


def _error(error: RunbooksError, person: Person | None, sender: Sender, parsed: Command | None, typed: str) -> Message:
    """What went wrong, for the person who typed; a refusal leaves its trace first."""
    if isinstance(error, Refused):
        what = f"slack {parsed.verb}" if parsed else "slack"
        try:
            refused(service(), person, sender.signed_in(), what, error.message)
        except RunbooksError:
            log.exception("A refusal could not be entered in the audit trail; it was refused all the same.")
    corrected = slack_commands.corrected(service(), parsed) if parsed else ""
    return replies.error_reply(error, corrected=corrected, command=typed)


def _whisper(payload: dict[str, Any], message: Message) -> None:
    """Tell the person who pressed, through the response URL; that it fails changes nothing."""
    url = payload.get("response_url")
    client: Responder | None = web().slack
    if client is None or not isinstance(url, str):
        log.warning("Nothing could be told to somebody who pressed a button: no Slack client is configured.")
        return
    try:
        client.respond(url, message)
    except RunbooksError as error:
        log.warning("Slack took no answer to a button: %s", error.message)


def _told(message: Message) -> Response:
    return jsonify(response_type="ephemeral", text=message.text, blocks=list(message.blocks))

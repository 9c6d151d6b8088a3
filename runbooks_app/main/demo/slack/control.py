"""Levers for tests and the demo's own story: look at what stands, speak as somebody, cause trouble.

    GET  /control/messages?channel=incidents[&as=U1]    what stands there, oldest first
    GET  /control/deliveries                            what was sent to the service, and how it answered
    GET  /control/views                                 forms that stand open, and for whom
    POST /control/command   {channel, user, text}       type a command
    POST /control/press     {channel, ts, user, action_id[, block_id, option]}
    POST /control/say       {channel, user, text[, thread_ts]}    plain words; those with @runbooks are a mention
    POST /control/shortcut  {channel, ts, user[, callback_id]}    use the shortcut on a message
    POST /control/submit    {user, values: {block_id: value or list}}    send the form before somebody off
    POST /control/pin       {channel, ts, user}         pin a message
    POST /control/verify                                ask whether the events' address is the service's
    POST /control/redeliver                             send the last request to the service once more
    POST /control/faults    {method, kind[, code, retry_after, times]}    see `workspace.Fault`
    POST /control/archive   {channel}                   archive a channel
    POST /control/forget    {channel}                   remove a channel

Bodies are JSON. Slack has none of this.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, jsonify, request

from runbooks_app.chat.scopes import SHORTCUT
from runbooks_app.main.demo.slack.pages import deliveries, find_element, own_url, speak
from runbooks_app.main.demo.slack.rendering import flat
from runbooks_app.main.demo.slack.workspace import Fault, SlackError, Standing, Workspace

if TYPE_CHECKING:
    from runbooks_app.main.demo.slack.delivery import Delivery

control = Blueprint("control", __name__, url_prefix="/control")
KINDS = frozenset({"ratelimited", "error", "unavailable", "garbage", "lost_answer"})


@control.errorhandler(SlackError)
def refused(error: SlackError) -> tuple[Response, int]:
    """An unknown channel or the like."""
    return jsonify({"error": error.code}), 404


@control.errorhandler(KeyError)
def missing(error: KeyError) -> tuple[Response, int]:
    """A field that the body lacks."""
    return jsonify({"error": f"missing: {error}"}), 400


@control.get("/messages")
def messages() -> Response:
    """Messages of a channel; `plain` is all that a message says, without markup."""
    workspace = _workspace()
    channel = workspace.channel(request.args["channel"])
    seen = workspace.seen(channel, request.args.get("as", ""))
    return jsonify({"messages": [{**asdict(m), "plain": flat(m.blocks, m.text)} for m in seen]})


@control.get("/deliveries")
def delivered() -> Response:
    """What was sent to the service."""
    return jsonify({"deliveries": [delivery.as_json() for delivery in deliveries().sent]})


@control.get("/views")
def views() -> Response:
    """Forms that stand open."""
    return jsonify({"views": [asdict(one) for one in deliveries().views.standing.values()]})


@control.post("/command")
def command() -> Response:
    """Type a command as somebody."""
    told = _body()
    channel = _workspace().channel(told["channel"])
    return _told(deliveries().command(own_url(), channel, told["user"], told["text"]))


@control.post("/press")
def press() -> Response:
    """Press a button as somebody, or choose a menu's option."""
    told = _body()
    standing = _standing(told)
    where = {name: told.get(name, "") for name in ("block_id", "option")}
    found = find_element(standing, where["block_id"], told["action_id"])
    if found is None:
        raise SlackError("no_such_button")
    return _told(deliveries().press(own_url(), standing, told["user"], found, **where))


@control.post("/say")
def say() -> Response:
    """Say something as somebody."""
    told = _body()
    channel = _workspace().channel(told["channel"])
    standing = speak(channel, told["user"], told["text"], told.get("thread_ts", ""))
    return jsonify({"ts": standing.ts})


@control.post("/shortcut")
def shortcut() -> Response:
    """Use a shortcut on a message."""
    told = _body()
    name = told.get("callback_id", SHORTCUT)
    return _told(deliveries().shortcut(own_url(), _standing(told), told["user"], name))


@control.post("/submit")
def submit() -> Response:
    """Send the form before somebody off."""
    told = _body()
    before = deliveries().views.before(told["user"])
    if before is None:
        raise SlackError("no_form_is_open")
    given = {block: value if isinstance(value, list) else [value] for block, value in told["values"].items()}
    return _told(deliveries().submit(before.view["id"], told["user"], given))


@control.post("/pin")
def pin() -> Response:
    """Pin a message."""
    told = _body()
    return _told(deliveries().pin(own_url(), _standing(told), told["user"]))


@control.post("/verify")
def verify() -> Response:
    """Ask whether the events' address is the service's."""
    return jsonify({"ok": deliveries().verify_url()})


@control.post("/redeliver")
def redeliver() -> Response:
    """Send the last request once more."""
    if not deliveries().sent:
        raise SlackError("nothing_was_sent")
    return _told(deliveries().again())


@control.post("/faults")
def faults() -> Response:
    """Trouble for the next calls of a method."""
    told = _body()
    if told["kind"] not in KINDS:
        raise SlackError("no_such_kind")
    fault = Fault(told["method"], told["kind"], told.get("code", ""), int(told.get("retry_after", 1)))
    _workspace().faults += [fault] * int(told.get("times", 1))
    return jsonify({"waiting": len(_workspace().faults)})


@control.post("/archive")
def archive() -> Response:
    """Archive a channel."""
    workspace = _workspace()
    workspace.archived.add(workspace.channel(_body()["channel"]))
    workspace.changed()
    return jsonify({"ok": True})


@control.post("/forget")
def forget() -> Response:
    """Remove a channel, as if it had been deleted or the app put out of it."""
    workspace = _workspace()
    del workspace.channels[workspace.channel(_body()["channel"])]
    workspace.changed()
    return jsonify({"ok": True})


def _workspace() -> Workspace:
    found: Workspace = current_app.extensions["slack_workspace"]
    return found


def _standing(told: dict[str, Any]) -> Standing:
    """The message that is meant."""
    standing = _workspace().message(_workspace().channel(told["channel"]), told["ts"])
    if standing is None:
        raise SlackError("message_not_found")
    return standing


def _body() -> dict[str, Any]:
    told = request.get_json(silent=True)
    return told if isinstance(told, dict) else {}


def _told(delivery: Delivery) -> Response:
    return jsonify(delivery.as_json())

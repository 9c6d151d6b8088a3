"""Levers for tests and the demo's own story: look at what stands, speak as somebody, cause trouble.

    GET  /control/messages?channel=incidents[&as=U1]    what stands there, oldest first
    GET  /control/deliveries                            what was sent to the service, and how it answered
    GET  /control/views                                 forms that were opened
    POST /control/command   {channel, user, text}       type a command
    POST /control/press     {channel, ts, user, action_id[, block_id]}
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

from runbooks_app.main.demo.slack.pages import deliveries, find_button, own_url
from runbooks_app.main.demo.slack.rendering import flat
from runbooks_app.main.demo.slack.workspace import Fault, SlackError, Workspace

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
    """Forms that were opened."""
    return jsonify({"views": _workspace().views})


@control.post("/command")
def command() -> Response:
    """Type a command as somebody."""
    told = _body()
    channel = _workspace().channel(told["channel"])
    return _told(deliveries().command(own_url(), channel, told["user"], told["text"]))


@control.post("/press")
def press() -> Response:
    """Press a button as somebody."""
    told = _body()
    channel = _workspace().channel(told["channel"])
    standing = _workspace().message(channel, told["ts"])
    block_id = told.get("block_id", "")
    found = find_button(standing, block_id, told["action_id"]) if standing else None
    if standing is None or found is None:
        raise SlackError("no_such_button")
    return _told(deliveries().press(own_url(), standing, told["user"], found, block_id))


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


def _body() -> dict[str, Any]:
    told = request.get_json(silent=True)
    return told if isinstance(told, dict) else {}


def _told(delivery: Delivery) -> Response:
    return jsonify(delivery.as_json())

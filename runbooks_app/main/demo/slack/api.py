"""The Web API: the methods that the service calls, with Slack's names, answers and errors.

Bodies come as JSON or as forms, with the token in the Authorization header, as slack_sdk sends them. An
answer is JSON with `ok`; only rate limits (429) and outages (503) use the HTTP status.
"""

from __future__ import annotations

import json
import secrets
import socket
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, jsonify, request, url_for

from runbooks_app.main.demo.slack.limits import check_message
from runbooks_app.main.demo.slack.workspace import BOT_USER, Fault, SlackError, Standing, Upload, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbooks_app.main.demo.slack.delivery import Deliveries
    from runbooks_app.main.demo.slack.rates import Rates
    from runbooks_app.main.demo.slack.views import Views

Arguments = dict[str, Any]
Answer = dict[str, Any]

api = Blueprint("api", __name__)
MAX_UPLOAD = 20_000_000
"""Bytes of one file that are taken."""


@api.post("/api/<method>")
def call(method: str) -> Response:
    """One call of the Web API."""
    workspace = _workspace()
    fault = workspace.take_fault(method)
    if fault and fault.kind != "lost_answer":
        return _trouble(fault)
    try:
        _authenticate()
        handler = METHODS.get(method)
        if handler is None:
            raise SlackError("unknown_method", req_method=method)  # noqa: TRY301 (answered like every other error)
        arguments = _arguments()
        rates: Rates | None = current_app.extensions["slack_rates"]
        if rates and (wait := rates.wait(method, str(arguments.get("channel", "")))):
            return _trouble(Fault(method, "ratelimited", retry_after=wait))
        answer: Answer = {"ok": True, **handler(workspace, arguments)}
    except SlackError as error:
        answer = {"ok": False, "error": error.code, **error.told}
    if fault:
        _hang_up()
    told = jsonify(answer)
    told.headers["X-OAuth-Scopes"] = ",".join(current_app.config["SCOPES"])
    return told


@api.post("/upload/<file_id>")
def upload(file_id: str) -> Response:
    """Where a file's bytes go, between `getUploadURLExternal` and `completeUploadExternal`."""
    workspace = _workspace()
    waiting = workspace.uploads.get(file_id)
    if waiting is None or waiting.content is not None:
        return Response("no such upload", 404)
    # slack_sdk sends the bare bytes under a form's content type, so the body must be read before any parsing.
    multipart = request.mimetype == "multipart/form-data"
    sent = b"".join(part.read() for part in request.files.values()) if multipart else request.get_data()
    if len(sent) != waiting.length:
        return Response("wrong length", 400)
    waiting.content = sent
    workspace.changed()
    return Response(f"OK - {len(sent)}")


def _auth_test(_workspace: Workspace, _arguments: Arguments) -> Answer:
    config = current_app.config
    return {
        "url": request.host_url, "team": "Demo", "user": "runbooks", "team_id": config["TEAM_ID"],
        "user_id": BOT_USER, "bot_id": "B0RUNBOOKS", "is_enterprise_install": False,
    }  # fmt: skip


def _post_message(workspace: Workspace, told: Arguments) -> Answer:
    channel = workspace.channel(_wanted(told, "channel", "channel_not_found"))
    text, blocks = check_message(told.get("text"), _json(told.get("blocks")))
    metadata = _json(told.get("metadata")) or {}
    standing = workspace.post(
        channel, BOT_USER, text, blocks,
        thread_ts=str(told.get("thread_ts") or ""), broadcast=_yes(told.get("reply_broadcast")),
        metadata=metadata,
    )  # fmt: skip
    return {"channel": channel, "ts": standing.ts, "message": as_slack(standing)}


def _update(workspace: Workspace, told: Arguments) -> Answer:
    channel = workspace.channel(_wanted(told, "channel", "channel_not_found"))
    text, blocks = check_message(told.get("text"), _json(told.get("blocks")))
    given = None if told.get("blocks") is None else blocks
    standing = workspace.update(channel, _wanted(told, "ts", "message_not_found"), text, given)
    return {"channel": channel, "ts": standing.ts, "text": standing.text, "message": as_slack(standing)}


def _post_ephemeral(workspace: Workspace, told: Arguments) -> Answer:
    channel = workspace.channel(_wanted(told, "channel", "channel_not_found"))
    user = str(told.get("user") or "")
    if user not in workspace.humans:
        raise SlackError("user_not_in_channel")
    text, blocks = check_message(told.get("text"), _json(told.get("blocks")))
    thread = str(told.get("thread_ts") or "")
    standing = workspace.post(channel, BOT_USER, text, blocks, thread_ts=thread, only_for=user)
    return {"message_ts": standing.ts}


def _open(workspace: Workspace, told: Arguments) -> Answer:
    users = str(told.get("users") or "").split(",")
    if len(users) != 1:
        raise SlackError("too_many_users")
    return {"channel": {"id": workspace.open_direct(users[0])}}


def _history(workspace: Workspace, told: Arguments) -> Answer:
    channel = workspace.channel(_wanted(told, "channel", "channel_not_found"))
    found = [m for m in workspace.seen(channel) if not m.thread_ts or m.broadcast]
    return _page([m for m in reversed(found) if float(m.ts) > float(told.get("oldest") or 0)], told)


def _replies(workspace: Workspace, told: Arguments) -> Answer:
    channel = workspace.channel(_wanted(told, "channel", "channel_not_found"))
    root = _wanted(told, "ts", "thread_not_found")
    if workspace.message(channel, root) is None:
        raise SlackError("thread_not_found")
    return _page([m for m in workspace.seen(channel) if root in {m.ts, m.thread_ts}], told)


def _get_upload_url(workspace: Workspace, told: Arguments) -> Answer:
    length = str(told.get("length") or "")
    if not length.isdigit() or not 0 < int(length) <= MAX_UPLOAD:
        raise SlackError("invalid_arguments")
    name = _wanted(told, "filename", "invalid_arguments")
    file_id = "F" + secrets.token_hex(8).upper()
    workspace.uploads[file_id] = Upload(file_id, name, int(length), alt=str(told.get("alt_txt") or "")[:1000])
    return {"file_id": file_id, "upload_url": url_for("api.upload", file_id=file_id, _external=True)}


def _complete_upload(workspace: Workspace, told: Arguments) -> Answer:
    files = _json(told.get("files"))
    if not isinstance(files, list) or not files:
        raise SlackError("invalid_arguments")
    uploads = []
    for item in files:
        waiting = workspace.uploads.get(str(item.get("id")))
        if waiting is None or waiting.content is None:
            raise SlackError("file_not_found")
        waiting.title = str(item.get("title") or waiting.name)
        uploads.append(waiting)
    named = told.get("channel_id") or told.get("channels")
    if named:
        channel = workspace.channel(str(named))
        text = str(told.get("initial_comment") or "")
        thread = str(told.get("thread_ts") or "")
        workspace.post(channel, BOT_USER, text, [], thread_ts=thread, files=[u.id for u in uploads])
    return {"files": [{"id": u.id, "title": u.title, "name": u.name} for u in uploads]}


def _open_view(_workspace: Workspace, told: Arguments) -> Answer:
    return {"view": _views().open(str(told.get("trigger_id") or ""), _json(told.get("view")))}


def _update_view(_workspace: Workspace, told: Arguments) -> Answer:
    view_id = _wanted(told, "view_id", "not_found")
    return {"view": _views().update(view_id, _json(told.get("view")), str(told.get("hash") or ""))}


METHODS: dict[str, Callable[[Workspace, Arguments], Answer]] = {
    "auth.test": _auth_test,
    "chat.postMessage": _post_message,
    "chat.update": _update,
    "chat.postEphemeral": _post_ephemeral,
    "conversations.open": _open,
    "conversations.history": _history,
    "conversations.replies": _replies,
    "files.getUploadURLExternal": _get_upload_url,
    "files.completeUploadExternal": _complete_upload,
    "views.open": _open_view,
    "views.update": _update_view,
}


def as_slack(standing: Standing) -> Answer:
    """A message as Slack shows it to apps."""
    shown: Answer = {"type": "message", "user": standing.user, "ts": standing.ts, "text": standing.text}
    if standing.user == BOT_USER:
        shown |= {"bot_id": "B0RUNBOOKS", "app_id": current_app.config["APP_ID"]}
    if standing.blocks:
        shown["blocks"] = standing.blocks
    if standing.files:
        shown["files"] = [{"id": file} for file in standing.files]
    if standing.thread_ts:
        shown["thread_ts"] = standing.thread_ts
    if standing.metadata:
        shown["metadata"] = standing.metadata
    if standing.edited:
        shown["edited"] = {"user": standing.user, "ts": standing.ts}
    return shown


def respond_with(workspace: Workspace, channel: str, user: str, body: Arguments, original: str = "") -> None:
    """Put an answer to a command or a button where it belongs; `original` is the message of the button."""
    if original and _yes(body.get("delete_original")):
        workspace.remove(channel, original)
        return
    text, blocks = check_message(body.get("text"), _json(body.get("blocks")))
    if original and _yes(body.get("replace_original")):
        standing = workspace.message(channel, original)
        if standing is not None and standing.only_for:
            # Slack shows an ephemeral message's replacement in its place; here it comes as the newest.
            workspace.remove(channel, original)
        elif standing is not None:
            workspace.update(channel, original, text, blocks)
            return
    shown_to = "" if body.get("response_type") == "in_channel" else user
    workspace.post(channel, BOT_USER, text, blocks, only_for=shown_to)


def _workspace() -> Workspace:
    found: Workspace = current_app.extensions["slack_workspace"]
    return found


def _views() -> Views:
    found: Deliveries = current_app.extensions["slack_deliveries"]
    return found.views


def _authenticate() -> None:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.form.get("token", "")
    if not given:
        raise SlackError("not_authed")
    if not secrets.compare_digest(given.encode(), str(current_app.config["TOKEN"]).encode()):
        raise SlackError("invalid_auth")


def _arguments() -> Arguments:
    # slack_sdk names JSON as the type of an empty body, too.
    if request.mimetype == "application/json" and request.get_data():
        told = request.get_json(silent=True)
        if not isinstance(told, dict):
            raise SlackError("invalid_json")
        return told
    return {**request.args.to_dict(), **request.form.to_dict()}


def _json(value: object) -> Any:
    """A structure that a form carries as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise SlackError("invalid_blocks_format") from None


def _wanted(told: Arguments, name: str, error: str) -> str:
    value = told.get(name)
    if not value or not isinstance(value, str):
        raise SlackError(error)
    return value


def _yes(value: object) -> bool:
    return value in {True, "true", "1"}


def _page(found: list[Standing], told: Arguments) -> Answer:
    limit = min(int(told.get("limit") or 100), 999)
    start = int(told.get("cursor") or 0)
    more = start + limit < len(found)
    return {
        "messages": [as_slack(m) for m in found[start : start + limit]],
        "has_more": more,
        "response_metadata": {"next_cursor": str(start + limit) if more else ""},
    }


def _trouble(fault: Fault) -> Response:
    if fault.kind == "ratelimited":
        answer = jsonify({"ok": False, "error": "ratelimited"})
        answer.status_code = 429
        answer.headers["Retry-After"] = str(fault.retry_after)
        return answer
    if fault.kind == "unavailable":
        return Response("upstream connect error", 503, mimetype="text/plain")
    if fault.kind == "garbage":
        return Response("<html>captive portal</html>", 200, mimetype="text/html")
    return jsonify({"ok": False, "error": fault.code})


def _hang_up() -> None:
    """Break the connection before the answer: the caller cannot know whether its call took effect."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)

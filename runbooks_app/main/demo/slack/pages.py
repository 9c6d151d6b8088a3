"""The channels as a page: read, type, press. It works without JavaScript; with it, it follows along.

Whoever looks says who they are (`?as=`), and sees what Slack would show that person.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)

from runbooks_app.chat.scopes import SHORTCUT
from runbooks_app.main.demo.slack import rendering
from runbooks_app.main.demo.slack.payloads import escaped
from runbooks_app.main.demo.slack.workspace import BOT_USER, SLACKBOT, SlackError, Standing, Workspace

if TYPE_CHECKING:
    from markupsafe import Markup
    from werkzeug.wrappers import Response as AnyResponse

    from runbooks_app.main.demo.slack.delivery import Deliveries

pages = Blueprint("pages", __name__)
COMMAND = "/runbook"
MENTION = re.compile(r"(?<!\w)@runbooks\b", re.IGNORECASE)
PATIENCE = 20.0
"""Seconds that a page waits for a change before it asks again."""
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pages.before_app_request
def from_here_only() -> None:
    """Refuse forms from other sites: whoever can post may speak as anyone."""
    origin = request.headers.get("Origin")
    if request.method != "GET" and origin is not None and urlsplit(origin).netloc != request.host:
        abort(403, "This form was sent from another site.")


@pages.after_app_request
def headers(response: Response) -> Response:
    """Nothing is loaded from elsewhere, nothing is framed."""
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@pages.get("/")
def channel() -> str:
    """One channel, as one person sees it."""
    return render_template("slack/channel.html", **_shown(), command=COMMAND, problem=request.args.get("problem", ""))


@pages.get("/messages")
def messages() -> str:
    """The messages alone, for the page's script."""
    return render_template("slack/messages.html", **_shown())


@pages.get("/form")
def form() -> str:
    """The form before this person alone, for the page's script."""
    viewer = _person(request.args.get("as", ""))
    here = request.args.get("channel", "")
    return render_template("slack/form.html", viewer=viewer, here=here, form=deliveries().views.before(viewer))


@pages.get("/changes")
def changes() -> Response:
    """Wait until something has changed since `since`."""
    given = request.args.get("since", "")
    since = int(given) if given.isdigit() and len(given) < 16 else -1
    return jsonify({"revision": _workspace().wait(since, PATIENCE)})


@pages.get("/files/<file_id>")
def file(file_id: str) -> Response:
    """A file's bytes: a chart, or else plain text, whatever it claims to be."""
    found = _workspace().uploads.get(file_id)
    if found is None or found.content is None:
        abort(404)
    kind = "text/plain; charset=utf-8" if rendering.png_size(found.content) == (0, 0) else "image/png"
    kept = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(found.content, content_type=kind, headers=kept)


@pages.post("/say")
def say() -> AnyResponse:
    """What a person typed: a command goes to the service, anything else into the channel."""
    workspace = _workspace()
    here, user = _channel(request.form.get("channel", "")), _person(request.form.get("as", ""))
    typed, thread = request.form.get("text", "").strip()[:8000], request.form.get("thread_ts", "")
    if typed == COMMAND or typed.startswith(COMMAND + " "):
        # Slack shows nobody what was typed after the slash; here its author sees it, to follow the story.
        workspace.post(here, user, escaped(typed), [], only_for=user, thread_ts=thread)
        if thread:
            text = f"`{COMMAND}` is not supported in threads. Sorry!"
            workspace.post(here, SLACKBOT, text, [], only_for=user, thread_ts=thread)
        else:
            deliveries().command(own_url(), here, user, typed)
    elif typed.startswith("/"):
        word = typed.split()[0][:60]
        workspace.post(here, SLACKBOT, f"`{escaped(word)}` is not a valid command.", [], only_for=user)
    elif typed:
        speak(here, user, typed, thread)
    return _back(here, user)


def speak(channel: str, user: str, typed: str, thread: str = "") -> Standing:
    """Plain words of somebody; where they mention the app, it is told."""
    said = MENTION.sub(f"<@{BOT_USER}>", escaped(typed))
    standing = _workspace().post(channel, user, said, [], thread_ts=thread)
    if f"<@{BOT_USER}>" in said:
        deliveries().mention(standing)
    return standing


@pages.post("/press")
def press() -> AnyResponse:
    """A button, or a menu's option."""
    here, user, standing = _meant()
    block_id, action_id = request.form.get("block", ""), request.form.get("action", "")
    pressed = find_element(standing, block_id, action_id) if standing else None
    if standing is None or pressed is None:
        return _back(here, user, "That button is no longer there; this is how things stand now.")
    where = {"block_id": block_id, "option": request.form.get("option", "")}
    deliveries().press(own_url(), standing, user, pressed, **where)
    return _back(here, user)


@pages.post("/shortcut")
def shortcut() -> AnyResponse:
    """The app's shortcut on a message."""
    here, user, standing = _meant()
    if standing is None:
        return _back(here, user, "That message is no longer there.")
    deliveries().shortcut(own_url(), standing, user, SHORTCUT)
    return _back(here, user)


@pages.post("/pin")
def pin() -> AnyResponse:
    """Pin a message."""
    here, user, standing = _meant()
    if standing is None:
        return _back(here, user, "That message is no longer there.")
    deliveries().pin(own_url(), standing, user)
    return _back(here, user)


@pages.post("/submit")
def submit() -> AnyResponse:
    """Send the form before somebody off, or close it. Fields are named by their block."""
    here, user = _channel(request.form.get("channel", "")), _person(request.form.get("as", ""))
    before = deliveries().views.before(user)
    if before is None or before.view["id"] != request.form.get("view"):
        return _back(here, user, "That form is no longer open.")
    if "close" in request.form:
        deliveries().views.close(before.view["id"])
        return _back(here, user)
    blocks = [block["block_id"] for block in before.view["blocks"] if block.get("type") == "input"]
    try:
        deliveries().submit(before.view["id"], user, {b: request.form.getlist(f"block:{b}") for b in blocks})
    except SlackError as error:
        before.errors = {str(error.told.get("block_id", "")): "Please complete this required field."}
        _workspace().changed()
    return _back(here, user)


@pages.post("/respond/<token>")
def respond(token: str) -> Response:
    """A `response_url`."""
    if request.mimetype != "application/json" or not isinstance(body := request.get_json(silent=True), dict):
        return Response("invalid_payload", 400)
    try:
        refused = deliveries().answered(token, body)
    except SlackError as error:
        return Response(error.code, 400)
    return Response(refused or "ok", 404 if refused else 200)


def find_element(standing: Standing, block_id: str, action_id: str) -> dict[str, Any] | None:
    """The button or menu in a message's blocks; with an empty `block_id` the first of this action."""
    for block in standing.blocks:
        if block_id and block.get("block_id") != block_id:
            continue
        for element in [*block.get("elements", ()), block.get("accessory") or {}]:
            if element.get("type") in {"button", "static_select"} and element.get("action_id") == action_id:
                return dict(element)
    return None


def own_url() -> str:
    """Where this server is reached by the request at hand: the base of upload and response URLs."""
    return request.host_url


def deliveries() -> Deliveries:
    """What sends to the service."""
    found: Deliveries = current_app.extensions["slack_deliveries"]
    return found


def _workspace() -> Workspace:
    found: Workspace = current_app.extensions["slack_workspace"]
    return found


def _shown() -> dict[str, Any]:
    """What the page shows: channels, people, and the messages with their threads."""
    workspace = _workspace()
    revision = workspace.revision
    viewer = _person(request.args.get("as", ""))
    here = _channel(request.args.get("channel", ""), viewer)
    seen = workspace.seen(here, viewer)
    roots = [m for m in seen if not m.thread_ts or m.broadcast]
    threads: dict[str, list[dict[str, Any]]] = {}
    for m in seen:
        if m.thread_ts:
            threads.setdefault(m.thread_ts, []).append(_message(m))
    direct = workspace.direct.get(viewer)
    return {
        "revision": revision, "viewer": viewer, "here": here, "people": workspace.humans,
        "channels": workspace.channels, "direct": direct, "archived": here in workspace.archived,
        "form": deliveries().views.before(viewer),
        "name": workspace.channels.get(here, "Runbooks"),
        "messages": [{**_message(m), "replies": [] if m.thread_ts else threads.get(m.ts, [])} for m in roots],
    }  # fmt: skip


def _message(m: Standing) -> dict[str, Any]:
    """A message for the template; its texts are HTML already."""
    workspace = _workspace()
    time, stamp = rendering.clock(m.ts)
    files = [workspace.uploads[f] for f in m.files if f in workspace.uploads]
    return {
        "ts": m.ts, "name": workspace.people.get(m.user, m.user), "is_app": m.user in {BOT_USER, SLACKBOT},
        "person": m.user, "time": time, "stamp": stamp, "only_for": m.only_for, "edited": m.edited,
        "in_thread": bool(m.thread_ts),
        "html": "" if m.blocks else _mrkdwn(m.text), "blocks": m.blocks,
        "files": [
            {
                "id": f.id, "name": f.name, "title": f.title, "alt": f.alt or f.title,
                "size": rendering.png_size(f.content or b""),
            } for f in files
        ],
    }  # fmt: skip


def _mrkdwn(text: str) -> Markup:
    workspace = _workspace()
    return rendering.mrkdwn(text, workspace.people, workspace.channels)


@pages.app_template_filter("slack_text")
def _text_object(item: dict[str, Any]) -> Markup:
    return _mrkdwn(item["text"]) if item["type"] == "mrkdwn" else rendering.plain(item["text"])


def _person(named: str) -> str:
    people = _workspace().humans
    return named if named in people else next(iter(people))


def _channel(named: str, viewer: str = "") -> str:
    """A channel that exists; a person's own conversation is shown to that person alone."""
    workspace = _workspace()
    theirs = workspace.direct.get(viewer or _person(request.form.get("as", "")))
    if named in workspace.channels or (named and named == theirs):
        return named
    return next(iter(workspace.channels))


def _meant() -> tuple[str, str, Standing | None]:
    """The channel, the person, and the message that they see there and mean."""
    here, user = _channel(request.form.get("channel", "")), _person(request.form.get("as", ""))
    standing = _workspace().message(here, request.form.get("ts", ""))
    return here, user, standing if standing is not None and standing.only_for in {"", user} else None


def _back(here: str, user: str, problem: str = "") -> AnyResponse:
    query: dict[str, Any] = {"channel": here, "as": user} | ({"problem": problem} if problem else {})
    return redirect(url_for("pages.channel", _anchor="newest", **query), 303)

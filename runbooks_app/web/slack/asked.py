"""What somebody asks in Slack, in one shape, however it came: by HTTP or through Socket Mode.

A command, a mention, a shortcut, a pressed button, a form sent off and an event each become an `Asked`; an `Answer`
is what Slack is acknowledged with. That a request is Slack's own is proven before, by its signature or by the
connection that it came through: both are of one app. From here on it is of the one workspace of the settings. Channels
may be shared with other companies, whose people sit in them: what they press or send is refused.

Everything in here is what a stranger typed until an action has looked at it. `thread_ts`, `value` and `view` name
things; they give no right to them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from runbooks_app.core.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from runbooks_app.chat.views import Message
    from runbooks_app.settings import Settings

_STAMP = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}", re.ASCII)

MENTION = "@runbooks"
"""What stands before a command that is said to the app; slash commands do not work in threads."""

MAX_TEXT = 10_000
"""Characters of a text that are kept; the box for commands ends sooner, and messages may be longer."""


class Kind(StrEnum):
    """How something is asked."""

    COMMAND = "command"
    MENTION = "mention"
    SHORTCUT = "shortcut"
    PRESSED = "pressed"
    SUBMITTED = "submitted"
    EVENT = "event"


@dataclass(frozen=True)
class Asked:
    """One thing asked by one person.

    `name` is the button's `action_id`, the form's or shortcut's `callback_id`, or the event's type; `value` that of the
    button or of the option chosen.

    `delivery` is the same for everything that Slack delivers about it, also when it signs a retry anew; never empty.
    `thread_ts` names the thread, or the message that was acted on. `message` and `view` are Slack's own objects. `at`
    is when it came, in seconds since the epoch: a trigger opens a form for three seconds.
    """

    kind: Kind
    team: str
    user: str
    user_name: str
    channel: str
    channel_name: str
    delivery: str
    at: float
    text: str = field(default="", repr=False)
    command: str = "/runbook"
    name: str = ""
    value: str = field(default="", repr=False)
    thread_ts: str = ""
    message: Mapping[str, Any] = field(default_factory=dict, repr=False)
    view: Mapping[str, Any] = field(default_factory=dict, repr=False)
    response_url: str = field(default="", repr=False)
    trigger_id: str = field(default="", repr=False)

    def signed_in(self) -> dict[str, Any]:
        """How the person is known, as the audit trail keeps it."""
        return {"surface": "slack", "auth_time": None, "team": self.team, "chat_user": self.user}


@dataclass(frozen=True)
class Answer:
    """What Slack is acknowledged with: a message for the person's eyes, a form's errors by block, a form's next view.

    Nothing of these acknowledges alone: a button's press shows nothing, a form closes.
    """

    message: Message | None = None
    errors: Mapping[str, str] | None = None
    view: Mapping[str, Any] | None = None

    def body(self) -> dict[str, Any] | None:
        """The body of the HTTP answer and the payload of Socket Mode's alike; None for an empty one."""
        if self.errors is not None:
            return {"response_action": "errors", "errors": dict(self.errors)}
        if self.view is not None:
            return {"response_action": "update", "view": dict(self.view)}
        if self.message is not None:
            return {"response_type": "ephemeral", "text": self.message.text, "blocks": list(self.message.blocks)}
        return None


def from_command(form: Mapping[str, Any], *, settings: Settings, copy: str, at: float) -> Asked:
    """What a slash command asks. `copy` is the same for every copy of this very request.

    Raises `Refused` for another workspace, `InvalidInput` for what cannot be read.
    """
    team = _team(form.get("team_id"), settings)
    return Asked(
        kind=Kind.COMMAND,
        **_who(team, form.get("user_id"), form.get("user_name")),
        **_where(form.get("channel_id"), form.get("channel_name")),
        delivery=_delivery(form.get("trigger_id"), copy),
        at=at,
        text=_text(form.get("text")),
        command=_text(form.get("command"))[:40] or "/runbook",
        response_url=_text(form.get("response_url")),
        trigger_id=_text(form.get("trigger_id")),
    )


def from_interaction(payload: Mapping[str, Any], *, settings: Settings, copy: str, at: float) -> Asked | None:
    """What a pressed button, a form sent off or a shortcut asks; None for what asks nothing (a form was closed).

    Raises as `from_command` does, and `Refused` for somebody of another workspace in a shared channel.
    """
    payload = _read(payload, "interaction")
    user, channel = _mapping(payload.get("user")), _mapping(payload.get("channel"))
    team = _team(_mapping(payload.get("team")).get("id"), settings)
    _team(user.get("team_id") or team, settings)
    kind = {
        "block_actions": Kind.PRESSED,
        "view_submission": Kind.SUBMITTED,
        "message_action": Kind.SHORTCUT,
        "shortcut": Kind.SHORTCUT,
    }.get(_text(payload.get("type")))
    if kind is None:
        return None
    view, message = _mapping(payload.get("view")), _mapping(payload.get("message"))
    name, value = _text(payload.get("callback_id") or view.get("callback_id")), ""
    if kind is Kind.PRESSED:
        action = _mapping(next(iter(_list(payload.get("actions"))), None))
        name = _text(action.get("action_id"))
        value = _text(action.get("value") or _mapping(action.get("selected_option")).get("value"))
    once = "view:" + _text(view.get("id")) if kind is Kind.SUBMITTED and view.get("id") else payload.get("trigger_id")
    return Asked(
        kind=kind,
        **_who(team, user.get("id"), user.get("username") or user.get("name")),
        **_where(channel.get("id"), channel.get("name")),
        delivery=_delivery(once, copy),
        at=at,
        text=_text(message.get("text")),
        name=name,
        value=value,
        thread_ts=stamp(message.get("thread_ts") or message.get("ts")),
        message=message,
        view=view,
        response_url=_text(payload.get("response_url")),
        trigger_id=_text(payload.get("trigger_id")),
    )


def from_event(envelope: Mapping[str, Any], *, settings: Settings, copy: str, at: float) -> Asked | None:
    """What an event of the Events API asks; None for what other apps or strangers in a shared channel did.

    Raises as `from_command` does.
    """
    envelope = _read(envelope, "event")
    team, event = _team(envelope.get("team_id"), settings), _mapping(envelope.get("event"))
    theirs = {_text(event[name]) for name in ("user_team", "source_team", "team") if event.get(name)}
    if theirs - {team} or event.get("bot_id") or event.get("subtype") or not event.get("user"):
        return None
    item = _mapping(event.get("item"))
    name = _text(event.get("type"))
    text = _text(event.get("text"))
    if name == "app_mention":
        text = _after_mention(text, envelope)
    return Asked(
        kind=Kind.MENTION if name == "app_mention" else Kind.EVENT,
        **_who(team, event.get("user"), ""),
        **_where(event.get("channel") or event.get("channel_id") or item.get("channel"), ""),
        delivery=_delivery(envelope.get("event_id"), copy),
        at=at,
        text=text,
        command=MENTION,
        name=name,
        thread_ts=stamp(event.get("thread_ts") or event.get("ts")),
        message=_mapping(item.get("message")) or event,
    )


def _after_mention(text: str, envelope: Mapping[str, Any]) -> str:
    """What is said to the app: the text behind its mention, or else the text before."""
    bots = {
        _text(_mapping(one).get("user_id"))
        for one in _list(envelope.get("authorizations"))
        if _mapping(one).get("is_bot")
    }
    at = 0
    while (at := text.find("<@", at)) >= 0:
        mentioned, closed, rest = text[at + 2 :].partition(">")
        if closed and (not bots or mentioned.partition("|")[0] in bots):
            return rest.strip() or text[:at].strip()
        at += 2
    return text.strip()


def _team(given: Any, settings: Settings) -> str:
    allowed = settings.slack_team
    if not allowed:
        raise Refused("No Slack workspace is configured, so commands are refused. Set RUNBOOKS_SLACK_TEAM.")
    if given != allowed:
        raise Refused("The request comes from another Slack workspace than the one of RUNBOOKS_SLACK_TEAM.")
    return allowed


def _who(team: str, user: Any, name: Any) -> dict[str, Any]:
    if not isinstance(user, str) or not _is_id(user):
        raise Refused("The request from Slack names no user.")
    shown = "".join(c for c in name if c.isprintable())[:80] if isinstance(name, str) else ""
    return {"team": team, "user": user, "user_name": shown or user}


def _where(channel: Any, name: Any) -> dict[str, Any]:
    shown = "".join(c for c in name if c.isprintable())[:80] if isinstance(name, str) else ""
    return {"channel": place(channel), "channel_name": shown}


def place(channel: Any) -> str:
    """A channel's id, or nothing where it is none."""
    return channel if isinstance(channel, str) and _is_id(channel) else ""


def stamp(ts: Any) -> str:
    """What names a message in its channel ("1700000000.000100"), or nothing where it is none."""
    return ts if isinstance(ts, str) and _STAMP.fullmatch(ts) else ""


def _is_id(text: str) -> bool:
    return text.isascii() and text.isalnum() and len(text) <= 40


def _delivery(once: Any, copy: str) -> str:
    """A key of one length: what Slack names a request by may be long, and opens a form while it is young."""
    return "slack:" + hashlib.sha256((_text(once) or copy).encode()).hexdigest()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return _storable(value)[:MAX_TEXT] if isinstance(value, str) else ""


def _read(told: Any, what: str) -> Mapping[str, Any]:
    """An object of Slack's with texts as a database can hold them; raises `InvalidInput` for anything else."""
    try:
        found = _storable(told)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInput(f"The {what} cannot be read.")
    return found


def _storable(value: Any) -> Any:
    """Without NUL and halves of characters."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value

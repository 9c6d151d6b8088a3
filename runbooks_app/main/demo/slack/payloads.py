"""What Slack tells an app: a command, an interaction, an event, each with Slack's own fields.

https://docs.slack.dev/interactivity/implementing-slash-commands, .../handling-user-interaction,
https://docs.slack.dev/reference/interaction-payloads and https://docs.slack.dev/apis/events-api.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbooks_app.main.demo.slack.workspace import BOT_USER, Standing, Workspace

Payload = dict[str, Any]


@dataclass(frozen=True)
class Payloads:
    """Payloads of one app in one workspace."""

    workspace: Workspace
    team_id: str
    app_id: str

    def command(self, channel: str, user: str, typed: str) -> Payload:
        """A slash command as typed, `/runbook` included."""
        command, _, text = typed.partition(" ")
        return {
            "token": "deprecated", "team_id": self.team_id, "team_domain": "demo",
            "channel_id": channel, "channel_name": self.workspace.name_of(channel),
            "user_id": user, "user_name": self.workspace.people.get(user, user).lower(),
            "command": command, "text": escaped(text.strip()), "api_app_id": self.app_id,
            "is_enterprise_install": "false",
        }  # fmt: skip

    def block_actions(
        self, standing: Standing, user: str, element: Mapping[str, Any], where: Mapping[str, str]
    ) -> Payload:
        """A button pressed, or an option chosen: `where` has `block_id`, and `option` for the value of a menu's."""
        action: Payload = {
            "type": element["type"], "action_id": element.get("action_id", ""), "block_id": where.get("block_id", ""),
            "action_ts": f"{time.time():.6f}",
            **{name: element[name] for name in ("text", "value", "style", "url") if name in element},
        }  # fmt: skip
        if element["type"] == "static_select":
            action["selected_option"] = option_of(element, where.get("option", ""))
        return {
            "type": "block_actions", **self._interaction(user), "channel": self._channel(standing.channel),
            "container": {
                "type": "message", "message_ts": standing.ts, "channel_id": standing.channel,
                "is_ephemeral": bool(standing.only_for),
            },
            "message": self.message(standing), "state": {"values": {}}, "actions": [action],
        }  # fmt: skip

    def message_action(self, standing: Standing, user: str, callback_id: str) -> Payload:
        """A shortcut on a message."""
        return {
            "type": "message_action", **self._interaction(user), "channel": self._channel(standing.channel),
            "action_ts": f"{time.time():.6f}", "callback_id": callback_id, "message_ts": standing.ts,
            "message": self.message(standing),
        }  # fmt: skip

    def view_submission(self, view: Mapping[str, Any], user: str, values: Mapping[str, Any]) -> Payload:
        """A form sent off; `values` as `state.values` has them."""
        return {
            "type": "view_submission", **self._interaction(user), "response_urls": [],
            "view": {**view, "state": {"values": values}},
        }  # fmt: skip

    def event(self, told: Mapping[str, Any]) -> Payload:
        """An event in its envelope."""
        at = time.time()
        return {
            "token": "deprecated", "team_id": self.team_id, "api_app_id": self.app_id, "type": "event_callback",
            "event": {**told, "event_ts": f"{at:.6f}"}, "event_id": "Ev" + secrets.token_hex(5).upper(),
            "event_time": int(at), "event_context": secrets.token_hex(12), "is_ext_shared_channel": False,
            "authorizations": [{
                "enterprise_id": None, "team_id": self.team_id, "user_id": BOT_USER, "is_bot": True,
                "is_enterprise_install": False,
            }],
        }  # fmt: skip

    def app_mention(self, standing: Standing) -> Payload:
        """Somebody mentioned the app."""
        thread = {"thread_ts": standing.thread_ts} if standing.thread_ts else {}
        return self.event({
            "type": "app_mention", "user": standing.user, "text": standing.text, "ts": standing.ts,
            "channel": standing.channel, "team": self.team_id, "client_msg_id": secrets.token_hex(16), **thread,
        })  # fmt: skip

    def pin_added(self, standing: Standing, user: str, own_url: str) -> Payload:
        """Somebody pinned a message."""
        link = f"{own_url.rstrip('/')}/?channel={standing.channel}#m{standing.ts}"
        item = {
            "type": "message", "channel": standing.channel, "created": int(time.time()), "created_by": user,
            "message": {**self.message(standing), "permalink": link, "pinned_to": [standing.channel]},
        }  # fmt: skip
        return self.event({"type": "pin_added", "user": user, "channel_id": standing.channel, "item": item})

    def message(self, standing: Standing) -> Payload:
        """A message as interactions and events show it."""
        bot = {"bot_id": "B0RUNBOOKS", "app_id": self.app_id} if standing.user == BOT_USER else {}
        thread = {"thread_ts": standing.thread_ts} if standing.thread_ts else {}
        blocks = {"blocks": standing.blocks} if standing.blocks else {}
        own = {"type": "message", "user": standing.user, "ts": standing.ts, "text": standing.text, "team": self.team_id}
        return {**own, **bot, **thread, **blocks}

    def _interaction(self, user: str) -> Payload:
        name = self.workspace.people.get(user, user).lower()
        return {
            "token": "deprecated", "api_app_id": self.app_id, "team": {"id": self.team_id, "domain": "demo"},
            "user": {"id": user, "username": name, "name": name, "team_id": self.team_id},
            "enterprise": None, "is_enterprise_install": False,
        }  # fmt: skip

    def _channel(self, channel: str) -> Payload:
        return {"id": channel, "name": self.workspace.name_of(channel)}


def option_of(element: Mapping[str, Any], value: str) -> Payload | None:
    """The option of a menu or of checkboxes with this value."""
    groups = element.get("option_groups") or [{"options": element.get("options") or []}]
    return next((o for group in groups for o in group["options"] if o.get("value") == value), None)


def escaped(text: str) -> str:
    """The three characters that Slack escapes in what people type."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""What Slack sends to the service under test, by either way in: one sender with the same methods for each."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from slack_signing import SIGNING_SECRET, signed
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, TestResponse

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from slack_socket import SocketModeServer

TEAM = "T0RUNBOOKS"

_numbers = itertools.count(1)


@dataclass
class SlackSender:
    """Sends what Slack sends, signed; each part can be made wrong."""

    client: FlaskClient
    user: str
    channel: str

    def command(self, text: str, *, body: bytes | None = None, **fields: str) -> TestResponse:
        form = {
            "team_id": TEAM, "user_id": self.user, "user_name": "ana", "channel_id": self.channel,
            "command": "/runbook", "text": text, "trigger_id": f"t{next(_numbers)}", **fields,
        }  # fmt: skip
        return self.send("/slack/commands", body or urlencode(form).encode())

    def press(self, action: str, value: str, **payload: Any) -> TestResponse:
        told = {
            "type": "block_actions", "team": {"id": TEAM}, "user": {"id": self.user, "username": "ana"},
            "channel": {"id": self.channel}, "trigger_id": f"t{next(_numbers)}",
            "actions": [{"action_id": action, "value": value}], **payload,
        }  # fmt: skip
        return self.send("/slack/interactivity", urlencode({"payload": json.dumps(told)}).encode())

    def event(self, kind: str, *, event_id: str = "", **event: Any) -> TestResponse:
        told = {
            "type": "event_callback", "team_id": TEAM, "event_id": event_id or f"Ev{next(_numbers)}",
            "authorizations": [{"team_id": TEAM, "user_id": "U0BOT", "is_bot": True}],
            "event": {"type": kind, "user": self.user, "channel": self.channel, **event},
        }  # fmt: skip
        return self.send("/slack/events", json.dumps(told).encode())

    def mention(self, text: str, **event: Any) -> TestResponse:
        return self.event("app_mention", **{"text": f"<@U0BOT> {text}", "ts": "1700000000.000100", **event})

    def interact(self, kind: str, **payload: Any) -> TestResponse:
        """A shortcut, or a form that is sent off."""
        told = {
            "type": kind, "team": {"id": TEAM}, "user": {"id": self.user, "username": "ana", "team_id": TEAM},
            "trigger_id": f"t{next(_numbers)}", **payload,
        }  # fmt: skip
        return self.send("/slack/interactivity", urlencode({"payload": json.dumps(told)}).encode())

    def submit(self, view: dict[str, Any], filled: dict[str, Any], **changed: Any) -> TestResponse:
        """Send a form off; `filled` are the states of its blocks' elements."""
        values = {block: {block: state} for block, state in filled.items()}
        sent = {"id": f"V{next(_numbers)}", **view, "state": {"values": values}, **changed}
        return self.interact("view_submission", view=sent)

    def send(
        self, path: str, body: bytes, *, at: str = "", secret: str = SIGNING_SECRET, sent: bytes | None = None
    ) -> TestResponse:
        """`sent` is what arrives in place of the body that was signed."""
        at = at or str(int(time.time()))
        form = "application/x-www-form-urlencoded"
        data = body if sent is None else sent
        return self.client.post(path, data=data, headers=signed(body, at, secret), content_type=form)


@dataclass
class SocketSender(SlackSender):
    """Sends the same through Socket Mode; a request that is not acknowledged shows as 403."""

    server: SocketModeServer

    def send(self, path: str, body: bytes, **_signature: Any) -> TestResponse:
        payload = (
            json.loads(body) if path.endswith("events") else dict(parse_qsl(body.decode(), keep_blank_values=True))
        )
        if path.endswith("interactivity"):
            payload = json.loads(payload["payload"])
        kind = {"commands": "slash_commands", "interactivity": "interactive", "events": "events_api"}
        told = self.server.deliver(
            kind[path.rpartition("/")[2]], payload, patience=20, envelope_id=hashlib.sha256(body).hexdigest()
        )
        shown = json.dumps(told["payload"]) if told and "payload" in told else ""
        status, asked = "200 OK" if told else "403 FORBIDDEN", EnvironBuilder(path).get_request()
        return TestResponse([shown.encode()], status, Headers(), asked, mimetype="application/json")

"""What Slack sends to an app: signed form posts for commands and buttons, and the URLs to answer them.

https://docs.slack.dev/interactivity/implementing-slash-commands and .../handling-user-interaction. The app
has three seconds; an answer in the response's body or through `response_url` is shown in the channel.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests
from slack_sdk.signature import SignatureVerifier

from runbooks_app.main.demo.slack.workspace import SLACKBOT, Standing, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 3.0
"""Seconds that the app has to answer."""
RESPONSE_URL_LIFE = 30 * 60
RESPONSE_URL_USES = 5
KEPT = 200
"""Deliveries that are remembered for tests."""


@dataclass
class ResponseUrl:
    """One `response_url`: whom and where it answers, and how often it may still be used."""

    channel: str
    user: str
    original: str
    until: float
    uses: int = RESPONSE_URL_USES


@dataclass
class Delivery:
    """A request that was sent to the app: `status` is 0 where no answer came in time."""

    url: str
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    status: int = 0
    answer: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For `/control/deliveries`."""
        return {
            "url": self.url, "body": self.body.decode(), "status": self.status, "answer": self.answer,
            "seconds": round(self.seconds, 4),
        }  # fmt: skip


class Deliveries:
    """Sends to the app, and remembers what was sent."""

    def __init__(
        self, workspace: Workspace, *, service_url: str, signing_secret: str, team_id: str, app_id: str,
        respond_with: Callable[[Workspace, str, str, dict[str, Any], str], None],
    ) -> None:  # fmt: skip
        """Send to `/slack/commands` and `/slack/interactivity` under `service_url`, the app's base URL."""
        self.service_url = service_url.rstrip("/")
        self.sent: list[Delivery] = []
        self.response_urls: dict[str, ResponseUrl] = {}
        self._workspace = workspace
        self._sign = SignatureVerifier(signing_secret)
        self._team_id, self._app_id = team_id, app_id
        self._respond_with = respond_with
        self._lock = Lock()

    def command(self, own_url: str, channel: str, user: str, typed: str) -> Delivery:
        """Send a slash command as typed, `/runbook` included."""
        command, _, text = typed.partition(" ")
        fields = {
            "token": "deprecated", "team_id": self._team_id, "team_domain": "demo",
            "channel_id": channel, "channel_name": self._workspace.name_of(channel),
            "user_id": user, "user_name": self._workspace.people.get(user, user).lower(),
            "command": command, "text": _escaped(text.strip()), "api_app_id": self._app_id,
            "is_enterprise_install": "false",
            "response_url": self._response_url(own_url, channel, user, ""), "trigger_id": _trigger(),
        }  # fmt: skip
        delivery = self._send("/slack/commands", fields)
        if delivery.status == 200:
            body = _answer_of(delivery.answer)
            if body:
                self._respond_with(self._workspace, channel, user, body, "")
        else:
            self._failed(channel, user, command, delivery)
        return delivery

    def press(self, own_url: str, standing: Standing, user: str, button: dict[str, Any], block_id: str) -> Delivery:
        """Send the press of a button."""
        action: dict[str, Any] = {
            "type": "button", "action_id": button.get("action_id", ""), "block_id": block_id,
            "text": button["text"], "action_ts": f"{time.time():.6f}",
            **{name: button[name] for name in ("value", "style", "url") if name in button},
        }  # fmt: skip
        name = self._workspace.people.get(user, user)
        team = {"id": self._team_id, "domain": "demo"}
        payload: dict[str, Any] = {
            "type": "block_actions", "token": "deprecated", "api_app_id": self._app_id, "team": team,
            "user": {"id": user, "username": name.lower(), "name": name.lower(), "team_id": self._team_id},
            "container": {
                "type": "message", "message_ts": standing.ts, "channel_id": standing.channel,
                "is_ephemeral": bool(standing.only_for),
            },
            "channel": {"id": standing.channel, "name": self._workspace.name_of(standing.channel)},
            "message": {
                "type": "message", "ts": standing.ts, "text": standing.text, "blocks": standing.blocks,
            },
            "state": {"values": {}}, "enterprise": None, "is_enterprise_install": False,
            "response_url": self._response_url(own_url, standing.channel, user, standing.ts),
            "trigger_id": _trigger(), "actions": [action],
        }  # fmt: skip
        delivery = self._send("/slack/interactivity", {"payload": json.dumps(payload)})
        if delivery.status != 200:
            self._failed(standing.channel, user, "That button", delivery)
        return delivery

    def again(self) -> Delivery:
        """Send the last request once more, byte for byte: what a copied or repeated delivery looks like."""
        last = self.sent[-1]
        return self._post(Delivery(last.url, last.body, dict(last.headers)))

    def answered(self, token: str, body: dict[str, Any]) -> str:
        """Take an answer at a `response_url`; returns "" or why it is refused."""
        with self._lock:
            found = self.response_urls.get(token)
            if found is None or found.until < time.time():
                return "expired_url"
            if found.uses == 0:
                return "used_url"
            found.uses -= 1
        self._respond_with(self._workspace, found.channel, found.user, body, found.original)
        return ""

    def _response_url(self, own_url: str, channel: str, user: str, original: str) -> str:
        token = secrets.token_urlsafe(24)
        with self._lock:
            self.response_urls[token] = ResponseUrl(channel, user, original, time.time() + RESPONSE_URL_LIFE)
        return f"{own_url.rstrip('/')}/respond/{token}"

    def _send(self, path: str, fields: dict[str, str]) -> Delivery:
        body = urlencode(fields).encode()
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "Slackbot 1.0 (stand-in)",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": self._sign.generate_signature(timestamp=timestamp, body=body) or "",
        }
        return self._post(Delivery(self.service_url + path, body, headers))

    def _post(self, delivery: Delivery) -> Delivery:
        started = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False  # a proxy in the environment is not for a neighbour on this machine
            try:
                told = session.post(
                    delivery.url,
                    data=delivery.body,
                    headers=delivery.headers,
                    timeout=DEADLINE,
                    allow_redirects=False,
                )
                delivery.status, delivery.answer = told.status_code, told.text[:100_000]
            except requests.Timeout:
                delivery.answer = "operation_timeout"
            except requests.RequestException:
                delivery.answer = "dispatch_failed"
        delivery.seconds = time.monotonic() - started
        with self._lock:
            self.sent = [*self.sent, delivery][-KEPT:]
        return delivery

    def _failed(self, channel: str, user: str, what: str, delivery: Delivery) -> None:
        """What Slack tells a person whose command was not answered."""
        code = f"http_{delivery.status}" if delivery.status else delivery.answer
        text = f"{_escaped(what)} failed with the error `{code}`"
        self._workspace.post(channel, SLACKBOT, text, [], only_for=user)


def _answer_of(text: str) -> dict[str, Any]:
    """The answer in a response's body: JSON, or a plain text for the person's eyes."""
    try:
        body = json.loads(text)
    except json.JSONDecodeError:
        body = {"text": text} if text.strip() else {}
    return body if isinstance(body, dict) else {}


def _escaped(text: str) -> str:
    """The three characters that Slack escapes in what people type."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _trigger() -> str:
    return f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"

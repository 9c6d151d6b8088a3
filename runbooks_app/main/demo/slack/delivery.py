"""How Slack sends to an app: signed posts with three seconds to answer; events again where that fails.

https://docs.slack.dev/interactivity/handling-user-interaction and https://docs.slack.dev/apis/events-api. An answer in
the response's body or through `response_url` is shown in the channel.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlencode

import requests
from slack_sdk.signature import SignatureVerifier

from runbooks_app.main.demo.slack.payloads import Payload, Payloads, escaped
from runbooks_app.main.demo.slack.views import Views, values_of
from runbooks_app.main.demo.slack.workspace import SLACKBOT, Standing, Workspace

DEADLINE = 3.0
"""Seconds that the app has to answer."""
EVENT_RETRIES = (0.0, 60.0, 300.0)
"""Seconds before each further try at an event that was not taken: almost at once, after a minute, after five."""
RESPONSE_URL_LIFE = 30 * 60
RESPONSE_URL_USES = 5
KEPT = 200
"""Deliveries that are remembered for tests."""

PATHS = {"slash_commands": "/slack/commands", "interactive": "/slack/interactivity", "events_api": "/slack/events"}
"""Where each kind goes, by its name in Socket Mode."""


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


Carrier = Callable[[str, Payload, int], Delivery]
"""Takes a payload of one kind to the app, as a first try or a later one (1, 2, 3)."""


class Deliveries:
    """Sends to the app, and remembers what was sent."""

    def __init__(
        self, workspace: Workspace, *, service_url: str, signing_secret: str, team_id: str, app_id: str,
        respond_with: Callable[[Workspace, str, str, dict[str, Any], str], None],
    ) -> None:  # fmt: skip
        """Send to the paths under `service_url`, the app's base URL, unless another `carry` is set: Socket Mode."""
        self.service_url = service_url.rstrip("/")
        self.sent: list[Delivery] = []
        self.response_urls: dict[str, ResponseUrl] = {}
        self.carry: Carrier = self.post
        self.views = Views(workspace, team_id, app_id)
        self._payloads = Payloads(workspace, team_id, app_id)
        self._workspace = workspace
        self._sign = SignatureVerifier(signing_secret)
        self._respond_with = respond_with
        self._lock = Lock()

    def command(self, own_url: str, channel: str, user: str, typed: str) -> Delivery:
        """Send a slash command as typed, `/runbook` included."""
        payload = self._payloads.command(channel, user, typed)
        delivery = self._deliver("slash_commands", payload | self._ways_back(own_url, channel, user))
        if delivery.status == 200:
            body = _answer_of(delivery.answer)
            if body:
                self._respond_with(self._workspace, channel, user, body, "")
        else:
            self._failed(channel, user, typed.partition(" ")[0], delivery)
        return delivery

    def press(self, own_url: str, standing: Standing, user: str, element: Mapping[str, Any], **where: str) -> Delivery:
        """Send the press of a button, or the choice of an `option`; `block_id` says in which block."""
        payload = self._payloads.block_actions(standing, user, element, where)
        return self._interact(payload, own_url, standing, user, "That button")

    def shortcut(self, own_url: str, standing: Standing, user: str, callback_id: str) -> Delivery:
        """Send that somebody used a shortcut on a message."""
        payload = self._payloads.message_action(standing, user, callback_id)
        return self._interact(payload, own_url, standing, user, "That shortcut")

    def submit(self, view_id: str, user: str, given: Mapping[str, list[str]]) -> Delivery:
        """Send a form off; `given` has each block's values. Raises `SlackError` where one is lacking."""
        view = self.views.standing[view_id].view
        payload = self._payloads.view_submission(view, user, values_of(view, given))
        delivery = self._deliver("interactive", payload | {"trigger_id": self.views.trigger(user)})
        if delivery.status == 200:
            self.views.answered(view_id, _answer_of(delivery.answer))
        else:
            self.views.standing[view_id].errors = {"": "We had some trouble connecting. Try again?"}
            self._workspace.changed()
        return delivery

    def mention(self, standing: Standing) -> Delivery:
        """Send that somebody mentioned the app."""
        return self._event(self._payloads.app_mention(standing))

    def pin(self, own_url: str, standing: Standing, user: str) -> Delivery:
        """Send that somebody pinned a message."""
        return self._event(self._payloads.pin_added(standing, user, own_url))

    def verify_url(self) -> bool:
        """Ask whether the address of events is the app's, as Slack does once: it must give the challenge back."""
        challenge = secrets.token_urlsafe(40)
        asked = {"token": "deprecated", "challenge": challenge, "type": "url_verification"}
        told = self._noted(self.post("events_api", asked, 0))
        return told.status == 200 and challenge in {told.answer, _answer_of(told.answer).get("challenge")}

    def again(self) -> Delivery:
        """Send the last request once more, byte for byte: what a copied or repeated delivery looks like."""
        last = self.sent[-1]
        return self._noted(self._send(Delivery(last.url, last.body, dict(last.headers))))

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

    def post(self, kind: str, payload: Payload, retry: int) -> Delivery:
        """Carry by HTTP: events as JSON, all else as a form. Each try is signed anew."""
        content = "application/json" if kind == "events_api" else "application/x-www-form-urlencoded"
        body = {
            "events_api": lambda: json.dumps(payload).encode(),
            "interactive": lambda: urlencode({"payload": json.dumps(payload)}).encode(),
            "slash_commands": lambda: urlencode(payload).encode(),
        }[kind]()
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": content,
            "User-Agent": "Slackbot 1.0 (stand-in)",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": self._sign.generate_signature(timestamp=timestamp, body=body) or "",
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_error"}
        return self._send(Delivery(self.service_url + PATHS[kind], body, headers))

    def _interact(self, payload: Payload, own_url: str, standing: Standing, user: str, what: str) -> Delivery:
        ways = self._ways_back(own_url, standing.channel, user, standing.ts)
        delivery = self._deliver("interactive", payload | ways)
        if delivery.status != 200:
            self._failed(standing.channel, user, what, delivery)
        return delivery

    def _event(self, payload: Payload) -> Delivery:
        """Send an event; what is not taken is sent again later, in a thread of its own."""
        first = self._deliver("events_api", payload)
        if not 200 <= first.status < 300:
            Thread(target=self._retry, args=(payload,), name="slack event", daemon=True).start()
        return first

    def _retry(self, payload: Payload) -> None:
        for number, pause in enumerate(EVENT_RETRIES, 1):
            time.sleep(pause)
            if 200 <= self._deliver("events_api", payload, number).status < 300:
                return

    def _ways_back(self, own_url: str, channel: str, user: str, original: str = "") -> dict[str, str]:
        """By which the app may answer: a URL good for some answers, and a trigger good for one form."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self.response_urls[token] = ResponseUrl(channel, user, original, time.time() + RESPONSE_URL_LIFE)
        return {"response_url": f"{own_url.rstrip('/')}/respond/{token}", "trigger_id": self.views.trigger(user)}

    def _deliver(self, kind: str, payload: Payload, retry: int = 0) -> Delivery:
        return self._noted(self.carry(kind, payload, retry))

    def _send(self, delivery: Delivery) -> Delivery:
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
        return delivery

    def _noted(self, delivery: Delivery) -> Delivery:
        with self._lock:
            self.sent = [*self.sent, delivery][-KEPT:]
        return delivery

    def _failed(self, channel: str, user: str, what: str, delivery: Delivery) -> None:
        """What Slack tells a person whose command was not answered."""
        code = f"http_{delivery.status}" if delivery.status else delivery.answer
        text = f"{escaped(what)} failed with the error `{code}`"
        self._workspace.post(channel, SLACKBOT, text, [], only_for=user)


def _answer_of(text: str) -> dict[str, Any]:
    """The answer in a response's body: JSON, or a plain text for the person's eyes."""
    try:
        body = json.loads(text)
    except json.JSONDecodeError:
        body = {"text": text} if text.strip() else {}
    return body if isinstance(body, dict) else {}

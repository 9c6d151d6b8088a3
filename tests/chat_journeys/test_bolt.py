"""Bolt for JavaScript beside the service: it takes what the service takes, and refuses what the service refuses.

What is sent is signed by node, not by us. And Bolt as an app takes what the stand-in delivers: so the stand-in, which
all other tests of Slack stand on, speaks as Slack does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from chat_journeys import bolt_client
from chat_journeys.bolt_client import Node
from chat_journeys.ways import by_socket
from slack_socket import APP_TOKEN, serve_socket_mode
from whole_stage import Drill, Person, until

from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.delivery import Deliveries
from runbooks_app.main.demo.slack.workspace import Standing as Message
from runbooks_app.main.demo.slack.workspace import Workspace
from runbooks_app.main.demo.stage import TEAM, Stage

pytestmark = pytest.mark.chat

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-of-the-stand-in"


@pytest.fixture(scope="module")
def signer() -> Iterator[Node]:
    """Signs by node's own crypto, asks Bolt, sends."""
    with bolt_client.running("signer.mjs") as node:
        yield node


@pytest.fixture
def send(signer: Node, stage: Stage) -> Any:
    """`send("/slack/commands", fields={…})`: what Bolt says of it, and what the service answers."""

    def given(path: str, **request: Any) -> dict[str, Any]:
        return signer.ask({"url": stage.url + path, "secret": stage.secret("slack_signing"), **request})

    return given


def command(text: str, **fields: str) -> dict[str, str]:
    """What Slack sends when Ana types this in the channel."""
    typed = {"team_id": TEAM, "user_id": "U0ANA", "user_name": "ana", "channel_id": "C0INCIDENTS"}
    return {**typed, "command": "/runbook", "text": text, "trigger_id": f"1.2.{time.monotonic_ns()}", **fields}


def press(action: str, value: str) -> dict[str, str]:
    """What Slack sends when Ana presses a button in the channel."""
    payload = {
        "type": "block_actions",
        "team": {"id": TEAM},
        "user": {"id": "U0ANA", "username": "ana", "team_id": TEAM},
        "channel": {"id": "C0INCIDENTS"},
        "actions": [{"type": "button", "action_id": action, "value": value}],
        "trigger_id": f"1.2.{time.monotonic_ns()}",
    }
    return {"payload": json.dumps(payload)}


def held(stage: Stage) -> list[int]:
    """How much there is of all that a request could have caused, once no run of anybody's adds to it."""
    tables = ("runs", "incidents", "notes", "proposals", "chat_deliveries")
    going = "SELECT count(*) FROM runs WHERE state IN ('queued', 'diagnosing')"
    with psycopg.connect(stage.database.url(database="runbooks"), autocommit=True) as owner:
        until("all runs to end", lambda: owner.execute(going).fetchone() == (0,))
        rows = [owner.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables]
    return [row[0] for row in rows if row]


def test_a_command_that_bolt_believes_is_done(send: Any, ana: Person, linked: None):
    word = "signed by node: %20 & = \u00e9"
    told = send("/slack/commands", fields=command(f'drill database=orders-db word="{word}"'))
    assert told["bolt"] is True
    assert told["status"] == 200, told
    (run,) = [run for run in ana.api("/runs")["runs"] if run["parameters"].get("word") == word]
    assert ana.run(run["id"])["state"] == "diagnosed"


def test_a_button_that_bolt_believes_is_done(send: Any, ana: Person, drill: Drill, linked: None):
    with drill.held(7001):
        run_id, _ = drill.start(ana)
        drill.comes_to(7001)
        told = send("/slack/interactivity", fields=press("cancel_run", run_id))
        assert told["bolt"] is True
        assert told["status"] == 200, told
        assert ana.run(run_id)["state"] == "cancelled"


ALTERED: dict[str, dict[str, Any]] = {
    "another text": {"change": {"body": ["true", "lies"]}},
    "the same text encoded anew": {"change": {"body": ["+word", "%20word"]}},
    "a field more": {"change": {"body": ["command=", "x=1&command="]}},
    "a later time": {"change": {"at": 1}},
    "an earlier time": {"change": {"at": -1}},
    "an old request": {"at": int(time.time()) - 400},
    "an old request under a new time": {"at": int(time.time()) - 400, "change": {"at": 400}},
    "another secret": {"signed_with": "guessed"},
    "an empty signature": {"change": {"signature": "v0="}},
    "no version": {"change": {"signature": "00" * 32}},
    "another version": {"change": {"signature": "v1=" + "00" * 32}},
    "a signature that is too short": {"change": {"signature": "v0=00"}},
    "another signature": {"change": {"signature": "v0=" + "00" * 32}},
    "no signature": {"change": {"drop": ["x-slack-signature"]}},
    "no time": {"change": {"drop": ["x-slack-request-timestamp"]}},
}


@pytest.mark.parametrize("altered", ALTERED)
def test_what_bolt_refuses_is_refused_and_does_nothing(send: Any, stage: Stage, linked: None, altered: str):
    before = held(stage)
    told = send("/slack/commands", fields=command("drill word=true"), **ALTERED[altered])
    assert told["bolt"] is False
    assert told["status"] == 403
    assert "drill" not in told["text"]
    assert held(stage) == before


def test_a_time_ahead_of_ours_is_refused_though_bolt_takes_it(send: Any, stage: Stage, linked: None):
    before = held(stage)
    told = send("/slack/commands", fields=command("drill word=true"), at=int(time.time()) + 400)
    assert told["bolt"] is True, "Bolt looks for old requests alone"
    assert told["status"] == 403
    assert held(stage) == before


def test_a_copy_that_bolt_still_believes_does_nothing_more(send: Any, ana: Person, linked: None):
    request = {"fields": command("drill database=orders-db word=once"), "at": int(time.time())}
    told = [send("/slack/commands", **request) for _ in range(3)]
    assert [each["bolt"] for each in told] == [True] * 3
    assert [each["status"] for each in told] == [200] * 3
    assert len([run for run in ana.api("/runs")["runs"] if run["parameters"].get("word") == "once"]) == 1


def test_bolt_and_the_service_take_the_same_events(send: Any, stage: Stage, linked: None):
    asked = {
        "type": "url_verification",
        "token": "deprecated",
        "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7",
    }
    told = send("/slack/events", json=asked)
    assert (told["bolt"], told["status"]) == (True, 200)
    assert asked["challenge"] in told["text"]
    before = held(stage)
    for change in (
        {"body": ["3eZ", "4eZ"]},
        {"at": 1},
        {"signature": "v0=" + "00" * 32},
        {"drop": ["x-slack-signature"]},
    ):
        told = send("/slack/events", json=asked, change=change)
        assert (told["bolt"], told["status"]) == (False, 403)
    assert held(stage) == before


@pytest.fixture(params=["http", "socket"])
def slack(request: pytest.FixtureRequest) -> Iterator[Standing]:
    """The stand-in for Slack, and Bolt as the app that it delivers to, either way."""
    app = create_slack(SlackConfig(token=TOKEN, signing_secret=SECRET, service_url="http://127.0.0.1:9"))
    deliveries = app.extensions["slack_deliveries"]
    with ExitStack() as stack:
        url = stack.enter_context(serve(app))
        node = stack.enter_context(bolt_client.running("app.mjs"))
        told = {"api": f"{url}api/", "token": TOKEN}
        if request.param == "http":
            port = node.ask({**told, "secret": SECRET})["port"]
            deliveries.service_url = f"http://127.0.0.1:{port}"
        else:
            socket = stack.enter_context(serve_socket_mode())
            assert node.ask({**told, "appToken": APP_TOKEN, "socketApi": f"{socket.url}api/"})["connected"]
            deliveries.carry = by_socket(socket)
        yield Standing(url, node, deliveries, app.extensions["slack_workspace"])


@dataclass
class Standing:
    """The stand-in, its deliveries and what stands in it; `bolt` says what it was delivered."""

    url: str
    bolt: Node
    deliveries: Deliveries
    workspace: Workspace

    def texts(self, user: str = "") -> list[str]:
        """What one person alone is shown in the channel."""
        return [message.text for message in self.workspace.seen("C0INCIDENTS", user) if message.only_for]

    def typed(self, text: str) -> Message:
        """A message that Ana has written in the channel."""
        return self.workspace.post("C0INCIDENTS", "U0ANA", text, [])


def test_bolt_takes_the_commands_and_buttons_that_the_stand_in_delivers(slack: Standing):
    typed = slack.deliveries.command(slack.url, "C0INCIDENTS", "U0ANA", "/runbook db-latency word='a & b <c>'")
    assert typed.status == 200, typed
    escaped = "db-latency word='a &amp; b &lt;c&gt;'"
    said = {"command": escaped, "user": "U0ANA", "team": "T0DEMO", "channel": "C0INCIDENTS"}
    assert slack.bolt.told() == said
    assert slack.texts("U0ANA") == [f"Bolt took: {escaped}"]
    (button,) = until("its message", lambda: [m for m in slack.workspace.seen("C0INCIDENTS") if m.text == "Press it"])
    (element,) = button.blocks[0]["elements"]
    pressed = slack.deliveries.press(slack.url, button, "U0BEN", element, block_id="bolts")
    assert pressed.status == 200, pressed
    assert slack.bolt.told() == {"button": "pressed", "user": "U0BEN", "team": "T0DEMO"}
    assert slack.texts("U0BEN") == ["Bolt heard of pressed"]


def test_bolt_opens_a_form_from_a_shortcut_and_takes_what_is_filled_in(slack: Standing):
    used = slack.deliveries.shortcut(slack.url, slack.typed("it is slow"), "U0ANA", "ask")
    assert used.status == 200, used
    assert slack.bolt.told() == {"shortcut": "ask", "text": "it is slow", "user": "U0ANA"}
    (view_id,) = slack.deliveries.views.standing
    for value, errors in (("wrong", {"what": "Bolt wants another"}), ("right", None)):
        assert slack.deliveries.submit(view_id, "U0ANA", {"what": [value]}).status == 200
        assert slack.bolt.told() == {"view": "asks", "value": value, "user": "U0ANA"}
        standing = slack.deliveries.views.standing.get(view_id)
        assert (standing.errors if standing else None) == errors


def test_bolt_takes_the_events_that_the_stand_in_delivers(slack: Standing):
    message = slack.typed("<@U0RUNBOOKS> help")
    assert slack.deliveries.mention(message).status == 200
    assert slack.bolt.told() == {"event": "app_mention", "text": message.text, "user": "U0ANA"}
    assert slack.deliveries.pin(slack.url, message, "U0BEN").status == 200
    assert slack.bolt.told() == {"event": "pin_added", "text": message.text, "user": "U0BEN"}


def test_bolt_gives_the_challenge_back_and_refuses_what_another_secret_signed():
    for secret, status in ((SECRET, 200), ("another", 401)):
        app = create_slack(SlackConfig(token=TOKEN, signing_secret=secret, service_url="http://127.0.0.1:9"))
        deliveries = app.extensions["slack_deliveries"]
        with serve(app) as url, bolt_client.running("app.mjs") as node:
            port = node.ask({"api": f"{url}api/", "token": TOKEN, "secret": SECRET})["port"]
            deliveries.service_url = f"http://127.0.0.1:{port}"
            assert deliveries.verify_url() is (status == 200)
            assert deliveries.command(url, "C0INCIDENTS", "U0ANA", "/runbook help").status == status

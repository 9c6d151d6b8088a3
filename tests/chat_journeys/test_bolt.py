"""Bolt for JavaScript beside the service: it takes what the service takes, and refuses what the service refuses.

What is sent is signed by node, not by us. And Bolt as an app takes what the stand-in delivers: so the stand-in, which
all other tests of Slack stand on, speaks as Slack does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from chat_journeys import bolt_client
from chat_journeys.bolt_client import Node
from whole_stage import Drill, Person, until

from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
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
    """How much there is of all that a request could have caused."""
    tables = ("runs", "incidents", "notes", "proposals", "chat_deliveries")
    with psycopg.connect(stage.database.url(database="runbooks")) as owner:
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


@pytest.fixture
def slack() -> Iterator[Any]:
    """The stand-in for Slack, and Bolt as the app that it delivers to: `slack.ask(path, **body)`, `slack.bolt`."""
    app = create_slack(SlackConfig(token=TOKEN, signing_secret=SECRET, service_url="http://127.0.0.1:9"))
    with serve(app) as url, bolt_client.running("app.mjs", "http") as node:
        port = node.ask({"api": f"{url}api/", "token": TOKEN, "secret": SECRET})["port"]
        app.extensions["slack_deliveries"].service_url = f"http://127.0.0.1:{port}"
        yield Standing(url, node)


class Standing:
    """The stand-in, where it is used by hand."""

    def __init__(self, url: str, bolt: Node) -> None:
        self.url, self.bolt = url, bolt

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """Pull a lever of the stand-in."""
        answer = httpx.post(f"{self.url}control/{path}", json=body, trust_env=False)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def messages(self, user: str = "") -> list[dict[str, Any]]:
        """What stands in the channel."""
        query = {"channel": "incidents", "as": user}
        found: list[dict[str, Any]] = httpx.get(f"{self.url}control/messages", params=query, trust_env=False).json()[
            "messages"
        ]
        return found


def test_bolt_takes_the_commands_and_buttons_that_the_stand_in_delivers(slack: Standing):
    typed = slack.ask("command", channel="incidents", user="U0ANA", text="/runbook db-latency word='a & b <c>'")
    assert typed["status"] == 200, typed
    escaped = "db-latency word='a &amp; b &lt;c&gt;'"
    said = {"command": escaped, "user": "U0ANA", "team": "T0DEMO", "channel": "C0INCIDENTS"}
    assert slack.bolt.told() == said
    (button,) = until("Bolt's own message", lambda: [m for m in slack.messages() if m["text"] == "Press it"])
    assert [m["text"] for m in slack.messages("U0ANA") if m["only_for"]] == [f"Bolt took: {escaped}"]
    pressed = slack.ask(
        "press", channel="incidents", ts=button["ts"], user="U0BEN", action_id="press", block_id="bolts"
    )
    assert pressed["status"] == 200, pressed
    assert slack.bolt.told() == {"button": "pressed", "user": "U0BEN", "team": "T0DEMO"}
    assert "Bolt heard of pressed" in [m["text"] for m in slack.messages("U0BEN")]


def test_bolt_refuses_what_a_stand_in_with_another_secret_delivers():
    app = create_slack(SlackConfig(token=TOKEN, signing_secret="another", service_url="http://127.0.0.1:9"))
    with serve(app) as url, bolt_client.running("app.mjs", "http") as node:
        port = node.ask({"api": f"{url}api/", "token": TOKEN, "secret": SECRET})["port"]
        app.extensions["slack_deliveries"].service_url = f"http://127.0.0.1:{port}"
        told = Standing(url, node).ask("command", channel="incidents", user="U0ANA", text="/runbook help")
        assert told["status"] == 401

"""Socket Mode between whole processes: `runbooks web`, and Slack's own framework, against the stand-in for Slack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_journeys import bolt_client
from service_database import APP_PASSWORD, Database
from slack_socket import APP_TOKEN, SocketModeServer

from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.embedded.ports import free_port

TOKEN = "xoxb-a-token-that-no-log-may-hold"


@dataclass(frozen=True)
class Standing:
    """The stand-in for Slack with Socket Mode; nothing of it goes to any address of the app."""

    url: str
    server: SocketModeServer

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """Pull a lever of the stand-in."""
        answer = httpx.post(f"{self.url}control/{path}", json=body, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def messages(self, user: str = "") -> list[dict[str, Any]]:
        """What stands in the channel."""
        query = {"channel": "incidents", "as": user}
        answer = httpx.get(f"{self.url}control/messages", params=query, trust_env=False)
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found


@pytest.fixture
def slack() -> Iterator[Standing]:
    server = SocketModeServer()
    app = create_slack(SlackConfig(token=TOKEN, signing_secret="unused", service_url="http://127.0.0.1:9"))
    app.extensions["slack_deliveries"].carry = server.carry
    with serve(server.join(app)) as url:
        server.url = url
        yield Standing(url, server)
        server.leave()


@contextmanager
def web(database: Database, folder: Path, slack: Standing, processes: int = 1) -> Iterator[subprocess.Popen[str]]:
    """`runbooks web` with the token of Socket Mode and no signing secret."""
    for name, content in {"app.token": APP_TOKEN, "db.password": APP_PASSWORD, "web.key": "k" * 48}.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    (folder / "library").mkdir()
    (folder / "connections.toml").touch()
    settings = {
        "config_dir": folder, "library": folder / "library", "database_url": database.app_url,
        "database_password_file": folder / "db.password", "web_key_file": folder / "web.key",
        "slack_app_token_file": folder / "app.token", "slack_team": "T0DEMO", "slack_api_url": f"{slack.url}api/",
        "bind": f"127.0.0.1:{free_port()}", "web_processes": processes,
    }  # fmt: skip
    known = {name: value for name, value in os.environ.items() if not name.startswith("RUNBOOKS_")}
    environment = known | {f"RUNBOOKS_{name.upper()}": str(value) for name, value in settings.items()}
    with (folder / "web.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runbooks_app.main", "web"], env=environment, stdout=log, stderr=log, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def test_a_service_without_an_address_answers_commands_that_it_fetched_itself(database, tmp_path, slack):
    with web(database, tmp_path, slack) as process:
        connection = slack.server.newest()
        told = slack.ask("command", channel="incidents", user="U0ANA", text="/runbook list")
        assert told["status"] == 200
        (link,) = [message for message in slack.messages("U0ANA") if message["only_for"]]
        assert "/link/" in json.dumps(link["blocks"])
        slack.server.drop()
        slack.server.newest(2)
        assert slack.ask("command", channel="incidents", user="U0BEN", text="/runbook list")["status"] == 200
        open_to_neighbours = Path(f"/proc/{process.pid}/cmdline").read_text()
        open_to_neighbours += Path(f"/proc/{process.pid}/environ").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert slack.server.left(connection)
        assert slack.server.left(slack.server.newest())
    said = (tmp_path / "web.log").read_text()
    assert "Slack's requests are fetched by Socket Mode." in said
    for secret in (APP_TOKEN, "ticket="):
        assert secret not in said + open_to_neighbours


def test_each_web_process_has_a_connection_of_its_own_and_each_is_answered(database, tmp_path, slack):
    with web(database, tmp_path, slack, processes=2):
        slack.server.newest(2)
        payload = {"team_id": "T0DEMO", "user_id": "U0ANA", "text": "list", "command": "/runbook"}
        for number, connection in enumerate(slack.server.connections):
            asked = {**payload, "trigger_id": f"t{number}"}
            assert slack.server.deliver("slash_commands", asked, on=connection) is not None


def test_bolt_takes_over_socket_mode_what_the_stand_in_delivers(slack):
    with bolt_client.running("app.mjs") as bolt:
        told = {"api": f"{slack.url}api/", "token": TOKEN, "appToken": APP_TOKEN, "socketApi": f"{slack.url}api/"}
        assert bolt.ask(told) == {"connected": True}
        typed = slack.ask("command", channel="incidents", user="U0ANA", text="/runbook db-latency word='a & b'")
        assert typed["status"] == 200
        said = {"command": "db-latency word='a &amp; b'", "user": "U0ANA", "team": "T0DEMO", "channel": "C0INCIDENTS"}
        assert bolt.told() == said
        assert [m["text"] for m in slack.messages("U0ANA") if m["only_for"]] == [f"Bolt took: {said['command']}"]

        posted = slack.ask("say", channel="incidents", user="U0ANA", text="disk is full")["ts"]
        slack.ask("shortcut", channel="incidents", ts=posted, user="U0BEN", callback_id="ask")
        assert bolt.told() == {"shortcut": "ask", "text": "disk is full", "user": "U0BEN"}
        slack.ask("submit", user="U0BEN", values={"what": "wrong"})
        assert bolt.told() == {"view": "asks", "value": "wrong", "user": "U0BEN"}
        views = httpx.get(f"{slack.url}control/views", trust_env=False).json()["views"]
        assert [view["errors"] for view in views] == [{"what": "Bolt wants another"}]
        slack.ask("submit", user="U0BEN", values={"what": "right"})
        assert bolt.told() == {"view": "asks", "value": "right", "user": "U0BEN"}
        assert httpx.get(f"{slack.url}control/views", trust_env=False).json()["views"] == []

        slack.ask("say", channel="incidents", user="U0ANA", text="@runbooks status")
        assert bolt.told() == {"event": "app_mention", "text": "<@U0RUNBOOKS> status", "user": "U0ANA"}
        slack.ask("pin", channel="incidents", ts=posted, user="U0BEN")
        assert bolt.told() == {"event": "pin_added", "text": "disk is full", "user": "U0BEN"}

"""What people ask within Slack alone, of the whole running service: forms in time, threads, shortcuts."""

from __future__ import annotations

from typing import Any

import pytest
from whole_stage import Person, until

from runbooks_app.main.demo.slack.views import TRIGGER_LIFE
from runbooks_app.main.demo.stage import Stage

pytestmark = pytest.mark.chat


class Channel:
    """Slack as Ana sees it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def do(self, what: str, **told: Any) -> dict[str, Any]:
        answer = self._stage.http.post(
            f"{self._stage.slack_url}/control/{what}", json={"channel": "incidents", "user": "U0ANA", **told}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def see(self, what: str, **query: str) -> list[dict[str, Any]]:
        return self._stage.http.get(f"{self._stage.slack_url}/control/{what}", params=query).json()[what]

    def messages(self) -> list[dict[str, Any]]:
        return self.see("messages", channel="incidents", **{"as": "U0ANA"})

    def form(self) -> dict[str, Any]:
        """The form before Ana; it opens within a trigger's life, or Slack would have refused it."""
        return until("the form", lambda: self.see("views"), TRIGGER_LIFE)[-1]["view"]

    def closed(self) -> bool:
        return self.see("views") == []


@pytest.fixture
def channel(stage: Stage, linked: None) -> Channel:
    return Channel(stage)


def test_a_form_opens_within_its_triggers_life_and_its_run_is_answered_in_its_thread(channel: Channel, ana: Person):
    channel.do("command", text="/runbook drill ? word=lantern")
    blocks = {block.get("block_id"): block for block in channel.form()["blocks"]}
    assert blocks["word"]["element"]["initial_value"] == "lantern"
    channel.do("submit", values={"database": "orders-db", "word": "lantern"})
    assert channel.closed()
    (run,) = [run for run in ana.api("/runs")["runs"] if run["parameters"].get("word") == "lantern"]
    assert ana.run(run["id"])["state"] == "diagnosed"
    told = until(
        "the run's message",
        lambda: [m for m in channel.messages() if "lantern does not stand there" in m["plain"] and not m["thread_ts"]],
    )
    thread = told[0]["ts"]
    channel.do("say", text="@runbooks note the lantern is out", thread_ts=thread)
    noted = until(
        "the answer in the thread",
        lambda: [m for m in channel.messages() if m["thread_ts"] == thread and "Noted" in m["plain"]],
    )
    assert len(noted) == 1
    assert noted[0]["only_for"] == ""


def test_a_message_shortcut_runs_a_runbook_in_its_channel(channel: Channel, ana: Person):
    said = channel.do("say", text="the anchor is slow")
    channel.do("shortcut", ts=said["ts"])
    assert [block["block_id"] for block in channel.form()["blocks"]] == ["what", "text"]
    channel.do("submit", values={"what": "drill ?", "text": ""})
    assert "word" in [block.get("block_id") for block in channel.form()["blocks"]]
    channel.do("submit", values={"database": "orders-db", "word": "anchor"})
    assert channel.closed()
    (run,) = [run for run in ana.api("/runs")["runs"] if run["parameters"].get("word") == "anchor"]
    assert ana.run(run["id"])["state"] == "diagnosed"

"""The whole demo with many channels, behind a line to Slack that can be cut; and what then stands in its channels.

Its library has one runbook more, `tells`, which has much to tell: in the thread of the one message that says what was
found, a cell that fails, the evidence of two findings, and a chart.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg
from chat_journeys.line import Line
from notebooks import cell, notebook
from psycopg.rows import dict_row
from slack_signing import signed

from runbooks_app.main.demo import alarm
from runbooks_app.main.demo.stage import LIBRARY, TEAM, Stage
from runbooks_app.main.demo.story import Browser, until
from runbooks_app.main.embedded.ports import free_port

CHANNELS = {"C0INCIDENTS": "incidents"} | {f"C0ROOM{n:02}": f"room-{n:02}" for n in range(12)}
ROOMS = [channel for channel in CHANNELS if channel.startswith("C0ROOM")]

PARAMETERS = """
word: str = "nothing"  # What everything that is told of this run has in it
chart: bool = False  # Whether there is a chart
"""
TELLS = {
    "first": 'kit.finding("warning", f"first of {word}", [{"word": word, "number": n} for n in range(3)])',
    "second": 'kit.finding("warning", f"second of {word}", [{"word": word, "number": n} for n in range(3)])',
    "fails": 'raise ValueError(f"error of {word}")',
    "chart": """
if chart:
    from matplotlib import pyplot
    pyplot.figure(figsize=(2, 1)).gca().plot([1, 3, 2])
    pyplot.show()
""",
}
GROUPS = {f"group-{room[-2:]}-end": room for room in ROOMS}
"""Groups of alerts, and where the run of each is told."""
SOURCE = f"""
[source.bench]
kind = "alertmanager"
token_file = "{alarm.PROOF}.secret"
[budget]
runs = 1000
"""
RULE = """
[[rule]]
name = "{group}"
match = {{ alertname = "{group}" }}
runbook = "tells"
channel = "{room}"
parameters = {{ word = "{group}" }}
"""
THREAD = ("error of {}", "first of {}", "second of {}")
"""What the thread of such a run tells, in this order; then the chart."""


@dataclass(frozen=True)
class Answer:
    """What a delivery was answered, and after how many milliseconds."""

    status: int
    text: str
    ms: float


@dataclass
class Verdict:
    """What is wrong with what stands in the channels, each a sentence."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)

    def count(self, what: str, found: int) -> bool:
        """Whether it stands there just once."""
        if found > 1:
            self.doubled.append(f"{what} stands {found} times")
        elif not found:
            self.lost.append(f"{what} is missing")
        return found == 1


@dataclass
class Workplace:
    """The running demo, with Ana, whose chat account is tied to her."""

    stage: Stage
    line: Line
    ana: Browser

    def command(self, channel: str, text: str, **fields: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of what Slack sends when Ana types `/runbook` with this text in a channel."""
        form = {"team_id": TEAM, "user_id": "U0ANA", "user_name": "ana", "channel_id": channel}
        form |= {"command": "/runbook", "text": text, "trigger_id": uuid.uuid4().hex, **fields}
        body = urlencode(form).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return body, kind | signed(body, str(int(time.time())), self.stage.secret("slack_signing"))

    def alert(self, group: str, word: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of what an Alertmanager sends of one alert of a group; each group has a run and a room."""
        labels = {"alertname": group, "word": word}
        alert = {"status": "firing", "labels": labels, "startsAt": "2026-01-31T03:12:00Z"}
        body = json.dumps({"version": "4", "groupKey": group, "alerts": [alert]}).encode()
        proof = f"Bearer {self.stage.secret(alarm.PROOF)}"
        return body, {"Content-Type": "application/json", "Authorization": proof}

    def send(self, body: bytes, headers: dict[str, str], path: str = "/slack/commands") -> Answer:
        """Deliver it over a connection of its own."""
        place = urlsplit(self.stage.url)
        poster = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
        began = time.monotonic()
        poster.request("POST", path, body, headers)
        answer = poster.getresponse()
        text = answer.read().decode()
        took = (time.monotonic() - began) * 1000
        poster.close()
        return Answer(answer.status, text, took)

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the service's database holds."""
        url = self.stage.database.url(database="runbooks")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as session:
            return session.execute(query, values).fetchall()

    def messages(self) -> list[dict[str, Any]]:
        """What stands in all rooms, each room's oldest first."""
        found: list[dict[str, Any]] = []
        for name in CHANNELS.values():
            answer = self.stage.http.get(f"{self.stage.slack_url}/control/messages", params={"channel": name})
            found += answer.json()["messages"]
        return found

    def told(self, seconds: float) -> None:
        """Return when there is nothing left to tell."""
        untold = """SELECT about FROM chat_threads WHERE wanted > told AND ended_at IS NULL
                    UNION ALL SELECT task_name FROM procrastinate_jobs
                    WHERE status IN ('todo', 'doing') AND queue_name <> 'upkeep'
                    UNION ALL SELECT id FROM runs WHERE state IN ('queued', 'diagnosing', 'lost')"""
        until("all of it to be told", lambda: not self.rows(untold), seconds)

    def verdict(self, words: dict[str, bool]) -> Verdict:
        """Whether the runs of `tells` with these words (and a chart?) are told: all of it, once, in order."""
        told = Verdict()
        messages = self.messages()
        for word, chart in words.items():
            tops = [m for m in messages if not m["thread_ts"] and f"first of {word}" in m["plain"]]
            if not told.count(f"the message of {word}", len(tops)):
                continue
            (top,) = tops
            if "diagnosed" not in top["plain"]:
                told.lost.append(f"the end of {word}")
            thread = [m for m in messages if (m["channel"], m["thread_ts"]) == (top["channel"], top["ts"])]
            places = [
                [n for n, m in enumerate(thread) if part.format(word) in m["plain"] + m["text"]] for part in THREAD
            ]
            places += [[n for n, m in enumerate(thread) if m["files"]]] if chart else []
            for part, found in zip((*THREAD, "chart of {}"), places, strict=False):
                told.count(part.format(word), len(found))
            if [min(found) for found in places if found] != sorted(min(found) for found in places if found):
                told.disordered.append(f"the thread of {word}: {[m['plain'][:40] for m in thread]}")
        return told


@contextmanager
def workplace(folder: Path, **settings: Any) -> Iterator[Workplace]:
    """Everything started; `settings` are the service's."""
    folder.mkdir(mode=0o711, exist_ok=True)
    library = folder / "library"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    tells = notebook(
        *(cell(name, source, "diagnostic") for name, source in TELLS.items()), parameters=PARAMETERS, title="Tells"
    )
    (library / "tells.ipynb").write_text(json.dumps(tells))
    port = free_port()
    (folder / "ports.json").write_text(json.dumps({"slack": port}))
    line = Line(port)
    rules = [RULE.format(group=group, room=room) for group, room in GROUPS.items()]
    (folder / "groups.toml").write_text(SOURCE + "".join(rules))
    settings = {
        "slack_api_url": f"http://127.0.0.1:{line.port}/api/",
        "alerts": str(folder / "groups.toml"),
        **settings,
    }
    try:
        with Stage(
            folder, lambda _: None, usual_ports=False, library=library, settings=settings, channels=CHANNELS
        ) as stage:
            ana = Browser(stage, "ana")
            assert ana.sign_in().status_code == 200
            place = Workplace(stage, line, ana)
            link = re.search(r"/link/[\w-]+", place.send(*place.command("C0INCIDENTS", "status")).text)
            assert link is not None
            assert ana.post(link.group(), ana.page(link.group())).status_code == 200
            yield place
            ana.client.close()
    finally:
        line.close()

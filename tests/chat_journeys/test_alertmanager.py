"""The shop's database is in trouble, and nobody is awake: its diagnosis stands in the channel.

Nothing here is ours but the service: Debian's exporter counts the sessions that wait, Debian's Prometheus has a rule
for it, Debian's Alertmanager tells the service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from chat_journeys.monitoring import Monitoring, watched
from psycopg.rows import dict_row
from whole_stage import Person, until

from runbooks_app.main.demo.shop import connection
from runbooks_app.main.demo.stage import USUAL_PORTS, Stage
from runbooks_app.main.demo.story import Story
from runbooks_app.main.embedded.ports import free_port

pytestmark = pytest.mark.chat

ALERTS = """
[source.prod]
kind = "alertmanager"
token_file = "alertmanager.token"

[[rule]]
name = "sessions wait"
match = { alertname = "Database*", severity = "critical" }
runbook = "db-latency"
channel = "C0ORDERS"

[rule.parameters]
database = "{service.postgres}"
blocked_after = 0.3
"""
CATALOGUE = """
[orders]
postgres = "orders-db"
owners = ["database"]
"""


@dataclass
class Night:
    """Everything that is up at night."""

    stage: Stage
    monitoring: Monitoring

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the service's database holds."""
        url = self.stage.database.url(database="runbooks")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as session:
            return session.execute(query, values).fetchall()

    def channel(self) -> list[dict[str, Any]]:
        """What stands in the channel itself, and for everybody."""
        query = {"channel": "orders"}
        answer = self.stage.http.get(f"{self.stage.slack_url}/control/messages", params=query)
        return [message for message in answer.json()["messages"] if not message["thread_ts"]]


@pytest.fixture(scope="module")
def night(servers_folder: Path, postgres_programs: Path) -> Iterator[Night]:
    folder = servers_folder / "night"
    folder.mkdir(mode=0o711)
    ports = {name: free_port() for name in USUAL_PORTS}
    (folder / "ports.json").write_text(json.dumps(ports))
    # A connection says itself that alerts may diagnose it.
    opted = connection(folder / "shop", ports["shop"], diagnosers=("responder", "alert"))
    (folder / "opted.toml").write_text(opted)
    (folder / "night-alerts.toml").write_text(ALERTS)
    (folder / "night-catalogue.toml").write_text(CATALOGUE)
    token = folder / "alertmanager.token"
    token.touch(0o600)
    token.write_text("what-the-alertmanager-shows-7d41c0a9")
    settings = {name: str(folder / f"night-{name}.toml") for name in ("alerts", "catalogue")}
    settings["connections"] = str(folder / "opted.toml")
    with Stage(folder, lambda _: None, usual_ports=False, settings=settings) as stage:
        url = f"{stage.url}/alerts/prod"
        with watched(stage.shop, url, token, folder / "monitoring", repeat="3s") as monitoring:
            traffic = stage.shop.traffic()
            yield Night(stage, monitoring)
            traffic.stop()


def test_an_alert_of_a_real_prometheus_brings_the_diagnosis_into_the_channel_with_no_human_act(night: Night):
    until("the metric", lambda: night.monitoring.blocked() == 0)
    assert night.channel() == []
    fault = night.stage.shop.inject("migration")
    try:
        pid = until("the session that holds the lock", Story(night.stage, lambda _: None).blocker)

        def diagnosed() -> list[dict[str, Any]]:
            return [message for message in night.channel() if "diagnosed in" in message["plain"]]

        (message,) = until("the diagnosis in the channel", diagnosed)
        assert str(pid) in message["plain"]
        assert "deploy-migration" in message["plain"]
        (run,) = night.rows("SELECT * FROM runs WHERE purpose = 'diagnosis'")
        assert (run["requesters"], run["requested_by"]["kind"]) == ([], "alert")
        assert run["parameters"]["database"] == "orders-db"
        assert _people(night) == []

        # It still fires, and is told again and again: no second run, and no second message.
        until("it to be told again", lambda: night.rows("SELECT 1 FROM alerts WHERE seen >= 3"))
        assert len(night.rows("SELECT 1 FROM runs WHERE purpose = 'diagnosis'")) == 1
        assert len(night.channel()) == 1
    finally:
        fault.stop()
    until("the alert to be over", lambda: night.rows("SELECT 1 FROM alerts WHERE resolved_at IS NOT NULL"))
    events = [row["event"] for row in night.rows("SELECT event FROM audit_entries ORDER BY seq")]
    assert "alert.received" in events
    assert "alert.resolved" in events
    ana = Person(night.stage, "ana")
    assert ana.sign_in().status_code == 200
    timeline = ana.page(f"/incidents/{run['incident_id']}")
    ana.client.close()
    assert "Alert: DatabaseSessionsBlocked" in timeline
    assert "Resolved: DatabaseSessionsBlocked" in timeline


def _people(night: Night) -> list[str]:
    """Everybody human whom the trail names so far."""
    actors = night.rows("SELECT DISTINCT actor FROM audit_entries")
    return [row["actor"] for row in actors if json.loads(row["actor"])["kind"] == "person"]


def delivery(name: str) -> dict[str, Any]:
    """What the Alertmanager sends of one alert."""
    labels = {"alertname": name, "severity": "critical", "service": "orders"}
    alert = {"status": "firing", "labels": labels, "startsAt": "2026-01-31T03:12:00Z"}
    return {"version": "4", "groupKey": name, "alerts": [alert]}


def counted(night: Night) -> tuple[int, int]:
    """How many refusals of strangers are known of, and in how many entries."""
    told = night.rows("SELECT body FROM audit_entries WHERE event = 'access.refusals_counted'")
    counts = [json.loads(row["body"])["counts"] for row in told]
    counts += [{row["reason"]: row["count"] for row in night.rows("SELECT * FROM refusals")}]
    return sum(count for each in counts for reason, count in each.items() if "unproven" in reason), len(told)


def test_a_flood_of_alerts_that_nobody_signed_runs_nothing_and_holds_up_nobody(night: Night):
    def held() -> list[dict[str, Any]]:
        return night.rows("SELECT (SELECT count(*) FROM runs) AS runs, (SELECT count(*) FROM alerts) AS alerts")

    url = f"{night.stage.url}/alerts/prod"
    before, (already, entries) = held(), counted(night)
    forged = [{}, {"Authorization": "Bearer guessed-0123456789abcdef"}, {"Authorization": "Bearer"}]
    with httpx.Client(trust_env=False, timeout=30) as client, ThreadPoolExecutor(8) as pool:
        flood = pool.map(
            lambda n: client.post(url, json=delivery("DatabaseDown"), headers=forged[n % 3]).status_code, range(900)
        )
        proven = {"Authorization": f"Bearer {(night.stage.folder / 'alertmanager.token').read_text()}"}
        told = [client.post(url, json=delivery(f"Other{n}"), headers=proven) for n in range(20)]
        assert set(flood) == {403}
    assert [(one.status_code, one.json()["alerts"][0]["outcome"]) for one in told] == [(200, "unmatched")] * 20
    *_, second, longest = sorted(one.elapsed.total_seconds() for one in told)
    assert second < 3, (second, longest)  # once, the machine itself may have paused
    assert held() == [{"runs": before[0]["runs"], "alerts": before[0]["alerts"] + 20}]
    known, now_entries = counted(night)
    assert known - already == 900, "each is counted"
    assert now_entries - entries <= 2, "they are entered as one line a minute"

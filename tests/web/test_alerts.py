"""Alerts as their senders send them: proven by the source's secret, written once, diagnosed by nobody's act."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbooks_app.actions import alerting, incidents
from runbooks_app.alerting import read_alerting, read_secrets
from runbooks_app.connections import Connection
from runbooks_app.core.policy import Floor
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.app import create_app

pytestmark = pytest.mark.chat

SECRET_KEY = b"a key for tests, and for nothing else at all"
SECRETS = {name: f"the secret of {name}, for tests alone" for name in ("prod", "graf", "stamped", "pd", "pd2", "own")}
CATALOGUE = """
[orders]
postgres = "orders-db"
owners = ["team-orders"]
[billing]
postgres = "billing-db"
"""
ALERTS = """
[source.prod]
kind = "alertmanager"
token_file = "prod"
[source.graf]
kind = "grafana"
secret_file = "graf"
[source.stamped]
kind = "grafana"
secret_file = "stamped"
timestamp_header = "X-Grafana-Time"
[source.pd]
kind = "pagerduty"
secret_files = ["pd", "pd2"]
[source.own]
kind = "json"
secret_file = "own"

[budget]
runs = {budget}
per = "10m"

[[rule]]
name = "latency {number}"
match = {{ alertname = "Latency*", n = "{number}" }}
runbook = "disk-full"
channel = "{channel}"
window = "30m"
parameters = {{ database = "{{service.postgres}}", note = "{{labels.note}}" }}

[[rule]]
name = "pager {number}"
match = {{ alertname = "Disk is full {number}" }}
runbook = "disk-full"
channel = "{channel}"
parameters = {{ database = "orders-db" }}

[[rule]]
name = "broken {number}"
match = {{ alertname = "Broken", n = "{number}" }}
runbook = "broken"
channel = "{channel}"

[[maintenance]]
name = "move {number}"
match = {{ n = "{number}", moving = "yes" }}
until = 2999-01-01T00:00:00Z
"""

_numbers = itertools.count(1)


class Sender:
    """Sends what the sources send; each test has rules and a channel of its own."""

    def __init__(self, service, folder, budget=1_000):
        self.number = f"n{next(_numbers)}"
        self.channel = f"C0ALERTS{self.number.upper()}"
        for name, secret in SECRETS.items():
            (folder / name).write_text(secret)
        (folder / "alerts.toml").write_text(ALERTS.format(budget=budget, number=self.number, channel=self.channel))
        (folder / "catalogue.toml").write_text(CATALOGUE)
        floor = Floor(approvers=("database",))
        database = Connection("orders-db", "postgres", "Orders", "127.0.0.1", 1, "o", floor=floor)
        opted = replace(database, diagnosers=("responder", "alert"))
        self.service = replace(
            service,
            connections={"orders-db": opted, "billing-db": replace(database, name="billing-db")},
            alerting=read_alerting(folder / "alerts.toml", folder / "catalogue.toml"),
        )
        self.app = create_app(self.service, secret_key=SECRET_KEY, alert_secrets=read_secrets(self.service.alerting))
        self.client = self.app.test_client()

    def alert(self, status="firing", *, start=0, name="LatencyHigh", **labels):
        told = {"alertname": name, "n": self.number, "service": "orders", "note": "", **labels}
        began = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=start)
        return {
            "status": status,
            "labels": told,
            "annotations": {"summary": "p99 is 2 s"},
            "startsAt": began.isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16],
        }

    def body(self, *alerts, group="", **rest):
        group = group or f'{{}}:{{n="{self.number}"}}'
        return {"version": "4", "groupKey": group, "truncatedAlerts": 0, "alerts": alerts, **rest}

    def fire(self, *alerts, source="prod", token=None, **rest):
        secret = SECRETS["prod"] if token is None else token
        return self.client.post(
            f"/alerts/{source}", json=self.body(*alerts, **rest), headers={"Authorization": f"Bearer {secret}"}
        )

    def outcomes(self, *alerts, **rest):
        told = self.fire(*alerts, **rest)
        assert told.status_code == 200, told.text
        return [alert["outcome"] for alert in told.json["alerts"]]

    def signed(self, source, told, *, secret="", at=None, sent=None, **headers):
        body = json.dumps(told).encode()
        secret = secret or SECRETS[source]
        at = str(int(time.time())) if at is None else at
        plain = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        timed = hmac.new(secret.encode(), at.encode() + b":" + body, hashlib.sha256).hexdigest()
        given = {
            "graf": {"X-Grafana-Alerting-Signature": plain},
            "stamped": {"X-Grafana-Alerting-Signature": timed, "X-Grafana-Time": at},
            "pd": {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={plain}"},
            "own": {"X-Runbooks-Signature": f"v1={timed}", "X-Runbooks-Timestamp": at},
        }[source]
        return self.client.post(f"/alerts/{source}", data=body if sent is None else sent, headers={**given, **headers})

    def pagerduty(self, event="incident.triggered", incident="P1", created="2026-11-23T03:12:00Z", **data):
        told = {
            "id": f"{incident}{self.number}", "title": f"Disk is full {self.number}", "created_at": created,
            "html_url": "https://x.pagerduty.com/incidents/P1", "incident_key": None, "urgency": "high",
            "service": {"id": "S1", "summary": "orders"}, **data,
        }  # fmt: skip
        number = f"E{next(_numbers)}"
        return {"event": {"id": number, "event_type": event, "occurred_at": "2026-11-23T03:13:00Z", "data": told}}

    def rows(self, sql, **values):
        with reading(self.service.engine) as tx:
            return tx.execute(sql, **values).all()

    def runs(self):
        return self.rows("SELECT * FROM runs WHERE channel = :channel ORDER BY requested_at, id", channel=self.channel)

    def kept(self):
        return self.rows("SELECT * FROM alerts WHERE labels ->> 'n' = :n ORDER BY id", n=self.number)

    def end(self, run, *, ago=0):
        """The run has ended, and was asked for so many seconds ago."""
        with transaction(self.service.engine) as tx:
            tx.execute(
                "UPDATE runs SET state = 'diagnosed', ended_at = now(),"
                " requested_at = now() - make_interval(secs => :ago) WHERE id = :id",
                id=run.id,
                ago=ago,
            )

    def entries(self, event):
        return [
            json.loads(row.body)
            for row in self.rows("SELECT body FROM audit_entries WHERE event = :event ORDER BY seq", event=event)
            if self.number in row.body
        ]


@pytest.fixture
def sender(service, tmp_path):
    return Sender(service, tmp_path)


def test_an_alert_brings_its_diagnosis_with_no_human_act(sender):
    assert sender.outcomes(sender.alert()) == ["run"]
    (run,) = sender.runs()
    assert run.parameters == {"database": "orders-db", "note": "", "limit": 10}
    assert run.requesters == []
    assert (run.requested_by["kind"], run.requested_by["subject"]) == ("alert", "alert:prod")
    assert run.requested_by["name"] == "alert LatencyHigh"
    (incident,) = sender.rows("SELECT * FROM incidents WHERE id = :id", id=run.incident_id)
    assert (incident.title, incident.channel) == ("LatencyHigh: p99 is 2 s", sender.channel)
    assert incident.opened_by["kind"] == "alert"
    jobs = sender.rows("SELECT 1 FROM procrastinate_jobs WHERE args ->> 'run_id' = :id", id=run.id)
    assert jobs
    threads = sender.rows("SELECT 1 FROM chat_threads WHERE about = :about", about=f"run:{run.id}")
    assert threads
    (entry,) = sender.entries("alert.received")
    assert (entry["outcome"], entry["alerts"], entry["names"]) == ("run", 1, ["LatencyHigh"])


def test_alerts_of_one_group_that_ask_for_the_same_run_bring_one(sender):
    assert sender.outcomes(sender.alert(pod="a"), sender.alert(pod="b"), sender.alert(pod="c")) == [
        "run", "joined", "joined",
    ]  # fmt: skip
    (run,) = sender.runs()
    assert {row.run_id for row in sender.kept()} == {run.id}
    assert {row.incident_id for row in sender.kept()} == {run.incident_id}


def test_a_group_whose_alerts_need_different_diagnoses_has_them_in_one_incident(sender):
    assert sender.outcomes(sender.alert(note="a"), sender.alert(note="b")) == ["run", "run"]
    first, second = sender.runs()
    assert first.incident_id == second.incident_id
    assert {run.parameters["note"] for run in (first, second)} == {"a", "b"}


def test_while_a_run_goes_or_just_began_the_same_alert_brings_no_second_one(sender):
    alert = sender.alert()
    assert sender.outcomes(alert) == ["run"]
    assert sender.outcomes(alert) == ["run"]  # what was told again is what it was
    (run,) = sender.runs()
    sender.end(run, ago=60)
    assert sender.outcomes(alert) == ["run"]
    assert len(sender.runs()) == 1
    (row,) = sender.kept()
    assert (row.seen, row.run_id) == (3, run.id)
    assert len(sender.entries("alert.received")) == 1


def test_an_alert_that_flaps_is_on_the_timeline_and_brings_no_second_run_within_its_window(sender):
    for minute in range(5):
        sender.outcomes(sender.alert(start=minute))
        sender.outcomes(sender.alert("resolved", start=minute))
    (run,) = sender.runs()
    rows = sender.kept()
    assert [row.outcome for row in rows] == ["run"] + ["joined"] * 4
    assert {row.status for row in rows} == {"resolved"}
    assert {row.incident_id for row in rows} == {run.incident_id}
    with reading(sender.service.engine) as tx:
        story = incidents.incident_story(tx, sender.service, run.incident_id)
    lines = [item.text for item in story.items if item.kind == "alert"]
    assert sum(line.startswith("Alert: LatencyHigh") for line in lines) == 5
    assert sum(line.startswith("Resolved: LatencyHigh") for line in lines) == 5
    assert len(sender.entries("alert.resolved")) == 5


def test_what_still_fires_after_the_window_is_diagnosed_anew_in_the_same_incident(sender):
    alert = sender.alert()
    sender.outcomes(alert)
    (run,) = sender.runs()
    sender.end(run, ago=1_801)
    assert sender.outcomes(alert) == ["run"]
    runs = sender.runs()
    assert len(runs) == 2
    assert len({one.incident_id for one in runs}) == 1


def test_the_same_alert_by_another_way_through_the_sender_is_the_same(sender):
    alert = sender.alert()
    sender.outcomes(alert, group="by service")
    assert sender.outcomes(alert, group="by team") == ["run"]
    assert len(sender.runs()) == 1


def test_each_group_opens_an_incident_of_its_own_in_the_same_channel(sender):
    sender.outcomes(sender.alert(pod="a"), group="a")
    sender.outcomes(sender.alert(pod="b"), group="b")
    assert len({run.incident_id for run in sender.runs()}) == 2


def test_who_closed_the_incident_is_done_with_what_fired_then_and_not_with_what_begins_later(sender, sign_in_as):
    alert = sender.alert(start=-60)
    sender.outcomes(alert)
    (run,) = sender.runs()
    sender.end(run, ago=60)
    person = sign_in_as("responder").person
    incidents.close_incident(sender.service, person, {"surface": "web"}, run.incident_id, "It was a deploy.")
    assert sender.outcomes(alert) == ["run"]
    assert len(sender.runs()) == 1
    assert sender.outcomes(sender.alert(start=60)) == ["run"]
    again = sender.runs()[-1]
    assert again.incident_id != run.incident_id


def test_at_the_same_moment_ten_copies_bring_one_run(sender):
    alert = sender.alert()
    with ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda _: sender.outcomes(alert), range(10)))
    assert told == [["run"]] * 10
    assert len(sender.runs()) == 1


def test_beyond_the_budget_nothing_runs_and_one_line_counts_it(service, tmp_path):
    with transaction(service.engine) as tx:  # what other tests have started is long ago
        tx.execute("UPDATE runs SET requested_at = requested_at - interval '1 day'")
    sender = Sender(service, tmp_path, budget=2)
    fired = [sender.alert(note=str(n)) for n in range(5)]
    assert sender.outcomes(*fired) == ["run", "run", "storm", "storm", "storm"]
    assert len(sender.runs()) == 2
    sender.outcomes(sender.alert(note="one more"), group="another")
    assert sender.outcomes(*fired)[2:] == ["storm"] * 3  # told again: counted once
    (storm,) = sender.rows("SELECT * FROM alert_storms WHERE channel = :channel", channel=sender.channel)
    assert (storm.held, storm.rules) == (4, {f"latency {sender.number}: over the budget": 4})
    threads = sender.rows("SELECT channel FROM chat_threads WHERE about = :about", about=f"storm:{storm.id}")
    assert [row.channel for row in threads] == [sender.channel]
    assert len(sender.entries("alerts.held")) == 1  # one a minute, however many are held


def test_a_storm_is_over_when_nothing_was_held_for_ten_minutes(service, tmp_path):
    sender = Sender(service, tmp_path, budget=0)
    sender.outcomes(sender.alert())
    assert alerting.end_storms(service) == 0
    with transaction(service.engine) as tx:
        tx.execute("UPDATE alert_storms SET last_at = now() - interval '11 minutes'")
    assert alerting.end_storms(service) >= 1
    sender.outcomes(sender.alert())
    first, second = sender.rows("SELECT * FROM alert_storms WHERE channel = :c ORDER BY id", c=sender.channel)
    assert first.ended_at is not None
    assert (second.ended_at, second.held) == (None, 1)


def test_a_maintenance_window_holds_runs_back_and_nothing_is_caught_up(sender):
    moving = sender.alert(moving="yes")
    assert sender.outcomes(moving, sender.alert(moving="yes", pod="b")) == ["maintenance", "maintenance"]
    sender.outcomes(moving)
    assert sender.runs() == []
    assert {row.why for row in sender.kept()} == {f"maintenance: move {sender.number}"}
    (entry,) = sender.entries("alerts.held")
    assert (entry["maintenance"], entry["held"]) == (f"maintenance: move {sender.number}", 2)
    over = replace(sender.service, alerting=replace(sender.service.alerting, maintenance=()))
    sender.client = create_app(over, secret_key=SECRET_KEY, alert_secrets=read_secrets(over.alerting)).test_client()
    assert sender.outcomes(moving) == ["run"]  # it still fires when it is told again


def test_an_alert_of_which_no_rule_speaks_is_taken_and_kept(sender):
    assert sender.outcomes(sender.alert(name="Other")) == ["unmatched"]
    (row,) = sender.kept()
    assert (row.outcome, row.incident_id) == ("unmatched", None)


def test_what_a_rule_cannot_be_filled_from_is_told_and_not_guessed(sender):
    lacking = sender.alert(service="nope")
    broken = sender.alert(name="Broken")
    assert sender.outcomes(lacking, broken) == ["refused", "refused"]
    assert sender.runs() == []
    (storm,) = sender.rows("SELECT rules FROM alert_storms WHERE channel = :c", c=sender.channel)
    assert any("no service" in why and "nope" in why for why in storm.rules)
    assert any(why.startswith(f"broken {sender.number}: ") for why in storm.rules)


def test_the_end_that_comes_before_its_begin_is_no_alert(sender):
    """PagerDuty keeps no order."""
    assert sender.signed("pd", sender.pagerduty("incident.resolved")).status_code == 200
    told = sender.signed("pd", sender.pagerduty())
    assert told.json["alerts"][0]["outcome"] == "resolved"
    assert sender.runs() == []
    reopened = sender.signed("pd", sender.pagerduty("incident.reopened"))
    assert reopened.json["alerts"][0]["outcome"] == "run"

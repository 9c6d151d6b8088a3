"""Sends what the sources of alerts send, to a service with rules and a channel of its own for each test."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from runbooks_app.alerting import read_alerting, read_secrets
from runbooks_app.connections import Connection
from runbooks_app.core.policy import Floor, Risk
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.app import create_app

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
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.channel = f"C0ALERTS{self.number.upper()}"
        for name, secret in SECRETS.items():
            (folder / name).write_text(secret)
        (folder / "alerts.toml").write_text(ALERTS.format(budget=budget, number=self.number, channel=self.channel))
        (folder / "catalogue.toml").write_text(CATALOGUE)
        floor = Floor(risk=Risk.HIGH, approvers=("database",))
        database = Connection("orders-db", "postgres", "Orders", "127.0.0.1", 1, "o", floor=floor)
        opted = replace(database, diagnosers=("responder", "alert"))
        self.service = replace(
            service,
            connections={"orders-db": opted, "billing-db": replace(database, name="billing-db")},
            alerting=read_alerting(folder / "alerts.toml", folder / "catalogue.toml"),
        )
        self.use(self.service.alerting)

    def use(self, alerting):
        """Serve with other rules."""
        self.service = replace(self.service, alerting=alerting)
        self.app = create_app(self.service, secret_key=SECRET_KEY, alert_secrets=read_secrets(alerting))
        self.client = self.app.test_client()

    def alert(self, status="firing", *, start=0, name="LatencyHigh", **labels):
        told = {"alertname": name, "n": self.number, "service": "orders", "note": "", **labels}
        began = self.now + timedelta(seconds=start)
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

    def end(self, run, *, ago=0, state="diagnosed"):
        """The run has ended, and was asked for so many seconds ago."""
        with transaction(self.service.engine) as tx:
            tx.execute(
                "UPDATE runs SET state = :state, ended_at = now(),"
                " requested_at = now() - make_interval(secs => :ago) WHERE id = :id",
                id=run.id,
                ago=ago,
                state=state,
            )

    def entries(self, event):
        return [
            json.loads(row.body)
            for row in self.rows("SELECT body FROM audit_entries WHERE event = :event ORDER BY seq", event=event)
            if self.number in row.body
        ]

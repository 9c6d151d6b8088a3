"""A whole story over Socket Mode in which every secret of chat, alerts and waking is used: afterwards it is nowhere.

Slack, PagerDuty, Opsgenie and a webhook are real servers. Some of them are hostile: they answer with errors that quote
what they were sent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_journeys.ways import by_socket
from kernels.gateway.servers import HOST, System, answer, body_of, http_server
from oncall.paging import GENIE_KEY, REST_TOKEN, ROUTING_KEY, Pages, paging
from process_trees import descendants
from sinks import found_in, sinks_of
from slack_socket import APP_TOKEN, SocketModeServer
from whole_stage import Drill, Person, library_with_drill, until

from runbooks_app.main.demo.shop import connection
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.stage import LIBRARY, USUAL_PORTS, Stage
from runbooks_app.main.demo.story import Story
from runbooks_app.main.embedded.ports import free_port

pytestmark = pytest.mark.chat

BOT_TOKEN, SIGNING = "xoxb-canary-bot-4f1d/9+qL=2", "canary-signing-7be0/3+xN=6"
SOURCES = {
    "prod": "canary-alertmanager-6c2f/1+yB=7",
    "graf": "canary-grafana-0d9a/5+wR=3",
    "pd": "canary-pagerduty-8e4b/2+zT=9",
    "own": "canary-generic-3a7c/8+vK=4",
}
HOOK_PASSWORD, HOOK_PATH = "canary-hook-password-5b1e", "canary-hook-path-9d3f"
SECRETS = [BOT_TOKEN, SIGNING, APP_TOKEN, *SOURCES.values(), HOOK_PASSWORD, HOOK_PATH]
SECRETS += [ROUTING_KEY, REST_TOKEN, GENIE_KEY]

ALERTS = """
[source.prod]
kind = "alertmanager"
token_file = "prod.secret"
[source.graf]
kind = "grafana"
secret_file = "graf.secret"
[source.pd]
kind = "pagerduty"
secret_files = ["pd.secret"]
[source.own]
kind = "json"
secret_file = "own.secret"
[[rule]]
name = "drills"
match = { alertname = "Drill*" }
runbook = "drill"
channel = "C0ORDERS"
parameters = { database = "orders-db", word = "{labels.alertname}" }
"""
ONCALL = """
[group.database]
schedule = "pd"
id = "PSCHEDULE"
page = ["pd", "genie"]
"""


@dataclass
class Everything:
    """The stage, and all that it sends secrets to."""

    stage: Stage
    slack: Any
    socket: SocketModeServer
    pagerduty: Pages
    opsgenie: Pages
    hook: System
    traces: System

    def types(self, user: str, text: str) -> list[str]:
        """Type a command in the channel; what that person alone is told in all."""
        url = self.stage.url
        told = self.slack.extensions["slack_deliveries"].command(url, "C0INCIDENTS", user, text)
        assert told.status == 200, told
        seen = self.slack.extensions["slack_workspace"].seen("C0INCIDENTS", user)
        return [json.dumps(asdict(message)) for message in seen if message.only_for]


def quotes(handler: Any) -> None:
    """Answer with an error that gives back all that was sent; the body has been read by then."""
    answer(handler, json.dumps({"error": "no", "message": str(dict(handler.headers))}).encode(), 400)


def hooked(handler: Any, system: System) -> None:
    """A webhook that keeps what it gets, and answers with an error that quotes it each second time."""
    system.seen.append((dict(handler.headers), handler.path, body_of(handler)))
    if len(system.seen) % 2:
        quotes(handler)
    else:
        answer(handler)


def collect(handler: Any, system: System) -> None:
    """An OpenTelemetry collector that keeps what it is sent."""
    system.seen.append(body_of(handler))
    answer(handler)


@pytest.fixture(scope="module")
def everything(servers_folder: Path, postgres_programs: Path) -> Iterator[Everything]:
    folder = servers_folder / "everything"
    folder.mkdir(mode=0o711)
    ports = {name: free_port() for name in USUAL_PORTS}
    (folder / "ports.json").write_text(json.dumps(ports))
    with ExitStack() as stack:
        hook, traces = stack.enter_context(http_server(hooked)), stack.enter_context(http_server(collect))
        pagerduty, opsgenie = stack.enter_context(paging("pagerduty")), stack.enter_context(paging("opsgenie"))
        pagerduty.on_call["PSCHEDULE"] = ["ben@example.com"]
        address = f"json://canary:{HOOK_PASSWORD}@{HOST}:{hook.port}/{HOOK_PATH}"
        secrets = {"slack_token": BOT_TOKEN, "slack_signing": SIGNING, "app": APP_TOKEN, "urls": address, **SOURCES}
        for name, text in secrets.items():
            (folder / f"{name}.secret").touch(0o600)
            (folder / f"{name}.secret").write_text(text)
        opted = connection(folder / "shop", ports["shop"], diagnosers=("responder", "alert"))
        (folder / "opted.toml").write_text(opted)
        (folder / "sources.toml").write_text(ALERTS)
        pagers = pagerduty.toml(folder, "pd") + opsgenie.toml(folder, "genie")
        (folder / "oncall.toml").write_text(pagers + ONCALL)
        socket = SocketModeServer()
        slack = create_slack(
            SlackConfig(BOT_TOKEN, SIGNING, "http://127.0.0.1:9", state=folder / "slack.json", app_id="A0RUNBOOKS")
        )
        slack.add_url_rule("/api/apps.connections.open", view_func=socket._open, methods=["POST"])
        slack.add_url_rule("/link/", view_func=socket._link, websocket=True)
        socket.url = stack.enter_context(serve(slack))
        slack.extensions["slack_deliveries"].carry = by_socket(socket)
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        patched.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{HOST}:{traces.port}")
        patched.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        settings = {
            "connections": str(folder / "opted.toml"),
            "alerts": str(folder / "sources.toml"),
            "oncall": str(folder / "oncall.toml"),
            "notify_urls_file": str(folder / "urls.secret"),
            "slack_app_token_file": str(folder / "app.secret"),
            "slack_api_url": f"{socket.url}api/",
            "log_level": "DEBUG",
        }
        library = library_with_drill(folder / "library")
        stage = stack.enter_context(
            Stage(folder, lambda _: None, usual_ports=False, library=library, settings=settings)
        )
        yield Everything(stage, slack, socket, pagerduty, opsgenie, hook, traces)
        for made in socket.connections:
            with suppress(OSError):
                made.close()


class Room(Story):
    """The channel of the workspace that the service really speaks to."""

    def __init__(self, everything: Everything) -> None:
        super().__init__(everything.stage, lambda _: None)
        self.workspace = everything.slack.extensions["slack_workspace"]

    def messages(self, user: str = "") -> list[dict[str, Any]]:
        return [asdict(message) for message in self.workspace.messages if message.only_for in {"", user}]


def deliver(everything: Everything, source: str, secret: str, name: str) -> int:
    """Send an alert as this source does, proven with this secret; how it was answered."""
    started = {"status": "firing", "labels": {"alertname": name}, "startsAt": "2026-01-31T03:12:00Z"}
    data = {"id": name, "title": name, "service": {"id": "S1", "summary": "orders"}, "created_at": started["startsAt"]}
    event = {"id": f"E{name}", "event_type": "incident.triggered", "occurred_at": started["startsAt"], "data": data}
    told = {"event": event} if source == "pd" else {"version": "4", "groupKey": name, "alerts": [started]}
    body, at = json.dumps(told).encode(), str(int(time.time()))
    plain = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    timed = hmac.new(secret.encode(), at.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {
        "prod": {"Authorization": f"Bearer {secret}"},
        "graf": {"X-Grafana-Alerting-Signature": plain},
        "pd": {"X-PagerDuty-Signature": f"v1={plain}"},
        "own": {"X-Runbooks-Signature": f"v1={timed}", "X-Runbooks-Timestamp": at},
    }[source]
    url = f"{everything.stage.url}/alerts/{source}"
    return httpx.post(url, content=body, headers=headers, trust_env=False, timeout=20).status_code


def around(stage: Stage) -> str:
    """Environment and arguments of every process of the service."""
    found = b""
    for process in stage.processes.values():
        for pid in [process.guard.pid, *descendants(process.guard.pid)]:
            for what in ("environ", "cmdline"):
                with suppress(OSError):
                    found += Path(f"/proc/{pid}/{what}").read_bytes()
    return found.decode(errors="replace")


def test_no_secret_of_chat_alerts_or_waking_is_anywhere_after_a_story_in_which_all_were_used(everything: Everything):
    stage = everything.stage
    drill = Drill(stage)  # its table
    ana, ben = (Person(stage, sub) for sub in ("ana", "ben"))
    for user, person in (("U0ANA", ana), ("U0BEN", ben)):
        assert person.sign_in().status_code == 200
        link = re.search(r"/link/[\w-]+", everything.types(user, "/runbook status")[-1])
        assert link is not None
        assert person.post(link.group(), person.page(link.group())).status_code == 200
    everything.pagerduty.spell.append(quotes)  # the schedule is away at first, and says too much
    everything.opsgenie.spell.extend([quotes] * 3)

    everything.types("U0ANA", "/runbook drill database=orders-db word=canary")
    (asked,) = until("the run", lambda: ana.api("/runs")["runs"])
    run = ana.run(asked["id"])
    (proposal,) = run["proposals"]
    until("somebody to be paged", lambda: everything.pagerduty.open)
    until("Opsgenie to refuse", lambda: everything.opsgenie.seen)
    for source, secret in SOURCES.items():
        assert deliver(everything, source, secret, f"Drill-{source}") == 200
        assert deliver(everything, source, secret[::-1], f"Forged-{source}") == 403
    until("the alerts' runs", lambda: len(ana.api("/runs")["runs"]) == 1 + len(SOURCES))
    assert ben.decision(proposal).status_code == 200
    assert ben.proposal(proposal["id"], "applied", "failed", "stale", "unknown")["state"] == "applied"
    ben.verified(proposal["id"])
    until("the page to be over", lambda: "resolve" in everything.pagerduty.asked)
    until("the webhook", lambda: len(everything.hook.seen) >= 2)

    sinks = sinks_of(stage, Room(everything), ana, ana.run(run["id"]), sign="the first cell is done")
    doctor = subprocess.run(
        [sys.executable, "-m", "runbooks_app.main", "doctor"],
        check=False, capture_output=True, text=True, cwd=LIBRARY.parent, env=stage.environment(), timeout=120,
    )  # fmt: skip
    sinks["doctor"] = doctor.stdout + doctor.stderr
    sinks["environment and arguments"] = around(stage)
    sinks["traces"] = b"".join(everything.traces.seen).decode(errors="replace")
    ana.client.close()
    ben.client.close()
    drill.shop.close()

    # They were used, and where something went wrong it was told.
    assert everything.hook.seen[0][1].endswith(HOOK_PATH)
    assert len(everything.socket.connections) >= 1
    assert "process" in sinks["traces"]
    assert all(what in sinks["doctor"] for what in ("slack", "alerts", "oncall"))
    assert found_in(sinks, SECRETS) == set()

"""Debian's own Prometheus watches a database by PostgreSQL's exporter, and its Alertmanager tells the service.

All three are the packages' programs, unpacked by `make prometheus`; each listens on a loopback port of its own.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from components import lacking
from psycopg import sql

from runbooks_app.main.demo.shop import Shop
from runbooks_app.main.embedded import Guarded
from runbooks_app.main.embedded.account import private, secret_in
from runbooks_app.main.embedded.ports import free_port

PROGRAMS = Path(__file__).parents[2] / "build" / "prometheus" / "usr" / "bin"
TEMPLATES = "/usr/share/prometheus/alertmanager"
"""Where Debian's Alertmanager looks for its own templates, and nowhere else."""
EXPORTER = "exporter"
"""The role under which the exporter looks."""

QUERIES = """
pg_blocked:
  query: SELECT count(*) AS sessions FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0
  metrics:
    - sessions:
        usage: GAUGE
        description: Sessions that wait for another one
"""
RULES = """
groups:
  - name: database
    rules:
      - alert: DatabaseSessionsBlocked
        expr: pg_blocked_sessions >= 3
        for: 1s
        labels: {severity: critical, service: orders}
        annotations:
          summary: '{{ $value }} sessions of the orders database wait for another one'
"""
SCRAPES = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: postgres
    static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]
"""
ROUTES = """
route:
  receiver: runbooks
  group_by: [alertname, service]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: {repeat}
receivers:
  - name: runbooks
    webhook_configs:
      - url: {url}
        send_resolved: true
        http_config:
          authorization: {{credentials_file: {token}}}
"""


@dataclass(frozen=True)
class Monitoring:
    """Where they answer."""

    exporter: str
    prometheus: str
    alertmanager: str
    http: httpx.Client

    def blocked(self) -> float:
        """What the metric says just now."""
        asked = self.http.get(f"{self.prometheus}/api/v1/query", params={"query": "pg_blocked_sessions"})
        found = asked.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else -1.0

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that the Alertmanager holds."""
        found: list[dict[str, Any]] = self.http.get(f"{self.alertmanager}/api/v2/alerts").json()
        return found


@contextmanager
def watched(shop: Shop, url: str, token: Path, folder: Path, *, repeat: str = "1h") -> Iterator[Monitoring]:
    """They watch the shop, and send alerts to this address with the token in that file."""
    if not (PROGRAMS / "prometheus-alertmanager").exists():
        lacking("Debian's Prometheus and Alertmanager are not there; `make prometheus` fetches them.")
    private(folder, passable=False)
    password = secret_in(folder / "exporter.password")
    with psycopg.connect(shop.server.url(database="orders"), autocommit=True) as owner:
        made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE pg_monitor")
        owner.execute(made.format(sql.Identifier(EXPORTER), sql.Literal(password)))
    ports = {name: free_port() for name in ("exporter", "prometheus", "alertmanager")}
    files = {
        "queries.yml": QUERIES,
        "rules.yml": RULES,
        "prometheus.yml": SCRAPES.format(**ports),
        "alertmanager.yml": ROUTES.format(url=url, token=token, repeat=repeat),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    told = {
        # Its own metrics speak of columns that newer PostgreSQL no longer has.
        "exporter": [
            str(PROGRAMS / "prometheus-postgres-exporter"),
            f"--web.listen-address={at['exporter']}",
            "--disable-default-metrics",
            "--disable-settings-metrics",
            "--no-collector.database",
            "--no-collector.bgwriter",
            f"--extend.query-path={folder / 'queries.yml'}",
        ],
        "alertmanager": [
            *_at_home(),
            f"--web.listen-address={at['alertmanager']}",
            "--cluster.listen-address=",
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
        ],
        "prometheus": [
            str(PROGRAMS / "prometheus"),
            f"--web.listen-address={at['prometheus']}",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
        ],
    }
    environment = {
        "PATH": os.environ["PATH"],
        "DATA_SOURCE_URI": f"127.0.0.1:{shop.server.port}/orders?sslmode=disable",
        "DATA_SOURCE_USER": EXPORTER,
        "DATA_SOURCE_PASS_FILE": str(folder / "exporter.password"),
    }
    with ExitStack() as stack:
        for name, command in told.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = Guarded.start(name, command, env=environment, cwd=folder, log=log)
            stack.callback(process.stop)
        http = stack.enter_context(httpx.Client(timeout=5, trust_env=False))
        _wait(http, f"http://{at['exporter']}/metrics", folder / "exporter.log")
        for name in ("alertmanager", "prometheus"):
            _wait(http, f"http://{at[name]}/-/ready", folder / f"{name}.log")
        yield Monitoring(*(f"http://{at[name]}" for name in ("exporter", "prometheus", "alertmanager")), http)


def _at_home() -> list[str]:
    """The Alertmanager, for which alone the unpacked files stand where they would be if it were installed."""
    program = str(PROGRAMS / "prometheus-alertmanager")
    if Path(TEMPLATES).exists():
        return [program]
    share = PROGRAMS.parent / "share"
    apart = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        lacking(
            f"This machine gives no mount namespace, and {TEMPLATES} is not there: install prometheus-alertmanager."
        )
    return [*apart, "sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"', str(share), program]


def _wait(http: httpx.Client, url: str, log: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if http.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, f"{url} did not answer; {log.name} ends: {log.read_text()[-1500:]}"
        time.sleep(0.05)

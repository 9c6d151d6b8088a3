"""What an Alertmanager would send when the shop is in trouble, for the demo, which has none.

The service takes it as it takes any: by its source's token, by a rule, with the catalogue's entry of the shop.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runbooks_app.core.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from runbooks_app.main.demo.stage import Stage

SOURCE = "demo"
CHANNEL = "orders"
PROOF = "alerts"
"""Name of the secret by which it proves itself."""

ALERTS = f"""
[source.{SOURCE}]
kind = "alertmanager"
token_file = "{PROOF}.secret"

[[rule]]
name = "a database makes sessions wait"
match = {{ alertname = "Database*" }}
runbook = "db-latency"
channel = "C0ORDERS"
window = "1m"
parameters = {{ database = "{{service.postgres}}", blocked_after = 0.3 }}
"""
CATALOGUE = """
[orders]
postgres = "orders-db"
owners = ["database"]
"""


def prepare(folder: Path) -> Mapping[str, str]:
    """Write the files that tell the service of alerts; the settings that name them."""
    files = {"alerts": ALERTS, "catalogue": CATALOGUE}
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text.lstrip())
    return {name: str(folder / f"{name}.toml") for name in files}


def ring(stage: Stage) -> None:
    """Tell the service that sessions of the orders database wait for another one."""
    labels = {"alertname": "DatabaseSessionsBlocked", "service": "orders", "severity": "critical"}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "Sessions of the orders database wait for another one"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
    }
    answer = stage.http.post(
        f"{stage.url}/alerts/{SOURCE}",
        json={"version": "4", "groupKey": "{}:{service='orders'}", "alerts": [alert]},
        headers={"Authorization": f"Bearer {stage.secret(PROOF)}"},
    )
    if answer.status_code != 200:
        raise Unavailable(f"The service took no alert: it answered {answer.status_code}. Look into {stage.folder}.")

"""What is told of alerts: of those behind a run, and of those for which nothing ran."""

from __future__ import annotations

from runbooks_app.actions.context import Service
from runbooks_app.chat.alerts import AlertsTold, StormTold, storm_message
from runbooks_app.chat.mrkdwn import count
from runbooks_app.chat.views import Told
from runbooks_app.core import durations
from runbooks_app.core.addresses import http_address
from runbooks_app.core.alerts import SERVICE
from runbooks_app.core.people import ALERT
from runbooks_app.store import alerts
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Run


def alerts_told(tx: Transaction, service: Service, run: Run) -> AlertsTold | None:
    """The alerts that brought a run or joined it, with what the catalogue says of the service, if any did."""
    behind = alerts.of_run(tx, run.incident_id, run.id) if run.requested_by["kind"] == ALERT else None
    if behind is None:
        return None
    entry = service.alerting.catalogue.get(behind.labels.get(SERVICE, ""), {})
    links = {f"dashboard {title}": str(url) for title, url in entry.get("dashboards", {}).items()}
    if http_address(str(entry.get("deploys", ""))):
        links["deploys"] = str(entry["deploys"])
    return AlertsTold(
        count=behind.count,
        firing=behind.firing,
        since=behind.since,
        resolved_at=None if behind.firing else behind.resolved_at,
        owners=tuple(map(str, entry.get("owners", ()))),
        links=links,
    )


def told_of_storm(tx: Transaction, service: Service, storm_id: str) -> tuple[Told, ...]:
    """The line of a channel that counts alerts for which nothing ran."""
    storm, budget = alerts.storm(tx, int(storm_id)), service.alerting.budget
    said = f"At most {count(budget.runs, 'run')} of a source's alerts start within {durations.tell(budget.per)}."
    told = StormTold(storm.held, storm.rules, said, storm.began_at, storm.ended_at)
    return (Told(f"storm:{storm_id}", storm_message(told)),)

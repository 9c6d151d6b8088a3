"""Alerts in: who may send them, what they are read as, and which runbook each leads to.

    reading     from the alerts file and the catalogue to values, every problem named with its mend
    signatures  whether a delivery comes from the source that it names
    formats     what Alertmanager, Grafana, PagerDuty and anybody's JSON send, as alerts

The alerts file, named by the setting RUNBOOKS_ALERTS:

    [source.prod]                               # takes what is sent to /alerts/prod
    kind = "alertmanager"
    token_file = "alertmanager.token"           # relative to this file

    [[rule]]                                    # the first that matches decides
    name = "database latency"
    match = { alertname = "DatabaseLatency*", severity = "critical" }
    runbook = "db-latency"
    channel = "C0123ABCD"
    window = "30m"
    [rule.parameters]
    database = "{service.postgres}"             # from the catalogue, by the alert's label service

    [budget]
    runs = 10
    per = "10m"

    [[maintenance]]
    name = "backup"
    match = { service = "orders" }
    weekly = "Sun 02:00-04:00"
    zone = "Europe/Berlin"

The catalogue, named by RUNBOOKS_CATALOGUE:

    [orders]
    postgres = "orders-db"
    owners = ["team-orders"]
    deploys = "https://ci.example.com/orders"
    [orders.dashboards]
    latency = "https://grafana.example.com/d/orders"

No secret stands in either file. Only web processes read those that the alerts file names.
"""

from runbooks_app.alerting.reading import EMPTY, Alerting, Source, read_alerting, read_secrets

__all__ = ["EMPTY", "Alerting", "Source", "read_alerting", "read_secrets"]

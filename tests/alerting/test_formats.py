"""What each source sends becomes alerts, and nothing that it sends can do more than that."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.alerting.formats import LONGEST, MOST_ALERTS, MOST_LABELS, read
from runbooks_app.alerting.reading import KINDS
from runbooks_app.core.errors import InvalidInput

pytestmark = pytest.mark.chat

ALERTMANAGER = {  # as Alertmanager 0.25 sends it
    "receiver": "runbooks",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "DatabaseLatencyHigh", "service": "orders"},
            "annotations": {"summary": "p99 is 2.1 s"},
            "startsAt": "2026-11-23T03:12:00.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph?g0.expr=1",
            "fingerprint": "c0ffee0123456789",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "DatabaseLatencyHigh", "service": "billing"},
            "annotations": {},
            "startsAt": "2026-11-23T04:12:00+01:00",
            "endsAt": "2026-11-23T03:20:00Z",
            "generatorURL": "javascript:alert(1)",
            "fingerprint": "feed",
        },
    ],
    "groupLabels": {"alertname": "DatabaseLatencyHigh"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{alertname="DatabaseLatencyHigh"}',
    "truncatedAlerts": 3,
}


def of(kind, told):
    return read(kind, "prod", json.dumps(told).encode())


@pytest.mark.parametrize("kind", ["alertmanager", "grafana"])
def test_alertmanagers_and_grafanas_webhook(kind):
    more = {"orgId": 1, "title": "[FIRING:1]", "state": "alerting", "message": "…"} if kind == "grafana" else {}
    found = of(kind, {**ALERTMANAGER, **more})
    first, second = found.alerts
    assert (first.source, first.fingerprint, first.status) == ("prod", "c0ffee0123456789", "firing")
    assert first.starts_at == datetime(2026, 11, 23, 3, 12, 0, 123456, UTC)
    assert first.ends_at is None
    assert first.group_key == '{}:{alertname="DatabaseLatencyHigh"}'
    assert first.summary == "DatabaseLatencyHigh: p99 is 2.1 s"
    assert first.link.startswith("http://prometheus:9090/")
    assert (second.status, second.starts_at.hour, second.link) == ("resolved", 3, "")
    assert second.ends_at == datetime(2026, 11, 23, 3, 20, tzinfo=UTC)
    assert found.cut == 3


def pagerduty(event="incident.triggered", **data):
    told = {
        "id": "PGR0VU2", "type": "incident", "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2", "number": 2,
        "status": "triggered", "incident_key": "d3640fbd41094207a1c11e58e46b1662", "created_at": "2026-11-23T03:12:00Z",
        "title": "A little bump in the road", "urgency": "high",
        "service": {"id": "PF9KMXH", "summary": "orders", "type": "service_reference"},
        "assignees": [{"id": "PTUXL6G"}], "priority": None, "resolve_reason": None, **data,
    }  # fmt: skip
    return {
        "event": {
            "id": "01BY5GZIS6G3VEDXTNVTRJJJJ8", "event_type": event, "resource_type": "incident",
            "occurred_at": "2026-11-23T03:13:00.461Z", "agent": {"id": "PLH1HKV"}, "client": None, "data": told,
        }
    }  # fmt: skip


def test_pagerdutys_events():
    (alert,) = of("pagerduty", pagerduty()).alerts
    assert alert.labels == {"alertname": "A little bump in the road", "service": "orders", "urgency": "high"}
    assert (alert.fingerprint, alert.event_id) == ("PGR0VU2", "01BY5GZIS6G3VEDXTNVTRJJJJ8")
    assert alert.group_key == "d3640fbd41094207a1c11e58e46b1662"
    assert (alert.starts_at.minute, alert.link[:26]) == (12, "https://acme.pagerduty.com")
    (over,) = of("pagerduty", pagerduty("incident.resolved")).alerts
    assert (over.status, over.starts_at, over.ends_at.minute) == ("resolved", alert.starts_at, 13)
    (again,) = of("pagerduty", pagerduty("incident.reopened")).alerts
    assert (again.status, again.starts_at.minute) == ("firing", 13)
    (plain,) = of("pagerduty", pagerduty(incident_key=None)).alerts
    assert plain.group_key == "PF9KMXH:A little bump in the road"


@pytest.mark.parametrize("event", ["incident.acknowledged", "incident.annotated", "pagey.ping", "service.updated"])
def test_events_that_say_nothing_of_a_begin_or_an_end_are_no_alerts(event):
    assert of("pagerduty", pagerduty(event)).alerts == ()


def test_anybodys_json_needs_labels_and_a_begin_alone():
    alert = {"labels": {"alertname": "Disk", "used": 92, "full": True}, "starts_at": "2026-11-23T03:12:00"}
    (found,) = of("json", {"alerts": [alert], "group": "disks"}).alerts
    assert found.labels == {"alertname": "Disk", "used": "92", "full": "true"}
    assert (found.status, found.group_key, found.starts_at.tzinfo) == ("firing", "disks", UTC)
    (alone,) = of("json", {"alerts": [alert]}).alerts
    assert alone.fingerprint == found.fingerprint == alone.group_key
    (other,) = of("json", {"alerts": [{**alert, "labels": {"alertname": "Else"}}]}).alerts
    assert other.fingerprint != found.fingerprint


def test_what_is_too_much_is_cut_and_counted():
    alert = {"labels": {f"l{n}": "x" * 5_000 for n in range(100)}, "startsAt": "2026-11-23T03:12:00Z"}
    found = of("alertmanager", {"alerts": [alert] * 501, "groupKey": "g" * 5_000})
    assert (len(found.alerts), found.cut) == (MOST_ALERTS, 1)
    assert len(found.alerts[0].labels) == MOST_LABELS
    assert {len(said) for said in found.alerts[0].labels.values()} == {LONGEST}
    assert len(found.alerts[0].group_key) == 64  # its digest: what is cut could not be told apart


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        {"alerts": {}},
        {"alerts": [None]},
        {"alerts": [{"labels": {"a": {"b": 1}}, "startsAt": "2026-11-23T03:12:00Z"}]},
        {"alerts": [{"labels": "x", "startsAt": "2026-11-23T03:12:00Z"}]},
        {"alerts": [{"labels": {}}]},
        {"alerts": [{"labels": {}, "startsAt": 5}]},
        {"alerts": [{"labels": {}, "startsAt": "9999-12-31T23:59:59-23:59"}]},
        {"alerts": [{"labels": {}, "startsAt": "2026-11-23T03:12:00Z", "status": "odd"}]},
        {"alerts": [], "truncatedAlerts": -1},
        {"event": 5},
        {"event": {"id": "", "event_type": "x", "occurred_at": "2026-11-23T03:12:00Z"}},
        {"event": {"id": "1", "event_type": "incident.triggered", "occurred_at": "2026-11-23T03:12:00Z", "data": None}},
        {"event": {"id": "1", "event_type": "incident.triggered", "occurred_at": "2026-11-23T03:12:00Z", "data": {}}},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_delivery_is_refused(kind, told):
    with pytest.raises(InvalidInput, match=f"no delivery of {kind}"):
        of(kind, told)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
ALERT = st.fixed_dictionaries({}, optional={"labels": JSON, "startsAt": JSON, "status": JSON, "fingerprint": JSON})


@given(st.sampled_from(sorted(KINDS)), JSON | st.fixed_dictionaries({"alerts": st.lists(ALERT, max_size=3) | JSON}))
def test_whatever_comes_is_read_or_refused_and_never_a_mistake_of_ours(kind, told):
    try:
        found = read(kind, "prod", json.dumps(told).encode())
    except InvalidInput:
        return
    for alert in found.alerts:
        for text in (alert.fingerprint, alert.group_key, alert.link, *alert.labels, *alert.labels.values()):
            assert len(text) <= LONGEST
            assert "\x00" not in text
            text.encode()

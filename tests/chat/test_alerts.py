"""The one line that tells of alerts for which nothing ran."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from runbooks_app.chat.alerts import AlertsTold, StormTold, alerts_line, storm_message

pytestmark = pytest.mark.chat

BEGAN = datetime(2026, 11, 23, 3, 12, tzinfo=UTC)
KINDS = {"latency: over the budget": 40, "disk: limit: the alert has no label <!channel>.": 2}


def text_of(message):
    return json.dumps(message.blocks, ensure_ascii=False)


def line(**told):
    return alerts_line(AlertsTold(**{"count": 3, "firing": 3, "since": BEGAN, **told}))["elements"][0]["text"]


def test_a_run_says_whether_its_alerts_still_fire_and_where_people_look_next():
    links = {"dashboard latency": "https://grafana.example.com/d/orders", "deploys": "https://ci.example.com"}
    told = line(links=links, owners=("team-orders", "<!channel>"))
    assert told.startswith("🔔 3 alerts, firing since")
    assert "<https://grafana.example.com/d/orders|dashboard latency>" in told
    assert "owned by team-orders" in told
    assert "<!channel>" not in told
    assert "1 still firing" in line(firing=1)
    assert line(firing=0, resolved_at=BEGAN).startswith("✅ 3 alerts, resolved <!date^")


def test_it_counts_them_by_rule_and_reason_most_first():
    told = storm_message(StormTold(42, KINDS, "At most 10 runs of alerts start within 10m.", BEGAN))
    assert told.text == "⏸️ 42 alerts without a diagnosis"
    text = text_of(told)
    assert "• latency: over the budget (40)" in text
    assert text.index("latency") < text.index("disk")
    assert "At most 10 runs" in text


def test_the_small_print_speaks_of_the_budget_only_where_that_holds_something():
    lacking = {"disk: what: the alert has no label service.": 2}
    told = text_of(storm_message(StormTold(2, lacking, "At most 10 runs", BEGAN)))
    assert "At most 10 runs" not in told
    assert "`runbooks doctor` says what" in told
    spent = text_of(storm_message(StormTold(2, {"latency: over the budget": 2}, "At most 10 runs", BEGAN)))
    assert "At most 10 runs" in spent
    assert "doctor" not in spent


def test_times_of_alerts_have_their_day_for_they_are_read_days_later():
    assert "since <!date^1795403520^{date_short_pretty} at {time}|23 Nov, 03:12 UTC>" in line()


def test_what_an_alert_says_calls_nobody():
    assert "<!channel>" not in text_of(storm_message(StormTold(42, KINDS, "", BEGAN)))


def test_however_many_kinds_there_are_it_stays_one_message():
    kinds = {f"rule {n}: {'x' * 5_000}": n for n in range(1, 101)}
    told = storm_message(StormTold(5_050, kinds, "", BEGAN))
    assert len(told.blocks) < 10
    assert "• others (4095)" in text_of(told)


def test_when_it_is_over_it_says_so():
    told = storm_message(StormTold(1, {"a: b": 1}, "At most", BEGAN, BEGAN + timedelta(minutes=30)))
    assert told.text == "⏸️ 1 alert without a diagnosis, over"
    assert "It was over " in text_of(told)
    assert "At most" not in text_of(told)

"""What an alert leads to: rules, patterns, parameters, maintenance and budgets, from values alone."""

from __future__ import annotations

import fnmatch
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.alerts import (
    FIRING,
    WEEK,
    Budget,
    Held,
    Incoming,
    Lacking,
    Maintenance,
    Rule,
    Run,
    Unmatched,
    fill,
    fits,
    judge,
    matches,
    repeats,
    spent,
)

pytestmark = pytest.mark.chat

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)  # a Sunday
LATENCY = Rule(
    "latency", {"alertname": "DatabaseLatency*"}, "db-latency", parameters={"database": "{service.postgres}"}
)
REST = Rule("rest", {"alertname": "*"}, "look", parameters={"what": "{labels.alertname} at {labels.host}", "n": 5})
CATALOGUE = {"orders": {"postgres": "orders-db", "owners": ["ana", "ben"]}}


def alert(**labels):
    return Incoming("prod", "f1", FIRING, labels, {}, NOW, None, "g1")


def judged(incoming, *, maintenance=(), rules=(LATENCY, REST), now=NOW):
    return judge(rules, CATALOGUE, maintenance, incoming, now=now)


def test_the_first_rule_that_matches_decides_and_the_catalogue_fills_its_parameters():
    found = judged(alert(alertname="DatabaseLatencyHigh", service="orders"))
    assert found == Run(LATENCY, {"database": "orders-db"})


def test_a_later_rule_takes_what_the_first_leaves_and_values_that_are_no_text_stay_as_they_are():
    found = judged(alert(alertname="DiskFull", host="web-1"))
    assert found == Run(REST, {"what": "DiskFull at web-1", "n": 5})


def test_a_rule_for_one_source_takes_nothing_of_the_others():
    own = replace(LATENCY, name="own", source="own")
    latency = alert(alertname="DatabaseLatencyHigh", service="orders")
    assert judged(latency, rules=(own,)) == Unmatched()
    assert judged(replace(latency, source="own"), rules=(own, LATENCY)) == Run(own, {"database": "orders-db"})


def test_an_alert_of_which_no_rule_speaks_is_unmatched():
    assert judged(alert(host="web-1")) == Unmatched()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"alertname": "DatabaseLatencyHigh"}, "database: the alert has no label service."),
        ({"alertname": "DatabaseLatencyHigh", "service": "nope"}, 'database: the catalogue has no service "nope".'),
        ({"alertname": "DiskFull"}, "what: the alert has no label host."),
    ],
)
def test_what_an_alert_does_not_tell_is_not_guessed(labels, why):
    found = judged(alert(**labels))
    assert isinstance(found, Lacking)
    assert found.why == why


def test_a_catalogue_that_says_too_little_is_named():
    assert fill("{service.redis}", {"service": "orders"}, CATALOGUE) == ("", "the catalogue says no redis of orders.")


def test_a_text_that_is_one_place_becomes_what_stands_there_also_a_list():
    assert fill("{service.owners}", {"service": "orders"}, CATALOGUE) == (["ana", "ben"], "")


@given(st.text(max_size=30))
def test_what_a_label_says_is_a_value_and_never_read_for_places_again(text):
    for value in (text, "{labels.secret}" + text, "{service.postgres}", "{labels.said}"):
        labels = {"said": value, "secret": "s", "service": "orders"}
        assert fill("{labels.said}", labels, CATALOGUE) == (value, "")
        assert fill("-{labels.said}-", labels, CATALOGUE) == (f"-{value}-", "")


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_means_what_a_shells_glob_means(pattern, text):
    assert fits(pattern, text) == fnmatch.fnmatchcase(text, pattern)


def test_other_signs_of_globs_and_regular_expressions_stand_for_themselves():
    assert fits("a?[b].+", "a?[b].+")
    assert not fits("a?", "ab")
    assert not fits(".*", "anything")


def test_a_pattern_that_would_explode_takes_no_longer_than_its_text():
    began = time.process_time()
    assert not fits("*a" * 500 + "*b", "a" * 1_000)
    assert not fits("*" * 500 + "b", "a" * 1_000)
    assert time.process_time() - began < 0.5


def test_a_label_that_is_not_there_matches_nothing_not_even_a_star():
    assert not matches({"team": "*"}, {"service": "orders"})
    assert matches({"team": "*"}, {"team": ""})


def test_a_window_holds_what_it_speaks_of_from_its_begin_until_its_end():
    window = Maintenance("move", {"service": "orders"}, NOW, NOW + timedelta(hours=1))
    orders = alert(alertname="DatabaseLatencyHigh", service="orders")
    assert judged(orders, maintenance=[window]) == Held(LATENCY, window)
    assert isinstance(judged(orders, maintenance=[window], now=NOW + timedelta(hours=1)), Run)
    assert isinstance(judged(orders, maintenance=[window], now=NOW - timedelta(seconds=1)), Run)
    assert isinstance(judged(alert(alertname="x", host="h"), maintenance=[window]), Run)


def test_a_window_without_a_begin_or_an_end_is_open_there():
    assert Maintenance("until", {}, end=NOW).holds(NOW - timedelta(days=900))
    assert Maintenance("from", {}, begin=NOW).holds(NOW + timedelta(days=900))


def test_a_weekly_window_goes_by_the_clocks_of_its_zone():
    berlin = ZoneInfo("Europe/Berlin")
    sunday = Maintenance("sun", {}, weekly=(6 * 1440 + 120, 120), zone=berlin)  # Sun 02:00-04:00
    assert not sunday.holds(NOW + timedelta(minutes=30))  # 03:00 UTC is 04:00 there
    assert sunday.holds(datetime(2026, 11, 22, 1, 0, tzinfo=UTC))
    assert not sunday.holds(datetime(2026, 11, 22, 0, 59, tzinfo=UTC))
    assert sunday.holds(datetime(2026, 7, 5, 0, 0, tzinfo=UTC))  # in summer it is two hours ahead


def test_a_weekly_window_may_go_over_the_end_of_the_week():
    night = Maintenance("night", {}, weekly=(6 * 1440 + 23 * 60, 180), zone=UTC)  # Sun 23:00 to Mon 02:00
    assert night.holds(datetime(2026, 11, 22, 23, 0, tzinfo=UTC))
    assert night.holds(datetime(2026, 11, 23, 1, 59, tzinfo=UTC))
    assert not night.holds(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))


@given(st.integers(0, WEEK - 1), st.integers(1, WEEK), st.integers(0, WEEK - 1))
def test_a_weekly_window_is_on_for_exactly_its_length(begin, length, offset):
    window = Maintenance("w", {}, weekly=(begin, length), zone=UTC)
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    assert window.holds(monday + timedelta(minutes=begin + offset)) == (offset < length)


def test_what_goes_or_began_within_the_window_is_answer_enough():
    assert repeats(NOW - timedelta(hours=9), 60, going=True, now=NOW)
    assert repeats(NOW - timedelta(seconds=59), 60, going=False, now=NOW)
    assert not repeats(NOW - timedelta(seconds=60), 60, going=False, now=NOW)
    assert not repeats(None, 60, going=False, now=NOW)


@pytest.mark.parametrize(
    ("own", "of_all", "of_rule", "held"),
    [(None, 9, 9, False), (None, 10, 0, True), (2, 3, 1, False), (2, 3, 2, True), (0, 0, 0, True)],
)
def test_beyond_the_whole_budget_or_the_rules_own_nothing_starts(own, of_all, of_rule, held):
    assert spent(Budget(10, 600), replace(REST, budget=own), of_all=of_all, of_rule=of_rule) is held


def test_an_alert_has_a_name_and_a_line_for_people():
    assert alert(host="web-1").name == "Alert"
    said = replace(alert(alertname="DiskFull"), annotations={"summary": "92 % of /\n is used"})
    assert said.summary == "DiskFull: 92 % of / is used"
    assert replace(said, labels={}, annotations={"summary": "Disk"}).summary == "Disk"
    assert alert(alertname="DiskFull", service="orders").summary == "DiskFull: orders"
    assert alert(alertname="DiskFull").summary == "DiskFull"

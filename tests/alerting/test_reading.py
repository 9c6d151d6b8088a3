"""Reading the alerts file and the catalogue: what is good is read whole, what is wrong is named, all of it at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from runbooks_app import alerting as room
from runbooks_app.alerting import EMPTY, read_alerting, read_secrets
from runbooks_app.core.alerts import Budget, Rule
from runbooks_app.core.errors import Misconfigured

pytestmark = pytest.mark.chat

GOOD = """
[source.prod]
kind = "alertmanager"
token_file = "am.token"
[[rule]]
name = "all"
match = { alertname = "*" }
runbook = "look"
"""
RULE = "[[rule]]\nname = 'x'\nmatch = { a = 'b' }\nrunbook = 'r'\n"
WINDOW = "[[maintenance]]\nname = 'm'\nmatch = { a = 'b' }\n"
UNTIL = "until = 2026-01-01T00:00:00Z\n"
CATALOGUE = """
[orders]
postgres = "orders-db"
owners = ["team-orders"]
deploys = "https://ci.example.com/orders"
[orders.dashboards]
latency = "https://grafana.example.com/d/orders"
"""


def read(folder, alerts=GOOD, catalogue=CATALOGUE):
    (folder / "alerts.toml").write_text(alerts)
    (folder / "catalogue.toml").write_text(catalogue)
    return read_alerting(folder / "alerts.toml", folder / "catalogue.toml")


def problems(folder, alerts=GOOD, catalogue=CATALOGUE):
    with pytest.raises(Misconfigured) as refused:
        read(folder, alerts, catalogue)
    return {problem.where: str(problem) for problem in refused.value.problems}


def test_the_example_in_the_rooms_first_words_can_be_read(tmp_path):
    """It is what people copy."""
    parts = re.findall(r"\n\n((?:    .*\n|\n)+)", room.__doc__)
    alerts, catalogue = (next(part for part in parts if begin in part) for begin in ("[source.prod]", "[orders]"))
    strip = lambda text: "\n".join(line[4:] for line in text.splitlines())  # noqa: E731
    found = read(tmp_path, strip(alerts), strip(catalogue))
    assert found.sources["prod"].files == (tmp_path / "alertmanager.token",)
    assert found.sources["prod"].bearer
    (rule,) = found.rules
    assert rule == Rule(
        "database latency",
        {"alertname": "DatabaseLatency*", "severity": "critical"},
        "db-latency",
        "C0123ABCD",
        1800,
        None,
        {"database": "{service.postgres}"},
    )
    assert found.budget == Budget(10, 600)
    (window,) = found.maintenance
    assert (window.weekly, window.zone) == ((6 * 1440 + 120, 120), ZoneInfo("Europe/Berlin"))
    assert found.catalogue["orders"]["owners"] == ["team-orders"]


def test_without_the_files_no_alerts_are_taken(tmp_path):
    assert read_alerting(None, None) is EMPTY
    assert EMPTY.sources == {}
    with pytest.raises(Misconfigured, match="RUNBOOKS_ALERTS"):
        read_alerting(tmp_path / "none.toml", None)
    (tmp_path / "catalogue.toml").write_text("[")
    with pytest.raises(Misconfigured, match="is no TOML"):
        read_alerting(None, tmp_path / "catalogue.toml")


def test_a_rule_may_be_for_one_source_alone(tmp_path):
    (rule,) = read(tmp_path, GOOD + 'source = "prod"').rules
    assert rule.source == "prod"


def test_dates_in_parameters_become_text_and_windows_take_times_with_a_zone(tmp_path):
    found = read(
        tmp_path,
        GOOD
        + 'parameters = { since = 2026-01-31, n = 5, exact = true, kinds = ["a", "b"] }\n'
        + '[[maintenance]]\nname = "m"\nmatch = { a = "b" }\n'
        + "from = 2026-01-31T02:00:00+01:00\nuntil = 2026-01-31T03:00:00Z\n",
    )
    assert found.rules[0].parameters == {"since": "2026-01-31", "n": 5, "exact": True, "kinds": ["a", "b"]}
    assert found.maintenance[0].begin == datetime(2026, 1, 31, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "where", "says"),
    [
        ("", "source", "nobody may send alerts"),
        ('[source.prod]\nkind = "slack"', "source.prod.kind", "Write one of: alertmanager, grafana, pagerduty, json."),
        ('[source.prod]\nkind = "json"', "source.prod.secret_file", "anybody could send alerts"),
        ('[source.Prod]\nkind = "json"\nsecret_file = "s"', "source.Prod", "is no name for a source"),
        ('[source.p]\nkind = "json"\ntoken = "abc"', "source.p.token", "Secrets never stand in this file"),
        ('[source.p]\nkind = "json"\nsecret_file = ""', "source.p.secret_file", "must be a text"),
        ('[source.p]\nkind = "pagerduty"\nsecret_files = "s"', "source.p.secret_files", 'as in ["pagerduty.secret"]'),
        ('[source.p]\nkind = "grafana"\nsecret_file = "s"\ntoken_file = "t"', "source.p.secret_file", "one way"),
        ('[source.p]\nkind = "grafana"\ntoken_file = "t"\ntimestamp_header = "X"', "source.p.timestamp_header", ""),
        ('[source.p]\nkind = "grafana"\nsecret_file = "t"\ntimestamp_header = "a b"', "source.p.timestamp_header", ""),
        ("[budget]\nruns = -1", "budget.runs", "from 0 to"),
        ('[budget]\nper = "soon"', "budget.per", "is no duration"),
        ("[budgets]\nruns = 1", "the file.budgets", "Did you mean budget?"),
        ("rule = 5", "rule", "Write [[rule]], with two brackets."),
        ("[rule]\nname = 'x'", "rule", "must be a list of tables"),
        ("[[rule]]\nmatch = { a = 'b' }\nrunbook = 'r'", "rule 1.name", "is missing"),
        ("[[rule]]\nname = 'x'\nrunbook = 'r'", "rule 'x'.match", "it would take every alert"),
        ("[[rule]]\nname = 'x'\nmatch = {}\nrunbook = 'r'", "rule 'x'.match", 'alertname = "*"'),
        ("[[rule]]\nname = 'x'\nmatch = { a = 5 }\nrunbook = 'r'", "rule 'x'.match.a", "a label and the text"),
        ("[[rule]]\nname = 'x'\nmatch = { a = 'b' }", "rule 'x'.runbook", "Name the runbook"),
        ("[[rule]]\nname = 'x'\nmatch = { a = 'b' }\nrunbook = 'r'\nchannel = '#ops'", "rule 'x'.channel", "C0123ABCD"),
        ("[[rule]]\nname = 'x'\nmatch = { a = 'b' }\nrunbook = 'r'\nwindow = 5", "rule 'x'.window", "is no duration"),
        ("[[rule]]\nname = 'x'\nmatch = { a = 'b' }\nrunbook = 'r'\nbudget = 1.5", "rule 'x'.budget", "whole number"),
        ("[[rule]]\nname = 'x'\nmatch = { a = 'b' }\nrunbook = 'r'\nregex = 'y'", "rule 'x'.regex", "not known"),
        (RULE + "source = 'prob'", "rule 'x'.source", "Write one of: prod."),
        ("[rule.parameters]\na = '{label.x}'", "rule 'all'.parameters.a", "braces that are no place"),
        ("[rule.parameters]\na = '{labels.x!r}'", "rule 'all'.parameters.a", "braces that are no place"),
        (
            "[rule.parameters]\na = '{service.redis}'",
            "rule 'all'.parameters.a",
            "which the catalogue has of no service",
        ),
        ("[rule.parameters]\na = { b = 1 }", "rule 'all'.parameters.a", "must be a text, a number"),
        ("[rule.parameters]\na = nan", "rule 'all'.parameters.a", "must be a text, a number"),
        ("[rule.parameters]\na = 9007199254740993", "rule 'all'.parameters.a", "must be a text, a number"),
        (WINDOW, "maintenance 'm'.until", "it would never end"),
        (WINDOW + "until = '2026'", "maintenance 'm'.until", "a time with its zone"),
        (WINDOW + "until = 2026-01-01T00:00:00", "maintenance 'm'.until", "a time with its zone"),
        (WINDOW + "from = 2027-01-01T00:00:00Z\n" + UNTIL, "maintenance 'm'.until", "is before from"),
        (WINDOW + UNTIL + "zone = 'UTC'", "maintenance 'm'.zone", "goes with weekly alone"),
        (WINDOW + UNTIL + "weekly = 'Sun 02:00-04:00'\nzone = 'UTC'", "maintenance 'm'.weekly", "Write two windows"),
        (WINDOW + "weekly = 'Sonntag'\nzone = 'UTC'", "maintenance 'm'.weekly", "Sun 02:00-04:00"),
        (WINDOW + "weekly = 'Sun 02:00-04:00'", "maintenance 'm'.zone", "is missing"),
        (WINDOW + "weekly = 'Sun 02:00-04:00'\nzone = '../../etc/passwd'", "maintenance 'm'.zone", "is no time zone"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(tmp_path, written, where, says):
    top = [line for line in GOOD.splitlines() if line]
    sources, rules = "\n".join(top[:3]), "\n".join(top[3:])
    if written.startswith("[source") or not written:
        sources = written
    elif written.startswith(("[[rule]]\n", "[rule]", "rule =")):
        rules = ""
    if written.startswith("rule ="):
        text = f"{written}\n{sources}"
    else:
        text = "\n".join([sources, rules, "" if written == sources else written])
    found = problems(tmp_path, text)
    assert where in found
    assert says in found[where]


def test_names_stand_once(tmp_path):
    again = GOOD + GOOD[GOOD.index("[[rule]]") :]
    assert "stands there twice" in problems(tmp_path, again)["rule 'all'"]


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("orders = 5", "orders"),
        ("[orders]\nowners = 'ana'", "orders.owners"),
        ("[orders]\ndashboards = 'x'", "orders.dashboards"),
        ("[orders.dashboards]\na = 5", "orders.dashboards.a"),
        ("[orders.postgres]\na = 5", "orders.postgres"),
        ("[orders]\nsince = 2026-01-01", "orders.since"),
        ("[orders]\n'a b' = 'c'", "orders.a b"),
    ],
)
def test_a_catalogue_that_no_rule_could_use_is_named(tmp_path, written, where):
    assert where in problems(tmp_path, catalogue=written)


def test_secrets_are_read_where_they_are_used_and_a_poor_one_stops_the_start(tmp_path):
    found = read(tmp_path)
    with pytest.raises(Misconfigured, match=r"am\.token cannot be read"):
        read_secrets(found)
    Path(tmp_path / "am.token").write_text("short")
    with pytest.raises(Misconfigured, match="fewer than 16 characters") as refused:
        read_secrets(found)
    assert "short" not in str(refused.value)
    Path(tmp_path / "am.token").write_text("long enough for a token\n")
    assert read_secrets(found) == {"prod": ("long enough for a token",)}

"""When a connection's turn to be tested comes, and what of it the audit trail is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbooks_app.core import connection_tests
from runbooks_app.core.connection_tests import (
    AT_MOST_EVERY,
    AWAY_EVERY,
    ENTERED_EVERY,
    EVERY,
    SPREAD,
    Outcome,
    Standing,
    due,
    worth_an_entry,
)

NOW = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)
GOOD = Outcome("as-it-is", reachable=True, holds=True, says="It only reads.")


def as_tested(ago, outcome=GOOD, entered=timedelta(0)):
    return connection_tests.Tested(outcome, NOW - ago, NOW - entered)


@pytest.mark.parametrize(
    ("reachable", "holds", "standing"),
    [
        (True, True, Standing.HOLDS),
        (True, False, Standing.WRITES),
        (True, None, Standing.UNPROVED),
        (False, None, Standing.AWAY),
        (False, True, Standing.AWAY),
    ],
)
def test_a_result_is_told_in_a_word(reachable, holds, standing):
    assert replace(GOOD, reachable=reachable, holds=holds).standing is standing


def test_what_was_never_tested_is_due():
    assert due(None, "as-it-is", "orders-db", NOW)


def test_a_connection_is_tested_again_within_the_hour_and_not_before_its_share_of_it():
    assert due(as_tested(EVERY), "as-it-is", "orders-db", NOW)
    assert not due(as_tested(EVERY - SPREAD - timedelta(seconds=1)), "as-it-is", "orders-db", NOW)


def test_connections_have_their_turns_at_different_moments():
    ago = as_tested(EVERY - SPREAD / 2)
    assert {due(ago, "as-it-is", f"db-{number}", NOW) for number in range(20)} == {True, False}


def test_what_was_away_is_tried_again_within_minutes():
    away = replace(GOOD, reachable=False, holds=None)
    assert due(as_tested(AWAY_EVERY, away), "as-it-is", "orders-db", NOW)
    assert not due(as_tested(AWAY_EVERY - timedelta(seconds=1), away), "as-it-is", "orders-db", NOW)


def test_what_is_configured_anew_is_tested_within_a_minute():
    assert due(as_tested(AT_MOST_EVERY), "otherwise", "orders-db", NOW)
    assert not due(as_tested(AT_MOST_EVERY - timedelta(seconds=1)), "otherwise", "orders-db", NOW)


@pytest.mark.parametrize(
    ("before", "outcome", "worth"),
    [
        (None, GOOD, True),
        (as_tested(EVERY), GOOD, False),
        (as_tested(EVERY, entered=ENTERED_EVERY), GOOD, True),
        (as_tested(EVERY), replace(GOOD, holds=False), True),
        (as_tested(EVERY), replace(GOOD, says="It may write to orders."), True),
        (as_tested(EVERY), replace(GOOD, configured="otherwise"), True),
        (as_tested(EVERY), replace(GOOD, tried=("statements",)), False),
    ],
)
def test_the_trail_is_told_of_the_first_result_of_every_other_one_and_once_a_day(before, outcome, worth):
    assert worth_an_entry(before, outcome, NOW) is worth

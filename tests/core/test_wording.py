"""What is shown is short, on one line, and cannot change how a sentence reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.wording import SHOWN, did_you_mean, one_line, quoted, show, since


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("orders-db", "orders-db"),
        ("a\nb\tc", "a b c"),
        ("a\u202eb\x1b[31m", "a\ufffdb\ufffd[31m"),
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        (4711, "4711"),
        (2**300, "a huge number"),
        (0.5, "0.5"),
        ([1, "a"], "1, a"),
        (list(range(7)), "0, 1, 2, 3, 4 and 2 more"),
        ({"a": 1}, "an object with 1 entries"),
        ("x" * 61, "x" * 59 + "…"),
        (" " * 1000 + "x", "…"),
    ],
)
def test_a_value_is_shown_in_one_short_line(value, shown):
    assert show(value) == shown


@given(st.text())
def test_no_text_shows_more_than_its_limit_or_anything_unprintable(text):
    shown = one_line(text)
    assert len(shown) <= SHOWN
    assert shown.isprintable()


def test_texts_are_quoted_and_numbers_are_not():
    assert quoted("5") == '"5"'
    assert quoted(5) == "5"


def test_a_misspelt_name_is_answered_by_the_closest():
    assert did_you_mean("servise", ["service", "limit"]) == "Did you mean service?"
    assert did_you_mean("x", ["limit", "service"]) == "There is limit, service."
    assert did_you_mean("x", []) == "There is none."


def test_a_list_within_a_list_is_counted_however_deep_it_goes():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert show(deep) == "a list of 1"
    assert show([1, [2, 3], ()]) == "1, a list of 2, a list of 0"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (4, "just now"),
        (-4, "just now"),
        (89, "89 s ago"),
        (90, "2 min ago"),
        (-600, "in 10 min"),
        (5400, "2 h ago"),
        (129_600, "2 days ago"),
        (-864_000, "in 10 days"),
    ],
)
def test_a_time_is_told_as_seen_from_now(seconds, told):
    now = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)
    assert since(now - timedelta(seconds=seconds), now) == told

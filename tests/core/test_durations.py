"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import durations
from runbooks_app.core.errors import InvalidInput


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("366d", durations.LONGEST)])
def test_a_number_with_a_unit_is_read(text, seconds):
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "90",
        "s",
        "0s",
        "-1s",
        "1.5h",
        "10 m",
        "10M",
        "1h30m",
        "٣s",
        "90s\n",
        90,
        None,
        True,
        ["1s"],
        "9" * 10**6,
    ],
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(InvalidInput, match="as in '90s'") as refused:
        durations.parse(text)
    assert len(refused.value.message) < 150


def test_a_span_beyond_a_year_is_refused():
    with pytest.raises(InvalidInput, match="at most 366d"):
        durations.parse("367d")


def test_nothing_is_told_in_seconds():
    assert durations.tell(0) == "0s"


@given(st.integers(1, durations.LONGEST))
def test_what_is_told_is_read_back(seconds):
    assert durations.parse(durations.tell(seconds)) == seconds

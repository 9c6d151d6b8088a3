"""Python values as JSON: what a kit's messages carry."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from runbook_library import kit
from runbook_library.kit.values import MAX_ROWS, as_evidence, as_json, seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1, 2]), [1, 2]),
        (np.datetime64("2026-01-01T00:00:01.5"), "2026-01-01T00:00:01.500000"),
        (np.datetime64("NaT"), None),
        (np.timedelta64(5, "ms"), 0.005),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2026-01-01", tz="Europe/Berlin"), "2025-12-31T23:00:00.000000+00:00"),
        (datetime(2026, 1, 1, 3, 12, 0, 7, tzinfo=UTC), "2026-01-01T03:12:00.000007+00:00"),
        (date(2026, 1, 1), "2026-01-01"),
        (timedelta(minutes=6), 360.0),
        (Decimal(4), 4),
        (Decimal("4.5"), 4.5),
        (2**53 - 1, 2**53 - 1),
        ({"a": (1, None)}, {"a": [1, None]}),
        ({3, 1}, [1, 3]),
        ("half \ud800", "half ?"),
    ],
)
def test_a_value_becomes_plain_json(value, expected):
    found = as_json(value, "keep(x=…)")

    assert found == expected
    assert type(found) is type(expected)


def test_one_moment_gives_one_text_in_whatever_zone_it_is_told():
    moment = datetime(2026, 1, 1, 3, 12, tzinfo=UTC)

    assert as_json(moment, "x") == as_json(moment.astimezone(timezone(timedelta(hours=5))), "x")


@pytest.mark.parametrize(
    "value",
    [2**53, -(2**53), float("nan"), float("inf"), np.float64("nan"), Decimal("NaN"), Decimal("Infinity")],
)
def test_a_number_that_json_cannot_carry_is_refused_by_name_but_does_not_spoil_evidence(value):
    with pytest.raises(ValueError, match=r"keep\(p99=…\)"):
        kit.keep(p99=value)
    assert as_evidence({"p99": value})["value"]["p99"] in {None, str(value)}


@pytest.mark.parametrize("value", [object(), b"bytes", [object()]])
def test_what_has_no_json_form_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"propose\('end-it', pid=…\).*turn it into text"):
        kit.propose("end-it", pid=value)


def test_a_value_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)

    with pytest.raises(ValueError, match="more than 20 levels"):
        as_json(endless, "keep(x=…)")


def test_a_frame_becomes_a_typed_table():
    frame = pd.DataFrame(
        {
            "pid": [4711, 4712],
            "who": ["migration", None],
            "since": pd.to_datetime(["2026-01-01T03:12:00Z", None]),
            "waits": [True, False],
            "big": [2**60, 1],
            "cost": [Decimal("1.5"), None],
            "blocked_by": [[1, 2], []],
        }
    )

    table = as_evidence(frame)

    assert [column["type"] for column in table["columns"]] == [
        *("number", "text", "time", "bool", "text", "number", "text")
    ]
    assert table["rows"] == [
        [4711, "migration", "2026-01-01T03:12:00.000000+00:00", True, str(2**60), 1.5, "[1, 2]"],
        [4712, None, None, False, "1", None, "[]"],
    ]


def test_a_long_table_is_cut_and_the_rest_counted():
    table = as_evidence(pd.DataFrame({"n": range(MAX_ROWS + 7), "text": "x" * 5000}))

    assert (len(table["rows"]), table["omitted"]) == (MAX_ROWS, 7)
    assert len(table["rows"][0][1]) == 1000


def test_an_index_with_a_meaning_and_lists_of_dicts_make_tables_too():
    counted = pd.Series(["a", "a", "b"], name="state").value_counts()

    assert as_evidence(counted)["rows"] == [["a", 2], ["b", 1]]
    assert as_evidence([{"a": 1}, {"b": "x"}])["rows"] == [[1, None], [None, "x"]]
    assert as_evidence(pd.DataFrame()) == {"kind": "table", "columns": [], "rows": [], "omitted": 0}
    assert as_evidence("plan") == {"kind": "text", "text": "plan"}
    assert as_evidence([]) == {"kind": "json", "value": []}
    assert as_evidence(None) is None


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("2h", 7200), (0.5, 0.5)])
def test_durations_are_read(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "5 m", "1d", -1, float("nan"), True])
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="a duration is"):
        seconds(text)

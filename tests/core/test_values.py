"""Types from annotations, and the values that fit them."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import values
from runbooks_app.core.digests import canonical
from runbooks_app.core.runbook import Type
from runbooks_app.core.values import MAX_INTEGER, MAX_ITEMS, MAX_TEXT_EVER, Unfit

STR, INT, FLOAT, BOOL = Type("str"), Type("int"), Type("float"), Type("bool")
DATE, DATETIME = Type("date"), Type("datetime")
COLOURS = Type("literal", choices=("red", "green"))
SIZES = Type("literal", choices=(1, 5))
SWITCH = Type("literal", choices=(True,))
DATABASE = Type("connection", connection="postgres")


def expression(text):
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("str", STR),
        ("int", INT),
        ("float", FLOAT),
        ("bool", BOOL),
        ("date", DATE),
        ("datetime.date", DATE),
        ("dt.datetime", DATETIME),
        ("datetime", DATETIME),
        ('Literal["red", "green"]', COLOURS),
        ("typing.Literal[1, 5]", SIZES),
        ("Literal[True]", SWITCH),
        ("list[str]", Type("list", item=STR)),
        ("list[Literal[1, 5]]", Type("list", item=SIZES)),
        ('Connection["postgres"]', DATABASE),
        ('kit.Connection["http"]', Type("connection", connection="http")),
    ],
)
def test_an_annotation_names_a_type(annotation, kind):
    assert values.type_of(expression(annotation)) == kind


@pytest.mark.parametrize(
    "annotation",
    [
        "bytes",
        "dict",
        "str | None",
        "Optional[str]",
        "list",
        "list[list[str]]",
        'list[Connection["postgres"]]',
        'Connection["oracle"]',
        "Connection[postgres]",
        "Connection",
        '"str"',
        "os.str",
        "f()",
        "f().str",
        "Literal[1, True]",
        'Literal["a", 1]',
        'Literal["a", "a"]',
        "Literal[1.5]",
        "Literal[x]",
        "Literal[()]",
        'Literal["\\0"]',
        "Literal[9007199254740992]",
        "__import__('os')",
    ],
)
def test_any_other_annotation_is_refused_with_a_mend(annotation):
    with pytest.raises(Unfit):
        values.type_of(expression(annotation))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (STR, '"a"', "a"),
        (STR, '"a" "b"', "ab"),
        (INT, "-5", -5),
        (FLOAT, "5", 5.0),
        (FLOAT, "-0.0", 0.0),
        (BOOL, "True", True),
        (COLOURS, '"green"', "green"),
        (SIZES, "5", 5),
        (DATE, "date(2026, 1, 2)", "2026-01-02"),
        (DATE, 'datetime.date.fromisoformat("2026-01-02")', "2026-01-02"),
        (DATETIME, "datetime(2026, 1, 2, 3, tzinfo=UTC)", "2026-01-02T03:00:00+00:00"),
        (DATETIME, "dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)", "2026-01-02T00:00:00+00:00"),
        (DATETIME, 'datetime.fromisoformat("2026-01-02T03:00+02:00")', "2026-01-02T03:00:00+02:00"),
        (Type("list", item=INT), "[1, 2]", [1, 2]),
        (Type("list", item=DATE), "[date(2026, 1, 2)]", ["2026-01-02"]),
        (Type("list", item=STR), "[]", []),
        (DATABASE, '""', ""),
        (DATABASE, '"orders-db"', "orders-db"),
    ],
)
def test_a_literal_default_becomes_json(kind, text, value):
    found = values.default_of(kind, expression(text))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (STR, "5"),
        (STR, "None"),
        (STR, 'f"{x}"'),
        (STR, "__import__('os').getcwd()"),
        (STR, '"\\0"'),
        (STR, "b'x'"),
        (INT, "True"),
        (INT, '"5"'),
        (INT, "5.0"),
        (INT, "2**53"),
        (INT, "9007199254740992"),
        (FLOAT, "1e999"),
        (FLOAT, "True"),
        (BOOL, "1"),
        (COLOURS, '"blue"'),
        (SIZES, '"5"'),
        (SIZES, "True"),
        (DATE, '"2026-01-02"'),
        (DATE, "date(2026, 13, 2)"),
        (DATE, "date(10**6, 1, 1)"),
        (DATE, "date.today()"),
        (DATE, "datetime(2026, 1, 2, tzinfo=UTC)"),
        (DATE, "date(*[2026, 1, 2])"),
        (DATE, "date(**{})"),
        (DATE, 'date.fromisoformat(day="2026-01-02")'),
        (DATE, "f()(1)"),
        (DATETIME, "datetime(2026, 1, 2)"),
        (DATETIME, 'datetime.fromisoformat("2026-01-02")'),
        (DATETIME, "datetime(2026, 1, 2, tzinfo=ZoneInfo('Europe/Berlin'))"),
        (Type("list", item=INT), "(1, 2)"),
        (Type("list", item=INT), '["1"]'),
        (Type("list", item=INT), "[*x]"),
        (DATABASE, '"Orders DB"'),
        (DATABASE, "None"),
    ],
)
def test_a_default_that_is_no_literal_of_its_type_is_refused(kind, text):
    with pytest.raises(Unfit):
        values.default_of(kind, expression(text))


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (STR, " as it is ", " as it is "),
        (STR, "'; DROP TABLE runs; --\n__import__('os')", "'; DROP TABLE runs; --\n__import__('os')"),
        (INT, " 5 ", 5),
        (INT, "-7", -7),
        (INT, 5.0, 5),
        (INT, MAX_INTEGER, MAX_INTEGER),
        (FLOAT, "2.5e3", 2500.0),
        (FLOAT, ".5", 0.5),
        (FLOAT, 3, 3.0),
        *((BOOL, text, True) for text in ("true", "YES", " on ", "1")),
        *((BOOL, text, False) for text in ("false", "No", "off", "0")),
        (BOOL, True, True),
        (DATE, " 2026-01-02 ", "2026-01-02"),
        (DATETIME, "2026-01-02T03:04", "2026-01-02T03:04:00+00:00"),
        (DATETIME, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        (COLOURS, "red", "red"),
        (SIZES, "5", 5),
        (SWITCH, "on", True),
        (Type("list", item=INT), "1, 2", [1, 2]),
        (Type("list", item=INT), "[1, 2]", [1, 2]),
        (Type("list", item=STR), "", []),
        (Type("list", item=STR), '["a, b"]', ["a, b"]),
        (Type("list", item=BOOL), ["on", False], [True, False]),
        (DATABASE, " orders-db ", "orders-db"),
    ],
)
def test_what_was_meant_becomes_json(kind, given, value):
    found = values.coerce(kind, given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (STR, 5),
        (STR, None),
        (STR, "a\0b"),
        (STR, "\ud800"),
        (STR, "é\udfff"),
        (STR, "x" * (MAX_TEXT_EVER + 1)),
        (INT, True),
        (INT, "5.5"),
        (INT, "1_000"),
        (INT, "٣"),
        (INT, "9" * 5000),
        (INT, ""),
        (INT, 2**53),
        (INT, -(2**53)),
        (INT, 1e300),
        (INT, float("inf")),
        (INT, float("nan")),
        (FLOAT, "nan"),
        (FLOAT, "inf"),
        (FLOAT, "1e9999"),
        (FLOAT, float("nan")),
        (FLOAT, 10**400),
        (FLOAT, 1e16),
        (FLOAT, False),
        (BOOL, 1),
        (BOOL, "maybe"),
        (BOOL, None),
        (DATE, "02.01.2026"),
        (DATE, 20260102),
        (DATE, "2026-01-02T03:04"),
        (DATETIME, "soon"),
        (DATETIME, None),
        (COLOURS, "Red"),
        (COLOURS, 5),
        (SIZES, "6"),
        (SIZES, True),
        (SWITCH, False),
        (Type("list", item=INT), "1, x"),
        (Type("list", item=INT), "[1"),
        (Type("list", item=INT), "[" * 50_000),
        (Type("list", item=INT), "[NaN]"),
        (Type("list", item=INT), {"a": 1}),
        (Type("list", item=STR), ["x"] * (MAX_ITEMS + 1)),
        (Type("list", item=STR), [["a"]]),
        (DATABASE, ""),
        (DATABASE, "../etc"),
        (DATABASE, 5),
    ],
)
def test_what_cannot_be_meant_is_refused(kind, given):
    with pytest.raises(Unfit):
        values.coerce(kind, given)


def test_a_message_shows_little_of_a_huge_value():
    with pytest.raises(Unfit) as caught:
        values.coerce(INT, "x" * 90_000)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("", "Choose one of orders-db."),
        ("nowhere", "Choose one of orders-db."),
        ("prometheus", "Choose one of orders-db."),
    ],
)
def test_a_connection_that_may_not_be_used_is_answered_with_those_that_fit(given, fix):
    usable = {"orders-db": "postgres", "prometheus": "http"}
    assert values.coerce(DATABASE, "orders-db", usable) == "orders-db"
    with pytest.raises(Unfit) as caught:
        values.coerce(DATABASE, given, usable)
    assert caught.value.fix == fix


def test_without_any_connection_one_has_to_be_asked_for():
    with pytest.raises(Unfit) as caught:
        values.coerce(DATABASE, "orders-db", {})
    assert caught.value.fix == "You may use no postgres connection; ask for one."


@pytest.mark.parametrize(
    ("kind", "value", "typed"),
    [
        (INT, 5, {"type": "int", "value": 5}),
        (SIZES, 5, {"type": "int", "value": 5}),
        (SWITCH, True, {"type": "bool", "value": True}),
        (DATABASE, "orders-db", {"type": "str", "value": "orders-db"}),
        (Type("list", item=DATE), ["2026-01-02"], {"type": "list", "item": "date", "value": ["2026-01-02"]}),
        (Type("list", item=COLOURS), ["red"], {"type": "list", "item": "str", "value": ["red"]}),
    ],
)
def test_a_kernel_is_told_the_type_with_the_value(kind, value, typed):
    assert values.typed(kind, value) == typed


kinds = st.sampled_from([STR, INT, FLOAT, BOOL, DATE, DATETIME, COLOURS, SIZES, SWITCH, DATABASE])
kinds = kinds | st.sampled_from([STR, INT, FLOAT, DATE, SIZES]).map(lambda item: Type("list", item=item))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(kinds, json_values)
def test_whatever_comes_is_refused_or_becomes_a_value_that_stays_as_it_is(kind, given):
    try:
        value = values.coerce(kind, given)
    except Unfit:
        return
    canonical(value)
    again = json.loads(json.dumps(value))
    assert again == value
    assert values.coerce(kind, again) == value

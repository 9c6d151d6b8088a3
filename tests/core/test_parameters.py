"""Parameters are read from the AST and given values are validated against them."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import parameters
from runbooks_app.core.errors import BrokenRunbook, InvalidInput
from runbooks_app.core.runbook import Type

CELL = """
from datetime import date, datetime, UTC
import runbook_library.kit as kit
service: Literal["orders", "billing"] = "orders"  # Whose database is slow
limit: int = 10; ratio: float = 0.5  # Both share it
since: date = date(2026, 1, 2)
at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
words: list[str] = [  # first line
    "a",
]
deep: bool = False
name: str = ""  # What it is called # really
database: kit.Connection["postgres"] = ""
"""
LIMITS = {"limit": {"minimum": 1, "maximum": 100}, "name": {"pattern": "^[a-z]*$"}}
DECLARED = parameters.parse(CELL, LIMITS)
USABLE = {"orders-db": "postgres", "prometheus": "http"}


def test_the_cell_declares_its_parameters_in_order_with_help_and_limits():
    assert [parameter.name for parameter in DECLARED] == [
        *("service", "limit", "ratio", "since", "at", "words", "deep", "name", "database")
    ]
    by_name = {parameter.name: parameter for parameter in DECLARED}
    assert by_name["service"].type == Type("literal", choices=("orders", "billing"))
    assert by_name["service"].help == "Whose database is slow"
    assert by_name["limit"].help == by_name["ratio"].help == "Both share it"
    assert by_name["words"].help == "first line"
    assert by_name["name"].help == "What it is called # really"
    assert by_name["since"].help == ""
    assert by_name["limit"].limits == {"minimum": 1, "maximum": 100}
    assert [parameter.name for parameter in DECLARED if parameter.required] == ["database"]


def test_an_empty_cell_declares_nothing():
    assert parameters.parse("", {}) == ()


@pytest.mark.parametrize(
    ("cell", "limits", "told"),
    [
        ("limit = 10", {}, "parameters, line 1: limit = 10 declares no parameter. Write each parameter as"),
        ("limit: int", {}, "declares no parameter"),
        ("a.b: int = 1", {}, "declares no parameter"),
        ("print('hi')", {}, "declares no parameter"),
        ("\nlimit: int = f()", {}, "line 2: f() is no literal"),
        ("limit: int = 1\nlimit: int = 2", {}, "line 2: limit is declared twice"),
        ("_limit: int = 1", {}, "cannot be the name"),
        ("kit: int = 1", {}, "cannot be the name"),
        ("display: int = 1", {}, "cannot be the name"),
        ("größe: int = 1", {}, "cannot be the name"),
        ("x" * 65 + ": int = 1", {}, "cannot be the name"),
        ("limit: int = 0", {"limit": {"minimum": 1}}, "The default of limit must be at least 1."),
        ("limit: int = 1", {"limit": {"minimun": 1}}, "Did you mean minimum?"),
        ("limit: int = 1", {"limit": [1]}, "The limits of limit must be a JSON Schema object."),
        ("limit: int = 1", {"limti": {"minimum": 1}}, "no such parameter. Did you mean limit?"),
        ("limit: int = (", {}, "parameters, line 1:"),
        ("return 5", {}, "'return' outside function"),
        ("x: str = '" + "\\0" + "'", {}, "NUL"),
    ],
)
def test_what_cannot_be_read_names_the_line_and_the_mend(cell, limits, told):
    with pytest.raises(BrokenRunbook) as caught:
        parameters.parse(cell, limits)
    assert told in str(caught.value)


def test_all_problems_of_a_cell_are_told_at_once():
    with pytest.raises(BrokenRunbook) as caught:
        parameters.parse("a = 1\nb: bytes = b''\nc: int = 1\nd: int = 'x'", {})
    assert [problem.where[-1] for problem in caught.value.problems] == ["1", "2", "4"]


def test_nothing_given_means_the_defaults():
    assert parameters.validate(DECLARED[:-1], {}) == {
        "service": "orders",
        "limit": 10,
        "ratio": 0.5,
        "since": "2026-01-02",
        "at": "2026-01-02T00:00:00+00:00",
        "words": ["a"],
        "deep": False,
        "name": "",
    }


def test_text_from_a_chat_is_coerced():
    given = {"limit": "5", "deep": "yes", "words": "x, y", "database": "orders-db", "since": "2026-02-03"}
    values = parameters.validate(DECLARED, given, USABLE)
    assert values["limit"] == 5
    assert values["deep"] is True
    assert values["words"] == ["x", "y"]
    assert values["database"] == "orders-db"
    assert values["since"] == "2026-02-03"


@pytest.mark.parametrize(
    ("given", "where", "told"),
    [
        ({"servise": "x"}, "servise", "no such parameter. Did you mean service?"),
        ({5: "x"}, "5", "no such parameter."),
        ({"service": "order"}, "service", "Did you mean orders?"),
        ({"limit": "0"}, "limit", "must be at least 1."),
        ({"limit": None}, "limit", "must be a whole number, not none."),
        ({"name": "x\n"}, "name", "does not match"),
        ({"name": "'; DROP TABLE runs; --"}, "name", "does not match"),
        ({"name": "__import__('os').system('id')"}, "name", "does not match"),
        ({"name": "x" * 1_000_000}, "name", "is too long: 1,000,000 characters."),
        ({"name": "x" * 10_001}, "name", "may have at most 10000 characters."),
        ({"database": ""}, "database", "must name a postgres connection. Choose one of orders-db."),
        ({"database": "prometheus"}, "database", "is a http connection"),
        ({"database": "billing-db"}, "database", "Choose one of orders-db."),
    ],
)
def test_each_parameter_at_fault_is_a_problem_of_its_own(given, where, told):
    with pytest.raises(InvalidInput) as caught:
        parameters.validate(DECLARED, {"database": "orders-db", **given}, USABLE)
    [problem] = caught.value.problems
    assert problem.where == where
    assert told in str(problem)
    assert len(str(problem)) < 300


def test_a_required_connection_must_be_given():
    with pytest.raises(InvalidInput, match="database: must name a postgres connection"):
        parameters.validate(DECLARED, {}, USABLE)


def test_without_connections_none_may_be_named():
    with pytest.raises(InvalidInput, match="You may use no postgres connection"):
        parameters.validate(DECLARED, {"database": "orders-db"})


def test_values_that_are_no_object_are_refused():
    with pytest.raises(InvalidInput, match="must be an object"):
        parameters.validate(DECLARED, ["limit"], USABLE)


def test_a_kernel_gets_values_with_their_types():
    values = parameters.validate(DECLARED, {"database": "orders-db"}, USABLE)
    assert parameters.typed(DECLARED, values)["words"] == {"type": "list", "item": "str", "value": ["a"]}
    assert parameters.typed(DECLARED, values)["database"] == {"type": "str", "value": "orders-db"}


def test_the_schema_tells_clients_what_a_run_takes():
    schema = parameters.json_schema(DECLARED)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["database"]
    assert schema["properties"]["limit"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": "Both share it",
        "default": 10,
    }
    assert "default" not in schema["properties"]["database"]


names = st.sampled_from([parameter.name for parameter in DECLARED])
texts = st.sampled_from(
    ["5", "orders", "orders-db", "yes", "2026-01-02", "a, b", "[1]", "0.5", "'", "\n", "__import__"]
)
anything = texts | st.text() | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(texts, max_size=3)


@given(st.dictionaries(names, anything) | st.dictionaries(st.text(), anything, max_size=3) | anything)
def test_whatever_is_given_is_refused_or_round_trips_and_fits_the_schema(given):
    try:
        values = parameters.validate(DECLARED, given, USABLE)
    except InvalidInput:
        return
    assert json.loads(json.dumps(values)) == values
    jsonschema.validate(values, parameters.json_schema(DECLARED))
    assert parameters.validate(DECLARED, values, USABLE) == values

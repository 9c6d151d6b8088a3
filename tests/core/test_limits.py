"""Limits are JSON Schema fragments that bind values of the parameter's type."""

from __future__ import annotations

import jsonschema
import pytest

from runbooks_app.core import limits
from runbooks_app.core.runbook import Type
from runbooks_app.core.values import Unfit

STR, INT, FLOAT = Type("str"), Type("int"), Type("float")
NAMES = Type("list", item=STR)


@pytest.mark.parametrize(
    ("kind", "fragment", "value", "told"),
    [
        (STR, {"pattern": "^[a-z]+$"}, "A", "does not match the pattern ^[a-z]+$."),
        (STR, {"pattern": "^[a-z]+$"}, "a\n", "does not match the pattern ^[a-z]+$."),
        (STR, {"minLength": 2}, "a", "must have at least 2 characters."),
        (STR, {"maxLength": 2}, "abc", "may have at most 2 characters."),
        (STR, {}, "x" * 10_001, "may have at most 10000 characters."),
        (INT, {"minimum": 1}, 0, "must be at least 1."),
        (INT, {"maximum": 1}, 2, "may be at most 1."),
        (FLOAT, {"exclusiveMinimum": 0}, 0.0, "must be more than 0."),
        (FLOAT, {"exclusiveMaximum": 1.5}, 1.5, "must be less than 1.5."),
        (INT, {"multipleOf": 5}, 7, "must be a multiple of 5."),
        (NAMES, {"minItems": 1}, [], "must have at least 1 items."),
        (NAMES, {"maxItems": 1}, ["a", "b"], "may have at most 1 items."),
        (NAMES, {"uniqueItems": True}, ["a", "a"], "may hold each item only once."),
        (NAMES, {"items": {"pattern": "^a$"}}, ["a", "b"], "item 2 does not match the pattern ^a$."),
    ],
)
def test_a_value_beyond_its_limits_is_told_which(kind, fragment, value, told):
    limits.check(kind, fragment)
    with pytest.raises(Unfit) as caught:
        limits.within(kind, fragment, value)
    assert caught.value.message == told


def test_a_longer_text_fits_where_the_limits_say_so():
    limits.check(STR, {"maxLength": 20_000})
    limits.within(STR, {"maxLength": 20_000}, "x" * 20_000)
    limits.within(STR, {"pattern": r"\$[$]$"}, "a$$")
    limits.within(NAMES, {"items": {"maxLength": 3}}, ["abc"])


@pytest.mark.parametrize(
    ("kind", "fragment"),
    [
        (STR, {"minimun": 1}),
        (STR, {"minimum": 1}),
        (INT, {"pattern": "x"}),
        (Type("bool"), {"enum": [True]}),
        (Type("literal", choices=("a",)), {"pattern": "a"}),
        (INT, {"minimum": "1"}),
        (INT, {"minimum": 2**53}),
        (FLOAT, {"maximum": float("nan")}),
        (STR, {"pattern": "("}),
        (STR, {"pattern": "a{99999999999999999999}"}),
        (STR, {"pattern": 5}),
        (STR, {"maxLength": 100_001}),
        (NAMES, {"maxItems": 1_001}),
        (NAMES, {"items": True}),
        (NAMES, {"items": {"minimum": 1}}),
        (STR, {5: 1}),
    ],
)
def test_a_fragment_that_would_not_bind_is_refused(kind, fragment):
    with pytest.raises(Unfit):
        limits.check(kind, fragment)


@pytest.mark.parametrize(
    ("kind", "fits", "fails"),
    [
        (STR, "a", 5),
        (INT, 5, 5.5),
        (FLOAT, 5.5, "5"),
        (Type("bool"), True, 1),
        (Type("date"), "2026-01-02", 5),
        (Type("datetime"), "2026-01-02T00:00:00+00:00", 5),
        (Type("literal", choices=("a", "b")), "b", "c"),
        (Type("connection", connection="postgres"), "orders-db", 5),
        (NAMES, ["a"], [5]),
    ],
)
def test_the_schema_of_a_type_takes_its_values_and_no_others(kind, fits, fails):
    schema = limits.schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(fits, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(fails, schema)

"""Fields of a form: how each is filled in, with what, and what is wrong beside it."""

from __future__ import annotations

import pytest

from runbooks_app.core.errors import Problem
from runbooks_app.core.forms import Field, fields
from runbooks_app.core.runbook import Input, Parameter, Type

CONNECTIONS = {"orders-db": "postgres", "billing-db": "postgres", "prometheus": "http"}


def only(declared, values=(), problems=(), connections=CONNECTIONS):
    (field,) = fields([declared], connections, dict(values), problems)
    return field


@pytest.mark.parametrize(
    ("kind", "default", "expected"),
    [
        (Type("str"), "orders", {"control": "text", "value": "orders", "longest": None}),
        (Type("int"), 5, {"control": "number", "value": "5", "whole": True}),
        (Type("float"), 0.5, {"control": "number", "value": "0.5", "whole": False}),
        (Type("bool"), True, {"control": "checkbox", "value": "true", "checked": True}),
        (Type("bool"), False, {"control": "checkbox", "value": "false", "checked": False}),
        (Type("date"), "2026-03-01", {"control": "date", "value": "2026-03-01"}),
        (Type("datetime"), None, {"control": "text", "value": "", "example": "2026-01-31T03:12:00+00:00"}),
        (Type("list", item=Type("int")), [1, 2], {"control": "text", "value": "1, 2", "example": "one, another"}),
        (
            Type("literal", choices=(1, "b", True)),
            "b",
            {"control": "select", "value": "b", "options": ("1", "b", "true")},
        ),
    ],
)
def test_each_type_has_its_way_of_being_filled_in(kind, default, expected):
    field = only(Parameter("look_back", kind, default, "How far"))
    assert (field.name, field.label, field.help, field.required) == ("look_back", "look back", "How far", False)
    assert {name: getattr(field, name) for name in expected} == expected


def test_what_was_filled_in_stands_before_the_default():
    assert only(Parameter("n", Type("int"), 5), {"n": "7"}).value == "7"
    assert only(Parameter("b", Type("bool"), default=False), {"b": "on"}).checked


def test_a_connection_is_chosen_among_those_of_its_kind_and_must_be_where_there_is_no_default():
    wanted = Parameter("db", Type("connection", connection="postgres"), "")
    assert only(wanted) == Field("db", "db", "", "select", required=True, options=("billing-db", "orders-db"))


@pytest.mark.parametrize(("given", "value"), [({}, "prometheus"), ({"m": "other"}, "other")])
def test_the_only_connection_there_is_is_chosen_already(given, value):
    assert only(Parameter("m", Type("connection", connection="http"), ""), given).value == value


def test_limits_go_along_where_they_mean_something():
    number = only(Parameter("n", Type("int"), 5, limits={"minimum": 1, "maximum": 9, "maxLength": 3}))
    text = only(Parameter("t", Type("str"), "", limits={"minimum": 1, "maxLength": 3}))
    assert (number.least, number.most, number.longest) == (1, 9, None)
    assert (text.least, text.most, text.longest) == (None, None, 3)


def test_an_input_of_a_remediation_has_no_default_and_must_be_given():
    field = only(Input("pid", Type("int"), "session to end"))
    assert (field.value, field.required, field.help) == ("", True, "session to end")


def test_the_first_thing_that_is_wrong_with_a_field_stands_beside_it():
    problems = [
        Problem("n", "must be at most 9.", "give a number from 1 to 9 for Orders."),
        Problem("n", "must be whole."),
        Problem("other", "is missing."),
    ]
    field = only(Parameter("n", Type("int"), 5), {"n": "11"}, problems)
    assert field.error == "Must be at most 9. Give a number from 1 to 9 for Orders."

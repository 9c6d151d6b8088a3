"""Views on a runbook."""

from __future__ import annotations

import pytest

from runbooks_app.core.runbook import Input, Opened, Parameter, Section, Type


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Type("int"), "int"),
        (Type("literal", choices=("a", "b")), "one of 'a', 'b'"),
        (Type("list", item=Type("date")), "list of date"),
        (Type("connection", connection="postgres"), "postgres connection"),
    ],
)
def test_types_read_as_words(kind, told):
    assert str(kind) == told


def test_a_connection_without_default_is_required():
    assert Parameter("database", Type("connection", connection="postgres"), "").required
    assert not Parameter("database", Type("connection", connection="postgres"), "orders-db").required
    assert not Parameter("name", Type("str"), "").required


def test_a_connection_is_told_by_its_name_or_by_the_value_of_its_variable():
    assert Opened("postgres", name="orders-db").resolve({"orders-db": "x"}) == "orders-db"
    assert Opened("postgres", variable="database").resolve({"database": "billing-db"}) == "billing-db"
    assert Opened("postgres", variable="database").resolve({}) == ""


def test_a_run_uses_declared_connections_and_those_chosen_by_parameters(runbook):
    read = runbook(
        ("parameters", 'from runbook_library import kit\ndatabase: kit.Connection["postgres"] = ""\nn: int = 1'),
        ("diagnostic", "print(database)"),
        connections={"prometheus": "http"},
    )
    assert read.connections_used({"database": "orders-db", "n": 1}) == {"prometheus": "http", "orders-db": "postgres"}
    assert read.connections_used({"database": "", "n": 1}) == {"prometheus": "http"}
    assert read.parameters_cell is not None
    assert read.parameters_cell.id == "c1"


def test_sections_are_found_by_their_gate_and_compare_identity_inputs_alone(runbook):
    read = runbook(
        ("diagnostic", "1"),
        ("remediation", 'pid: int\ncount: int\nkit.gate("end", "End {pid}", informative=["count"])\nkit.http("api")'),
    )
    section = read.section("end")
    assert isinstance(section, Section)
    assert section.identity == ("pid",)
    assert section.inputs[0] == Input("pid", Type("int"))
    assert read.section("other") is None
    assert read.parameters_cell is None

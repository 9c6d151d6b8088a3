"""Gates and inputs of remediation cells are read from literals; templates and inputs are validated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import gates
from runbooks_app.core.errors import BrokenRunbook, InvalidInput
from runbooks_app.core.policy import Risk
from runbooks_app.core.runbook import Cell, Gate, Input, Parameter, Section, Stage, Type
from runbooks_app.core.values import Unfit

CELL = """
from datetime import datetime
pid: int  # session to end
began: datetime
database: Connection["postgres"]
count: int
kit.gate(
    "terminate-session", "End session {pid} of {{{service}}}", risk="medium", target="{database}",
    approvals=2, approvers=["sre", "database"], expires="30m", informative=["count"], recheck=False,
)
kit.postgres(database).execute("…", [pid])
"""
SERVICE = Parameter("service", Type("str"), "orders")


def test_a_remediation_cell_declares_inputs_and_gate():
    inputs, gate = gates.parse(CELL, [SERVICE])
    assert inputs == (
        Input("pid", Type("int"), "session to end"),
        Input("began", Type("datetime")),
        Input("database", Type("connection", connection="postgres")),
        Input("count", Type("int")),
    )
    assert gate == Gate(
        name="terminate-session",
        title="End session {pid} of {{{service}}}",
        risk=Risk.MEDIUM,
        target="{database}",
        approvals=2,
        approvers=("database", "sre"),
        expires=1800,
        informative=("count",),
        recheck=False,
    )


def test_name_and_title_may_be_given_by_keyword_and_the_rest_left_out():
    _, gate = gates.parse('kit.gate(title="Do it", name="do-it")')
    assert gate == Gate("do-it", "Do it")
    assert gate.risk is Risk.HIGH
    assert gate.recheck


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ('print(1)\nkit.gate("do-it", "Do it")', "Code stands above the gate."),
        ("print(1)", "calls no kit.gate."),
        ("", "calls no kit.gate."),
        ("import os", "calls no kit.gate."),
        ('x = 1\nkit.gate("a", "A")', "line 1: Code stands above the gate."),
        ('kit.gate("a", "A")\npid: int', "line 2: An input stands below the gate."),
        ('kit.gate("a", "A")\nkit.gate("b", "B")', "calls kit.gate more than once."),
        ('import os\nif True:\n    kit.gate("a", "A")', "The gate stands inside another statement."),
        ('pid: int\npid: int\nkit.gate("a", "A")', "pid is a parameter or an input already."),
        ('service: str\nkit.gate("a", "A")', "service is a parameter or an input already."),
        ('reason: str\nkit.gate("a", "A")', "reason is what kit.propose takes"),
        ('_pid: int\nkit.gate("a", "A")', "cannot be the name"),
        ('a.b: int\nkit.gate("a", "A")', "declares no input"),
        ('pid: bytes\nkit.gate("a", "A")', "is no type"),
        ('kit.gate("a", "A", "high")', "takes a name and a title"),
        ('kit.gate("a", "A", rik="high")', "has no argument rik. Did you mean risk?"),
        ('kit.gate("a", "A", **more)', "has no argument **."),
        ('kit.gate("a", "A", name="b")', "is given name twice"),
        ('kit.gate("a", f"A {x}")', "title of kit.gate is no literal."),
        ('kit.gate(NAME, "A")', "name of kit.gate is no literal."),
        ('kit.gate("a")', "lacks its title"),
        ('kit.gate(title="A")', "lacks its name"),
        ('kit.gate("A b", "A")', "name of kit.gate is A b."),
        ('kit.gate("a" * 2, "A")', "name of kit.gate is no literal."),
        ('kit.gate(5, "A")', "name of kit.gate is 5."),
        ('kit.gate("a", "")', "title of kit.gate is empty."),
        ('kit.gate("a", 5)', "title of kit.gate must be text."),
        ('kit.gate("a", "A\\nB")', "title of kit.gate must be text."),
        (f'kit.gate("a", "{"A" * 201}")', "title of kit.gate must be text."),
        ('kit.gate("a", "{pid}")', "uses {pid}, which is no input above it"),
        ('pid: int\nkit.gate("a", "{pdi}")', "Did you mean pid?"),
        ('pid: int\nkit.gate("a", "{pid.real}")', "in a way that is not read"),
        ('pid: int\nkit.gate("a", "{pid!r}")', "in a way that is not read"),
        ('pid: int\nkit.gate("a", "{pid:>9}")', "in a way that is not read"),
        ('pid: int\nkit.gate("a", "{}")', "in a way that is not read"),
        ('pid: int\nkit.gate("a", "{0}")', "in a way that is not read"),
        ('pid: int\nkit.gate("a", "{pid")', "is no template"),
        ('kit.gate("a", "A", target="{pid}")', "target of kit.gate uses {pid}"),
        ('kit.gate("a", "A", risk="severe")', "risk of kit.gate is severe."),
        ('kit.gate("a", "A", risk=["high"])', "risk of kit.gate is high."),
        ('kit.gate("a", "A", approvals=0)', "approvals of kit.gate is 0."),
        ('kit.gate("a", "A", approvals=True)', "approvals of kit.gate is yes."),
        ('kit.gate("a", "A", approvals="2")', "approvals of kit.gate is 2."),
        ('kit.gate("a", "A", approvals=11)', "approvals of kit.gate is 11."),
        ('kit.gate("a", "A", approvers="database")', "approvers of kit.gate is database."),
        ('kit.gate("a", "A", approvers=[5])', "approvers of kit.gate is 5."),
        ('kit.gate("a", "A", approvers=[])', "approvers of kit.gate is"),
        ('kit.gate("a", "A", approvers=["a b"])', "approvers of kit.gate is a b."),
        ('kit.gate("a", "A", expires=30)', "expires of kit.gate is 30."),
        ('kit.gate("a", "A", expires="soon")', "expires of kit.gate is no duration"),
        ('kit.gate("a", "A", informative=["pid"])', "informative of kit.gate names pid, which is no input."),
        ('kit.gate("a", "A", recheck="no")', "recheck of kit.gate is no."),
        ("x = = 1", "line 1: invalid syntax."),
    ],
)
def test_what_cannot_be_read_is_told_with_its_mend(cell, told):
    with pytest.raises(BrokenRunbook) as caught:
        gates.parse(cell, [SERVICE])
    assert told in str(caught.value)


def test_all_problems_of_a_cell_are_told_at_once():
    with pytest.raises(BrokenRunbook) as caught:
        gates.parse('x = 1\npid: bytes\nkit.gate("a", "A", risk=1)')
    assert [problem.where for problem in caught.value.problems] == [f"remediation, line {n}" for n in (1, 2, 3)]


def test_a_template_is_filled_with_short_values_on_one_line():
    template = "End {pid} of {{{name}}} ({name}), {flag}"
    shown = gates.render(template, {"pid": 4711, "name": "a\n\u202eb" + "x" * 100, "flag": True})
    assert shown.startswith("End 4711 of {a \ufffdbxxx")
    assert shown.endswith(", yes")
    assert shown.isprintable()
    assert gates.render("{a}", {"a": "{b} {a.__class__}"}) == "{b} {a.__class__}"
    assert gates.render("", {}) == ""


def test_a_template_without_a_value_says_which():
    with pytest.raises(InvalidInput, match="pid: has no value"):
        gates.render("End {pid}", {})


@given(st.text(max_size=30), st.text(max_size=80))
def test_a_template_is_refused_or_can_be_rendered(template, value):
    try:
        names = gates.placeholders(template)
    except Unfit:
        return
    assert all(name.isidentifier() for name in names)
    gates.render(template, dict.fromkeys(names, value))


SECTION = Section(
    Cell("c1", Stage.REMEDIATION, ""),
    Gate("end", "End {pid}"),
    (Input("pid", Type("int"), "session to end"), Input("database", Type("connection", connection="postgres"))),
    (),
)


def test_inputs_are_coerced_and_all_of_them_must_be_given():
    assert gates.validate_inputs(SECTION, {"pid": "4711", "database": "orders-db"}) == {
        "pid": 4711,
        "database": "orders-db",
    }
    with pytest.raises(InvalidInput) as caught:
        gates.validate_inputs(SECTION, {"pdi": 1})
    assert [str(problem) for problem in caught.value.problems] == [
        "pdi: no such input. Did you mean pid?",
        "pid: is missing. Give it: session to end.",
        "database: is missing. Give it: postgres connection.",
    ]


def test_a_connection_among_the_inputs_is_checked_where_the_usable_ones_are_known():
    with pytest.raises(InvalidInput, match="no connection that can be used here"):
        gates.validate_inputs(SECTION, {"pid": 1, "database": "orders-db"}, {"billing-db": "postgres"})


def test_inputs_are_as_long_as_parameters_at_most():
    section = Section(SECTION.cell, SECTION.gate, (Input("name", Type("str")),), ())
    with pytest.raises(InvalidInput, match="at most 10000 characters"):
        gates.validate_inputs(section, {"name": "x" * 10_001})

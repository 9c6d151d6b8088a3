"""Notebooks are read as runbooks, whole or not at all, with every problem found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import reading
from runbooks_app.core.errors import BrokenRunbook
from runbooks_app.core.runbook import Opened, Stage

GATE = 'pid: int\nkit.gate("end", "End {pid}")\nkit.postgres("orders-db")'


def problems(notebook, python=None):
    with pytest.raises(BrokenRunbook) as caught:
        reading.read("orders", notebook, python or {})
    return [str(problem) for problem in caught.value.problems]


def test_a_notebook_is_laid_out_as_diagnosis_and_gated_sections(runbook):
    read = runbook(
        ("text", "# Orders"),
        ("parameters", "limit: int = 5  # rows"),
        ("setup", "from runbook_library import kit"),
        ("diagnostic", "rows = kit.http('prometheus').get('/')"),
        ("", "print(rows, limit)"),
        ("remediation", GATE),
        ("diagnostic", "print(pid)"),
        ("text", "## Else"),
        ("", "print(limit)"),
        ("remediation", GATE.replace('"end"', '"stop"')),
        connections={"prometheus": "http", "orders-db": "postgres"},
    )
    assert [cell.stage for cell in read.cells[:2]] == [Stage.TEXT, Stage.PARAMETERS]
    assert [cell.id for cell in read.setup] == ["c3"]
    assert [cell.id for cell in read.diagnosis] == ["c4", "c5"]
    assert [(s.cell.id, s.gate.name, [c.id for c in s.verification]) for s in read.sections] == [
        ("c6", "end", ["c7", "c9"]),
        ("c10", "stop", []),
    ]
    assert read.diagnosis[0].opens == (Opened("http", name="prometheus"),)
    assert read.diagnosis[0].defines == {"rows"}
    assert read.diagnosis[1].needs == {"rows", "limit"}
    assert read.limits == {"cell": 60, "run": 600}
    assert (read.title, read.owner, read.name) == ("Orders are slow", "orders", "orders")
    assert len(read.digest) == 64


def test_what_the_metadata_leaves_out_has_a_default(runbook):
    read = runbook(("", "1"), title="", owner="", description="", timeouts={})
    assert (read.title, read.limits) == ("orders", {})
    assert read.parameters == ()


def test_cells_are_read_after_their_transformation_and_shown_as_written(notebook):
    read = reading.read("orders", notebook(("", "!ls {folder}")), {"c1": "get_ipython().system('ls')"})
    assert read.cells[0].source == "!ls {folder}"
    assert read.cells[0].python == "get_ipython().system('ls')"


def test_a_cell_may_have_its_own_timeout_and_a_source_in_lines(runbook):
    cell = {"source": ["x = 1\n", "y = x"], "metadata": {"tags": ["diagnostic", "slow"], "runbook": {"timeout": "90s"}}}
    [read] = runbook(cell).cells
    assert read.source == "x = 1\ny = x"
    assert read.timeout == 90
    assert read.tags == ("diagnostic", "slow")


@pytest.mark.parametrize(
    ("source", "opened"),
    [
        ('kit.postgres("orders-db")', [Opened("postgres", name="orders-db")]),
        ('kit.http(name="api"); kit.http("api")', [Opened("http", name="api")]),
        ("kit.postgres(database)", [Opened("postgres", variable="database")]),
        ("kit.postgres(f())", [Opened("postgres")]),
        ("kit.postgres()", [Opened("postgres")]),
        ("kit.postgres(5)", [Opened("postgres")]),
        ("other.postgres('x')", []),
    ],
)
def test_connections_are_told_from_the_calls_that_open_them(runbook, source, opened):
    assert list(runbook(("", source)).cells[0].opens) == opened


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"nbformat": 3}, "is not of the format 4.5"),
        ({"nbformat_minor": 4}, "is not of the format 4.5"),
        ({"nbformat_minor": "5"}, "is not of the format 4.5"),
        ({"metadata": {}}, "metadata: has no object 'runbook'"),
        ({"metadata": 5}, "metadata: has no object 'runbook'"),
        ({"cells": None}, "has no list of at most 2,000 cells"),
        ({"cells": [{}] * 2_001}, "has no list of at most 2,000 cells"),
        ({"cells": [5]}, "cell 1: has no id"),
        ({"cells": [{"id": "a b"}]}, "cell 1: has no id"),
        ({"more": "a\0b"}, "holds a NUL"),
        ({"a\ud800": 1}, "holds a NUL, half a character"),
    ],
)
def test_a_notebook_that_is_none_is_told(notebook, change, told):
    assert told in "\n".join(problems({**notebook(("", "1")), **change}))


def test_a_notebook_that_is_nested_too_deep_is_told(notebook):
    deep = []
    for _ in range(200):
        deep = [deep]
    assert "nested too deep" in problems({**notebook(("", "1")), "more": deep})[0]


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"id": "orders"}, "metadata.runbook.id: is orders, not a UUID."),
        ({"id": None}, "metadata.runbook.id: is none, not a UUID."),
        ({"owned": "x"}, "has no key owned. Did you mean owner?"),
        ({"title": 5}, "metadata.runbook.title: is not text"),
        ({"description": "x" * 5_001}, "metadata.runbook.description: is not text of at most 5,000 characters"),
        ({"timeouts": 5}, "metadata.runbook.timeouts: is not an object"),
        ({"timeouts": {"cells": "1s"}}, "metadata.runbook.timeouts.cells: is no limit. Did you mean cell?"),
        ({"timeouts": {"cell": "soon"}}, "timeouts.cell: 'soon' is no duration"),
        ({"connections": []}, "metadata.runbook.connections: is not an object"),
        ({"connections": {"Orders DB": "postgres"}}, "has Orders DB: postgres."),
        ({"connections": {"orders-db": "oracle"}}, "has orders-db: oracle."),
        ({"parameters": []}, "metadata.runbook.parameters: is not an object"),
        ({"parameters": {"limit": {}}}, "limits of limit: no such parameter."),
    ],
)
def test_metadata_that_cannot_be_used_is_told_with_its_mend(notebook, metadata, told):
    assert told in "\n".join(problems(notebook(("", "1"), **metadata)))


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([{"source": 5}], "cell c1: has no source"),
        ([{"source": ["a", 5]}], "cell c1: has no source"),
        ([{"source": "x = '\0'"}], "cell c1: has no source"),
        ([{"metadata": {"tags": "setup"}}], "cell c1: has tags that are no list of texts"),
        ([{"metadata": {"tags": ["setup", "diagnostic"]}}], "cell c1: is tagged setup and diagnostic."),
        ([{"metadata": 5, "cell_type": "sql"}], "cell c1: has the type sql."),
        ([{"metadata": {"runbook": {"timeout": 90}}}], "cell c1: 90 is no duration"),
        ([{"metadata": {"runbook": {"retry": 1}}}], "has no key retry"),
        ([("", "x = = 1")], "cell c1, line 1: invalid syntax."),
        ([("", "from os import *")], "hides which names"),
        ([("", 'kit.gate("a", "A")')], "cell c1: calls kit.gate and is not tagged remediation."),
        ([("", "+".join(["x"] * 800))], "cell c1: is nested too deep to be read. Split its longest expression."),
        ([("", "+".join(["x"] * 50_000))], "cell c1: "),
        ([("", "1"), {"id": "c1"}], "cell c1: shares its id with another cell."),
        ([("parameters", "a: int = 1"), ("parameters", "b: int = 1")], "cell c2: is a second cell tagged parameters."),
        ([("parameters", "a = 1")], "cell c1, line 1: a = 1 declares no parameter."),
        ([("remediation", "print(1)")], "cell c1: calls no kit.gate."),
        ([("remediation", GATE), ("remediation", GATE)], "cell c2: has the gate end, as another cell has."),
        ([("remediation", GATE.replace('"orders-db"', "database"))], "opens a postgres connection whose name"),
        (
            [("parameters", "database: str = 'x'"), ("remediation", GATE.replace('"orders-db"', "database"))],
            "cannot be told",
        ),
    ],
)
def test_a_cell_that_cannot_be_read_is_told_by_its_id(notebook, cells, told):
    assert told in "\n".join(problems(notebook(*cells)))


def test_a_remediation_may_open_what_a_parameter_or_an_input_names(runbook):
    read = runbook(
        ("parameters", 'database: Connection["postgres"] = ""'),
        ("remediation", 'api: Connection["http"]\nkit.gate("end", "End")\nkit.postgres(database)\nkit.http(api)'),
    )
    assert [opened.variable for opened in read.sections[0].cell.opens] == ["database", "api"]


def test_all_problems_of_a_notebook_are_told_at_once_and_each_once(notebook):
    found = problems(
        notebook(("parameters", "a = ("), ("diagnostic", "x = = 1"), ("remediation", "y = = 1"), id="x", owner=5)
    )
    assert len(found) == len(set(found)) == 5


def test_numbers_that_a_database_would_change_are_refused_in_limits(notebook):
    found = problems(notebook(("parameters", "a: int = 1"), parameters={"a": {"maximum": 2**60}}))
    assert "may be at most" in found[0]


def test_a_notebook_without_outputs_keeps_everything_else(notebook):
    made = notebook(("text", "# A"), ("", "1"), {"outputs": [{"x": 1}], "execution_count": 5})
    plain = reading.without_outputs(made)
    assert [cell.get("outputs") for cell in plain["cells"]] == [None, [], []]
    assert made["cells"][2]["execution_count"] == 5
    assert reading.without_outputs({"cells": 5}) == {"cells": 5}
    assert reading.without_outputs({"cells": [5]}) == {"cells": [5]}


def test_code_is_what_has_an_id_and_a_source(notebook):
    made = notebook(("text", "# A"), ("", "1"), {"id": 5}, {"source": 5})
    assert list(reading.code_of(made)) == [("c2", "1")]
    assert list(reading.code_of({"cells": [5]})) == []
    assert list(reading.code_of({})) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SOURCES = [
    "",
    "x = 1",
    "a: int = 1",
    GATE,
    "kit.postgres(x)",
    "%%bash",
    "x: = 1",
    "return",
    "# only\r a comment",
    "\f\\",
]
cell = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["a", "b", "c"]) | json_values,
        "cell_type": st.sampled_from(["code", "code", "markdown", 5]),
    },
    optional={
        "source": st.sampled_from(SOURCES) | st.text() | json_values,
        "metadata": st.fixed_dictionaries(
            {}, optional={"tags": st.lists(st.sampled_from([*Stage, 5])) | json_values, "runbook": json_values}
        )
        | json_values,
    },
)
metadata = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(reading.KEYS, json_values) | {"id": st.just("7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b57")}
)


@given(
    st.fixed_dictionaries(
        {"nbformat": st.just(4), "nbformat_minor": st.just(5)},
        optional={
            "cells": st.lists(cell, max_size=4) | json_values,
            "metadata": st.fixed_dictionaries({"runbook": metadata}),
        },
    )
)
def test_whatever_is_in_a_notebook_it_is_read_or_broken(made):
    try:
        read = reading.read("orders", made, {})
    except BrokenRunbook:
        return
    assert len(read.digest) == 64
    assert reading.read("orders", json.loads(json.dumps(made)), {}) == read

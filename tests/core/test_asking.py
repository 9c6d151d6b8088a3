"""What may be asked, the notebook that is derived for it, and the draft that asks become."""

import pytest

from runbooks_app.core import asking, reading
from runbooks_app.core.checking import check
from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.runbook import Stage

pytestmark = pytest.mark.pages

RUNBOOK_ID = "7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b57"
TWO = "rows = 1\n\n# %% second\nrows + 1\n#%%\n\n"


def read(notebook):
    return reading.read("ask", notebook, {})


def refused(*arguments):
    with pytest.raises(InvalidInput) as told:
        asking.question(*arguments)
    return [(problem.where, problem.message) for problem in told.value.problems]


def test_lines_of_percent_signs_part_the_cells_and_empty_ones_are_none():
    asked = asking.question(TWO.replace("\n", "\r\n"), " because \r\n")
    assert asked.cells == ("rows = 1", "rows + 1")
    assert asked.hypothesis == "because"
    assert asking.question("%%sql orders-db\nSELECT 1").cells == ("%%sql orders-db\nSELECT 1",)


def test_its_title_is_the_hypothesis_else_the_first_cell():
    assert asking.question("1", "The replica\nlags").title == "The replica lags"
    assert asking.question("1 + 1").title == "1 + 1"


@pytest.mark.parametrize(
    ("source", "hypothesis", "expected"),
    [
        ("", "", [("source", "is empty.")]),
        ("# %%\n# %%", "", [("source", "is empty.")]),
        ("1" * 20_001, "", [("source", "has 20,001 characters; 20,000 are the most.")]),
        ("1", "x" * 4_001, [("hypothesis", "has 4,001 characters; 4,000 are the most.")]),
        ("1\x00", "", [("source", "holds a NUL or half a character.")]),
        ("1\n# %%\n" * 21, "", [("source", "has 21 cells; 20 are the most.")]),
        ('key = "AKIA' + "A" * 16 + '"', "", [("source", "holds what looks like an AWS access key.")]),
        ("1", "Is AKIA" + "A" * 16 + " in use?", [("hypothesis", "holds what looks like an AWS access key.")]),
    ],
)
def test_what_cannot_be_asked_is_told_beside_its_field(source, hypothesis, expected):
    assert refused(source, hypothesis) == expected


def test_of_an_incident_the_kit_alone_is_prepared():
    runbook = read(asking.notebook(asking.question(TWO, "It grows"), None, {"orders-db": "postgres"}))
    assert (runbook.id, runbook.title, runbook.sections) == (asking.RUNBOOK_ID, "It grows", ())
    assert [cell.source for cell in runbook.setup] == ["from runbook_library import kit"]
    assert [(cell.id, cell.stage, cell.source) for cell in runbook.cells][1:] == [
        ("ask-1", Stage.TEXT, "It grows"),
        ("ask-2", Stage.DIAGNOSTIC, "rows = 1"),
        ("ask-3", Stage.DIAGNOSTIC, "rows + 1"),
    ]
    assert runbook.connections == {"orders-db": "postgres"}
    assert runbook.limits == {"cell": 60, "run": 600}


def test_of_a_run_its_parameters_setup_and_limits_are_taken_and_nothing_else(notebook):
    base = notebook(
        ("text", "# What it is"),
        ("parameters", 'service: str = "orders"'),
        {"metadata": {"tags": ["setup"]}, "source": ["import math\n", "half = 0.5"], "id": "ask-1"},
        ("diagnostic", "look = 1"),
        ("remediation", 'what: str\nkit.gate("mend", "Mend {what}")'),
        connections={"metrics": "http"},
        limits={"memory": "1GB"},
    )
    runbook = read(asking.notebook(asking.question("1"), base, {"orders-db": "postgres"}))
    assert [(cell.id, cell.stage) for cell in runbook.cells] == [
        ("c2", Stage.PARAMETERS),
        ("kit-1", Stage.SETUP),
        ("ask-1", Stage.SETUP),
        ("ask-2", Stage.DIAGNOSTIC),
    ]
    assert [parameter.name for parameter in runbook.parameters] == ["service"]
    assert runbook.connections == {"metrics": "http", "orders-db": "postgres"}
    assert runbook.limits["memory"] == 1_000_000_000


def test_the_kit_is_prepared_once(notebook):
    base = notebook(("setup", "from runbook_library import kit"), ("diagnostic", "1"))
    assert [cell.id for cell in read(asking.notebook(asking.question("1"), base, {})).cells] == ["c1", "ask-1"]


def test_connections_are_those_that_the_asked_cells_name(notebook):
    base = notebook(("setup", 'from runbook_library import kit\nbefore = kit.http("old")'))
    source = 'kit.postgres("orders-db")\n# %%\nkit.http(name)\nget_ipython().run_cell_magic("promql", "metrics", "up")'
    assert asking.named(read(asking.notebook(asking.question(source), base, {}))) == {
        "orders-db": "postgres",
        "metrics": "http",
    }


@pytest.mark.parametrize(
    ("line", "name", "variable"),
    [
        ("orders-db", "orders-db", ""),
        ("orders-db --rows 5", "orders-db", ""),
        ("{database} --rows 5", "", "database"),
        ("--rows 5 orders-db", "orders-db", ""),
        ("--rows=5 'orders-db'", "orders-db", ""),
    ],
)
def test_a_magics_line_names_its_connection(notebook, line, name, variable):
    (cell,) = read(notebook(("", f'get_ipython().run_cell_magic("sql", {line!r}, "SELECT 1")'))).diagnosis
    assert [(opened.kind, opened.name, opened.variable) for opened in cell.opens] == [("postgres", name, variable)]


@pytest.mark.parametrize(
    "call",
    [
        '("time", "orders-db", "1")',
        '("sql", "", "SELECT 1")',
        '("sql", name, "SELECT 1")',
        '("sql", "--rows 5", "1")',
        '("sql", "\'", "1")',
    ],
)
def test_other_magics_and_those_without_a_name_open_nothing(notebook, call):
    (cell,) = read(notebook(("", f'name = ""\nget_ipython().run_cell_magic{call}'))).diagnosis
    assert cell.opens == ()


@pytest.mark.parametrize("base", [False, True])
def test_a_draft_passes_the_check(notebook, base):
    base = notebook(("parameters", 'service: str = "orders"  # Which')) if base else None
    asks = [
        asking.Answered(asking.question(TWO, "It grows"), "It does not"),
        asking.Answered(asking.question('kit.http("metrics")'), ""),
    ]
    drafted = asking.draft(
        asks, base, {"metrics": "http"}, runbook_id=RUNBOOK_ID, title="Does it grow", owner="team@example.com"
    )
    runbook = read(drafted)
    assert check(runbook, drafted).errors == ()
    assert (runbook.id, runbook.title, runbook.owner) == (RUNBOOK_ID, "Does it grow", "team@example.com")
    told = [cell["source"] for cell in drafted["cells"]]
    assert told[0] == "# Does it grow"
    assert told[-5:] == ["It grows", "rows = 1", "rows + 1", "**Concluded:** It does not", 'kit.http("metrics")']
    assert len({cell["id"] for cell in drafted["cells"]}) == len(told)


def test_a_conclusion_is_a_text_of_some_length():
    assert asking.conclusion(" It was\r\nthe index ") == "It was\nthe index"
    for text, message in (
        ("  ", "is empty."),
        ("x" * 4_001, "has 4,001 characters; 4,000 are the most."),
        ("It is xoxb-" + "1" * 12, "holds what looks like a Slack token."),
    ):
        with pytest.raises(InvalidInput) as told:
            asking.conclusion(text)
        assert [(p.where, p.message) for p in told.value.problems] == [("conclusion", message)]


def test_a_drafts_title_gives_its_file_a_name():
    assert asking.draft_title("  Does it\ngrow? ") == "Does it grow?"
    assert asking.stem("Does it grow?") == "does-it-grow"
    for title in ("", "x" * 101, "x\x00", "?!"):
        with pytest.raises(InvalidInput):
            asking.draft_title(title)

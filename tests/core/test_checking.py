"""What `runbooks check` says without running anything."""

from __future__ import annotations

import pytest

from runbooks_app.core import reading
from runbooks_app.core.checking import check

PARAMETERS = (
    "parameters",
    'from runbook_library.kit import Connection\n\ndatabase: Connection["postgres"] = ""  # Which',
)
SETUP = (
    "setup",
    "from runbook_library import kit\n\ndef query(text):\n    return kit.postgres(database).execute(text)",
)
LOOK = ("diagnostic", "rows = query('…')\nkit.keep(before=len(rows))\nkit.propose('end', pid=1, reason='…')")
END = ("remediation", 'pid: int  # which\nkit.gate("end", "End {pid}")\nkit.postgres(database).execute(str(pid))')
VERIFY = ("diagnostic", "kit.check('fewer', len(query('…')) < kit.kept.before)\nprint(pid)")
GOOD = (PARAMETERS, SETUP, LOOK, END, VERIFY)


@pytest.fixture
def report(notebook):
    def make(*cells, **metadata):
        made = notebook(*cells, **metadata)
        return check(reading.read("orders", reading.without_outputs(made), {}), made)

    return make


@pytest.fixture
def errors(report):
    return lambda *cells, **metadata: [str(problem) for problem in report(*cells, **metadata).errors]


@pytest.fixture
def warnings(report):
    return lambda *cells, **metadata: [str(problem) for problem in report(*cells, **metadata).warnings]


def test_a_good_runbook_passes_without_a_word(report):
    found = report(("text", "# Orders"), *GOOD)
    assert (found.errors, found.warnings) == ((), ())
    assert found.passed


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"owner": ""}, "metadata.runbook.owner: is missing."),
        ({"title": ""}, "metadata.runbook.title: is missing."),
        ({"timeouts": {"cell": "60s"}}, "metadata.runbook.timeouts.run: is missing."),
        ({"timeouts": {}}, "metadata.runbook.timeouts.cell: is missing."),
        ({"timeouts": {"cell": "20m", "run": "10m"}}, "lets a cell take longer than the whole run"),
    ],
)
def test_owner_title_and_timeouts_are_wanted(errors, metadata, told):
    assert told in "\n".join(errors(*GOOD, **metadata))


def test_a_cell_may_not_take_longer_than_the_run(errors):
    slow = {"source": "print(1)", "metadata": {"tags": ["diagnostic"], "runbook": {"timeout": "11m"}}}
    assert errors(*GOOD, slow) == ["cell c6: may take longer than the whole run. Raise timeouts.run, or lower its own."]


def test_a_runbook_looks_before_it_acts(errors):
    assert "has no diagnostic cell above the first remediation" in errors(PARAMETERS, SETUP, END, VERIFY)[0]


def test_a_misspelt_tag_is_an_error_and_a_tag_of_ones_own_is_none(errors):
    cells = [{"source": "print(1)", "metadata": {"tags": ["diagnostics"]}}]
    assert errors(*GOOD, *cells) == [
        "cell c6: has the unknown tag diagnostics, so it counts as diagnostic. Did you mean diagnostic?"
    ]
    assert errors(*GOOD, {"source": "print(1)", "metadata": {"tags": ["diagnostic", "chart"]}}) == []


@pytest.mark.parametrize("stored", [{"outputs": [{"output_type": "stream"}]}, {"execution_count": 3}])
def test_stored_outputs_are_an_error(errors, stored):
    cell = {"source": "print(1)", "metadata": {"tags": ["diagnostic"]}, **stored}
    assert "cell c6: holds outputs of an execution." in errors(*GOOD, cell)[0]


# Put together here, so that no scanner takes this file for a leak.
TOKENS = {
    "an AWS access key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "an AWS secret key": "aws_secret_access_key = '" + "a1B2" * 10 + "'",
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "a GitLab token": "glpat-" + "a1B2" * 5,
    "a Slack token": "xoxb-" + "1234567890-abcdef",
    "a Slack webhook": "https://hooks.slack.com/services/" + "T0000000/B0000000/abcdefgh",
    "a Google API key": "AIza" + "a1B2c3D" * 5,
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a JSON Web Token": "eyJ" + "a" * 12 + ".eyJ" + "b" * 12 + "." + "c" * 12,
    "a password in a URL": "postgresql://orders:" + "hunter22@db.example/orders",
}


@pytest.mark.parametrize("form", TOKENS)
@pytest.mark.parametrize("tag", ["text", "diagnostic"])
def test_a_secret_in_a_source_is_named_by_its_form_and_not_repeated(errors, form, tag):
    found = errors(*GOOD, (tag, f"# {TOKENS[form]}\n"))
    assert found[0].startswith(f"cell c6: holds {form}.")
    assert TOKENS[form] not in str(found)


@pytest.mark.parametrize(
    "source",
    [
        "url = 'postgresql://orders:{password}@db/orders'",
        "url = 'https://example.com:8080/a@b'",
        "key = 'AKIA'",
        "url = 'postgresql://orders:<password>@db/orders'",
        "url = 'postgresql://orders:...@db/orders'",
    ],
)
def test_what_only_looks_like_a_secret_passes(errors, source):
    assert errors(*GOOD, ("diagnostic", source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "get_ipython().run_line_magic('pip', 'x')  # !pip install x",
        "import subprocess\nsubprocess.run(['pip', 'install', 'x'])",
        "import os\nos.system('conda install -y x')",
    ],
)
def test_packages_are_not_installed_at_run_time(errors, source):
    assert "cell c6: installs packages when it runs." in errors(*GOOD, ("diagnostic", source))[0]


def test_a_remark_about_installing_is_none(errors):
    assert errors(*GOOD, ("diagnostic", "# pip install psycopg beforehand")) == []
    assert errors(*GOOD, ("text", "pip install psycopg")) == []


@pytest.mark.parametrize(
    ("source", "hides"),
    [
        ("from runbook_library.kit import postgres", True),
        ("from runbook_library.kit.gates import gate", True),
        ("from runbook_library import kit as k", True),
        ("import runbook_library.kit", True),
        ("from runbook_library import kit, tables", False),
        ("from runbook_library import kit as kit", False),
        ("from runbook_library.kit import Connection", False),
        ("from . import kit", False),
        ("import json", False),
    ],
)
def test_the_kit_is_called_by_its_own_name(errors, source, hides):
    found = errors(*GOOD, ("diagnostic", source))
    assert bool(found) is hides
    assert not found or "cell c6, line 1: imports the kit in a way that hides" in found[0]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (("diagnostic", "kit.http('prometheus')"), "cell c6: opens prometheus, which is not declared. Add"),
        (("diagnostic", "kit.http('api')"), "cell c6: opens api by kit.http. Use kit.postgres: that is its kind."),
        (("diagnostic", "kit.http(database)"), "cell c6: opens database by kit.http. Use kit.postgres"),
        (("remediation", 'kit.gate("stop", "Stop")\nprint(1)'), "cell c6: opens no connection"),
    ],
)
def test_connections_are_declared_and_opened_by_their_kind(errors, cell, told):
    found = errors(*GOOD, cell, connections={"api": "postgres"})
    assert told in "\n".join(found)


def test_a_remediation_can_be_given_only_what_the_runbook_reaches(errors):
    takes = ("remediation", 'at: kit.Connection["http"]  # where\nkit.gate("stop", "Stop")\nkit.http(at)')
    told = "cell c6: takes a http connection as at, and the runbook reaches none: nothing could be chosen."
    assert told in errors(*GOOD, takes)[0]
    assert errors(*GOOD, takes, ("diagnostic", "kit.http('prometheus')"), connections={"prometheus": "http"}) == []
    also = 'at: kit.Connection["postgres"]  # where\nkit.gate("stop", "Stop")\nkit.postgres(at)'
    assert errors(*GOOD, ("remediation", also)) == []


def test_a_declared_connection_passes_and_one_that_nothing_opens_is_a_warning(report):
    opens = ("diagnostic", "kit.http('prometheus')")
    assert report(*GOOD, opens, connections={"prometheus": "http"}).passed
    found = report(*GOOD, connections={"prometheus": "http"})
    assert found.passed
    assert "declares prometheus, which no cell opens" in str(found.warnings[0])


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (
            (("parameters", "n: kit.Connection['http'] = ''"), SETUP, ("diagnostic", "n")),
            "cell c1: uses kit, which none",
        ),
        ((PARAMETERS, ("setup", "x = later"), ("diagnostic", "later = 1")), "cell c2: uses later"),
        ((PARAMETERS, SETUP, ("diagnostic", "print(rows)"), ("diagnostic", "rows = 1")), "cell c3: uses rows"),
        ((PARAMETERS, SETUP, LOOK, (END[0], END[1] + "\nprint(rows)"), VERIFY), "cell c4: uses rows"),
        ((PARAMETERS, SETUP, LOOK, END, (VERIFY[0], VERIFY[1] + "\nprint(rows)")), "cell c5: uses rows"),
        (
            (PARAMETERS, SETUP, LOOK, (END[0], END[1] + "\ndone = 1"), (VERIFY[0], VERIFY[1] + "\ndone")),
            "cell c5: uses done",
        ),
        ((*GOOD, ("diagnostic", "print(nowhere)")), "cell c6: uses nowhere"),
        ((*GOOD, ("diagnostic", "qurey('…')")), "Did you mean query?"),
    ],
)
def test_a_name_that_its_kernel_does_not_have_is_an_error(errors, cells, told):
    assert told in "\n".join(errors(*cells))


def test_a_name_of_another_kernel_is_answered_with_the_ways_to_hand_it_over(errors):
    [found] = errors(PARAMETERS, SETUP, LOOK, END, (VERIFY[0], VERIFY[1] + "\nprint(rows)"))
    assert "Cell c3 defines it" in found
    assert "kit.keep" in found


def test_verification_cells_hand_names_to_the_next_one(errors):
    assert errors(*GOOD, ("diagnostic", "seen = pid"), ("diagnostic", "print(seen)")) == []


def test_kept_values_must_be_kept_and_are_none_of_a_remediations(errors):
    assert "uses kit.kept.after, which no cell keeps." in errors(*GOOD, ("diagnostic", "kit.kept.after"))[0]
    assert errors(*GOOD, ("diagnostic", "kit.keep(**found)\nfound = {}")) != []
    kept = ("diagnostic", "found = {}\nkit.keep(**found)")
    assert errors(PARAMETERS, SETUP, kept, LOOK, END, VERIFY, ("diagnostic", "kit.kept.anything")) == []
    assert (
        "cell c4: uses kept values, which nobody approves."
        in errors(PARAMETERS, SETUP, LOOK, (END[0], END[1] + "\nkit.kept.before"), VERIFY)[0]
    )


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("kit.propose('ned', pid=1)", "cell c6, line 1: proposes ned, which no gate is called. Did you mean end?"),
        ("kit.propose('end', pdi=1, pid=1)", "gives end an input pdi. Did you mean pid?"),
        ("kit.propose('end')", "proposes end without its input pid."),
    ],
)
def test_proposals_name_gates_and_their_inputs(errors, source, told):
    assert told in "\n".join(errors(*GOOD, ("diagnostic", source)))


@pytest.mark.parametrize("source", ["x = {}\nkit.propose('end', **x)", "kit.propose(pid)", "kit.propose()"])
def test_a_proposal_that_cannot_be_told_is_left_alone(errors, source):
    assert errors(*GOOD, ("diagnostic", source)) == []


@pytest.mark.parametrize(
    ("cells", "metadata", "told"),
    [
        ((*GOOD, ("", "print(1)")), {}, "cell c6: has no tag, so it counts as diagnostic."),
        ((*GOOD, ("setup", "x = 1")), {}, "cell c6: stands below a remediation and runs before everything."),
        (GOOD[:4], {}, "cell c4: is verified by nothing."),
        ((*GOOD[:4], ("diagnostic", "print(1)")), {}, "cell c4: is verified by nothing."),
        (GOOD, {"description": ""}, "metadata.runbook.description: is missing."),
        ((("parameters", "n: int = 1"), *GOOD[2:2], SETUP, ("diagnostic", "n")), {}, "n: has no help."),
        (
            (*GOOD, ("diagnostic", "kit.http(f())\ndef f(): pass")),
            {},
            "opens a http connection whose name cannot be told.",
        ),
    ],
)
def test_what_a_colleague_would_say_is_a_warning(warnings, cells, metadata, told):
    assert told in "\n".join(warnings(*cells, **metadata))

"""The command line: helps, exit codes, errors in words."""

from __future__ import annotations

import json
import subprocess
import sys

import notebooks
import pytest
from typer.testing import CliRunner

from runbooks_app import __version__
from runbooks_app.core.audit import GENESIS, Entry, entry_hash
from runbooks_app.main.cli import app

COMMANDS = [
    ["web"],
    ["worker"],
    ["migrate"],
    ["new"],
    ["check"],
    ["settings"],
    ["audit", "verify"],
    ["audit", "export"],
    ["connections", "test"],
    ["demo"],
    ["doctor"],
    ["login"],
    ["logout"],
    ["list"],
    ["show"],
    ["run"],
    ["cancel"],
    ["approve"],
    ["deny"],
    ["note"],
    ["postmortem"],
    *(["identity", name] for name in ("show", "jwks", "discovery", "withdraw")),
]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(*arguments, **environment):
    command = [sys.executable, "-m", "runbooks_app.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin", **environment})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(command):
    answer = invoke(*command, "--help")
    assert answer.exit_code == 0
    assert "Example" in answer.output
    assert f"runbooks {' '.join(command)}" in answer.output


def test_the_version_is_told():
    assert invoke("--version").output == f"runbooks {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["chek"], ["check", "--libary", "x"], ["check", "--library", "/nowhere"], ["new"]]
)
def test_what_is_not_understood_exits_with_2(arguments):
    answer = invoke(*arguments)
    assert answer.exit_code == 2
    assert "Traceback" not in answer.output


@pytest.mark.parametrize("command", ["web", "worker"])
def test_a_broken_setting_is_told_at_once_without_a_traceback(command):
    answer = process(command, RUNBOOKS_BINDD="x", PYTHONPROFILEIMPORTTIME="1")
    assert answer.returncode == 2
    assert "RUNBOOKS_BINDD: is no setting. Did you mean RUNBOOKS_BIND?" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "\x1b" not in answer.stderr
    assert "sqlalchemy" not in answer.stderr  # no server was loaded for this


def test_an_error_keeps_its_brackets(tmp_path, runbooks):
    code, _, complained = runbooks("check", "--library", tmp_path, "[red]x")
    assert (code, "[red]x" in complained) == (2, True)


def test_nothing_is_coloured_where_nobody_wants_it():
    assert "\x1b" not in process("--help", NO_COLOR="1", FORCE_COLOR="").stdout


def test_the_check_exits_with_1_where_a_runbook_has_errors_and_names_file_cell_and_mend(tmp_path):
    notebooks.write(tmp_path, "good", notebooks.cell("look", "print(database)", "diagnostic"))
    notebooks.write(tmp_path, "bad", notebooks.cell("look", "print(databse)", "diagnostic"))
    assert invoke("check", "good", "--library", tmp_path).exit_code == 0
    answer = invoke("check", "--library", tmp_path)
    assert answer.exit_code == 1
    assert f"{tmp_path / 'bad'}.ipynb: cell look: error: uses databse" in answer.output
    assert "Did you mean database?" in answer.output
    told = json.loads(invoke("check", "--library", tmp_path, "--json").output)
    assert (told["ok"], bool(told["runbooks"]["good"]["errors"])) == (False, False)


def test_the_check_is_of_the_library_of_the_settings_and_within_their_ceilings(tmp_path, monkeypatch):
    library = tmp_path / "ours"
    library.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNBOOKS_LIBRARY", str(library))
    look = notebooks.cell("look", "print(database)", "diagnostic")
    notebooks.write(library, "greedy", look, limits={"memory": "1 GB"})
    assert invoke("check").output == "1 checked, 0 with errors\n"
    monkeypatch.setenv("RUNBOOKS_CEILINGS", '{"memory": "512 MB"}')
    answer = invoke("check")
    assert answer.exit_code == 1
    assert "ours/greedy.ipynb: " in answer.output
    assert "512 MB" in answer.output
    assert "greedy" in invoke("doctor").output
    monkeypatch.setenv("RUNBOOKS_LIBRARY", str(tmp_path / "nowhere"))
    assert "RUNBOOKS_LIBRARY" in invoke("check").output


def test_an_unknown_runbook_is_told_with_those_that_there_are(tmp_path):
    def told():
        boxed = invoke("check", "x", "--library", tmp_path).output
        return " ".join(boxed.replace("│", " ").split())

    assert "there is none" in told()
    notebooks.write(tmp_path, "good", notebooks.cell("look", "print(database)", "diagnostic"))
    assert "there are: good" in told()


def trail(tmp_path, *lines):
    path = tmp_path / "trail.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def entry():
    bare = Entry(1, "2026-01-02T03:04:05.000000Z", '{"name":"Ana"}', "note.added", "{}", "{}", GENESIS, "")
    return json.dumps({**bare.as_json(), "hash": entry_hash(bare)})


def test_an_exported_trail_is_verified_without_a_database(tmp_path):
    answer = invoke("audit", "verify", "--file", trail(tmp_path, entry()))
    assert answer.exit_code == 0
    assert "The trail holds: 1 entries" in answer.output


def test_an_altered_trail_exits_with_1(tmp_path):
    answer = invoke("audit", "verify", "--file", trail(tmp_path, entry().replace("Ana", "Ann")), "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.output)["broken_at"] == 1


@pytest.mark.parametrize("line", ["{", "[]", "{}", "\x00"])
def test_a_file_that_is_no_trail_exits_with_2(tmp_path, line, runbooks):
    code, _, complained = runbooks("audit", "verify", "--file", trail(tmp_path, entry(), line))
    assert (code, "Line 2 of" in complained) == (2, True)


def test_an_export_overwrites_nothing(tmp_path):
    path = trail(tmp_path, "kept")
    assert invoke("audit", "export", path).exit_code == 2
    assert path.read_text() == "kept\n"

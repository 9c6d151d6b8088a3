"""`runbooks new`: the notebook passes the check, works for real, and nothing is overwritten."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import nbformat
import psycopg
import pytest
from nbclient import NotebookClient
from psycopg.errors import QueryCanceled
from typer.testing import CliRunner

from runbooks_app.core.errors import Conflict, InvalidInput, Misconfigured
from runbooks_app.library import Library
from runbooks_app.main.cli import app
from runbooks_app.main.new import write


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_new_runbook_passes_the_check_without_a_warning(tmp_path):
    answer = invoke("new", "disk-full", "--title", "Disk full", "--owner", "storage", "--library", tmp_path)
    assert answer.exit_code == 0, answer.output
    assert "runbooks check disk-full" in answer.output
    report = Library(tmp_path).reports()["disk-full"]
    assert (report.errors, report.warnings) == ((), ())
    runbook = Library(tmp_path).get("disk-full")
    assert (runbook.title, runbook.owner) == ("Disk full", "storage")
    assert [parameter.name for parameter in runbook.parameters] == ["database", "slow_after"]
    assert runbook.sections[0].verification
    assert invoke("check", "--library", tmp_path).exit_code == 0


def test_the_file_is_a_valid_notebook_as_jupyter_writes_it(tmp_path):
    path = write(tmp_path, "disk-full", "", "storage")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.read_text() == nbformat.writes(notebook) + "\n"
    assert notebook.metadata.runbook.title == "Disk full"


def test_two_new_runbooks_have_ids_of_their_own(tmp_path):
    for name in ("one", "two"):
        write(tmp_path, name, "", "storage")
    assert len({runbook.id for runbook in Library(tmp_path).runbooks().values()}) == 2


def test_an_existing_runbook_is_not_overwritten(tmp_path):
    path = write(tmp_path, "disk-full", "", "storage")
    before = path.read_bytes()
    with pytest.raises(Conflict, match="There is a runbook disk-full already"):
        write(tmp_path, "disk-full", "", "somebody")
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "Disk", "disk full", "../disk", "-disk", "disk.ipynb", "x" * 65, "dïsk"])
def test_a_name_that_cannot_be_typed_is_refused(tmp_path, name):
    with pytest.raises(InvalidInput, match="lower-case letters"):
        write(tmp_path, name, "", "storage")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["help", "status", "cancel", "postmortem"])
def test_a_name_that_the_chat_takes_for_something_else_is_refused(tmp_path, name):
    with pytest.raises(InvalidInput, match="something else"):
        write(tmp_path, name, "", "storage")


@pytest.mark.parametrize(("title", "owner"), [("two\nlines", "x"), ("x", " "), ("x" * 6000, "x"), ("x", "a\x00b")])
def test_a_title_or_owner_that_cannot_be_is_refused(tmp_path, title, owner):
    with pytest.raises(InvalidInput):
        write(tmp_path, "disk-full", title, owner)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_no_folder_is_told(tmp_path):
    with pytest.raises(Misconfigured, match="--library"):
        write(tmp_path / "nowhere", "disk-full", "", "storage")
    assert invoke("new", "disk-full", "--library", tmp_path / "nowhere").exit_code == 2


def test_run_all_in_jupyter_diagnoses_and_stops_at_the_gate(tmp_path, orders_server, monkeypatch):
    url = orders_server.server.url(database="orders")
    (tmp_path / "mine.toml").write_text(f"[orders-db]\ndsn = {json.dumps(url)}\n")
    monkeypatch.setenv("RUNBOOKS_KIT_CONNECTIONS", str(tmp_path / "mine.toml"))
    notebook = nbformat.read(write(tmp_path, "disk-full", "", "storage"), as_version=4)
    notebook.cells[1].source += '\ndatabase, slow_after = "orders-db", 0.0'
    (helps,) = [cell for cell in notebook.cells if cell.id == "did-it-help"]
    assert '"10s"' in helps.source
    helps.source = helps.source.replace('"10s"', '"1s"')  # it does not help here, however long one waits
    with psycopg.connect(url, autocommit=True) as slow, ThreadPoolExecutor(1) as pool:
        asleep = pool.submit(slow.execute, "SELECT pg_sleep(60)")
        NotebookClient(notebook, timeout=60, allow_errors=True, kernel_name="python3").execute()
        slow.cancel()
        assert isinstance(asleep.exception(), QueryCanceled)
    told = {cell.id: json.dumps(cell.get("outputs", [])) for cell in notebook.cells}
    assert "1 slow, the longest for" in told["what-is-slow"]
    assert "runbook.proposal+json" in told["what-would-help"]
    assert "GateClosed" in told["example-action"]
    checked = json.loads(told["did-it-help"])[0]["data"]["application/vnd.runbook.check+json"]
    assert not checked["ok"]

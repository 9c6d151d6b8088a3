"""The library reads a folder of notebooks and stays up to date; a broken one never takes others down."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import nbformat
import pytest

from runbooks_app import library as room
from runbooks_app.core.errors import BrokenRunbook, Misconfigured, NotFound, Unavailable
from runbooks_app.library import Library, read_revision

IDS = [f"7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b{number:02}" for number in range(20)]
OLD = 1_700_000_000_000_000_000


def notebook(number=0, source="print(1)", **cell):
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(source, id="look", metadata={"tags": ["diagnostic"]})]
    made.cells[0].update(cell)
    made.metadata["runbook"] = {"id": IDS[number], "title": "Orders", "owner": "orders"}
    return json.loads(nbformat.writes(made))


def put(folder, name, made, *, age=0):
    """Write a notebook, or text, whose time of change lies well behind and differs by age."""
    path = folder / f"{name}.ipynb"
    path.write_text(made if isinstance(made, str) else json.dumps(made))
    os.utime(path, ns=(OLD + age, OLD + age))
    return path


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "library"
    made.mkdir()
    (made / "kit").mkdir()
    (made / "kit" / "__init__.py").write_text("X = 1\n")
    put(made, "orders", notebook(0))
    return made


@pytest.fixture
def library(folder):
    return Library(folder)


def told(library, name):
    return str(library.broken()[name])


def test_a_notebook_is_a_runbook_by_its_stem(library):
    assert list(library.runbooks()) == ["orders"]
    assert library.get("orders").id == IDS[0]
    assert library.broken() == {}


def test_an_unknown_name_is_answered_by_the_closest(folder, library):
    put(folder, "broken", "{")
    with pytest.raises(NotFound, match=r"There is no runbook ordrs\. Did you mean orders\?"):
        library.get("ordrs")
    for name in ("../etc/passwd", "", "a\0b", "x" * 100_000):
        with pytest.raises(NotFound):
            library.get(name)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": ' * 900 + "1" + "}" * 900, "is nested too deep"),
        ('{"metadata": "\\u0000"}', "holds a NUL"),
        ("[]", "its JSON is no object"),
        ("{}", "has no object 'runbook'"),
        (notebook(1, "x = = 1"), "cell look, line 1: invalid syntax."),
        ({**notebook(1), "nbformat_minor": True}, "is not of the format 4.5"),
        ({**notebook(1), "more": 5}, "does not fit nbformat's schema"),
        ({**notebook(1), "cells": [{**notebook(1)["cells"][0], "attachments": 5}]}, "does not fit nbformat's schema"),
    ],
)
def test_a_broken_notebook_is_listed_and_the_others_work(folder, library, content, problem):
    put(folder, "other", content)
    assert next(iter(library.runbooks())) == "orders"
    assert problem in told(library, "other")
    with pytest.raises(BrokenRunbook, match=r"other\.ipynb cannot serve as a runbook"):
        library.get("other")
    with pytest.raises(BrokenRunbook):
        library.notebook("other")
    assert not library.reports()["other"].passed


def test_bytes_that_are_no_text_are_broken(folder, library):
    (folder / "other.ipynb").write_bytes(b"\xff\xfe\x00")
    assert "is no JSON" in told(library, "other")


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(folder, library):
    first = library.get("orders")
    assert library.get("orders") is first
    put(folder, "orders", notebook(0, "print(2)"), age=1)
    second = library.get("orders")
    assert second.diagnosis[0].source == "print(2)"
    assert second.digest != first.digest


def test_a_change_right_after_reading_is_seen_though_size_and_time_are_the_same(folder, library):
    path = folder / "orders.ipynb"
    path.write_text(json.dumps(notebook(0, "print(2)")))
    before = path.stat()
    assert library.get("orders").diagnosis[0].source == "print(2)"
    path.write_text(json.dumps(notebook(0, "print(3)")))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert library.get("orders").diagnosis[0].source == "print(3)"


def test_files_come_and_go(folder, library):
    assert len(library.runbooks()) == 1
    path = put(folder, "billing", notebook(1))
    assert list(library.runbooks()) == ["billing", "orders"]
    path.unlink()
    assert list(library.runbooks()) == ["orders"]


def test_a_mended_notebook_works_again(folder, library):
    put(folder, "orders", "{")
    assert library.runbooks() == {}
    put(folder, "orders", notebook(0), age=1)
    assert library.broken() == {}


def test_two_notebooks_with_one_id_are_both_broken_until_one_is_mended(folder, library):
    put(folder, "copy", notebook(0))
    put(folder, "billing", notebook(1))
    assert list(library.runbooks()) == ["billing"]
    assert "has the id of orders.ipynb" in told(library, "copy")
    assert "has the id of copy.ipynb" in told(library, "orders")
    put(folder, "copy", notebook(2), age=1)
    assert list(library.runbooks()) == ["billing", "copy", "orders"]


@pytest.mark.parametrize("name", ["Orders", "a b", "-x", "ä", "a.b", "x" * 65, "a\nb", "$(id)"])
def test_a_name_that_cannot_be_typed_is_broken(folder, library, name):
    put(folder, name, notebook(1))
    [broken] = library.broken().values()
    assert "has a name that cannot be typed" in str(broken)
    assert list(library.runbooks()) == ["orders"]


def test_hidden_and_other_files_are_not_looked_at(folder, library):
    put(folder, ".~orders", "{")
    (folder / "notes.txt").write_text("x")
    (folder / ".ipynb_checkpoints").mkdir()
    put(folder / ".ipynb_checkpoints", "orders-checkpoint", notebook(0))
    assert library.broken() == {}
    assert list(library.runbooks()) == ["orders"]


def test_a_file_over_five_megabytes_is_refused(folder, library):
    put(folder, "huge", json.dumps(notebook(1)) + " " * room.MAX_FILE)
    assert "is larger than 5,000,000 bytes" in told(library, "huge")


def test_links_stay_within_the_folder(folder, library, tmp_path):
    sibling = tmp_path / "library-of-others"  # a path that merely begins like the folder's
    sibling.mkdir()
    (folder / "outside.ipynb").symlink_to(put(sibling, "outside", notebook(1)))
    (folder / "kit" / "inside.ipynb").write_text(json.dumps(notebook(2)))
    (folder / "inside.ipynb").symlink_to(folder / "kit" / "inside.ipynb")
    assert "is a link out of the library" in told(library, "outside")
    assert list(library.runbooks()) == ["inside", "orders"]


def test_what_is_no_file_is_told(folder, library):
    (folder / "folder.ipynb").mkdir()
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "gone.ipynb").symlink_to(folder / "nowhere")
    (folder / "loop.ipynb").symlink_to(folder / "loop.ipynb")
    assert set(library.broken()) == {"folder", "gone", "loop", "pipe"}
    assert "is no file" in told(library, "pipe")
    assert list(library.runbooks()) == ["orders"]


def test_a_folder_that_is_missing_is_told_at_the_start_and_later(folder, library, tmp_path):
    with pytest.raises(Misconfigured, match="is no folder"):
        Library(tmp_path / "nowhere")
    shutil.rmtree(folder)
    with pytest.raises(Unavailable, match="cannot be read"):
        library.runbooks()


def test_modules_are_part_of_every_digest(folder, library):
    first = library.get("orders")
    modules = library.modules_digest
    path = folder / "kit" / "__init__.py"
    path.write_text("X = 2\n")
    second = library.get("orders")
    assert library.modules_digest != modules
    assert second.digest != first.digest
    assert second.cells == first.cells
    path.write_text("X = 1\n")
    assert library.get("orders").digest == first.digest
    (folder / "kit" / "more.py").write_text("")
    assert library.modules_digest != modules


def test_modules_behind_links_count_and_loops_end(folder, library, tmp_path):
    before = library.modules_digest
    outside = tmp_path / "helpers"
    outside.mkdir()
    (outside / "tables.py").write_text("X = 1\n")
    (folder / "helpers").symlink_to(outside)
    (folder / "kit" / "again").symlink_to(folder)
    with_helpers = library.modules_digest
    assert with_helpers != before
    (outside / "tables.py").write_text("X = 2\n")
    assert library.modules_digest not in {before, with_helpers}


def test_caches_and_links_to_nowhere_are_no_modules(folder, library):
    before = library.modules_digest
    for name in ("__pycache__", ".hidden"):
        (folder / "kit" / name).mkdir()
        (folder / "kit" / name / "x.py").write_text("")
    (folder / "kit" / ".#x.py").write_text("")
    (folder / "kit" / "gone.py").symlink_to(folder / "nowhere.py")
    assert library.modules_digest == before


def test_the_environment_is_named_by_what_is_installed(library):
    assert library.environment_digest == room.environment_digest()
    assert len(library.environment_digest) == 64


def test_magics_are_read_after_their_transformation(folder, library):
    source = "%matplotlib inline\nfiles = !ls {folder}\nx = 1\n"
    put(folder, "magic", notebook(1, source))
    put(folder, "bash", notebook(2, "%%bash\nrm -rf /nowhere\n"))
    put(folder, "wrong", notebook(3, "files = !ls\nx = = 1"))
    put(folder, "beyond", notebook(4, "=%\\"))  # IPython's transformation raises IndexError
    read = library.get("magic")
    assert read.diagnosis[0].source == source
    assert read.diagnosis[0].defines == {"files", "x"}
    assert "run_cell_magic('bash'" in library.get("bash").diagnosis[0].python
    assert "cell look, line 2: invalid syntax." in told(library, "wrong")
    assert "cell look, line 1: " in told(library, "beyond")


def test_the_stored_notebook_has_no_outputs_and_is_a_copy(folder, library):
    output = nbformat.v4.new_output("stream", text="secret")
    put(folder, "orders", notebook(0, outputs=[output], execution_count=4), age=1)
    stored = library.notebook("orders")
    assert stored["cells"][0]["outputs"] == []
    assert stored["cells"][0]["execution_count"] is None
    assert "holds outputs" in str(library.reports()["orders"].errors)
    stored["cells"].clear()
    assert library.notebook("orders")["cells"]
    nbformat.validate(nbformat.from_dict(library.notebook("orders")))


def test_a_stored_revision_is_read_as_it_was(folder, library):
    runbook, stored = library.get("orders"), json.loads(json.dumps(library.notebook("orders"), sort_keys=True))
    assert library.read_revision("orders", stored) == runbook
    assert read_revision("orders", stored, runbook.digest) == runbook
    assert library.revision("orders") == (runbook, library.notebook("orders"))
    (folder / "kit" / "__init__.py").write_text("X = 3\n")
    assert library.read_revision("orders", stored).digest != runbook.digest
    assert read_revision("orders", stored, runbook.digest) == runbook


def test_a_notebook_that_was_read_lately_is_not_read_again_and_only_so_many_are_remembered(library, monkeypatch):
    monkeypatch.setattr(room, "_MAX_RECENT", 2)
    monkeypatch.setattr(room, "_recent", {})
    notebooks = [notebook(number) for number in range(3)]
    first = read_revision("orders", notebooks[0], "x")
    assert read_revision("orders", notebooks[0], "x").cells is first.cells
    for other in notebooks[1:]:
        read_revision("orders", other, "x")
    assert len(room._recent) == 2
    again = read_revision("orders", notebooks[0], "x")
    assert again == first
    assert again.cells is not first.cells


def test_a_stored_revision_that_cannot_be_read_is_broken(library):
    with pytest.raises(BrokenRunbook):
        library.read_revision("orders", {"cells": 5})


def test_many_threads_see_whole_runbooks_while_files_change(folder, library):
    sources = ["print(1)", "print(2)"]
    failures, done = [], threading.Event()

    def look():
        while not done.is_set():
            try:
                found = library.get("orders")
                assert found.diagnosis[0].source in sources
                assert found.digest
            except Exception as error:  # noqa: BLE001 - told below, on the main thread
                failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        other = folder / "orders.new"
        other.write_text(json.dumps(notebook(0, sources[turn % 2])))
        other.replace(folder / "orders.ipynb")
        library.runbooks()
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_libraries_own_runbooks_are_sound_and_pass_the_check():
    own = Library(Path(__file__).parents[2] / "runbook_library")
    assert {name: str(broken) for name, broken in own.broken().items()} == {}
    assert {name: report.errors for name, report in own.reports().items() if not report.passed} == {}

"""What cells print beyond what a run holds, and displays that later cells update, as the service stores them."""

from __future__ import annotations

import pytest
from notebooks import cell, write

from runbooks_app.actions.outputs import outputs_of, whole_text
from runbooks_app.core.errors import Conflict, NotFound
from runbooks_app.core.run import CellState
from runbooks_app.store import runs
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.kernels


def stored(house, run) -> dict:
    with reading(house.service.engine) as tx:
        (attempt,) = runs.attempts(tx, run.id)
        return {found.cell_id: found for found in runs.cells(tx, attempt.id)}


def test_all_that_a_cell_prints_is_stored_and_can_be_read(house, library_folder):
    write(library_folder, "flood", cell("flood", "for n in range(400_000): print(n)", "diagnostic"))
    run, _ = house.diagnosed(name="flood")
    found = stored(house, run)["flood"]
    assert found.state is CellState.OK
    expected = "".join(f"{n}\n" for n in range(400_000)).encode()
    size, pieces = whole_text(house.service, found)
    assert size == len(expected)
    assert b"".join(pieces) == expected
    assert found.whole["lost"] == 0
    outputs = outputs_of(house.service, found)
    assert len(outputs[0]["text"]) == 1_000_000
    assert "the whole of it, 2,688,890 bytes" in outputs[-1]["text"]


def test_where_no_artifact_can_be_stored_the_diagnosis_goes_on_and_tells(house, library_folder, tmp_path):
    write(library_folder, "flood", cell("flood", "print('x' * 99 + '\\n' + 'y' * 1_000_000)", "diagnostic"))
    house.service.artifacts.put(b"so that the folder exists")
    (tmp_path / "full").write_text("a file where the folder should be")
    broken = Artifacts("file://full", tmp_path)
    house.service.artifacts.put_file = broken.put_file
    run, _ = house.diagnosed(name="flood")
    found = stored(house, run)["flood"]
    assert found.state is CellState.OK
    assert found.whole == {"artifact": "", "size": 1_000_101, "lost": 0}
    with pytest.raises(NotFound, match="could not be stored"):
        whole_text(house.service, found)


def test_a_cell_that_prints_little_has_no_text_beside_it(house, library_folder):
    write(library_folder, "little", cell("one", "print(1)", "diagnostic"))
    run, _ = house.diagnosed(name="little")
    with pytest.raises(NotFound, match="no more than"):
        whole_text(house.service, stored(house, run)["one"])


def test_a_later_cell_updates_the_stored_display_of_an_earlier_one(house, library_folder):
    write(
        library_folder,
        "updates",
        cell("first", "shown = display('waiting', display_id=True)", "diagnostic"),
        cell("between", "import time; time.sleep(0.1)", "diagnostic"),
        cell("last", "shown.update('done')", "diagnostic"),
    )
    run, _ = house.diagnosed(name="updates")
    found = stored(house, run)
    assert [output["data"]["text/plain"] for output in found["first"].outputs] == ["'done'"]
    assert found["first"].updates == 1
    assert found["last"].outputs == []


def test_an_attempt_that_was_taken_over_updates_nothing(house, library_folder):
    write(library_folder, "updates", cell("first", "display('kept')", "diagnostic"))
    run, _ = house.diagnosed(name="updates")
    with transaction(house.service.engine) as tx:
        (attempt,) = runs.attempts(tx, run.id)
        with pytest.raises(Conflict):
            runs.update_outputs(tx, attempt.id, "first", [], "")
    assert stored(house, run)["first"].outputs[0]["data"]["text/plain"] == "'kept'"

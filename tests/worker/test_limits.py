"""What a runbook may use up, from its notebook to what people are told."""

from __future__ import annotations

import pytest
from notebooks import cell, write
from signing import approve
from stuck_orders import CHECK, FREE, LOOK

from runbooks_app.actions import running
from runbooks_app.core.errors import BrokenRunbook
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import CellState, RunState
from runbooks_app.settings import Settings
from runbooks_app.store import runs
from runbooks_app.store.database import reading

pytestmark = pytest.mark.kernels

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
WEB = {"surface": "web", "auth_time": 1}
GREEDY = (
    "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n        held = bytearray(b'x' * 20_000_000)\n"
    "        while True: time.sleep(60)\n    time.sleep(0.05)\ntime.sleep(60)"
)
OVER = (
    "The kernel with all that it had started used more than 300 MB of memory, the limit of this runbook, and was ended."
)


def test_a_run_whose_kernel_was_over_the_limit_of_its_notebook_says_so_itself(house, library_folder):
    cells = (cell("first", "print('seen')"), cell("greedy", GREEDY), cell("last", "print('never')"))
    write(library_folder, "greedy", *cells, limits={"memory": "300 MB"})
    run, _ = house.diagnosed(name="greedy")
    assert (run.state, run.in_part) == (RunState.DIAGNOSED, True)
    assert run.reason == f"{OVER} It was running cell greedy."
    with reading(house.service.engine) as tx:
        told = {c.cell_id: (c.state, c.reason) for c in runs.cells(tx, runs.attempts(tx, run.id)[-1].id)}
    assert told["first"] == (CellState.OK, "")
    assert told["greedy"] == (CellState.DIED, OVER)
    assert told["last"] == (CellState.NEVER_RAN, run.reason)


def test_a_run_all_of_whose_cells_were_over_a_limit_has_failed(house, library_folder):
    write(library_folder, "greedy", cell("greedy", GREEDY), limits={"memory": "300 MB"})
    run, _ = house.diagnosed(name="greedy")
    assert (run.state, run.reason) == (RunState.FAILED, f"{OVER} It was running cell greedy.")


def test_a_remediation_over_a_limit_is_unknown_with_the_reason(house, library_folder, stuck):
    cells = (cell("look", LOOK), cell("free", f"{FREE}\n{GREEDY}", "remediation"), cell("check", CHECK))
    write(library_folder, "greedy", *cells, limits={"memory": "300 MB"})
    _, (proposal,) = house.diagnosed(name="greedy")
    approve(house.service, BEN, proposal)
    house.do_all()
    after = house.now(proposal)
    assert (after.state, after.state_reason) == (ProposalState.UNKNOWN, OVER)


def test_a_notebook_that_asks_for_more_than_the_ceiling_cannot_be_run(house, library_folder):
    write(library_folder, "huge", cell("look", "1"), limits={"memory": "64 GB"})
    with pytest.raises(BrokenRunbook) as broken:
        running.request_run(house.service, ANA, WEB, "huge", {})
    assert [f"{p.where}: {p.message}" for p in broken.value.problems] == [
        "metadata.runbook, memory: asks for 64 GB; this installation allows 4 GB at most."
    ]


def test_a_kernel_takes_the_installations_default_where_its_notebook_names_none(house, library_folder):
    settings = Settings(limits={"open_files": 100})
    assert settings.limits_of({})["open_files"] == 100
    write(library_folder, "plain", cell("look", "import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))"))
    run, _ = house.diagnosed(name="plain")
    with reading(house.service.engine) as tx:
        cells = {c.cell_id: c for c in runs.cells(tx, runs.attempts(tx, run.id)[-1].id)}
    assert cells["look"].outputs[0]["text"] == "(1024, 1024)\n"

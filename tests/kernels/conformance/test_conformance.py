"""The same notebook in a kernel of ours and in stock nbclient with ipykernel: the same outputs, cell by cell.

What is not compared is told in `normal`; where we differ on purpose, `DIFFERENCES` says why.
"""

from __future__ import annotations

import pytest
from kernels.conformance import stock
from kernels.conformance.normal import normal
from kernels.conformance.sources import CELLS
from kernels.segments import code, segment

from runbooks_app.kernels.events import CellEnded, CellUpdated

pytestmark = pytest.mark.kernels

DIFFERENCES = {
    "sys.stdout.buffer": "Stock has no such attribute; programs that write bytes find it here as in any Python.",
    "a running loop": "A cell that awaits nothing runs outside of a loop; one that wants tasks awaits something.",
    "asyncio.run inside": "So asyncio.run works here, as in the script that the cell was copied from.",
    "cat": "Stock runs !commands on a terminal of their own, which a sealed kernel cannot have: no \\r before \\n.",
    "shell": "And without one, what a command writes to stderr is told as stderr.",
    "unknown magic": "A cell that failed always shows an error; stock shows only a line of text.",
    "exception group": "The same.",
    "input": "There is nobody to answer; the message says what to do instead.",
    "exit": "It would end the kernel under the cells that follow; the message says so.",
}


@pytest.fixture(scope="module")
def outputs(engine, tmp_path_factory):
    """Of each cell: ours, and stock's."""
    cells = (code(name, source, timeout=60) for name, source in CELLS.items())
    events = list(engine.run(segment(*cells, timeout=120, output=20_000_000, output_total=100_000_000)))
    ours = {event.cell_id: list(event.outputs) for event in events if isinstance(event, CellEnded | CellUpdated)}
    theirs = stock.run(CELLS, tmp_path_factory.mktemp("stock"))
    return {name: (normal(ours[name]), normal(theirs[name])) for name in CELLS}


def test_there_are_cells_of_many_kinds():
    assert len(CELLS) >= 40
    assert not DIFFERENCES.keys() - CELLS.keys()


@pytest.mark.parametrize("name", [name for name in CELLS if name not in DIFFERENCES])
def test_a_cell_puts_out_what_it_does_in_stock_jupyter(outputs, name):
    ours, theirs = outputs[name]
    assert ours == theirs


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_that_is_listed_exists(outputs, name):
    ours, theirs = outputs[name]
    assert ours != theirs

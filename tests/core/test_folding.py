"""Which cells of a run are open on its page."""

from __future__ import annotations

import pytest

from runbooks_app.core.folding import FEW, MOST_OPEN, OPEN_BYTES, Weight, opened
from runbooks_app.core.run import CellState

pytestmark = pytest.mark.pages

OK = Weight(CellState.OK, 100)


def test_each_cell_of_a_short_run_is_open():
    assert opened([OK] * FEW) == [True] * FEW
    assert opened([]) == []


@pytest.mark.parametrize("state", [CellState.OK, CellState.WAITING, CellState.SKIPPED, CellState.NEVER_RAN])
def test_quiet_cells_of_a_long_run_are_a_line_each(state):
    assert opened([Weight(state, 0)] * (FEW + 1)) == [False] * (FEW + 1)


@pytest.mark.parametrize(
    "state", [CellState.FAILED, CellState.RUNNING, CellState.DIED, CellState.TIMED_OUT, CellState.CANCELLED]
)
def test_what_runs_or_went_wrong_is_open_in_a_long_run_too(state):
    found = opened([*[OK] * FEW, Weight(state, 0), OK])
    assert [n for n, is_open in enumerate(found) if is_open] == [FEW]


def test_of_very_many_that_went_wrong_the_first_are_open():
    found = opened([Weight(CellState.FAILED, 0)] * (FEW + 1))
    assert found == [True] * MOST_OPEN + [False] * (FEW + 1 - MOST_OPEN)


def test_what_runs_is_open_however_many_went_wrong_before_it_and_however_much_they_hold():
    running = Weight(CellState.RUNNING, OPEN_BYTES // 2)
    long = opened([*[Weight(CellState.FAILED, 0)] * MOST_OPEN, *[OK] * FEW, running])
    assert long[-1]
    assert sum(long) == MOST_OPEN
    assert opened([Weight(CellState.OK, OPEN_BYTES - 1), running]) == [False, True]


def test_open_cells_have_no_more_outputs_than_a_page_bears():
    third = Weight(CellState.OK, OPEN_BYTES // 3)
    assert opened([third, third, third, third, Weight(CellState.OK, 0)]) == [True, True, True, False, True]

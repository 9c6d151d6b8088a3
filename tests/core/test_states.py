"""Life cycles: only the steps of the tables, and no way out of an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import proposal, run
from runbooks_app.core.errors import Conflict
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState

CYCLES = [
    pytest.param(RunState, run.TRANSITIONS, run.move, id="run"),
    pytest.param(ProposalState, proposal.TRANSITIONS, proposal.move, id="proposal"),
    pytest.param(Verification, proposal.VERIFICATION_TRANSITIONS, proposal.move_verification, id="verification"),
]
ENDS = [
    *(pytest.param(state, run.move, RunState, id=f"run {state}") for state in sorted(run.ENDED - {RunState.LOST})),
    *(
        pytest.param(state, proposal.move, ProposalState, id=f"proposal {state}")
        for state in sorted(set(ProposalState) - proposal.OPEN - {ProposalState.EXECUTING})
    ),
    *(
        pytest.param(state, proposal.move_verification, Verification, id=f"verification {state}")
        for state in sorted(set(Verification) - {Verification.PENDING})
    ),
]


@pytest.mark.parametrize(("states", "table", "move"), CYCLES)
def test_exactly_the_steps_of_the_table_are_taken(states, table, move):
    assert set(table) == set(states)
    for current in states:
        for to in states:
            if to in table[current]:
                assert move(current, to) is to
            else:
                with pytest.raises(Conflict):
                    move(current, to)


@pytest.mark.parametrize(("end", "move", "states"), ENDS)
def test_nothing_leaves_an_end(end, move, states):
    for to in states:
        with pytest.raises(Conflict):
            move(end, to)


@given(st.lists(st.sampled_from(ProposalState), max_size=20))
def test_whatever_is_tried_a_proposal_executes_at_most_once_and_only_after_approval(steps):
    state, history = ProposalState.PROPOSED, []
    for to in steps:
        try:
            state = proposal.move(state, to)
        except Conflict:
            continue
        history.append(state)
    assert history.count(ProposalState.EXECUTING) <= 1
    if ProposalState.EXECUTING in history:
        assert history[history.index(ProposalState.EXECUTING) - 1] is ProposalState.APPROVED


def test_a_lost_run_is_queued_again_and_never_ends_otherwise():
    assert run.TRANSITIONS[RunState.LOST] == {RunState.QUEUED}
    assert run.MAX_ATTEMPTS > 1


@pytest.mark.parametrize(
    ("cells", "state", "in_part"),
    [
        ([], RunState.DIAGNOSED, False),
        ([CellState.OK, CellState.OK], RunState.DIAGNOSED, False),
        ([CellState.OK, CellState.FAILED], RunState.DIAGNOSED, True),
        ([CellState.DIED, CellState.OK, CellState.SKIPPED], RunState.DIAGNOSED, True),
        ([CellState.FAILED, CellState.TIMED_OUT], RunState.FAILED, True),
        ([CellState.TIMED_OUT, CellState.NEVER_RAN], RunState.TIMED_OUT, True),
        ([CellState.OK, CellState.CANCELLED], RunState.CANCELLED, True),
    ],
)
def test_a_diagnosis_ends_by_what_became_of_its_cells(cells, state, in_part):
    assert run.outcome(cells) == (state, in_part)

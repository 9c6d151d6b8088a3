"""Does it still hold, what became of it, did it work."""

from __future__ import annotations

import pytest

from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.rechecking import compare, remediation_outcome, verification
from runbooks_app.core.run import CellState, RunState

INPUTS = {"pid": 7, "since": "a", "blocked": 37}
IDENTITY = ("pid", "since")


def recheck(proposed, state=RunState.DIAGNOSED, *, in_part=False, reason=""):
    return compare("end", INPUTS, IDENTITY, proposed, state, in_part=in_part, reason=reason)


def test_the_same_identity_holds_whatever_the_informative_inputs_do():
    assert recheck([("other", {}), ("end", {**INPUTS, "blocked": 2})]).holds
    assert recheck([("end", INPUTS)], in_part=True).holds


def test_other_identity_inputs_make_it_stale_with_a_successor():
    verdict = recheck([("end", {**INPUTS, "pid": 8})])
    assert not verdict.holds
    assert "pid was 7, is 8" in verdict.reason
    assert verdict.successor == {**INPUTS, "pid": 8}


def test_no_longer_proposed_is_stale():
    verdict = recheck([("other", INPUTS)])
    assert (verdict.holds, verdict.reason, verdict.successor) == (False, "The diagnosis no longer proposes this.", None)


@pytest.mark.parametrize(
    ("state", "in_part", "reason", "told"),
    [
        (RunState.FAILED, True, "db away", "ended failed: db away"),
        (RunState.TIMED_OUT, True, "", "ended timed out."),
        (RunState.DIAGNOSED, True, "", "ended in part."),
    ],
)
def test_a_recheck_that_errs_makes_it_stale_with_the_reason(state, in_part, reason, told):
    verdict = recheck([], state, in_part=in_part, reason=reason)
    assert not verdict.holds
    assert told in verdict.reason


def test_a_cancelled_recheck_never_holds_though_it_had_proposed_the_same_by_then():
    verdict = recheck([("end", INPUTS)], RunState.CANCELLED, in_part=True)
    assert (verdict.holds, verdict.reason) == (False, "The re-check was cancelled.")


OK = ("verify", CellState.OK, "")


def test_verified_means_every_cell_ran_and_every_check_held():
    assert verification([OK], [("gone", True)]) == (Verification.VERIFIED, "")


def test_a_check_that_does_not_hold_is_named():
    assert verification([OK], [("gone", False), ("fast", True)]) == (Verification.NOT_VERIFIED, "Did not hold: gone.")


def test_a_broken_cell_is_named_with_its_reason():
    failed = ("verify", CellState.TIMED_OUT, "took over 60 s")
    assert verification([failed], [("gone", True)]) == (
        Verification.NOT_VERIFIED,
        "Cell verify timed out: took over 60 s",
    )
    assert verification([("verify", CellState.DIED, "")], []) == (Verification.NOT_POSSIBLE, "Cell verify died.")


def test_cells_that_check_nothing_verify_nothing():
    verdict, why = verification([OK], [])
    assert verdict is Verification.NOT_POSSIBLE
    assert "check nothing" in why


@pytest.mark.parametrize(
    ("cell", "outcome"),
    [
        (CellState.OK, ProposalState.APPLIED),
        (CellState.FAILED, ProposalState.FAILED),
        (CellState.NEVER_RAN, ProposalState.FAILED),
        (CellState.SKIPPED, ProposalState.FAILED),
        (CellState.DIED, ProposalState.UNKNOWN),
        (CellState.TIMED_OUT, ProposalState.UNKNOWN),
        (CellState.CANCELLED, ProposalState.UNKNOWN),
        (None, ProposalState.UNKNOWN),
    ],
)
def test_what_may_have_had_an_effect_is_never_told_as_none(cell, outcome):
    state, told = remediation_outcome(cell, "why")
    assert state is outcome
    assert ("Nothing was executed" in told) == (cell in {CellState.NEVER_RAN, CellState.SKIPPED})


def test_every_outcome_but_applied_has_a_reason_to_tell():
    for cell in CellState:
        state, told = remediation_outcome(cell, "")
        assert told or state is ProposalState.APPLIED


def test_what_was_proposed_by_hand_holds_if_the_diagnosis_is_made_in_whole():
    def by_hand(state, *, in_part=False):
        return compare("end", INPUTS, IDENTITY, [], state, in_part=in_part, reason="", by_hand=True)

    assert by_hand(RunState.DIAGNOSED).holds
    assert not by_hand(RunState.DIAGNOSED, in_part=True).holds
    assert not by_hand(RunState.FAILED).holds
    assert not by_hand(RunState.CANCELLED).holds

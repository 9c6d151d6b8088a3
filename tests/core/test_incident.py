"""How long an incident's steps took, and from which event to which."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbooks_app.core.incident import (
    AuditRef,
    CellStory,
    ChannelStory,
    DecisionStory,
    Happened,
    IncidentStory,
    ProposalStory,
    RunStory,
    Told,
    VerificationStory,
)
from runbooks_app.core.incident_steps import Durations, durations
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import RunState
from runbooks_app.core.runbook import Stage

OPENED = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)
POLICY = Policy(Risk.HIGH, 2, (("database",),), 1800, recheck=True)
CELL = CellStory("fix", Stage.REMEDIATION, "fix()")


def at(seconds):
    return OPENED + timedelta(seconds=seconds)


def run(ended, state=RunState.DIAGNOSED, proposals=(), seq=1):
    return RunStory(
        "r", "db", "", "d", {}, "x", at(0), state, ended_at=ended, proposals=proposals, entry=AuditRef(seq, "a")
    )


def proposal(made, **changes):
    base = ProposalStory(
        "p", "g", "t", ProposalState.PROPOSED, at(made), "d", {}, POLICY, CELL, entry=AuditRef(made, "b")
    )
    return replace(base, **changes)


def story(**changes):
    return replace(IncidentStory("i", "t", OPENED, "alert", opened=AuditRef(0, "o")), **changes)


def test_nothing_happened_so_nothing_took_time():
    assert durations(story(runs=(run(None, RunState.DIAGNOSING),))) == Durations()


def test_acknowledging_ends_with_the_first_act_of_a_human():
    items = (
        Told(at(1), Happened.RUN, "run", "Alertmanager"),
        Told(at(50), Happened.NOTE, "later", "Olga", human=True, entry=AuditRef(9, "n")),
        Told(at(40), Happened.DECISION, "approved", "Dana", human=True, entry=AuditRef(8, "n")),
    )
    step = durations(story(items=items)).acknowledge
    assert step.took == timedelta(seconds=40)
    assert (step.since.seq, step.until.seq) == (0, 8)


def test_an_incident_that_a_human_opened_is_acknowledged_at_once():
    items = (Told(OPENED, Happened.OPENED, "opened", "Olga", human=True),)
    assert durations(story(items=items)).acknowledge.took == timedelta(0)


def test_diagnosing_ends_with_the_first_run_that_was_diagnosed():
    runs = (run(at(5), RunState.FAILED, seq=2), run(at(30), seq=3), run(at(20), seq=4))
    step = durations(story(runs=runs)).diagnose
    assert (step.took, step.until.seq) == (timedelta(seconds=20), 4)


def test_a_run_older_than_its_incident_takes_no_negative_time():
    assert durations(story(runs=(run(at(-60)),))).diagnose.took == timedelta(0)


def test_approving_lasts_from_the_first_proposal_to_the_approval_that_was_enough():
    decisions = (
        DecisionStory("Dana", "approve", at(60), entry=AuditRef(60, "c")),
        DecisionStory("Late", "approve", at(95), counted=False, entry=AuditRef(95, "c")),
        DecisionStory("Emil", "approve", at(90), entry=AuditRef(90, "c")),
    )
    denied = proposal(10, state=ProposalState.DENIED)
    approved = proposal(30, state=ProposalState.APPROVED, approved_at=at(90), decisions=decisions)
    step = durations(story(runs=(run(at(9), proposals=(approved, denied)),))).approve
    assert step.took == timedelta(seconds=80)
    assert (step.since.seq, step.until.seq) == (10, 90)


def test_without_an_approval_there_is_no_time_to_approve():
    assert durations(story(runs=(run(at(9), proposals=(proposal(10),)),))).approve is None


def test_an_approval_whose_decision_is_not_known_has_no_entry():
    step = durations(story(runs=(run(at(9), proposals=(proposal(10, approved_at=at(20)),)),))).approve
    assert step.until is None


@pytest.mark.parametrize(
    ("state", "verification", "mitigated"),
    [
        (ProposalState.APPLIED, VerificationStory(Verification.VERIFIED, at(100), entry=AuditRef(7, "v")), True),
        (ProposalState.APPLIED, VerificationStory(Verification.NOT_VERIFIED, at(100)), False),
        (ProposalState.APPLIED, VerificationStory(Verification.VERIFIED), False),
        (ProposalState.APPLIED, None, False),
        (ProposalState.UNKNOWN, VerificationStory(Verification.VERIFIED, at(100)), False),
    ],
)
def test_mitigating_ends_with_a_verified_remediation_and_nothing_less(state, verification, mitigated):
    step = durations(
        story(runs=(run(at(9), proposals=(proposal(10, state=state, verification=verification),)),))
    ).mitigate
    assert (step is not None) is mitigated
    if step:
        assert (step.took, step.until.seq) == (timedelta(seconds=100), 7)


def test_proposals_of_all_runs_are_in_the_order_of_their_making():
    runs = (run(at(9), proposals=(proposal(30), proposal(10))), run(at(9), proposals=(proposal(20),)))
    assert [p.proposed_at for p in story(runs=runs).proposals] == [at(10), at(20), at(30)]


@pytest.mark.parametrize(
    ("channel", "shown", "opens"),
    [
        (ChannelStory("C012AB", "inc-7"), "#inc-7", True),
        (ChannelStory("C012AB"), "C012AB", True),
        (ChannelStory("inc-7"), "#inc-7", False),
        (ChannelStory("#inc-7"), "#inc-7", False),
    ],
)
def test_a_channel_is_shown_by_its_name_and_opened_by_its_id(channel, shown, opens):
    assert (channel.shown, channel.has_id) == (shown, opens)

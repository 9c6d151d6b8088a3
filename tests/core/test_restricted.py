"""What of a run that reached restricted connections may leave the pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runbooks_app.core.incident import (
    AskStory,
    CellStory,
    FindingStory,
    ProposalStory,
    RemediationStory,
    RunStory,
    VerificationStory,
)
from runbooks_app.core.people import Person, through
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.restricted import shareable, shareable_ask, stays_on_pages
from runbooks_app.core.run import RunState
from runbooks_app.core.runbook import Stage

SEEN = "patient 4711"
AT = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)
CELL = CellStory("look", Stage.DIAGNOSTIC, "look()", ({"output_type": "stream", "text": SEEN},), reason=SEEN)
FINDING = FindingStory("critical", "One session blocks others", evidence={"row": SEEN})
PROPOSAL = ProposalStory(
    "p", "end", "End a session", ProposalState.APPLIED, AT, "d",
    {"who": SEEN}, Policy(Risk.HIGH, 1, (("database",),), 1800, recheck=True), CELL,
    reason=SEEN,
    closed_reason=SEEN,
    remediation=RemediationStory(ProposalState.APPLIED, AT, reason=SEEN, cells=(CELL,)),
    verification=VerificationStory(Verification.VERIFIED, reason=SEEN, cells=(CELL,), findings=(FINDING,)),
)  # fmt: skip
RUN = RunStory(
    "r", "db", "Latency", "d", {}, "Ana", AT, RunState.DIAGNOSED,
    reason=SEEN, restricted=True, cells=(CELL,), findings=(FINDING,), proposals=(PROPOSAL,),
)  # fmt: skip


def test_that_and_when_stay_and_what_was_seen_does_not():
    shared = shareable(RUN)
    (proposal,), (finding,) = shared.proposals, shared.findings
    assert (finding.severity, finding.summary) == ("critical", "One session blocks others")
    assert (proposal.title, proposal.state, proposal.remediation.outcome) == (
        "End a session",
        ProposalState.APPLIED,
        ProposalState.APPLIED,
    )
    assert proposal.verification.findings[0].summary == "One session blocks others"
    assert proposal.cell.source == "look()"
    assert SEEN not in repr(shared)


@pytest.mark.parametrize("done", [None, PROPOSAL.remediation])
def test_what_was_not_done_or_not_verified_is_not_made_up(done):
    (proposal,) = shareable(replace(RUN, proposals=(replace(PROPOSAL, remediation=done, verification=None),))).proposals
    assert (proposal.remediation is None) == (done is None)
    assert proposal.verification is None


def test_a_run_that_reached_nothing_restricted_is_told_whole():
    open_run = replace(RUN, restricted=False)
    assert shareable(open_run) is open_run


@pytest.mark.pages
@pytest.mark.parametrize("concluded_at", [None, AT])
def test_of_an_ask_is_told_that_it_was_asked_and_concluded_and_where(concluded_at):
    asked = replace(RUN, title=f"Was it {SEEN}", findings=(replace(FINDING, summary=SEEN),), parameters={"who": SEEN})
    ask = AskStory(asked, f"It was {SEEN}" if concluded_at else "", "Ana", concluded_at)
    told = shareable_ask(ask)
    assert SEEN not in repr(told)
    assert (told.withheld, told.concluded_at, told.concluded_by) == (True, concluded_at, "Ana")
    assert (told.run.requested_by, told.run.requested_at) == ("Ana", AT)
    assert "/runs/r" in told.run.title
    assert ("/runs/r" in told.conclusion) == (concluded_at is not None)
    whole = replace(ask, run=replace(asked, restricted=False))
    assert shareable_ask(whole) is whole


@pytest.mark.pages
def test_what_stays_on_pages_is_told_to_people_and_to_no_agent():
    anna = Person("i#anna", "Anna", roles=frozenset({"responder"}))
    agent = through(anna, "runbooks-agent")
    told = [(anna, True), (anna, False), (agent, True), (agent, False)]
    assert [stays_on_pages(who, restricted=is_so) for who, is_so in told] == [False, False, True, False]

"""What of a run that reached restricted connections may leave the pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runbooks_app.core.incident import (
    CellStory,
    FindingStory,
    ProposalStory,
    RemediationStory,
    RunStory,
    VerificationStory,
)
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.restricted import shareable
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

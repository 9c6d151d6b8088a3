"""What messages of runs and proposals tell: what, where, how long, who, and what is next."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from chat.told import PROPOSAL, RUN, URL, buttons, said

from runbooks_app.chat import messages, replies, views
from runbooks_app.chat.mrkdwn import duration
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import RunState


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (1.44, "1.4 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (252, "4 min 12 s"),
        (3840, "1 h 4 min"), (7200, "2 h"), (float("nan"), "an unknown time"), (-1, "an unknown time")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds, told):
    assert duration(seconds) == told


def test_a_diagnosed_run_tells_what_where_how_long_and_who():
    told = said(messages.run_message(RUN))
    assert f"*<{URL}|db-latency>* on orders-db — 🔎 diagnosed in 1.4 s, asked by Ana" in told
    assert "Nothing was found." in told


def test_findings_stand_worst_first_by_word_and_shape():
    told = replace(RUN, findings=(
        views.FindingTold("info", "three"), views.FindingTold("critical", "one"), views.FindingTold("odd", "two"),
    ))  # fmt: skip
    message = messages.run_message(told)
    assert re.search(r"🛑 \*Critical:\* one\n⚠️ \*Warning:\* two\n\u2139\ufe0f \*Info:\* three", said(message))
    assert "Worst: one" in message.text


def test_more_findings_than_fit_are_counted_and_linked():
    told = replace(RUN, findings=tuple(views.FindingTold("warning", f"number {i}") for i in range(40)))
    assert f"25 more findings, none worse than these: <{URL}|all findings>" in said(messages.run_message(told))


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.DIAGNOSING])
def test_a_run_that_goes_on_can_be_cancelled_from_its_message(state):
    cancel = buttons(messages.run_message(replace(RUN, state=state)))["cancel_run"]
    assert cancel["value"] == "r1"


@pytest.mark.parametrize("state", [s for s in RunState if s not in {RunState.QUEUED, RunState.DIAGNOSING}])
def test_a_run_that_has_ended_has_no_cancel_button(state):
    assert "cancel_run" not in buttons(messages.run_message(replace(RUN, state=state)))


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (RunState.FAILED, "nothing was changed"), (RunState.TIMED_OUT, "ran out of time"),
        (RunState.CANCELLED, "cancelled"), (RunState.LOST, "run it afresh"),
    ],
)  # fmt: skip
def test_a_run_that_did_not_finish_tells_what_is_known(state, told):
    assert told in said(messages.run_message(replace(RUN, state=state)))


@pytest.mark.kernels
def test_a_run_that_waits_tells_its_place_and_why_and_one_without_only_that_it_wants_a_worker():
    queued = replace(RUN, state=RunState.QUEUED)
    place = "3rd in line; 5 of Ana's runs are going, which is the most at a time"
    assert f"⏳ waiting: {place}, asked by Ana" in said(messages.run_message(replace(queued, waiting=place)))
    assert "⏳ waiting for a worker, asked by Ana" in said(messages.run_message(queued))
    status = said(replies.status_reply((replace(queued, waiting=place), RUN)))
    assert f"waiting for 1.4 s: {place}, asked by Ana" in status
    assert "diagnosed, 6 of 6 cells, 1.4 s, asked by Ana" in status


def test_a_diagnosis_in_part_says_so_and_what_went_wrong():
    told = said(messages.run_message(replace(RUN, part=True, cells_done=5, problems=("Cell locks failed: no.",))))
    assert "diagnosed *in part* in 1.4 s: 5 of 6 cells worked" in told
    assert "Cell locks failed: no." in told
    assert "Not everything was looked at." in told


def test_a_proposal_tells_target_role_who_may_decide_and_until_when():
    message = messages.proposal_message(PROPOSAL)
    told = said(message)
    assert "*End session 4711 on orders-db* — waits for approval (high risk)" in told
    assert "Runs on *orders-db* as orders_operator" in told
    assert "Takes 2 people who approve for database and for payments or sre" in told
    assert "|03:40 UTC>" in told
    assert buttons(message)["open_proposal"]["url"] == PROPOSAL.url


def test_a_runs_message_leads_to_the_approval_page_of_each_proposal():
    message = messages.run_message(replace(RUN, proposals=(PROPOSAL,)))
    assert buttons(message)["open_proposal"]["url"] == PROPOSAL.url


def test_an_unknown_outcome_is_told_loudly_with_what_to_do():
    told = said(messages.proposal_message(replace(PROPOSAL, state=ProposalState.UNKNOWN)))
    assert "🚨" in told
    assert "OUTCOME UNKNOWN" in told
    assert "will not be tried again" in told
    assert "*Next:* look at the system itself" in told


@pytest.mark.parametrize("verification", [Verification.NOT_VERIFIED, Verification.NOT_POSSIBLE])
def test_an_action_that_was_applied_but_not_verified_is_no_success(verification):
    told = said(messages.proposal_message(replace(PROPOSAL, state=ProposalState.APPLIED, verification=verification)))
    assert "✅" not in told
    assert "*Next:*" in told


def test_a_verified_end_tells_the_time_since_the_alert():
    end = replace(
        PROPOSAL, state=ProposalState.APPLIED, verification=Verification.VERIFIED, seconds=0.3, since_alert=252
    )
    assert "✅ *End session 4711 on orders-db* — applied in 0.3 s, *verified*; 4 min 12 s since the alert" in said(
        messages.proposal_message(end)
    )


@pytest.mark.parametrize("state", list(ProposalState))
def test_only_a_proposal_that_still_waits_asks_for_a_decision(state):
    message = messages.proposal_message(replace(PROPOSAL, state=state))
    asks = buttons(message)["open_proposal"]["text"]["text"] == "Review and decide"
    assert asks == (state is ProposalState.PROPOSED)


def test_a_restricted_proposals_outcome_stays_out_whatever_its_state():
    told = replace(PROPOSAL, state=ProposalState.FAILED, outcome="jane@customer.example", restricted=True)
    for state in ProposalState:
        assert "jane" not in said(messages.proposal_message(replace(told, state=state)))


@pytest.mark.parametrize("short", [True, False])
def test_why_a_restricted_proposal_was_made_stays_out_and_its_page_is_named(short):
    told = replace(PROPOSAL, reason="jane@customer.example waits", restricted=True)
    sent = said(messages.run_message(replace(RUN, proposals=(told,))) if short else messages.proposal_message(told))
    assert "jane" not in sent
    assert "Why it is proposed may show restricted data" in sent


def test_what_went_wrong_in_a_restricted_run_stays_out_and_its_page_is_named():
    told = replace(RUN, problems=("look: KeyError: jane@customer.example",))
    assert "KeyError" in said(messages.run_message(told))
    hidden = said(messages.run_message(replace(told, restricted=True)))
    assert "jane" not in hidden
    assert "What went wrong may show restricted data" in hidden

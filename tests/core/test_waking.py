"""Whom a proposal that waits is told to, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.break_glass import Mode
from runbooks_app.core.deciding import Asked, Decision, Verdict, why_not
from runbooks_app.core.people import Person
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.waking import MOST_WOKEN, Step, groups, pause, waits, whom

pytestmark = pytest.mark.chat

NOW = datetime(2026, 3, 29, 3, 12, tzinfo=UTC)
POLICY = Policy(Risk.HIGH, 1, (("database",),), 1800, recheck=True)
ASKED = Asked(ProposalState.PROPOSED, "d", POLICY, frozenset({"i#ana"}), "", NOW + timedelta(minutes=30))
ANA = Person("i#ana", "Ana", "ana@x.example", frozenset({"responder", "approver:database"}))
BEN = Person("i#ben", "Ben", "Ben@x.example", frozenset({"approver:database"}))
CAT = Person("i#cat", "Cat", "cat@x.example", frozenset({"approver:database", "approver:sre"}))
DAN = Person("i#dan", "Dan", "dan@x.example", frozenset({"approver:sre"}))
EVE = Person("i#eve", "Eve", "eve@x.example", frozenset({"responder", "break-glass"}))
VIC = Person("i#vic", "Vic", "", frozenset({"viewer"}))
ALL = (ANA, BEN, CAT, DAN, EVE, VIC)


def woken_by(asked=ASKED, step=Step.ON_CALL, known=ALL, *, on_call=(), woken=(), mode=Mode.SIGNED, now=NOW):
    people = whom(asked, step, known, on_call=frozenset(on_call), woken=frozenset(woken), mode=mode, now=now)
    return [person.name for person in people]


def test_those_on_call_who_may_decide_are_woken_first():
    assert woken_by(on_call={"ben@x.example", "dan@x.example", "vic@x.example"}) == ["Ben"]


def test_addresses_are_the_same_in_capitals_and_small_letters():
    assert woken_by(on_call={"ben@x.example"}) == ["Ben"]


def test_somebody_without_a_verified_address_is_nobody_on_call():
    nameless = replace(BEN, email="")
    assert woken_by(known=(nameless, CAT), on_call={"", "cat@x.example"}) == ["Cat"]


def test_without_anybody_on_call_all_who_may_are_woken():
    assert woken_by() == ["Ben", "Cat"]


def test_who_asked_is_not_woken_even_when_on_call():
    assert woken_by(on_call={"ana@x.example"}) == ["Ben", "Cat"]


def test_when_two_are_wanted_one_on_call_is_too_few():
    two = replace(ASKED, policy=replace(POLICY, approvals=2))
    assert woken_by(two, on_call={"ben@x.example"}) == ["Ben", "Cat"]
    given_one = replace(two, decisions=(Decision("i#cat", "Cat", Verdict.APPROVE, NOW),))
    assert woken_by(given_one, on_call={"ben@x.example"}) == ["Ben"]


def test_what_no_human_asked_for_takes_one_more():
    by_alert = replace(ASKED, requesters=frozenset())
    assert woken_by(by_alert, on_call={"ben@x.example"}) == ["Ana", "Ben", "Cat"]
    sponsored = replace(by_alert, sponsor="i#cat")
    assert woken_by(sponsored, on_call={"ben@x.example", "cat@x.example"}) == ["Ben"]


def test_next_are_all_others_who_may():
    assert woken_by(step=Step.EVERYBODY, woken={"i#ben"}) == ["Cat"]
    assert woken_by(step=Step.EVERYBODY, woken={"i#ben", "i#cat"}) == []


def test_last_are_those_who_may_break_the_glass_also_who_asked():
    asked_by_eve = replace(ASKED, requesters=frozenset({"i#eve"}))
    assert woken_by(asked_by_eve, Step.BREAK_GLASS) == ["Eve"]
    assert woken_by(step=Step.BREAK_GLASS, mode=Mode.OFF) == []


@pytest.mark.parametrize("state", [state for state in ProposalState if state is not ProposalState.PROPOSED])
@pytest.mark.parametrize("step", Step)
def test_nobody_is_woken_for_what_is_decided(state, step):
    over = replace(ASKED, state=state)
    assert not waits(over, NOW)
    assert woken_by(over, step) == []


@pytest.mark.parametrize("step", Step)
def test_nobody_is_woken_for_what_has_expired(step):
    assert waits(ASKED, ASKED.expires_at - timedelta(seconds=1))
    assert woken_by(step=step, now=ASKED.expires_at) == []


def test_a_step_wakes_no_more_than_some():
    many = [replace(BEN, subject=f"i#{number}") for number in range(MOST_WOKEN + 10)]
    assert len(woken_by(known=many)) == MOST_WOKEN


def test_the_groups_of_all_clauses_are_asked_for():
    policy = replace(POLICY, approvers=(("sre", "payments"), ("database", "sre")))
    assert groups(policy) == ("database", "payments", "sre")


def test_steps_follow_each_other_after_the_time_that_is_set():
    assert [pause(ASKED, step, 300, NOW) for step in Step] == [300, 300, None]


def test_what_expires_soon_gets_to_its_last_step_all_the_same():
    soon = replace(ASKED, expires_at=NOW + timedelta(minutes=6))
    first = pause(soon, Step.ON_CALL, 300, NOW)
    assert first == 120
    assert pause(soon, Step.EVERYBODY, 300, NOW + timedelta(seconds=first)) == 120
    assert pause(soon, Step.ON_CALL, 300, soon.expires_at) == 1


@given(
    emails=st.frozensets(st.sampled_from([person.email.casefold() for person in ALL])),
    woken=st.frozensets(st.sampled_from([person.subject for person in ALL])),
    step=st.sampled_from([Step.ON_CALL, Step.EVERYBODY]),
    sponsor=st.sampled_from(["", "i#ben"]),
)
def test_nobody_is_woken_who_could_not_decide(emails, woken, step, sponsor):
    asked = replace(ASKED, sponsor=sponsor)
    by_name = {person.name: person for person in ALL}
    for name in woken_by(asked, step, on_call=emails, woken=woken):
        assert not why_not(asked, by_name[name], NOW)
        assert by_name[name].subject not in woken

"""The one decision function, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.deciding import (
    Asked,
    Decision,
    Unsigned,
    Verdict,
    closed_reason,
    decide,
    groups_text,
    may_start,
    why_not,
    why_not_in_chat,
    why_not_withdraw,
)
from runbooks_app.core.errors import Conflict, Refused, RunbooksError
from runbooks_app.core.people import Person, through
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState

NOW = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)
POLICY = Policy(Risk.HIGH, 1, (("database",),), 1800, recheck=True)
ASKED = Asked(ProposalState.PROPOSED, "d1", POLICY, frozenset({"i#ana"}), "", NOW + timedelta(minutes=5))
BEN = Person("i#ben", "Ben", roles=frozenset({"approver:database"}))
CAT = Person("i#cat", "Cat", roles=frozenset({"approver:database"}))


def approval(person: Person) -> Decision:
    return Decision(person.subject, person.name, Verdict.APPROVE, NOW)


def test_an_agent_decides_nothing_whatever_roles_its_human_has():
    agent = through(BEN, "runbooks-agent", "helper")
    for verdict in Verdict:
        with pytest.raises(Refused, match="a person has to decide"):
            decide(ASKED, agent, verdict, "d1", NOW, signed=True)


def test_one_approval_is_enough_where_the_policy_asks_for_one():
    assert decide(ASKED, BEN, Verdict.APPROVE, "d1", NOW, signed=True) is ProposalState.APPROVED


def test_approvals_count_distinct_people():
    two = replace(ASKED, policy=replace(POLICY, approvals=2))
    assert decide(two, BEN, Verdict.APPROVE, "d1", NOW, signed=True) is ProposalState.PROPOSED
    once = replace(two, decisions=(approval(BEN),))
    with pytest.raises(Conflict, match="counts already"):
        decide(once, BEN, Verdict.APPROVE, "d1", NOW, signed=True)
    assert decide(once, CAT, Verdict.APPROVE, "d1", NOW, signed=True) is ProposalState.APPROVED


def test_a_deny_wins_also_over_an_approval_that_has_not_started():
    approved = replace(ASKED, state=ProposalState.APPROVED, decisions=(approval(BEN),))
    assert decide(approved, CAT, Verdict.DENY, "d1", NOW, signed=True) is ProposalState.DENIED
    assert decide(approved, BEN, Verdict.DENY, "d1", NOW, signed=True) is ProposalState.DENIED
    with pytest.raises(Conflict, match="approved already"):
        decide(approved, CAT, Verdict.APPROVE, "d1", NOW, signed=True)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_requesters_sponsors_and_outsiders_are_refused(verdict):
    ana = Person("i#ana", "Ana", roles=frozenset({"approver:database"}))
    with pytest.raises(Refused, match="You asked for this"):
        decide(ASKED, ana, verdict, "d1", NOW, signed=True)
    with pytest.raises(Refused, match="You sponsor this"):
        decide(replace(ASKED, requesters=frozenset(), sponsor="i#ben"), BEN, verdict, "d1", NOW, signed=True)
    for roles in (frozenset[str](), frozenset({"approver:payments"}), frozenset({"admin", "responder"})):
        with pytest.raises(Refused, match="Only approvers for database"):
            decide(ASKED, Person("i#dan", "Dan", roles=roles), verdict, "d1", NOW, signed=True)


def test_what_a_program_proposed_by_itself_needs_a_sponsor_whoever_asked_for_its_run():
    by_program = replace(ASKED, by_program=True)
    assert by_program.needs_sponsor
    assert by_program.nobody_asked
    assert not ASKED.nobody_asked
    assert replace(by_program, sponsor="i#dan").behind == {*ASKED.requesters, "i#dan"}
    assert replace(ASKED, sponsor="").behind == ASKED.requesters
    with pytest.raises(Refused, match="somebody has to sponsor it first"):
        decide(by_program, BEN, Verdict.APPROVE, "d1", NOW, signed=True)
    sponsored = replace(by_program, sponsor="i#dan")
    assert decide(sponsored, BEN, Verdict.APPROVE, "d1", NOW, signed=True) is ProposalState.APPROVED
    approved = replace(by_program, state=ProposalState.APPROVED, decisions=(approval(BEN),))
    with pytest.raises(Refused, match="No human answers for it"):
        may_start(approved, {BEN.subject: BEN.approver_groups}, "d1", NOW)


def test_what_no_human_asked_for_needs_a_sponsor_where_its_risk_is_high():
    unasked = replace(ASKED, requesters=frozenset())
    with pytest.raises(Refused, match="sponsor it first"):
        decide(unasked, BEN, Verdict.APPROVE, "d1", NOW, signed=True)
    low = replace(unasked, policy=replace(POLICY, risk=Risk.LOW))
    assert decide(low, BEN, Verdict.APPROVE, "d1", NOW, signed=True) is ProposalState.APPROVED
    assert (
        decide(replace(unasked, sponsor="i#ana"), BEN, Verdict.APPROVE, "d1", NOW, signed=True)
        is ProposalState.APPROVED
    )


def test_a_policy_without_approvers_lets_nobody_decide():
    nobody = replace(ASKED, policy=replace(POLICY, approvers=()))
    with pytest.raises(Refused, match="nobody"):
        decide(nobody, BEN, Verdict.APPROVE, "d1", NOW, signed=True)


def test_another_digest_than_the_shown_one_is_a_conflict():
    with pytest.raises(Conflict, match="not the one that you were shown"):
        decide(ASKED, BEN, Verdict.APPROVE, "d2", NOW, signed=True)


def test_at_its_expiry_it_can_no_longer_be_decided():
    with pytest.raises(Conflict, match="It expired at 03:17:00 UTC"):
        decide(ASKED, BEN, Verdict.APPROVE, "d1", ASKED.expires_at, signed=True)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (ProposalState.DENIED, "denied by Ben at 03:12:00 UTC"),
        (ProposalState.EXPIRED, "expired"),
        (ProposalState.WITHDRAWN, "withdrawn"),
        (ProposalState.STALE, "stale"),
        (ProposalState.EXECUTING, "approved by Ben at 03:12:00 UTC and it has started"),
        (ProposalState.UNKNOWN, "has started"),
    ],
)
def test_a_closed_proposal_says_why(state, told):
    closed = replace(ASKED, state=state, decisions=(approval(BEN),))
    assert told in closed_reason(closed, NOW)
    assert told in why_not(closed, CAT, NOW)
    with pytest.raises(Conflict, match=told.split(" at ")[0]):
        decide(closed, CAT, Verdict.APPROVE, "d1", NOW, signed=True)
    assert closed_reason(replace(closed, state=ProposalState.DENIED, decisions=()), NOW) == "It was denied."


@pytest.mark.parametrize(
    ("state", "reason", "ended_at", "told"),
    [
        (ProposalState.WITHDRAWN, "Withdrawn by Ann.", NOW, "Withdrawn by Ann at 03:12:00 UTC."),
        (ProposalState.WITHDRAWN, "", None, "It was withdrawn."),
        (ProposalState.STALE, "The session is gone.", NOW, "It went stale at 03:12:00 UTC. The session is gone."),
        (ProposalState.STALE, "", None, "It went stale."),
    ],
)
@pytest.mark.pages
def test_what_ended_without_a_decision_says_when_and_by_whom(state, reason, ended_at, told):
    assert closed_reason(replace(ASKED, state=state, state_reason=reason, ended_at=ended_at), NOW) == told


def test_clauses_are_told_in_words():
    assert groups_text(POLICY) == "database"
    assert groups_text(replace(POLICY, approvers=(("a", "b"), ("c",)))) == "(a or b) and c"
    assert groups_text(replace(POLICY, approvers=())) == "nobody"


APPROVED = replace(ASKED, state=ProposalState.APPROVED, decisions=(approval(BEN),))
STILL = {"i#ben": frozenset({"database"})}


def test_what_was_approved_may_start():
    assert may_start(APPROVED, STILL, "d1", NOW) == ("i#ben",)


@pytest.mark.identity
def test_approving_high_risk_wants_a_signature_after_all_else_and_denying_never_does():
    with pytest.raises(Unsigned, match="wants a signed decision"):
        decide(ASKED, BEN, Verdict.APPROVE, "d1", NOW, signed=False)
    assert decide(ASKED, BEN, Verdict.DENY, "d1", NOW, signed=False) is ProposalState.DENIED
    with pytest.raises(Conflict, match="counts already"):
        decide(replace(ASKED, decisions=(approval(BEN),)), BEN, Verdict.APPROVE, "d1", NOW, signed=False)
    with pytest.raises(Refused, match="Only approvers"):
        decide(ASKED, Person("i#dan", "Dan"), Verdict.APPROVE, "d1", NOW, signed=False)


@pytest.mark.identity
@pytest.mark.parametrize("risk", [Risk.LOW, Risk.MEDIUM])
def test_a_session_is_enough_below_high_risk(risk):
    asked = replace(ASKED, policy=replace(POLICY, risk=risk))
    assert decide(asked, BEN, Verdict.APPROVE, "d1", NOW, signed=False) is ProposalState.APPROVED


@pytest.mark.identity
def test_a_break_glass_starts_what_too_few_approved_and_counts_as_no_approval():
    two = replace(APPROVED, policy=replace(POLICY, approvals=2))
    broken = replace(two, decisions=(approval(BEN), replace(approval(CAT), break_glass=True)))
    started = replace(broken, state=ProposalState.EXECUTING)
    assert closed_reason(started, NOW) == "Cat broke the glass at 03:12:00 UTC and it has started."
    assert closed_reason(replace(started, decisions=()), NOW) == "It was approved and it has started."
    assert (broken.approvers, broken.broke_glass, two.broke_glass) == (("i#ben",), "i#cat", "")
    with pytest.raises(Refused, match="no longer an approver"):
        may_start(broken, STILL, "d1", NOW)
    assert may_start(broken, STILL, "d1", NOW, broke_glass="i#cat") == ("i#ben", "i#cat")
    with pytest.raises(Refused, match="not what was approved"):
        may_start(broken, STILL, "d2", NOW, broke_glass="i#cat")


@pytest.mark.parametrize(
    ("asked", "groups", "digest", "now", "told"),
    [
        (ASKED, STILL, "d1", NOW, "not approved"),
        (APPROVED, STILL, "d1", APPROVED.expires_at, "expired"),
        (APPROVED, STILL, "d2", NOW, "not what was approved"),
        (APPROVED, {}, "d1", NOW, "no longer an approver"),
        (APPROVED, {"i#ben": frozenset({"other"})}, "d1", NOW, "no longer an approver"),
        (replace(APPROVED, requesters=frozenset({"i#ben"})), STILL, "d1", NOW, "no longer an approver"),
        (replace(APPROVED, sponsor="i#ben"), STILL, "d1", NOW, "no longer an approver"),
        (replace(APPROVED, requesters=frozenset()), STILL, "d1", NOW, "No human answers for it"),
    ],
)
def test_anything_else_may_not_start(asked, groups, digest, now, told):
    with pytest.raises(RunbooksError, match=told):
        may_start(asked, groups, digest, now)


people = st.builds(
    Person,
    subject=st.sampled_from(["i#ana", "i#ben", "i#cat"]),
    name=st.just("N"),
    roles=st.frozensets(st.sampled_from(["responder", "approver:database", "approver:payments", "admin"])),
)


@given(
    st.lists(st.tuples(people, st.sampled_from(list(Verdict))), max_size=6),
    st.integers(1, 3),
    st.sampled_from(["", "i#cat"]),
)
def test_whoever_decides_in_whatever_order_approval_means_enough_distinct_eligible_people(said, approvals, sponsor):
    asked = replace(ASKED, policy=replace(POLICY, approvals=approvals), sponsor=sponsor)
    for person, verdict in said:
        try:
            state = decide(asked, person, verdict, "d1", NOW, signed=True)
        except RunbooksError:
            continue
        assert person.subject not in {"i#ana", sponsor}
        assert "database" in person.approver_groups
        asked = replace(asked, state=state, decisions=(*asked.decisions, Decision(person.subject, "N", verdict, NOW)))
    assert (asked.state is ProposalState.APPROVED) == (
        len(asked.approvers) >= approvals and all(d.verdict is Verdict.APPROVE for d in asked.decisions)
    )


@pytest.mark.parametrize(
    ("allowed", "risk", "restricted", "told"),
    [
        ("low", Risk.LOW, False, ""),
        ("off", Risk.LOW, False, "Nothing is decided in the chat here"),
        ("low", Risk.MEDIUM, False, "Its risk is medium"),
        ("low", Risk.HIGH, False, "Its risk is high"),
        ("low", Risk.LOW, True, "Its evidence stays on its page"),
    ],
)
def test_in_a_chat_only_low_risk_with_its_evidence_in_sight_is_decided_and_only_where_allowed(
    allowed, risk, restricted, told
):
    asked = replace(ASKED, policy=replace(POLICY, risk=risk))
    why = why_not_in_chat(asked, allowed, restricted=restricted)
    assert why.startswith(told)
    assert bool(why) == bool(told)


@pytest.mark.pages
def test_whoever_is_behind_it_takes_it_back_and_no_agent_does():
    ana = Person("i#ana", "Ana", roles=frozenset({"responder"}))
    assert ASKED.requesters == {ana.subject}
    assert why_not_withdraw(ASKED, ana) == ""
    assert why_not_withdraw(replace(ASKED, requesters=frozenset(), sponsor=BEN.subject), BEN) == ""
    assert why_not_withdraw(ASKED, BEN) == "Only who asked for it can withdraw it; approvers deny it."
    agent = through(ana, "runbooks-agent")
    assert why_not_withdraw(ASKED, agent) == "Agents withdraw nothing; whoever asked for it does so on its page."

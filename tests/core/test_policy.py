"""A gate tightens the policy of the connections that it opens, and never loosens it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.errors import Misconfigured
from runbooks_app.core.policy import DEFAULT_EXPIRY, Floor, Policy, Risk, bind, looser
from runbooks_app.core.runbook import Gate

GROUPS = ["database", "payments", "sre"]
some_groups = st.lists(st.sampled_from(GROUPS), min_size=1, unique=True).map(lambda groups: tuple(sorted(groups)))
floors = st.builds(
    Floor,
    risk=st.sampled_from(Risk),
    approvals=st.integers(1, 4),
    approvers=some_groups,
    recheck=st.booleans(),
    expires=st.none() | st.integers(1, 10_000),
)
gates = st.builds(
    Gate,
    name=st.just("restart"),
    title=st.just("Restart"),
    risk=st.sampled_from(Risk),
    approvals=st.none() | st.integers(1, 4),
    approvers=st.just(()) | some_groups,
    expires=st.none() | st.integers(1, 10_000),
    recheck=st.booleans(),
)


@given(gates, st.dictionaries(st.sampled_from(["orders-db", "billing-db"]), floors, min_size=1), st.booleans())
def test_no_gate_loosens_a_floor(gate, by_connection, by_hand):
    policy = bind(gate, by_connection, by_hand=by_hand)
    for floor in by_connection.values():
        assert policy.risk.rank >= floor.risk.rank
        assert policy.approvals >= floor.approvals
        assert policy.recheck or not floor.recheck
        assert floor.expires is None or policy.expires <= floor.expires
        for group in GROUPS:
            decides = policy.may_be_decided_by(frozenset({group}))
            assert not decides or group in floor.approvers
    assert policy.risk.rank >= gate.risk.rank
    assert policy.approvals >= (gate.approvals or 1)
    assert policy.recheck or not gate.recheck
    assert policy.expires <= (gate.expires or max(DEFAULT_EXPIRY, policy.expires))
    assert policy.risk is Risk.HIGH or not by_hand


@given(gates, floors)
def test_a_policy_comes_back_from_its_stored_form(gate, floor):
    policy = bind(gate, {"orders-db": floor})
    assert Policy.from_json(json.loads(json.dumps(policy.as_json()))) == policy


def test_a_proposal_waits_half_an_hour_where_nobody_says_otherwise():
    assert bind(Gate("restart", "Restart"), {"orders-db": Floor(approvers=("sre",))}).expires == DEFAULT_EXPIRY


def test_each_clause_must_be_satisfied():
    policy = Policy(Risk.LOW, 1, (("database",), ("payments", "sre")), 60, recheck=True)
    assert policy.may_be_decided_by(frozenset({"database", "sre"}))
    assert not policy.may_be_decided_by(frozenset({"payments", "sre"}))
    assert not policy.may_be_decided_by(frozenset())


def test_without_a_clause_nobody_may_decide():
    assert not Policy(Risk.LOW, 1, (), 60, recheck=True).may_be_decided_by(frozenset(GROUPS))


def test_a_connection_without_approvers_is_named():
    with pytest.raises(Misconfigured, match=r"\[billing-db.floor\]"):
        bind(Gate("restart", "Restart"), {"billing-db": Floor(), "orders-db": Floor(approvers=("sre",))})


def test_a_gate_that_opens_no_connection_can_be_approved_by_nobody():
    with pytest.raises(Misconfigured, match="opens no connection"):
        bind(Gate("restart", "Restart"), {})


@pytest.mark.identity
@given(gates, floors)
def test_no_policy_is_looser_than_the_one_that_it_was_bound_by(gate, floor):
    assert looser(bind(gate, {"orders-db": floor}, by_hand=True), bind(gate, {"orders-db": floor})) == ""


@pytest.mark.identity
@pytest.mark.parametrize(
    ("loosened", "told"),
    [
        ({"risk": Risk.LOW}, "risk"),
        ({"approvals": 1}, "approvals"),
        ({"approvers": (("payments",),)}, "approvers"),
        ({"expires": 61}, "time"),
        ({"recheck": False}, "re-check"),
        ({"approvals": 3, "approvers": (("database",), ("sre",)), "expires": 10}, ""),
    ],
)
def test_what_a_policy_asks_less_of_is_named(loosened, told):
    least = Policy(Risk.HIGH, 2, (("database",),), 60, recheck=True)
    assert looser(replace(least, **loosened), least) == told

"""One signature for several proposals against somebody who writes the service's database: what a worker takes it for.

As in test_signatures.py decisions are written straight into it; worker and kernels are real.
"""

from __future__ import annotations

import json
import time

import psycopg
import pytest
from signing import id_token, signatures

from runbooks_app.core.break_glass import SAID
from runbooks_app.core.digests import MOST_TOGETHER, batch_nonce, decision_nonce
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.worker import work

pytestmark = [pytest.mark.identity, pytest.mark.chat]

BEN = Person("https://idp#ben", "Ben", roles=frozenset({"approver:database", "break-glass"}))
WEB = {"surface": "web", "auth_time": 1}


@pytest.fixture
def two(house, runbook, stuck):
    """Two proposals that look the same."""
    return house.diagnosed()[1][0], house.diagnosed()[1][0]


def insert(house, proposal, token: str, batch: object, *, glass: bool = False) -> None:
    """An approval straight into the database, as its owner writes it; the proposal is approved by that."""
    with psycopg.connect(house.database.owner_url, autocommit=True) as owner:
        owner.execute(
            """INSERT INTO decisions
                 (proposal_id, digest, subject, name, verdict, reason, signed_in, id_token, batch, break_glass)
               VALUES (%s, %s, %s, %s, 'approve', 'Nobody else is there at this hour.', %s, %s, %s, %s)""",
            [proposal.id, proposal.digest, BEN.subject, BEN.name, json.dumps(WEB), token, json.dumps(batch), glass],
        )
        owner.execute("UPDATE proposals SET state = 'approved', decided_at = now() WHERE id = %s", [proposal.id])


def stuck_now(admin) -> int:
    return admin.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone()[0]


def signed(*digests: str, said: str = "approve") -> str:
    """The provider's word for all proposals with these digests."""
    return id_token(BEN, "", nonce=batch_nonce(digests, said))


def test_one_signature_lets_each_start_that_it_speaks_of(house, two, stuck):
    one, other = two
    token, batch = signed(one.digest, other.digest), [other.digest, one.digest]
    insert(house, one, token, batch)
    work.remediate(house.worker, one.id)
    assert house.now(one).state is ProposalState.APPLIED
    assert stuck_now(stuck) == 0
    stuck.execute("UPDATE orders SET status = 'stuck' WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 3)")
    insert(house, other, token, batch)
    work.remediate(house.worker, other.id)
    assert house.now(other).state is ProposalState.APPLIED


FAR = "f" * 64
FORGERIES = {
    "of two others": (
        lambda _one, other: (signed(other.digest, FAR), [other.digest, FAR]),
        "speaks of other proposals",
    ),
    "with one added": (lambda one, other: (signed(other.digest, FAR), [other.digest, FAR, one.digest]), "(nonce)"),
    "with one taken away": (lambda one, other: (signed(one.digest, other.digest), [one.digest]), "(nonce)"),
    "with one exchanged": (lambda one, other: (signed(other.digest, FAR), [one.digest, FAR]), "(nonce)"),
    "to deny": (
        lambda one, other: (signed(one.digest, other.digest, said="deny"), [one.digest, other.digest]),
        "(nonce)",
    ),
    "for another alone": (lambda one, other: (id_token(BEN, other.digest), [one.digest, other.digest]), "(nonce)"),
    "for this one alone": (lambda one, other: (id_token(BEN, one.digest), [one.digest, other.digest]), "(nonce)"),
    "and said to be for one": (lambda one, other: (signed(one.digest, other.digest), None), "(nonce)"),
    "of more than anybody looked at": (
        lambda one, _: (
            signed(one.digest, *(f"{n:064}" for n in range(MOST_TOGETHER))),
            [one.digest, *(f"{n:064}" for n in range(MOST_TOGETHER))],
        ),
        "no list of proposals",
    ),
    "of a text": (lambda one, _: (signed(*one.digest), one.digest), "no list of proposals"),
    "of no list": (lambda one, _: (signed(one.digest), {one.digest: 1}), "no list of proposals"),
    "of nothing": (lambda _one, _other: (signed(), []), "no list of proposals"),
    "of what has no canonical form": (lambda one, _: (signed(one.digest), [one.digest, 2**60]), "no list of proposals"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_signature_that_does_not_speak_of_this_proposal_and_answer_executes_nothing(house, two, stuck, forgery):
    one, other = two
    make, told = FORGERIES[forgery]
    insert(house, one, *make(one, other))
    work.remediate(house.worker, one.id)
    after = house.now(one)
    assert (after.state, told in after.state_reason) == (ProposalState.STALE, True), after.state_reason
    assert stuck_now(stuck) == 3


def test_a_glass_is_broken_for_one_alone(house, two):
    one, other = two
    batch = [one.digest, other.digest]
    insert(house, one, signed(*batch, said=SAID), batch, glass=True)
    assert signatures().check(house.now(one), time.time()).broke_glass == ""
    work.remediate(house.worker, one.id)
    assert "one proposal at a time" in house.now(one).state_reason


def test_no_nonce_for_several_is_one_for_a_single_proposal():
    assert batch_nonce(["a"], "approve") != decision_nonce("a", "approve")
    assert batch_nonce(["a", "b"], "approve") == batch_nonce(["b", "a"], "approve")
    assert len({batch_nonce(["a", "b"], said) for said in ("approve", "deny", SAID)}) == 3
    assert batch_nonce(["ab"], "approve") != batch_nonce(["a", "b"], "approve")

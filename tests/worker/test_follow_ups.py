"""What follows from a proposal has behind it all who were behind that one, and nobody who was not."""

from __future__ import annotations

import pytest
from notebooks import cell, write
from signing import approve
from stuck_orders import CHECK, FREE, LOOK
from worker.conftest import ANA, BEN, CAT, WEB

from runbooks_app.actions import deciding
from runbooks_app.core.errors import Refused
from runbooks_app.core.people import Person, through
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store import people, proposals
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.pages

NIGHTLY = through(Person("https://idp#agents", "x", roles=frozenset({"responder"})), "agents", "nightly")
CAROL = Person("https://idp#carol", "Carol", roles=frozenset({"responder", "approver:database"}))
DAN = Person("https://idp#dan", "Dan", roles=frozenset({"responder"}))
AND_THEN = 'kit.propose("free-orders", state="lost", seen=1, reason="they were looked for")\n'


def latest(house, run_id):
    with reading(house.service.engine) as tx:
        return proposals.of_run(tx, run_id)[-1]


def test_what_follows_from_a_programs_own_proposal_needs_a_sponsor_of_its_own_whom_no_earlier_one_decides(
    house, library_folder, stuck
):
    write(
        library_folder,
        "stuck-orders",
        cell("look", LOOK, "diagnostic"),
        cell("free", FREE, "remediation"),
        cell("freed", CHECK + AND_THEN, "diagnostic"),
    )
    with transaction(house.service.engine) as tx:
        for person in (CAROL, DAN):
            people.remember(tx, person)
    run, _ = house.diagnosed()
    by_itself = {"state": "stuck", "seen": 3}
    made = deciding.propose_by_hand(house.service, NIGHTLY, WEB, run.id, "free-orders", by_itself, "it blocks")
    deciding.sponsor(house.service, CAROL, WEB, made.id)
    approve(house.service, BEN, made)
    assert house.do_all() == ["remediate", "verify"]

    follow_up = latest(house, run.id)
    assert (follow_up.inputs["state"], follow_up.by_program, follow_up.by_hand) == ("lost", True, False)
    assert follow_up.requesters == sorted([ANA.subject, CAROL.subject])
    with pytest.raises(Refused, match="You asked for this"):
        approve(house.service, CAROL, follow_up)
    with pytest.raises(Refused, match="somebody has to sponsor it first"):
        approve(house.service, CAT, follow_up)

    deciding.sponsor(house.service, DAN, WEB, follow_up.id)
    approve(house.service, BEN, follow_up)
    stuck.execute("UPDATE orders SET status = 'stuck' WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 3)")
    assert house.do_all() == ["remediate"]
    assert house.now(follow_up).state is ProposalState.STALE
    successor = latest(house, run.id)
    assert (successor.predecessor, successor.by_program) == (follow_up.id, True)
    assert successor.requesters == sorted([ANA.subject, CAROL.subject, DAN.subject])
    assert successor.asked.needs_sponsor


def test_who_sponsored_what_an_alert_led_to_does_not_decide_what_takes_its_place(house, library_folder, stuck):
    write(
        library_folder,
        "stuck-orders",
        cell("look", LOOK, "diagnostic"),
        cell("free", FREE.replace(', informative=["seen"]', ""), "remediation"),
        cell("freed", CHECK, "diagnostic"),
    )
    run, (proposal,) = house.diagnosed()
    with transaction(house.service.engine) as tx:  # as an alert's run is
        people.remember(tx, CAROL)
        tx.execute("UPDATE runs SET requesters = '[]' WHERE id = :id", id=run.id)
        tx.execute("UPDATE proposals SET requesters = '[]' WHERE id = :id", id=proposal.id)
    deciding.sponsor(house.service, CAROL, WEB, proposal.id)
    approve(house.service, BEN, proposal)
    stuck.execute("UPDATE orders SET status = 'stuck' WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 4)")
    assert house.do_all() == ["remediate"]
    successor = latest(house, run.id)
    assert (successor.predecessor, successor.requesters) == (proposal.id, [CAROL.subject])
    with pytest.raises(Refused, match="You asked for this"):
        approve(house.service, CAROL, successor)
    with pytest.raises(Refused, match="somebody has to sponsor it first"):
        approve(house.service, CAT, successor)

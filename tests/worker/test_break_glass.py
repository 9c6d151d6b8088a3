"""Break-glass with a real worker: one person's word is enough, once, and only as the worker's own settings allow it."""

from __future__ import annotations

import json
from dataclasses import replace

import hostile_provider
import pytest
from notebooks import cell, write
from signing import approve, id_token, signatures
from stuck_orders import CHECK, FREE, LOOK
from worker.test_signatures import entries, insert, stuck_now

from runbooks_app.actions import break_glass, deciding, story
from runbooks_app.actions.telling import tell
from runbooks_app.core.audit import Event
from runbooks_app.core.break_glass import Mode
from runbooks_app.core.deciding import Unsigned
from runbooks_app.core.errors import Conflict, Refused
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.oidc import OpenIDProvider
from runbooks_app.store import break_glass as rows
from runbooks_app.store import people, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import jobs, views, work

pytestmark = pytest.mark.identity

EVE = Person("https://idp#eve", "Eve", roles=frozenset({"responder", "break-glass"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
OTTO = Person("https://idp#otto", "Otto", roles=frozenset({"auditor"}))
WEB = {"surface": "web", "auth_time": 1}
REASON = "Nobody answers the phone, and the shop is down."


@pytest.fixture
def house(house):
    """The house, where every action needs two approvals."""
    orders = house.service.connections["orders-db"]
    house.service.connections["orders-db"] = replace(orders, floor=replace(orders.floor, approvals=2))
    with transaction(house.service.engine) as tx:
        for person in (EVE, OTTO):
            people.remember(tx, person)
    return house


@pytest.fixture
def proposal(house, runbook, stuck):
    """What Eve asked for."""
    return house.diagnosed(EVE)[1][0]


def use(house, proposal, person: Person = EVE, **changes):
    token = id_token(person, proposal.digest, "break-glass", **changes)
    return break_glass.use(house.service, person, WEB, proposal.id, proposal.digest, REASON, id_token=token)


def by_session(house, worker_says: Mode) -> object:
    """The house whose pages let a session do, with a worker that has settings of its own."""
    service = replace(house.service, settings=house.service.settings.model_copy(update={"break_glass": "session"}))
    worker = replace(house.worker, signatures=replace(house.worker.signatures, break_glass=worker_says))
    return replace(house, service=service, worker=worker)


def test_one_person_has_what_they_asked_for_executed_once_and_all_else_stays(house, proposal, stuck):
    approved = use(house, proposal)
    assert approved.state is ProposalState.APPROVED
    assert approved.asked.approvers == ()
    assert house.do_all() == ["remediate", "verify"]
    after = house.now(proposal)
    assert (after.state, after.verification) == (ProposalState.APPLIED, Verification.VERIFIED)
    assert stuck_now(stuck) == 0
    # The re-check was made, the start row tells on whose word it was, and the trail has a class of its own for it.
    assert [b["purpose"] for o, b in entries(house, Event.RUN_REQUESTED) if o.get("proposal")] == ["recheck"]
    ((_, started),) = entries(house, Event.REMEDIATION_STARTED)
    assert (started["approved_by"], started["break_glass"]) == ([EVE.subject], EVE.subject)
    ((objects, used),) = entries(house, Event.BREAK_GLASS_USED)
    assert objects == {"proposal": proposal.id, "run": proposal.run_id}
    assert (used["reason"], used["requester"], used["approvals"]) == (REASON, True, [])
    assert used["signature"] is not None
    assert entries(house, Event.PROPOSAL_APPROVED) == []
    with pytest.raises(Conflict, match="has started"):
        use(house, proposal)
    work.remediate(house.worker, proposal.id)
    assert len(entries(house, Event.REMEDIATION_STARTED)) == 1


def test_who_approved_as_one_of_two_may_break_the_glass_too(house, proposal, stuck):
    both = Person("https://idp#ben", "Ben", roles=BEN.roles | EVE.roles)
    with transaction(house.service.engine) as tx:
        people.remember(tx, both)
    assert approve(house.service, both, proposal).state is ProposalState.PROPOSED
    use(house, proposal, both)
    house.do_all()
    assert house.now(proposal).state is ProposalState.APPLIED


def test_without_the_role_or_the_providers_word_nothing_is_broken(house, proposal):
    with pytest.raises(Refused, match="takes the role break-glass"):
        use(house, proposal, BEN)
    with pytest.raises(Unsigned):
        break_glass.use(house.service, EVE, WEB, proposal.id, proposal.digest, REASON)
    with pytest.raises(Refused, match="RUNBOOKS_BREAK_GLASS=signed"):
        break_glass.use(house.service, EVE, WEB, proposal.id, proposal.digest, REASON, without_provider=True)
    off = replace(house.service, settings=house.service.settings.model_copy(update={"remediation": "off"}))
    with pytest.raises(Refused, match="diagnose-only"):
        break_glass.use(off, EVE, WEB, proposal.id, proposal.digest, REASON)
    assert house.now(proposal).decisions == ()


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (lambda _: "", "it is not signed"),
        (lambda proposal: id_token(EVE, proposal.digest), "(nonce)"),
        (lambda proposal: id_token(EVE, proposal.digest, "break-glass", groups=["responder"]), "the role break-glass"),
        (lambda proposal: id_token(BEN, proposal.digest, "break-glass"), "about somebody else"),
        (lambda _: id_token(EVE, "0" * 64, "break-glass"), "(nonce)"),
    ],
)
def test_a_break_glass_that_the_provider_did_not_sign_executes_nothing(house, proposal, stuck, token, told):
    decision = insert(house, proposal, token(proposal), EVE, break_glass=True)
    work.remediate(house.worker, proposal.id)
    after = house.now(proposal)
    assert after.state is ProposalState.STALE
    assert told in after.state_reason
    assert stuck_now(stuck) == 3
    ((_, body),) = entries(house, Event.PROPOSAL_STALE)
    assert [d["decision"] for d in body["decisions"]] == [decision]


def test_a_worker_that_allows_none_starts_nothing_by_it(house, proposal, stuck):
    use(house, proposal)
    work.remediate(by_session(house, Mode.OFF).worker, proposal.id)
    assert "off on this worker" in house.now(proposal).state_reason


def test_who_lost_the_role_before_the_start_starts_nothing(house, proposal, stuck):
    use(house, proposal)
    with transaction(house.service.engine) as tx:
        people.remember(tx, replace(EVE, roles=frozenset({"responder"})))
    house.do_all()
    assert house.now(proposal).state is ProposalState.STALE
    assert stuck_now(stuck) == 3


def test_anybody_who_may_deny_stops_it_until_it_starts(house, proposal, stuck):
    use(house, proposal)
    deciding.decide(house.service, BEN, WEB, proposal.id, "deny", proposal.digest, "wait")
    house.do_all()
    assert house.now(proposal).state is ProposalState.DENIED
    assert stuck_now(stuck) == 3


def fresh(house, **settings) -> dict[str, object]:
    with reading(house.service.engine) as tx:
        return {"surface": "web", "auth_time": int(tx.now.timestamp()) - 60}


def test_a_session_is_enough_only_where_the_workers_own_settings_say_so(house, proposal, stuck):
    lax = by_session(house, Mode.SIGNED)
    break_glass.use(lax.service, EVE, fresh(house), proposal.id, proposal.digest, REASON, without_provider=True)
    work.remediate(lax.worker, proposal.id)
    assert "it is not signed" in house.now(proposal).state_reason
    assert stuck_now(stuck) == 3


def test_with_the_provider_away_a_session_starts_what_waits_for_its_keys(house, proposal, stuck):
    with hostile_provider.serve() as idp:
        idp.failing = {"/.well-known/openid-configuration", "/jwks"}
        away = signatures(keys=OpenIDProvider(idp.url, patience=2))
        house = replace(house, worker=replace(house.worker, signatures=away))
        for person in (BEN, Person("https://idp#cat", "Cat", roles=frozenset({"approver:database"}))):
            approve(house.service, person, proposal)
        _, about = house.job("remediate")
        jobs._remediate(house.worker, **about)
        assert house.now(proposal).state_reason.startswith("It waits for the sign-in provider")
        alone = by_session(house, Mode.SESSION)
        break_glass.use(alone.service, EVE, fresh(house), proposal.id, proposal.digest, REASON, without_provider=True)
        jobs._remediate(alone.worker, **about)
    assert house.now(proposal).state is ProposalState.APPLIED
    ((_, used),) = entries(house, Event.BREAK_GLASS_USED)
    assert used["signature"] is None
    with reading(house.service.engine) as tx:
        assert rows.get(tx, proposal.id).signed is False
        assert "Not signed" in json.dumps(told(tx, house, proposal))


def test_low_risk_wants_a_signature_for_a_break_glass_all_the_same(house, stuck, library_folder):
    mild = FREE.replace('risk="high"', 'risk="low"')
    cells = (cell("look", LOOK, "diagnostic"), cell("free", mild, "remediation"), cell("freed", CHECK, "diagnostic"))
    write(library_folder, "stuck-orders", *cells)
    _, (low,) = house.diagnosed(EVE)
    with pytest.raises(Unsigned):
        break_glass.use(house.service, EVE, WEB, low.id, low.digest, REASON)
    use(house, low)
    house.do_all()
    assert house.now(low).state is ProposalState.APPLIED


# ---- told, and reviewed


def test_the_timeline_tells_a_break_glass_and_its_review_with_their_entries(house, proposal, stuck):
    use(house, proposal)
    house.do_all()
    break_glass.review(house.service, OTTO, WEB, proposal.id, "It was right, and the only way.")
    with reading(house.service.engine) as tx:
        told = story.incident_story(tx, house.service, runs.get(tx, proposal.run_id).incident_id)
    (shown,) = told.proposals
    assert (shown.decisions[0].break_glass, shown.decisions[0].signed) == (True, True)
    assert (shown.review.by, shown.review.text) == ("Otto", "It was right, and the only way.")
    lines = [item for item in told.items if item.kind == "decision"]
    assert [item.text for item in lines] == [
        f"Glass broken (signed): {proposal.title} — {REASON}",
        f"Break-glass reviewed: {proposal.title} — It was right, and the only way.",
    ]
    assert all(item.entry for item in lines)


def told(tx, house, proposal):
    from runbooks_app.chat.break_glass import break_glass_message

    message = break_glass_message(views.break_glass_told(tx, house.service, house.now(proposal)))
    return [message.text, *message.blocks]


def wanted(house, run_id: str) -> int:
    with reading(house.service.engine) as tx:
        about = f"run:{run_id}"
        return tx.execute("SELECT wanted FROM chat_threads WHERE about = :about", about=about).scalar_one()


def test_the_channel_is_told_by_a_message_of_its_own_in_the_same_transaction_and_again_of_the_review(house, proposal):
    with transaction(house.service.engine) as tx:
        tell(tx, f"run:{proposal.run_id}", channel="C1")
    use(house, proposal)
    assert wanted(house, proposal.run_id) == 2
    with reading(house.service.engine) as tx:
        seen = json.dumps(told(tx, house, proposal))
    for words in ("BREAK-GLASS USED", "*Eve* has", "run alone", REASON, "had 0 of 2 approvals", "also asked for it",
                  "*Open*", "Review it", f"/break-glass#{proposal.id}"):  # fmt: skip
        assert words in seen, words
    break_glass.review(house.service, OTTO, WEB, proposal.id, "It was right, and the only way.")
    assert wanted(house, proposal.run_id) == 3
    with reading(house.service.engine) as tx:
        seen = json.dumps(told(tx, house, proposal), ensure_ascii=False)
    assert "*Reviewed* by Otto: It was right" in seen
    assert "*Open*" not in seen


def test_it_stays_open_until_somebody_else_has_reviewed_it(house, proposal):
    use(house, proposal)
    text = "It was right, and the only way."
    for person, why in (
        (EVE, "takes the role"),
        (replace(EVE, roles=EVE.roles | {"auditor"}), "You broke the glass"),
        (Person("https://idp#pia", "Pia", roles=frozenset({"approver:payments"})), "Auditors, admins and those"),
    ):
        with pytest.raises(Refused, match=why):
            break_glass.review(house.service, person, WEB, proposal.id, text)
    with reading(house.service.engine) as tx:
        assert [used.proposal_id for used in rows.unreviewed(tx)] == [proposal.id]
    closed = break_glass.review(house.service, BEN, WEB, proposal.id, text)
    assert (closed.reviewer, closed.reviewed_by, closed.review) == ("Ben", BEN.subject, text)
    with pytest.raises(Conflict, match="reviewed already"):
        break_glass.review(house.service, OTTO, WEB, proposal.id, text)
    ((_, body),) = entries(house, Event.BREAK_GLASS_REVIEWED)
    assert body == {"review": text, "used_by": EVE.subject}
    with reading(house.service.engine) as tx:
        assert rows.unreviewed(tx) == []
        assert [used.proposal_id for used in rows.reviewed(tx, 10)] == [proposal.id]

"""Pages go out once, and are resolved once nobody need wake up for them: real servers that page."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from oncall.paging import paging, says
from signing import approve
from worker.conftest import BEN, CAT, WEB, while_working

from runbooks_app.actions import deciding, sweeping
from runbooks_app.chat.messages import proposal_message
from runbooks_app.core.errors import Unavailable
from runbooks_app.oncall import pagers
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.store.records import Proposal
from runbooks_app.worker import views, waking_people

pytestmark = pytest.mark.chat


def says_later(until: threading.Event):
    """Take what is sent, once this is set."""

    def answer_later(request):
        until.wait(30)
        says(202, b'{"status": "success", "requestId": "r"}')(request)

    return answer_later


PAGED = '[group.database]\npage = ["pd"]\n'


def paged(night, pages) -> Proposal:
    night.on_call(PAGED + pages.toml(night.house.service.settings.config_dir))
    proposal = night.proposal()
    night.step()
    return proposal


def test_a_page_is_sent_once_and_resolved_when_it_is_decided(night, pages):
    proposal = paged(night, pages)
    night.page()
    assert list(pages.open) == [f"runbooks-{proposal.id}"]
    waking_people.page(night.house.worker, proposal.id)
    assert len(pages.seen) == 1
    approve(night.house.service, BEN, proposal)
    night.page()
    assert not pages.open
    assert [(way, name) for _, way, name in night.woken(proposal) if way != "slack"] == [(pages.kind, "pd")]


def test_a_page_is_resolved_when_nobody_decided_in_time(night, pages):
    proposal = paged(night, pages)
    night.page()
    with transaction(night.house.service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = now() WHERE id = :id", id=proposal.id)
    sweeping.expire_proposals(night.house.service)
    night.page()
    assert not pages.open


def test_what_is_decided_before_its_page_went_out_is_never_sent(night, pages):
    proposal = paged(night, pages)
    deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
    night.page()
    assert not pages.open
    assert not any("trigger" in asked or asked.endswith("/alerts") for asked in pages.asked)
    assert night.rows("SELECT count(*) FROM wakings WHERE way <> 'slack' AND ended_at IS NULL") == [(0,)]


def test_a_page_that_goes_out_while_somebody_decides_is_resolved_all_the_same(night, pages):
    """The other worker finds it unsent and lets go of it, while this one is sending it."""
    proposal = paged(night, pages)

    def decided_meanwhile(request):
        deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
        waking_people.page(night.house.as_worker("w2"), proposal.id)
        pages.open[f"runbooks-{proposal.id}"] = {}
        says(202, b'{"status": "success", "requestId": "r"}')(request)

    pages.spell.append(decided_meanwhile)
    night.page()
    assert not pages.open


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_page_that_fails_is_tried_again_and_its_trouble_stands_with_it(night, pages, status):
    proposal = paged(night, pages)
    pages.spell.append(says(status))
    with pytest.raises(Unavailable):
        night.page()
    ((trouble,),) = night.rows("SELECT trouble FROM wakings WHERE way <> 'slack'")
    assert str(status) in trouble
    waking_people.page(night.house.worker, proposal.id)
    assert night.rows("SELECT trouble, sent_at IS NOT NULL FROM wakings WHERE way <> 'slack'") == [("", True)]
    assert len(pages.open) == 1


def test_a_page_whose_answer_is_lost_is_sent_again_and_stands_once(night, pages):
    proposal = paged(night, pages)

    def takes_it_and_hangs_up(request):
        pages.open[f"runbooks-{proposal.id}"] = {}
        request.close_connection = True

    pages.spell.append(takes_it_and_hangs_up)
    with pytest.raises(Unavailable):
        night.page()
    waking_people.page(night.house.worker, proposal.id)
    assert list(pages.open) == [f"runbooks-{proposal.id}"]
    assert night.rows("SELECT count(*) FROM wakings WHERE way <> 'slack' AND sent_at IS NOT NULL") == [(1,)]


def test_a_page_whose_answer_is_lost_is_resolved_when_it_is_decided_before_it_is_sent_again(night, pages):
    proposal = paged(night, pages)

    def takes_it_and_hangs_up_while_somebody_decides(request):
        deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
        waking_people.page(night.house.as_worker("w2"), proposal.id)
        pages.open[f"runbooks-{proposal.id}"] = {}
        request.close_connection = True

    pages.spell.append(takes_it_and_hangs_up_while_somebody_decides)
    with pytest.raises(Unavailable):
        night.page()
    waking_people.page(night.house.worker, proposal.id)
    assert not pages.open


def test_a_page_that_hangs_holds_no_session_at_the_database(night, pages, monkeypatch):
    monkeypatch.setattr(pagers, "SECONDS", 20.0)
    proposal = paged(night, pages)
    over = threading.Event()
    pages.spell.append(says_later(over))
    waiting = threading.Thread(target=waking_people.page, args=(night.house.worker, proposal.id))
    waiting.start()
    assert pages.arrived.wait(10)
    assert night.house.service.engine.pool.checkedout() == 0
    over.set()
    waiting.join(20)
    assert night.rows("SELECT sent_at IS NOT NULL FROM wakings WHERE way <> 'slack'") == [(True,)]


def test_a_page_that_is_refused_is_not_sent_again_and_its_trouble_stands_with_it(night, pages, caplog):
    proposal = paged(night, pages)
    pages.spell.append(says(400))
    night.page()
    with reading(night.house.service.engine) as tx:
        told = proposal_message(views.proposal_told(tx, night.house.service, proposal, runs.get(tx, proposal.run_id)))
    assert "Woken: Ben, Cat, pd (not reached)" in str(told.blocks) or "Cat, Ben, pd (not reached)" in str(told.blocks)
    ((trouble, over),) = night.rows("SELECT trouble, ended_at IS NOT NULL FROM wakings WHERE way <> 'slack'")
    assert "400" in trouble
    assert over
    assert "is given up" in caplog.text


def test_one_service_that_is_away_does_not_hold_up_another(night, pages):
    folder = night.house.service.settings.config_dir
    with paging("pagerduty") as away:
        night.on_call(f'[group.database]\npage = ["away", "pd"]\n{away.toml(folder, "away")}{pages.toml(folder)}')
        away.spell += [says(503)] * 2
        night.proposal()
        night.step()
        with pytest.raises(Unavailable):
            night.page()
        assert len(pages.open) == 1


def test_a_service_that_is_named_no_longer_is_told_as_that(night, pages):
    proposal = paged(night, pages)
    night.on_call("")
    night.page()
    ((trouble,),) = night.rows("SELECT trouble FROM wakings WHERE way <> 'slack'")
    assert trouble == "pd is in the on-call file no longer."
    assert proposal.id


def test_a_page_whose_job_failed_for_good_is_queued_again(night, pages):
    proposal = paged(night, pages)
    night.house.job("page")
    with transaction(night.house.service.engine) as tx:
        tx.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE task_name = 'page'")
        tx.execute("UPDATE wakings SET made_at = now() - interval '2 minutes'")
    sweeping.requeue_forgotten(night.house.service)
    night.page()
    assert list(pages.open) == [f"runbooks-{proposal.id}"]
    sweeping.requeue_forgotten(night.house.service)
    assert night.house.job("page") is None


def test_a_page_says_what_waits_and_nothing_that_was_seen(night, pages):
    night.house.service.connections["orders-db"] = replace(
        night.house.service.connections["orders-db"], data_class="restricted"
    )
    proposal = paged(night, pages)
    night.page()
    sent = str(pages.open[f"runbooks-{proposal.id}"])
    assert "Waits for approval: Free orders in state stuck on orders-db (high risk)" in sent
    assert f"https://r.example/proposals/{proposal.id}" in sent
    assert "3 orders are stuck" not in sent
    assert "free themselves" not in sent


def test_a_working_worker_wakes_pages_and_lets_go(night, pages):
    """By the queue itself, as it is in life."""
    night.on_call(PAGED + pages.toml(night.house.service.settings.config_dir))
    proposal = night.proposal()

    def play() -> None:
        assert pages.arrived.wait(30)
        pages.arrived.clear()
        approved = night.house.now(proposal)
        deciding.decide(night.house.service, CAT, WEB, approved.id, "deny", approved.digest)
        assert pages.arrived.wait(30)

    while_working(night.house, play)
    # Resolved by whom sent it, by who was woken by the decision, or by both.
    first, *others = ["resolve" in asked or "close" in asked for asked in pages.asked]
    assert (first, set(others)) == (False, {True})
    assert not pages.open

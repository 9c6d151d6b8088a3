"""Those who may decide are woken, step by step, and let go again: real rows, a real server for the chat."""

from __future__ import annotations

import pytest
from worker.conftest import ANA, BEN, WEB
from worker.waking.conftest import rota

from runbooks_app.actions import deciding, sweeping
from runbooks_app.actions.story import incident_story
from runbooks_app.core.waking import Step
from runbooks_app.store import wakings
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import waking_people

pytestmark = pytest.mark.chat


def test_who_is_on_call_is_woken_then_all_others_then_break_glass_is_offered(night):
    night.on_call(rota("ben"))
    proposal = night.proposal()
    assert night.step() == Step.ON_CALL
    assert night.woken(proposal) == [(0, "slack", "Ben")]
    assert night.told() == {"Ben": ["🔔 Waits for you: Free orders in state stuck on orders-db"]}
    assert night.step() == Step.EVERYBODY
    assert list(night.told()) == ["Ben", "Cat"]
    assert night.step() == Step.BREAK_GLASS
    assert night.woken(proposal) == [(0, "slack", "Ben"), (1, "slack", "Cat"), (2, "slack", "Eve")]
    assert night.told()["Eve"] == ["🔔 Nobody has decided this yet: Free orders in state stuck on orders-db"]
    (offer,) = night.workspace.seen("D0EVE")
    button = offer.blocks[-1]["elements"][0]
    assert button["url"] == f"https://r.example/proposals/{proposal.id}#glass-reason"
    assert night.house.job("wake") is None


def test_each_step_follows_after_the_time_that_is_set(night):
    night.sets(escalate_after=120)
    night.proposal()
    night.step()
    ((wait,),) = night.rows(
        "SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs"
        " WHERE task_name = 'wake' AND status = 'todo'"
    )
    assert 110 < wait <= 120


def test_what_is_decided_wakes_nobody_more_and_says_so_to_those_whom_it_woke(night):
    proposal = night.proposal()
    night.step()
    night.told()
    deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
    assert night.step() == Step.EVERYBODY
    assert night.house.job("wake") is None
    told = night.told()
    assert sorted(told) == ["Ben", "Cat"]
    assert all("denied" in text for texts in told.values() for text in texts)
    (message,) = night.workspace.seen("D0CAT")
    assert message.blocks[-1]["elements"][0]["text"] == "Nothing is left for you to do here."


def test_a_job_that_is_done_twice_wakes_nobody_twice(night):
    proposal = night.proposal()
    for _ in range(2):
        waking_people.wake(night.house.worker, proposal.id, 0)
    assert sorted(night.woken(proposal)) == [(0, "slack", "Ben"), (0, "slack", "Cat")]
    assert {name: len(texts) for name, texts in night.told().items()} == {"Ben": 1, "Cat": 1}


def test_where_nothing_can_be_approved_nobody_is_woken(night):
    night.sets(remediation="off")
    night.proposal()
    assert night.house.job("wake") is None


def test_break_glass_is_not_offered_where_it_is_off(night):
    night.sets(break_glass="off")
    proposal = night.proposal()
    assert [night.step() for _ in Step] == [0, 1, 2]
    assert {name for _, _, name in night.woken(proposal)} == {"Ben", "Cat"}


def test_what_an_alert_brought_wakes_more_than_one_since_one_has_to_sponsor_it(night):
    night.on_call(rota("ben"))
    proposal = night.proposal()
    with transaction(night.house.service.engine) as tx:
        tx.execute("UPDATE proposals SET requesters = '[]' WHERE id = :id", id=proposal.id)
    night.step()
    assert {name for _, _, name in night.woken(proposal)} == {"Ben", "Cat"}
    night.told()
    (message,) = night.workspace.seen("D0BEN")
    assert "needs a sponsor" in str(message.blocks)


def test_each_who_is_woken_is_in_the_trail(night):
    night.on_call(rota("ben"))
    proposal = night.proposal()
    night.step()
    ((objects, body),) = night.rows("SELECT objects, body FROM audit_entries WHERE event = 'approver.woken'")
    assert BEN.subject in objects
    assert proposal.id in objects
    assert body == '{"name":"Ben","step":0,"way":"slack"}'


def test_the_incident_tells_who_was_woken_when(night):
    run, _ = night.house.diagnosed(ANA)
    for _ in Step:
        night.step()
    with reading(night.house.service.engine) as tx:
        story = incident_story(tx, night.house.service, run.incident_id)
    told = [line.text for line in story.items if "Woken" in line.text or "offered" in line.text]
    assert [text.split(": ")[0] for text in told] == ["Woken", "Break-glass offered to"]
    assert "Ben" in told[0]
    assert "Cat" in told[0]
    assert told[1].endswith("Eve")


def test_who_left_the_chat_is_told_as_not_reached_and_the_others_are_woken(night):
    proposal = night.proposal()
    del night.workspace.humans["U0BEN"]
    night.step()
    assert list(night.told()) == ["Cat"]
    with reading(night.house.service.engine) as tx:
        trouble = {waking.name: waking.trouble for waking in wakings.of_proposal(tx, proposal.id)}
    assert "user_not_found" in trouble["Ben"]
    assert not trouble["Cat"]


def test_a_step_whose_job_failed_for_good_is_taken_again_once_while_the_proposal_waits(night):
    proposal = night.proposal()
    night.step()
    failed = "UPDATE procrastinate_jobs SET status = 'failed' WHERE task_name = 'wake' AND status = 'todo'"
    with transaction(night.house.service.engine) as tx:
        tx.execute(failed)
    sweeping.requeue_forgotten(night.house.service)
    sweeping.requeue_forgotten(night.house.service)
    assert night.step() == Step.EVERYBODY
    ((left,),) = night.rows("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'wake' AND status = 'todo'")
    assert left == 1
    deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
    with transaction(night.house.service.engine) as tx:
        tx.execute(failed)
    sweeping.requeue_forgotten(night.house.service)
    assert night.house.job("wake") is None

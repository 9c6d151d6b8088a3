"""What is told stands in the channel once and in order, whatever the chat does meanwhile."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from worker.conftest import ANA, WEB, while_working
from worker.room import dies, parts

from runbooks_app.actions import running, sweeping
from runbooks_app.core.run import RunState
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import telling
from runbooks_app.worker.conversation import tell_next

pytestmark = pytest.mark.chat


def test_a_run_is_told_in_its_channel_and_changed_in_place(room, runbook):
    house = room.house
    house.worker = replace(house.worker, slack=room.slack)
    run = running.request_run(house.service, ANA, WEB, "stuck-orders", {}, channel="C0INCIDENTS")
    room.pass_time(1)
    telling.tell_due(house.worker)
    assert ["waiting for a worker" in text for text in room.texts()] == [True]
    house.do_all()
    room.pass_time(10)
    telling.tell_due(house.worker)
    with reading(house.service.engine) as tx:
        assert runs.get(tx, run.id).state is RunState.DIAGNOSED
    first, *replies = room.standing()
    assert "diagnosed in" in first.text
    assert first.edited
    assert {reply.thread_ts for reply in replies} <= {first.ts}
    assert [row["channel"] for row in room.rows("SELECT channel FROM chat_threads")] == ["C0INCIDENTS"]


def test_nobody_is_told_before_what_the_run_itself_shows_and_one_job_is_enough(room):
    room.want()
    room.want()
    room.want(progress=True)
    assert room.tell() == 0
    jobs = room.rows("SELECT extract(epoch FROM scheduled_at - now()) AS wait FROM procrastinate_jobs")
    assert len(jobs) == 2  # a change of state does not wait for who comes anyway; progress does
    room.pass_time(0.5)
    assert room.tell() == 1
    assert room.tell() == 0


def test_a_job_that_was_lost_is_queued_again_by_the_sweep_and_one_that_waits_is_enough(room):
    room.want()
    room.want("run:r2", "C0ORDERS")
    with transaction(room.house.service.engine) as tx:
        tx.execute("DELETE FROM procrastinate_jobs")
    room.pass_time(1)
    for _ in range(2):
        sweeping.wake_tellers(room.house.service, 4)
        assert len(room.rows("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'tell'")) == 2
    assert room.tell() == 2


def test_a_job_of_the_release_before_has_its_run_told(room, runbook):
    house = room.house
    run = running.request_run(house.service, ANA, WEB, "stuck-orders", {}, channel="C0INCIDENTS")
    room.tell_all()
    telling.tell_run(house.worker, run.id)
    assert room.rows("SELECT wanted - told AS open FROM chat_threads") == [{"open": 1}]


def test_a_worker_tells_a_run_by_itself_from_its_request_to_its_end(room, runbook, stuck):
    """Jobs, the bell that wakes them and the sweep, as they are; nothing here is moved in time."""
    house = replace(room.house, worker=replace(room.house.worker, slack=room.slack))
    asked = running.request_run(house.service, ANA, WEB, "stuck-orders", {}, channel="C0INCIDENTS")

    def told_to_its_end() -> None:
        revision = 0
        ends = time.monotonic() + 30
        while not any("diagnosed in" in text for text in room.texts()):
            assert time.monotonic() < ends, room.rows("SELECT * FROM chat_threads")
            revision = room.workspace.wait(revision, 1)

    while_working(house, told_to_its_end)
    assert len([message for message in room.standing() if not message.thread_ts]) == 1
    assert room.rows("SELECT about FROM chat_threads") == [{"about": f"run:{asked.id}"}]


def test_parts_stand_in_their_order_each_in_the_thread_of_the_first_and_one_a_second(room):
    room.parts = parts("one", "two", "three")
    room.want()
    room.pass_time(1)
    room.tell()
    assert len(room.standing()) == 1
    room.tell_all()
    first, *replies = room.standing()
    assert [text.rpartition(" ")[2] for text in room.texts()] == ["one", "two", "three"]
    assert {reply.thread_ts for reply in replies} == {first.ts}


def test_a_message_changes_at_most_once_a_second_and_progress_ever_more_seldom(room):
    room.want()
    room.tell_all()
    room.parts = parts("two")
    room.want(progress=True)
    assert room.tell() == 0
    room.want()
    assert room.tell() == 0
    room.pass_time(1)
    assert room.tell() == 1
    assert "two" in room.texts()[0]
    room.pass_time(20)
    room.parts = parts("three")
    room.want()
    room.pass_time(1)
    assert room.tell() == 1
    room.parts = parts("four")
    room.want(progress=True)
    room.pass_time(2)
    assert room.tell() == 0
    room.pass_time(1)
    assert room.tell() == 1
    assert "four" in room.texts()[0]


def test_what_changes_while_it_is_told_is_told_again(room):
    room.want()
    room.pass_time(1)
    wanted = iter([True, False])

    def changing(*_):
        if next(wanted):
            room.want()
            room.parts = parts("two")
            return parts("one")
        return room.parts

    assert tell_next(room.house.worker, room.slack, changing)
    assert "one" in room.texts()[0]
    room.pass_time(1)
    assert tell_next(room.house.worker, room.slack, changing)
    assert "two" in room.texts()[0]
    assert room.thread()["told"] == room.thread()["wanted"] == 2


def test_two_workers_never_tell_the_same_at_once_and_a_lease_that_lapses_is_taken_over(room):
    room.want()
    room.pass_time(1)
    begun, go_on = threading.Event(), threading.Event()

    def hanging(*_):
        begun.set()
        assert go_on.wait(20)
        return parts("late")

    # Another worker: one alone tells with one session at a time.
    other = replace(room.house.worker, name="w2", telling=threading.Lock())
    slow = threading.Thread(target=tell_next, args=(other, room.slack, hanging))
    slow.start()
    assert begun.wait(10)
    assert room.tell() == 0
    room.pass_time(61)
    assert room.tell() == 1
    go_on.set()
    slow.join(20)
    assert ["one" in text for text in room.texts()] == [True]
    assert room.thread()["holder"] == ""


def test_an_answer_that_was_lost_leaves_one_message_and_the_next_try_finds_it(room):
    room.parts = parts("one", "two")
    room.fails("chat.postMessage", "lost_answer", times=2)
    room.want()
    room.tell_all()
    assert [text.rpartition(" ")[2] for text in room.texts()] == ["one", "two"]
    assert room.thread()["trouble"] == ""


def test_a_message_whose_answer_was_lost_says_what_is_so_by_now(room):
    room.parts = parts("waits", "evidence")
    room.fails("chat.postMessage", "lost_answer")
    room.want()
    room.pass_time(1)
    room.tell()
    room.parts = parts("diagnosed", "evidence")  # meanwhile it has ended
    room.tell_all()
    assert [text.rpartition(" ")[2] for text in room.texts()] == ["diagnosed", "evidence"]


def test_a_worker_that_died_between_posting_and_noting_it_is_followed_by_one_that_finds_it(room):
    room.want()
    room.pass_time(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runbooks_app.store.chat.stands", dies)
        with pytest.raises(SystemExit):
            room.tell()
    room.pass_time(61)
    assert room.tell() == 1
    assert len(room.standing()) == 1
    room.parts = parts("two")
    room.want()
    room.tell_all()
    assert ["two" in text for text in room.texts()] == [True]


def test_a_rate_limit_holds_back_its_channel_for_as_long_as_slack_says_and_no_other(room):
    room.fails("chat.postMessage", "ratelimited", retry_after=30)
    room.want()
    room.pass_time(1)
    room.tell()
    room.want("run:r2", "C0ORDERS")
    room.pass_time(10)
    room.tell()
    assert room.texts() == []
    assert len(room.texts("C0ORDERS")) == 1
    room.pass_time(21)
    room.tell()
    assert len(room.texts()) == 1


def test_a_limit_on_updates_does_not_hold_back_what_is_new(room):
    room.want()
    room.tell_all()
    room.parts = parts("two")
    room.fails("chat.update", "ratelimited", retry_after=30)
    room.want()
    room.pass_time(1)
    room.tell()
    assert "one" in room.texts()[0]
    room.want("run:r2", "C0ORDERS")
    room.pass_time(2)
    room.tell()
    assert len(room.texts("C0ORDERS")) == 1
    room.pass_time(30)
    room.tell()
    assert "two" in room.texts()[0]


@pytest.mark.parametrize("kind", ["unavailable", "garbage"])
def test_an_outage_loses_nothing_keeps_the_order_and_doubles_nothing(room, kind):
    room.fails("*", kind, times=12)
    room.parts = parts("one", "two", "three")
    room.want()
    room.want("run:r2", "C0ORDERS")
    room.tell_all(seconds=400)
    for channel in ("C0INCIDENTS", "C0ORDERS"):
        assert [text.rpartition(" ")[2] for text in room.texts(channel)] == ["one", "two", "three"]

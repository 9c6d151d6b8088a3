"""Many conversations beside each other: none holds up the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from worker.room import parts

from runbooks_app.store import chat
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import telling
from runbooks_app.worker.conversation import tell_next

pytestmark = pytest.mark.chat


def test_a_job_that_always_finds_more_to_tell_gives_its_place_back(room, monkeypatch):
    monkeypatch.setattr(telling, "TURN", -1)
    monkeypatch.setattr(telling, "_parts", lambda *_: room.parts)
    worker = replace(room.house.worker, slack=room.slack)
    for number in range(3):
        room.want(f"run:r{number}")
    room.pass_time(1)
    with transaction(room.house.service.engine) as tx:
        tx.execute("DELETE FROM procrastinate_jobs")
    telling.tell_due(worker)
    assert len(room.rows("SELECT 1 FROM chat_threads WHERE wanted > told")) == 2
    assert len(room.rows("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'tell'")) == 1


def test_what_cannot_be_composed_is_tried_later_with_its_trouble_and_holds_up_nobody(room, caplog):
    room.want("run:broken", "C0BROKEN")
    room.pass_time(1)
    room.want()
    room.pass_time(1)

    def parts_of(_tx, _service, about):
        if about == "run:broken":
            raise LookupError("nobody foresaw this")
        return room.parts

    while tell_next(room.house.worker, room.slack, parts_of):
        pass
    assert len(room.texts()) == 1
    (broken,) = room.rows("SELECT *, due_at > now() AS later FROM chat_threads WHERE wanted > told")
    assert (broken["tries"], broken["holder"], broken["later"]) == (1, "", True)
    assert "LookupError" in broken["trouble"]
    assert "could not be composed" in caplog.text


def test_a_moment_without_slack_costs_a_channel_no_turns(room):
    for number in range(5):
        room.want(f"run:r{number}")
    room.pass_time(1)
    room.tell()
    assert len(room.texts()) == 1
    room.pass_time(1)
    room.fails("chat.postMessage", "unavailable")
    room.tell()
    seconds = 0
    while room.rows("SELECT 1 FROM chat_threads WHERE wanted > told"):
        seconds += 1
        assert seconds < 12, room.rows("SELECT about, due_at - now() AS due, turn_at - now() AS turn FROM chat_threads")
        room.pass_time(1)
        room.tell()
    assert len(room.texts()) == 5


def test_what_changes_nothing_proves_nothing_of_an_app_that_was_removed(room):
    room.want()
    room.tell_all()
    with transaction(room.house.service.engine) as tx:
        chat.hold_back(tx, chat.WORKSPACE, timedelta(), gone="Slack refused: token_revoked.")
    room.want()
    room.pass_time(2)
    assert room.tell() == 1
    with reading(room.house.service.engine) as tx:
        assert chat.gone(tx) is not None
    with transaction(room.house.service.engine) as tx:
        chat.hold_back(tx, chat.WORKSPACE, timedelta())  # nobody answered for a moment
        assert chat.gone(tx) is not None
    room.parts = parts("two")
    room.want()
    room.pass_time(2)
    room.tell()
    with reading(room.house.service.engine) as tx:
        assert chat.gone(tx) is None


@pytest.mark.pages
@pytest.mark.parametrize("names", [("C0INCIDENTS", "#incidents"), ("#incidents", "incidents")])
def test_a_channel_by_two_names_is_told_under_one_of_them(room, names):
    room.parts = parts("one", "two")
    room.want(channel=names[0])
    room.tell_all()
    room.want(channel=names[1])
    room.tell_all()
    before = len(room.texts())
    room.parts = parts("one changed", "two", "three")
    for name in names:
        room.want(channel=name)
    room.tell_all()
    assert len(room.texts()) == before + 1
    going = room.rows("SELECT channel, trouble FROM chat_threads WHERE ended_at IS NULL")
    ended = room.rows("SELECT channel, trouble FROM chat_threads WHERE ended_at IS NOT NULL")
    assert [row["channel"] for row in going] == [names[0]]
    assert ended == [{"channel": names[1], "trouble": ""}]
    with reading(room.house.service.engine) as tx:
        assert chat.untold(tx, "run:r1") == {}

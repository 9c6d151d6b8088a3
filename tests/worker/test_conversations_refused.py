"""What is told although Slack refuses parts of it, and charts, which go step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest
from worker.conftest import ANA, WEB
from worker.room import TOKEN, dies, parts

from runbooks_app.actions import running
from runbooks_app.chat.client import Slack
from runbooks_app.chat.views import FileTold, Told
from runbooks_app.core.errors import InvalidInput
from runbooks_app.store.database import transaction

pytestmark = pytest.mark.chat


def test_a_message_that_somebody_deleted_is_posted_anew(room):
    room.want()
    room.tell_all()
    room.workspace.remove("C0INCIDENTS", room.standing()[0].ts)
    room.parts = parts("two")
    room.want()
    room.tell_all()
    assert ["two" in text for text in room.texts()] == [True]


def chart(name: str = "p99") -> FileTold:
    return FileTold(f"{name}.png", name, b"bytes of " + name.encode(), alt="a line that rises")


def files(room) -> list[str]:
    shown = [room.workspace.uploads[file].name for message in room.standing() for file in message.files]
    assert all(room.workspace.uploads[file].content for message in room.standing() for file in message.files)
    return shown


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
@pytest.mark.parametrize("kind", ["lost_answer", "unavailable", "ratelimited"])
def test_a_chart_stands_once_in_the_thread_whatever_happens_on_its_way(room, method, kind):
    room.parts = (*parts("one"), Told("run:r1:chart:0", None, chart()), Told("run:r1:chart:1", None, chart("rate")))
    room.fails(method, kind)
    room.want()
    room.tell_all()
    assert files(room) == ["p99.png", "rate.png"]
    assert {message.thread_ts for message in room.standing()[1:]} == {room.standing()[0].ts}


def test_a_chart_whose_sharing_was_not_noted_is_found_in_its_thread(room):
    room.parts = (*parts("one"), Told("run:r1:chart:0", None, chart()))
    room.want()
    room.pass_time(1)
    room.tell()
    room.pass_time(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runbooks_app.store.chat.stands", dies)
        with pytest.raises(SystemExit):
            room.tell()
    room.pass_time(61)
    room.tell_all()
    assert files(room) == ["p99.png"]


def test_the_bytes_of_a_chart_go_to_nobody_but_slack(room):
    class Elsewhere(Slack):
        def _call(self, what, method, **arguments):
            told = super()._call(what, method, **arguments)
            return {**told, "upload_url": "http://169.254.169.254/latest"} if "upload_url" in told else told

    with pytest.raises(InvalidInput, match="not Slack"):
        Elsewhere(TOKEN, base_url=str(room.slack._web.base_url)).upload(chart())


def test_missing_scope_for_files_holds_back_files_alone_and_they_come_once_it_is_given(room):
    room.parts = (*parts("one"), Told("run:r1:chart:0", None, chart()))
    room.fails("files.getUploadURLExternal", "error", code="missing_scope")
    room.want()
    for _ in range(3):
        room.pass_time(1)
        room.tell()
    assert "deploy/slack-manifest" in room.thread()["trouble"]
    room.want("run:r2", "C0ORDERS")
    room.pass_time(1)
    room.tell()
    assert len(room.texts("C0ORDERS")) == 1
    room.tell_all()
    assert files(room) == ["p99.png"]
    assert room.rows("SELECT * FROM chat_channels WHERE gone <> ''") == []


@pytest.mark.parametrize("code", ["invalid_auth", "token_revoked", "account_inactive"])
def test_an_app_that_was_removed_loses_nothing_and_says_what_to_mend_until_it_is_back(room, code):
    room.fails("chat.postMessage", "error", code=code, times=2)
    room.want()
    room.want("run:r2", "C0ORDERS")
    room.pass_time(1)
    assert room.tell() == 1  # nothing else is tried with a token that is not good
    (gone,) = room.rows("SELECT channel, gone FROM chat_channels WHERE gone <> ''")
    assert gone["channel"] == ""
    assert code in gone["gone"]
    room.pass_time(59)
    assert room.tell() == 0
    room.tell_all(seconds=200)
    assert len(room.texts()) == len(room.texts("C0ORDERS")) == 1
    assert room.rows("SELECT * FROM chat_channels WHERE gone <> ''") == []


@pytest.mark.parametrize("code", ["msg_too_long", "msg_blocks_too_long", "invalid_blocks"])
def test_what_slack_finds_too_long_is_told_by_its_headline_and_its_page(room, code):
    room.fails("chat.postMessage", "error", code=code)
    room.want()
    room.tell_all()
    (message,) = room.standing()
    assert message.blocks == []
    assert message.text.startswith("look: 🔎 diagnosed")
    assert "<https://r.example/runs/r1|" in message.text
    room.fails("chat.update", "error", code=code)
    room.parts = parts("two")
    room.want()
    room.tell_all()
    (message,) = room.standing()
    assert "two" in message.text
    assert "<https://r.example/runs/r1|" in message.text


def asked_by_ana(room) -> str:
    """The id of a run that Ana has asked for, who is known to the chat."""
    service = room.house.service
    with transaction(service.engine) as tx:
        tx.execute("INSERT INTO chat_people (team, chat_user, subject) VALUES ('T0DEMO', 'U0ANA', :s)", s=ANA.subject)
    return running.request_run(service, ANA, WEB, "stuck-orders", {}, channel="C0INCIDENTS").id


@pytest.mark.parametrize("code", ["is_archived", "channel_not_found", "not_in_channel", "restricted_action"])
def test_what_cannot_be_told_in_its_channel_is_told_to_who_asked(room, runbook, code):
    settings = room.house.service.settings.model_copy(update={"slack_team": "T0DEMO", "slack_channel": "orders"})
    room.house.worker = replace(room.house.worker, service=replace(room.house.service, settings=settings))
    run = asked_by_ana(room)
    room.fails("chat.postMessage", "error", code=code)
    room.tell_all()
    assert room.texts() == []
    first, note = room.standing("D0ANA")
    assert "one" in first.text
    assert note.thread_ts == first.ts
    assert code in note.text
    assert "<#C0INCIDENTS>" in note.text
    (entry,) = room.rows("SELECT objects, body FROM audit_entries WHERE event = 'chat.untold'")
    assert run in entry["objects"]
    assert '"instead":"U0ANA"' in entry["body"]
    # Where that fails too, it is told where the settings say; and the page has it in any case.
    room.workspace.remove("D0ANA", first.ts)
    room.fails("chat.postMessage", "error", code="user_disabled")
    room.parts = parts("two")
    room.want(f"run:{run}", "")
    room.tell_all()
    assert "two" in room.texts("C0ORDERS")[0]


def test_a_channel_that_takes_nothing_any_more_while_its_message_is_changed_is_told_elsewhere_too(room, runbook):
    settings = room.house.service.settings.model_copy(update={"slack_team": "T0DEMO"})
    room.house.worker = replace(room.house.worker, service=replace(room.house.service, settings=settings))
    run = asked_by_ana(room)
    room.tell_all()
    assert len(room.texts()) == 1
    room.workspace.archived.add("C0INCIDENTS")
    room.parts = parts("two")
    room.want(f"run:{run}", "")
    room.tell_all()
    assert "two" in room.texts("D0ANA")[0]


def test_a_direct_message_stands_in_the_conversation_with_its_person(room):
    room.want("waking:p1", "U0BEN")
    room.tell_all()
    room.parts = parts("two")
    room.want("waking:p1", "")
    room.tell_all()
    assert ["two" in text for text in room.texts("D0BEN")] == [True]


def test_a_run_in_two_channels_stands_once_in_each_by_whichever_name(room):
    room.want("run:r1", "incidents")
    room.want("run:r1", "C0ORDERS")
    room.tell_all()
    room.want("run:r1", "C0INCIDENTS")
    room.tell_all()
    assert len(room.texts()) == len(room.texts("C0ORDERS")) == 1
    assert len(room.rows("SELECT * FROM chat_threads")) == 2


def test_telling_holds_no_session_while_slack_hangs_and_one_at_most(room):
    held = []

    class Watched(Slack):
        def post(self, *arguments, **named):
            held.append(room.house.service.engine.pool.checkedout())
            return super().post(*arguments, **named)

    room.slack = Watched(TOKEN, base_url=str(room.slack._web.base_url))
    room.parts = parts("one", "two")
    room.want()
    room.tell_all()
    assert held == [0, 0]

"""What is told stands in the channel once and in order, whatever the chat does meanwhile: real rows, a real server.

Time passes by moving the rows' times, not by waiting.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
from worker.conftest import ANA, WEB, House, while_working

from runbooks_app.actions import running, sweeping
from runbooks_app.actions.telling import tell
from runbooks_app.chat.client import Slack
from runbooks_app.chat.messages import run_message
from runbooks_app.chat.views import FileTold, FindingTold, RunTold, Told
from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.run import RunState
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.workspace import Fault, Standing, Workspace
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import telling
from runbooks_app.worker.conversation import tell_next

pytestmark = pytest.mark.chat

TOKEN = "xoxb-a-token-that-no-log-may-hold"


@dataclass
class Room:
    """A channel, those who tell in it, and what they are to tell: tests change `parts` as the world changes."""

    house: House
    workspace: Workspace
    slack: Slack
    parts: tuple[Told, ...] = ()

    def want(self, about: str = "run:r1", channel: str = "C0INCIDENTS", *, progress: bool = False) -> None:
        """Something has changed."""
        with transaction(self.house.service.engine) as tx:
            tell(tx, about, channel=channel, progress=progress)

    def tell(self) -> int:
        """Tell all that is due, as one job does; how many conversations were taken."""
        count = 0
        while tell_next(self.house.worker, self.slack, lambda _tx, _service, _about: self.parts):
            count += 1
            assert count < 50
        return count

    def tell_all(self, seconds: int = 100) -> None:
        """Tell, and let a second pass, until nothing is due for so long."""
        for _ in range(seconds):
            self.pass_time(1)
            self.tell()
            if not self.rows("SELECT 1 FROM chat_threads WHERE wanted > told AND ended_at IS NULL"):
                return
        raise AssertionError(self.rows("SELECT * FROM chat_threads"))

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass for all that waits."""
        with transaction(self.house.service.engine) as tx:
            by = "- make_interval(secs => :s)"
            tx.execute(
                f"""UPDATE chat_threads SET due_at = due_at {by}, held_until = held_until {by},
                    shown_at = shown_at {by}, turn_at = turn_at {by}, made_at = made_at {by}""",
                s=seconds,
            )
            tx.execute(f"UPDATE chat_channels SET next_at = next_at {by}", s=seconds)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with reading(self.house.service.engine) as tx:
            return [dict(row._mapping) for row in tx.execute(sql)]

    def thread(self) -> dict[str, Any]:
        (row,) = self.rows("SELECT * FROM chat_threads WHERE about = 'run:r1'")
        return row

    def standing(self, channel: str = "C0INCIDENTS") -> list[Standing]:
        return self.workspace.seen(channel)

    def texts(self, channel: str = "C0INCIDENTS") -> list[str]:
        return [message.text for message in self.standing(channel)]

    def fails(self, method: str, kind: str, *, times: int = 1, **more: Any) -> None:
        self.workspace.faults += [Fault(method, kind, **more)] * times


def said(summary: str) -> Any:
    return run_message(
        RunTold(
            "r1",
            "look",
            "https://r.example/runs/r1",
            RunState.DIAGNOSED,
            "Ana",
            findings=(FindingTold("info", summary),),
        )
    )


def parts(*summaries: str) -> tuple[Told, ...]:
    return tuple(Told(f"run:r1:{n}", said(summary)) for n, summary in enumerate(summaries))


@pytest.fixture
def room(house):
    app = create_slack(SlackConfig(TOKEN, "the signing secret", "http://127.0.0.1:9", rates=False))
    with serve(app) as url:
        slack = Slack(TOKEN, base_url=f"{url}api/", timeout=5)
        yield Room(house, app.extensions["slack_workspace"], slack, parts("one"))


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


def dies(*_, **__):
    raise SystemExit


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

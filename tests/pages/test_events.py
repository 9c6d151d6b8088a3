"""Pages that are live: what changes comes by itself, with Redis and without."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from page_stories import stream

from runbooks_app.actions import people
from runbooks_app.core.run import CellState
from runbooks_app.live import Live
from runbooks_app.main.embedded import Redis
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.web import live
from runbooks_app.web.pages import run_view


def now() -> int:
    return int(time.time() * 1000)


def attempt_of(service, run_id: str) -> int:
    with reading(service.engine) as tx:
        return runs.attempts(tx, run_id)[-1].id


class TestWithRedis:
    @pytest.fixture
    def settings(self, redis_server: Redis) -> dict[str, Any]:
        return {"redis_url": redis_server.url}

    @pytest.fixture
    def voice(self, redis_server: Redis) -> Iterator[Live]:
        voice = Live(redis_server.url)
        yield voice
        voice.close()

    def test_what_a_cell_prints_arrives_while_it_runs_as_text(self, story, anna, service, voice):
        run_id = story.request()
        story.claim(run_id)
        story.begin(run_id, "latency")
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        cell = {"kind": "output", "attempt": attempt_of(service, run_id), "cell": "latency"}
        voice.publish(run_id, {**cell, "output": stream("reading <b>orders</b>\n")})
        _, data = events.until(lambda name, _: name == "output")
        told = json.loads(data)
        assert told["into"] == f"live-{cell['attempt']}-latency"
        assert "reading &lt;b&gt;orders&lt;/b&gt;" in told["html"]
        events.close()

    def test_a_cell_that_ends_takes_the_place_of_its_live_self(self, story, anna, service, voice):
        run_id = story.request()
        story.claim(run_id)
        story.begin(run_id, "latency")
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        events.next()
        story.end(run_id, "latency")
        voice.publish(run_id, {"kind": "changed"})
        _, html = events.until(lambda _, data: f'id="cell-{attempt_of(service, run_id)}-latency"' in data)
        assert "200 reads of 8 tables" in html
        assert "✓" in html
        events.close()

    @pytest.mark.kernels
    def test_a_display_of_an_ended_cell_that_is_updated_shows_at_once(self, story, anna, service, voice):
        run_id = story.request()
        attempt = story.claim(run_id).attempt.id
        story.end(run_id, "latency", outputs=[stream("before\n")])
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        events.next()
        with transaction(service.engine) as tx:
            runs.update_outputs(tx, attempt, "latency", [stream("after\n")], "")
        voice.publish(run_id, {"kind": "changed"})
        _, html = events.until(lambda _, data: f'id="cell-{attempt}-latency"' in data and "after" in data)
        assert "before" not in html
        events.close()

    @pytest.mark.kernels
    def test_a_live_display_is_told_with_its_number_and_clearing_as_such(self, story, anna, voice):
        run_id = story.request()
        attempt = story.claim(run_id).attempt.id
        story.begin(run_id, "latency")
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        printed = {"kind": "output", "attempt": attempt, "cell": "latency", "output": stream("x\n")}
        voice.publish(run_id, {**printed, "display_id": "3", "clears": True})
        _, data = events.until(lambda name, _: name == "output")
        assert (json.loads(data)["display"], json.loads(data)["clears"]) == ("3", True)
        events.close()

    def test_who_comes_late_sees_what_the_running_cell_printed_so_far_and_nothing_of_those_that_ended(
        self, story, anna, service, voice
    ):
        run_id = story.request()
        story.claim(run_id)
        attempt = attempt_of(service, run_id)
        for cell in ("latency", "activity"):
            story.begin(run_id, cell)
            voice.publish(
                run_id, {"kind": "output", "attempt": attempt, "cell": cell, "output": stream(f"in {cell}\n")}
            )
            if cell == "latency":
                story.end(run_id, cell)
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        _, data = events.until(lambda name, _: name == "output")
        assert json.loads(data)["into"] == f"live-{attempt}-activity"
        events.close()

    def test_output_of_a_cell_whose_beginning_was_not_told_makes_the_page_look(self, story, anna, service, voice):
        run_id = story.request()
        story.claim(run_id)
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        events.next()
        story.begin(run_id, "latency")
        attempt = attempt_of(service, run_id)
        voice.publish(run_id, {"kind": "output", "attempt": attempt, "cell": "latency", "output": stream("hello\n")})
        _, data = events.until(lambda name, _: name == "output")
        assert "hello" in data
        events.close()

    def test_what_a_cell_prints_shows_that_it_runs_before_that_is_stored(self, story, anna, service, voice):
        run_id = story.request()
        story.claim(run_id)
        attempt = attempt_of(service, run_id)
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        events.next()
        cell = {"kind": "output", "attempt": attempt, "cell": "latency"}
        voice.publish(run_id, {**cell, "output": stream("hello\n")})
        _, html = events.next()
        assert f'id="live-{attempt}-latency"' in html
        assert events.next()[0] == "output"
        story.begin(run_id, "latency")
        voice.publish(run_id, {"kind": "changed"})
        voice.publish(run_id, {**cell, "output": stream("and more\n")})
        between: list[str] = []
        events.until(lambda _, data: "and more" in data or bool(between.append(data)))
        assert f'id="live-{attempt}-latency"' not in "".join(between), "what it had printed would be gone"
        events.close()

    def test_events_that_make_no_sense_are_passed_over(self, story, anna, service, voice):
        run_id = story.request()
        story.claim(run_id)
        story.begin(run_id, "latency")
        attempt = attempt_of(service, run_id)
        events = anna.stream(f"/runs/{run_id}/events?since={now()}")
        for odd in (
            {"attempt": "x", "cell": 1},
            {"attempt": attempt, "cell": "latency", "output": 5},
            {"cell": "latency"},
        ):
            voice.publish(run_id, {"kind": "output", **odd})
        voice.publish(run_id, {"kind": "output", "attempt": attempt, "cell": "latency", "output": stream("fine\n")})
        events.until(lambda name, data: name == "output" and "fine" in data)
        events.close()


def test_without_redis_the_database_is_looked_into_each_second(story, anna):
    run_id = story.request()
    events = anna.stream(f"/runs/{run_id}/events?since={now()}")
    events.next()
    began = time.monotonic()
    story.diagnose(run_id)
    _, html = events.until(lambda _, data: "diagnosed" in data)
    assert 'id="run-head"' in html
    assert time.monotonic() - began < 15  # without a look into the database nothing would ever come
    events.close()


def test_nothing_is_sent_while_nothing_changes(story, anna, monkeypatch):
    monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)
    monkeypatch.setattr(live, "LONGEST", 0.6)
    run_id, _ = story.diagnosed()
    events = anna.stream(f"/runs/{run_id}/events?since={now() + 60_000}")
    assert events.next()[0] == "parts"
    assert events.next() == ("", ""), "a waiting proposal's countdown is no news"


def test_a_stream_ends_when_its_page_is_at_rest(story, anna):
    run_id, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.mend(proposal_id)
    for path in (f"/runs/{run_id}/events", f"/proposals/{proposal_id}/events"):
        events = anna.stream(path)
        assert events.until(lambda name, _: name == "end") == ("end", "")
        assert events.next() == ("", "")


def test_the_approval_page_follows_what_happens_after_the_decision(story, dev, monkeypatch):
    monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.1)
    _, proposal_id = story.diagnosed()
    events = dev.stream(f"/proposals/{proposal_id}/events")
    _, html = events.next()
    assert 'value="approve"' in html
    story.approve(proposal_id)
    _, html = events.until(lambda _, data: "It is about to run" in data)
    assert 'value="approve"' not in html
    story.recheck(proposal_id)
    events.until(lambda _, data: "still proposed" in data)
    story.remediate(proposal_id)
    events.until(lambda _, data: "being verified" in data)
    story.verify(proposal_id)
    events.until(lambda _, data: "applied, verified" in data)
    assert events.next()[0] == "end"


def test_a_session_that_ends_ends_its_streams(story, anna, service, monkeypatch):
    monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)
    monkeypatch.setattr(live, "HEARTBEAT", 0.1)
    run_id = story.request()
    events = anna.stream(f"/runs/{run_id}/events?since={now()}")
    events.next()
    people.sign_out(service, anna.client.get_cookie("runbooks").value)
    assert events.next() == ("", "")


class TestAProcessWithFewThreads:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"web_threads": 4}

    def test_streams_beyond_its_share_are_refused_and_a_place_that_is_given_back_is_taken(self, story, anna):
        run_id = story.request()
        held = [anna.stream(f"/runs/{run_id}/events") for _ in range(3)]
        assert [events.status for events in held] == [200, 200, 200]
        assert anna.get(f"/runs/{run_id}/events").status == 503
        assert anna.get(f"/runs/{run_id}").status == 200
        held.pop().close()
        held.append(anna.stream(f"/runs/{run_id}/events"))
        assert held[-1].status == 200
        while held:  # the last one first: they share this test's thread, and Flask's contexts are a stack
            held.pop().close()


def test_streams_end_when_their_process_lets_go_of_them(story, app, anna):
    run_id = story.request()
    story.claim(run_id)
    events = anna.stream(f"/runs/{run_id}/events")
    assert events.next()[0] == "parts"
    live.close(app)
    while events.next() != ("", ""):
        pass
    events.close()


def test_a_stream_of_nothing_and_of_nobody_is_none(app, anna):
    assert anna.get("/runs/nothing/events").status == 404
    assert anna.get("/proposals/nothing/events").status == 404
    answer = app.test_client().get("/runs/nothing/events")
    assert re.match(r"/login\?next=", answer.headers["Location"])


def test_a_cell_that_begins_is_made_once_for_all_who_watch(story, app, service):
    run_id = story.request()
    story.claim(run_id)
    with app.app_context(), reading(service.engine) as tx:
        rendered = run_view.Rendered(run_view.read(tx, run_id))
    key = next(key for key, view in rendered.cells.items() if view.cell.state is CellState.WAITING)
    together, looked_up = threading.Barrier(2), []

    class Met(dict[Any, Any]):
        """Gives a cell out when both have come for it, or when nobody else does."""

        def __getitem__(self, name: Any) -> Any:
            looked_up.append(name)
            with suppress(threading.BrokenBarrierError):
                together.wait(0.5)
            return super().__getitem__(name)

    rendered.cells = Met(rendered.cells)

    def begun(_: int) -> str:
        with app.app_context():
            return rendered.begun(key)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(begun, range(2))
    assert looked_up == [key]
    assert first is second
    assert f'id="cell-{key[0]}-{key[1]}"' in first

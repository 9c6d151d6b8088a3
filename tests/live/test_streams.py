"""Live output through a real Redis, and without one."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import pytest
from redis import Redis as Client

from runbooks_app.live import Live, Viewer, streams
from runbooks_app.main.embedded import Redis


def url_of(server: Redis) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


def output(text: str, cell: str = "look") -> dict:
    return {
        "kind": "output",
        "attempt": 1,
        "cell": cell,
        "output": {"output_type": "stream", "name": "stdout", "text": text},
    }


def texts(events: queue.Queue, count: int, patience: float = 5.0) -> list[str]:
    return [events.get(timeout=patience)["output"]["text"] for _ in range(count)]


@pytest.fixture
def live(redis_server: Redis) -> Iterator[Live]:
    voice = Live(url_of(redis_server), redis_server.password)
    yield voice
    voice.close()


@pytest.fixture
def viewer(redis_server: Redis) -> Iterator[Viewer]:
    eyes = Viewer(url_of(redis_server), redis_server.password)
    yield eyes
    eyes.close()


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_what_is_published_arrives_in_order(live, viewer):
    with viewer.subscribe("in-order") as events:
        for number in range(50):
            live.publish("in-order", output(str(number)))
        assert texts(events, 50) == [str(number) for number in range(50)]


def test_who_comes_late_is_given_what_came_before(live, viewer):
    for number in range(5):
        live.publish("late", output(str(number)))
    with viewer.subscribe("late") as events:
        assert texts(events, 5) == ["0", "1", "2", "3", "4"]


def test_a_second_one_on_the_same_run_gets_everything_once(live, viewer):
    live.publish("two", output("a"))
    with viewer.subscribe("two") as first:
        assert texts(first, 1) == ["a"]
        live.publish("two", output("b"))
        assert texts(first, 1) == ["b"]
        with viewer.subscribe("two") as second:
            live.publish("two", output("c"))
            assert texts(second, 3) == ["a", "b", "c"]
            assert texts(first, 1) == ["c"]
            with pytest.raises(queue.Empty):
                second.get(timeout=0.05)


def test_a_new_subscription_joins_a_read_under_way(live, viewer):
    with viewer.subscribe("quiet") as quiet:
        with pytest.raises(queue.Empty):
            quiet.get(timeout=0.1)
        live.publish("busy", output("now"))
        with viewer.subscribe("busy") as events:
            assert texts(events, 1) == ["now"]


def test_runs_do_not_hear_each_other(live, viewer):
    with viewer.subscribe("one") as one, viewer.subscribe("other") as other:
        live.publish("one", output("for one"))
        assert texts(one, 1) == ["for one"]
        assert other.empty()


def test_many_viewers_share_one_reader_and_one_connection(live, viewer, redis_server):
    client = Client.from_url(url_of(redis_server), password=redis_server.password)
    before = sum(thread.name == "live-viewer" for thread in threading.enumerate())
    with ExitStack() as stack:
        queues = [stack.enter_context(viewer.subscribe(f"crowd-{number % 5}")) for number in range(40)]
        for number in range(5):
            live.publish(f"crowd-{number}", output(f"to {number}"))
        assert [texts(events, 1) for events in queues] == [[f"to {number % 5}"] for number in range(40)]
        blocked = [c for c in client.client_list() if c["cmd"] == "xread"]
        readers = sum(thread.name == "live-viewer" for thread in threading.enumerate())
        assert len(blocked) <= 1
        assert readers == before + 1
    client.close()


def test_one_that_reads_too_slowly_is_told_to_look_again_and_holds_nobody_up(live, viewer, monkeypatch):
    monkeypatch.setattr("runbooks_app.live.viewer.BACKLOG", 10)
    with viewer.subscribe("flood") as slow:
        monkeypatch.setattr("runbooks_app.live.viewer.BACKLOG", 2_000)
        with viewer.subscribe("flood") as quick:
            for number in range(100):
                live.publish("flood", output(str(number)))
            assert texts(quick, 100)[-1] == "99"
        assert {"kind": "changed"} in [slow.get_nowait() for _ in range(slow.qsize())]


def test_an_event_that_is_no_event_means_look_again(viewer, redis_server):
    client = Client.from_url(url_of(redis_server), password=redis_server.password)
    for content in (b"{", b"[]", b"\xff"):
        client.xadd(streams.key("odd"), {b"e": content})
    client.xadd(streams.key("odd"), {b"other": b"{}"})
    with viewer.subscribe("odd") as events:
        assert [events.get(timeout=5) for _ in range(4)] == [{"kind": "changed"}] * 4
    client.close()


def test_a_stream_is_bounded_and_goes_away_by_itself(live, redis_server, monkeypatch):
    monkeypatch.setattr(streams, "LENGTH", 100)
    for number in range(400):
        live.publish("bounded", output(str(number)))
    client = Client.from_url(url_of(redis_server), password=redis_server.password)
    assert client.xlen(streams.key("bounded")) < 350
    assert 3500 < client.ttl(streams.key("bounded")) <= 3600
    client.close()


def test_what_is_too_large_is_not_streamed(live, viewer):
    with viewer.subscribe("large") as events:
        live.publish("large", output("x" * 70_000))
        live.publish("large", output("small"))
        assert texts(events, 1) == ["small"]


def test_text_that_is_no_utf_8_is_published_all_the_same(live, viewer):
    with viewer.subscribe("half") as events:
        live.publish("half", output("half \ud800"))
        assert texts(events, 1)[0].startswith("half ")


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0"])
def test_without_redis_publishing_drops_and_watching_says_nothing(url):
    voice, eyes = Live(url), Viewer(url)
    began = time.monotonic()
    for _ in range(100):
        voice.publish("nobody", output("lost"))
    assert time.monotonic() - began < 10  # a hundred time-outs would be 50 s
    with eyes.subscribe("nobody") as events:
        with pytest.raises(queue.Empty):
            events.get(timeout=0.05)
        assert not eyes.connected
    voice.close()
    eyes.close()


def test_a_redis_that_hangs_holds_a_worker_up_once_and_then_not_for_a_while(silent_server):
    voice = Live(f"redis://127.0.0.1:{silent_server}/0")
    began = time.monotonic()
    for _ in range(50):
        voice.publish("hanging", output("lost"))
    assert time.monotonic() - began < 10  # fifty time-outs would be 25 s
    voice.close()


def test_after_a_restart_of_redis_watching_goes_on(servers_folder, redis_server):
    server = Redis.start(servers_folder / "redis-restarted")
    assert server is not None
    port, password = server.port, server.password
    eyes = Viewer(url_of(server), password)
    with eyes.subscribe("again") as events:
        voice = Live(url_of(server), password)
        voice.publish("again", output("before"))
        assert texts(events, 1) == ["before"]
        server.stop()
        ends = time.monotonic() + 5
        while eyes.connected and time.monotonic() < ends:
            with pytest.raises(queue.Empty):
                events.get(timeout=0.05)
        assert not eyes.connected
        server = Redis.start(servers_folder / "redis-restarted", port=port)
        assert server is not None
        with server:
            voice.close()
            voice = Live(url_of(server), password)
            voice.publish("again", output("after"))
            assert texts(events, 1) == ["after"]
            eyes.close()
            voice.close()


def test_whoever_begins_to_watch_at_the_moment_of_the_end_breaks_nothing(redis_server, monkeypatch):
    eyes, start, ends = Viewer(url_of(redis_server), redis_server.password), threading.Thread.start, []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # its thread is there

        def start_late(thread):
            ends.append(pool.submit(eyes.close))
            wait(ends, timeout=0.2)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_late)
        with eyes.subscribe("the-last"):
            assert ends[0].result(timeout=10) is None
    assert eyes.closed

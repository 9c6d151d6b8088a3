"""What comes back from an HTTP connection: from systems that answer, lie, hang and go away."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from kernels.gateway.conftest import route, with_credential
from kernels.gateway.servers import HOST, answer, http_server, raw_server, saying, silent

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/prom/graph?a=b", "/graph?a=b"),
        ("http://127.0.0.1:{port}/prom/graph", "/graph"),
        ("//127.0.0.1:{port}/prom/graph", "/graph"),
        ("graph", "graph"),
        ("/login", None),
        ("https://sso.example.com/login", None),
        ("http://127.0.0.1:{port}.example.com/", None),
        ("//sso.example.com/login", None),
        ("http://127.0.0.1:1/prom/graph", None),
        ("http://[::bad/", None),
    ],
)
def test_a_redirect_leads_to_the_same_system_or_nowhere(opened, location, shown):
    def redirecting(handler, system):
        answer(handler, status=302, Location=location.format(port=system.port))

    with http_server(redirecting) as system, opened(route(system.port, base="/prom")).client() as client:
        answered = client.get("/")
    assert answered.status_code == 302
    assert answered.headers.get("location") == shown


# systems that are ill


def test_a_system_that_is_away_is_told_as_that(opened):
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    gateway = opened(route(port))
    with gateway.client() as client:
        answered = client.get("/x")
    assert answered.status_code == 502
    assert answered.headers["x-runbooks-gateway"] == "unavailable"
    assert f"prometheus (http://127.0.0.1:{port}) could not be reached" in answered.json()["message"]
    assert gateway.refused == []


def test_a_slow_system_is_given_up_in_time(opened):
    with raw_server(silent) as system, opened(route(system.port), patience=0.3).client() as client:
        answered = client.get("/x")
        again = client.post("/api/v1/query", content=b"x")
    assert (answered.status_code, again.status_code) == (504, 504)
    assert "did not answer within 0.3 s" in answered.json()["message"]


def test_a_system_that_drips_its_head_is_given_up_too(opened):
    def dripping(connection, system):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        stop = threading.Event()
        while True:
            connection.sendall(b"X: y\r\n")
            stop.wait(0.05)

    with raw_server(dripping) as system, opened(route(system.port), patience=0.3).client() as client:
        assert client.get("/x").status_code == 504


def test_a_system_that_stops_in_the_middle_breaks_the_answer_off(opened):
    def stopping(connection, system):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        while connection.recv(65536):
            pass

    with (
        raw_server(stopping) as system,
        opened(route(system.port), patience=0.3).client() as client,
        pytest.raises(httpx.TransportError),
    ):
        client.get("/x")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    ],
)
def test_a_system_that_lies_before_its_body_is_told_of_as_a_bad_gateway(opened, said):
    with raw_server(saying(said)) as system, opened(route(system.port)).client() as client:
        answered = client.get("/x")
        assert answered.status_code == 502
        assert answered.headers["x-runbooks-gateway"] == "unavailable"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
def test_a_system_that_closes_half_way_is_never_taken_for_one_that_said_all(opened, said):
    with (
        raw_server(saying(said)) as system,
        opened(route(system.port)).client() as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.get("/x")


def test_what_comes_after_an_answer_is_not_taken_for_the_next_one(opened):
    two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    with raw_server(saying(two)) as system, opened(route(system.port)).client() as client:
        assert [client.get("/x").text for _ in range(3)] == ["a", "a", "a"]


def test_nor_is_it_where_the_system_goes_on_listening(opened):
    two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

    def listening(connection, system):
        while connection.recv(65536):
            connection.sendall(two)

    with raw_server(listening) as system, opened(route(system.port)).client() as client:
        assert [client.get("/x").text for _ in range(3)] == ["a", "a", "a"]


def test_a_kernel_that_goes_away_ends_its_request_at_the_system(opened):
    asked, ended = threading.Event(), threading.Event()

    def waiting(connection, system):
        while connection.recv(65536):
            asked.set()
        ended.set()

    with raw_server(waiting) as system:
        gateway = opened(route(system.port), patience=60)
        with socket.create_connection((HOST, gateway.port)) as kernel:
            kernel.sendall(gateway.head("GET /x HTTP/1.1"))
            assert asked.wait(30)  # who goes away before that has asked nothing of the system
        assert ended.wait(30)


@pytest.mark.parametrize("turn", range(30))
def test_closing_the_gateway_ends_also_what_came_this_moment(opened, turn):
    with raw_server(silent) as system:
        gateway = opened(route(system.port), patience=60)
        with socket.create_connection((HOST, gateway.port), timeout=5) as kernel:
            gateway.close()
            with contextlib.suppress(ConnectionResetError):
                assert kernel.recv(1) == b""


def test_closing_the_gateway_ends_what_is_going_on(opened):
    with raw_server(silent) as system:
        gateway = opened(route(system.port), patience=60)
        with socket.create_connection((HOST, gateway.port), timeout=5) as kernel:
            kernel.sendall(gateway.head("GET /x HTTP/1.1"))
            gateway.close()
            with contextlib.suppress(ConnectionResetError):
                assert kernel.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, gateway.port))


# sizes


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_sixty_megabytes_pass_each_way_without_staying(opened):
    size, chunk = 60 << 20, b"x" * 65536
    peak = 0

    def hoarding_nothing(handler, system):
        nonlocal peak
        left = int(handler.headers.get("Content-Length") or 0)
        while left:
            left -= len(handler.rfile.read(min(left, 65536)))
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        for _ in range(size // len(chunk)):
            handler.wfile.write(chunk)
            peak = max(peak, resident())

    with http_server(hoarding_nothing) as system, opened(with_credential(system.port)).client() as client:
        before = resident()
        sent = (chunk for _ in range(size // len(chunk)))
        headers = {"Content-Length": str(size)}
        with client.stream("POST", "/api/v1/query", content=sent, headers=headers) as answered:
            received = sum(len(piece) for piece in answered.iter_raw())
    assert received == size
    assert peak - before < 20 << 20


def test_an_answer_of_very_many_pieces_lets_others_have_their_turn(opened, loop):
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n"
    waited, over = [], threading.Event()

    async def wait() -> None:
        while not over.is_set():
            since = time.monotonic()
            await asyncio.sleep(0.001)
            waited.append(time.monotonic() - since)

    waiting = asyncio.run_coroutine_threadsafe(wait(), loop)
    try:
        with raw_server(saying(said)) as system, opened(with_credential(system.port)).client() as client:
            assert client.get("/x").text == "a" * 10_000
    finally:
        over.set()
        waiting.result(10)
    *_, second, longest = sorted(waited)
    assert second < 0.7, (second, longest)  # once, the machine itself may have paused


def test_a_kernel_that_does_not_read_holds_the_system_back(opened):
    stuck = threading.Event()
    sent = 0

    def pouring(connection, system):
        nonlocal sent
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        connection.settimeout(1)
        try:
            while True:
                sent += connection.send(b"x" * 65536)
        except TimeoutError:
            stuck.set()

    with raw_server(pouring) as system:
        gateway = opened(route(system.port))
        with socket.create_connection((HOST, gateway.port)) as kernel:
            kernel.sendall(gateway.head("GET /x HTTP/1.1"))
            assert stuck.wait(20)
    assert sent < 40 << 20


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_answer_without_a_body_ends_where_it_ends(opened, method, status):
    def bodyless(handler, system):
        handler.send_response(status)
        handler.send_header("Content-Length" if method == "HEAD" else "ETag", "12")
        handler.end_headers()

    with http_server(bodyless) as system, opened(route(system.port)).client() as client:
        answered = [client.request(method, "/x") for _ in range(2)]
    assert [one.status_code for one in answered] == [status, status]
    assert answered[0].content == b""
    if method == "HEAD":
        assert answered[0].headers["content-length"] == "12"


def test_a_system_that_tells_its_length_in_two_ways_is_read_in_one_or_not_at_all(opened):
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with (
        raw_server(saying(both)) as system,
        opened(route(system.port)).client() as client,
        pytest.raises(httpx.TransportError),
    ):
        client.get("/x")


def test_a_worker_that_is_out_of_descriptors_takes_connections_later(opened, echoing, caplog):
    gateway = opened(route(echoing.port))
    most, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as kernel:
        resource.setrlimit(resource.RLIMIT_NOFILE, (kernel.fileno() + 1, ceiling))
        try:
            filler = []
            with contextlib.suppress(OSError):
                while True:
                    filler.append(socket.socket())
            kernel.settimeout(10)
            kernel.connect((HOST, gateway.port))
            kernel.sendall(gateway.head("GET /x HTTP/1.1"))
            while "no connection to prometheus can be taken" not in caplog.text:
                pass
        finally:
            for one in filler:
                one.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, ceiling))
        assert kernel.recv(100).startswith(b"HTTP/1.1 200 OK")

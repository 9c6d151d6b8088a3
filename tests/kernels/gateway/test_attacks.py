"""What a hostile kernel may send to its gateway's ports. Nothing of it reaches the system; all of it is told."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import re
import socket

import pytest
from kernels.gateway.conftest import route
from kernels.gateway.servers import HOST, send

from runbooks_app.kernels.gateway.ports import MOST_AT_ONCE
from runbooks_app.kernels.gateway.refusals import MOST_TOLD

pytestmark = pytest.mark.kernels


def status(answered: bytes) -> int:
    return int(answered.split(b" ", 2)[1])


@pytest.fixture
def gateway(opened, echoing):
    return opened(route(echoing.port, base="/prom", rules=("GET /api/*", "POST /api/v1/query")))


@pytest.mark.parametrize(
    "path",
    [
        "/api/../admin",
        "/api/%2e%2e/admin",
        "/api/%2E%2E/%2e%2e/admin",
        "/api/.%2e/admin",
        "/api/..%2fadmin",
        "/api/%252e%252e/admin",
        "/api//admin",
        "//elsewhere/api/x",
        "/api/..;/admin",
        "/api/%5c..%5cadmin",
        "/api/..\\admin",
        "/api/x%00",
        "/api/%0d%0aHost:%20x",
        "/api/x#/../admin",
        "/admin",
        "/api",
        "/",
    ],
)
def test_no_spelling_of_a_path_leads_out_of_what_is_allowed(gateway, echoing, path):
    answered = send(gateway.port, gateway.head(f"GET {path} HTTP/1.1"))
    assert status(answered) == 403
    assert [refusal.path for refusal in gateway.refused] == [path.partition("?")[0]]
    assert echoing.seen == []


def test_what_is_forwarded_is_what_was_judged_byte_for_byte(gateway, echoing):
    for path in ("/api/a%20b%7e~", "/api/x?a=../b//c%2F&d=%zz", "/api/a%2Fb"):
        assert status(send(gateway.port, gateway.head(f"GET {path} HTTP/1.1"))) == 200
    assert [seen["path"] for seen in echoing.seen] == [
        "/prom/api/a%20b%7e~",
        "/prom/api/x?a=../b//c%2F&d=%zz",
        "/prom/api/a%2Fb",
    ]


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        ("GET http://169.254.169.254/latest/meta-data/ HTTP/1.1", [], 421),
        ("GET http://127.0.0.1/api/x HTTP/1.1", [], 421),
        ("GET /api/x HTTP/1.1", ["Host: elsewhere"], 421),
        ("GET /api/x HTTP/1.1", ["Host: 127.0.0.1"], 421),
        ("OPTIONS * HTTP/1.1", [], 421),
        ("CONNECT elsewhere:443 HTTP/1.1", [], 403),
        ("GET /api/x HTTP/1.1", ["Connection: Upgrade", "Upgrade: websocket"], 403),
        ("GET /api/x HTTP/1.1", ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"], 403),
        ("GET /api/x HTTP/1.0", [], 505),
        ("PRI * HTTP/2.0", [], 505),
        ("GET /api/x HTTP/1.1", ["Content-Length: 3", "Content-Length: 4"], 400),
        ("GET /api/x HTTP/1.1", ["Content-Length: +3"], 400),
        ("GET /api/x HTTP/1.1", ["Content-Length: -1"], 400),
        ("POST /api/v1/query HTTP/1.1", ["Content-Length: 3", "Transfer-Encoding: chunked"], 400),
        ("POST /api/v1/query HTTP/1.1", ["Transfer-Encoding: xchunked"], 501),
        ("POST /api/v1/query HTTP/1.1", ["Transfer-Encoding: chunked, chunked"], 501),
        ("GET /api/x HTTP/1.1", ["Host : elsewhere"], 400),
        ("GET /api/x HTTP/1.1", ["A\0B: c"], 400),
        ("GET  /api/x  HTTP/1.1", [], 400),
        ("GET /api/x y HTTP/1.1", [], 400),
        ("GET /api/\xe9 HTTP/1.1", [], 400),
        ("\x16\x03\x01\x02\x00\x01", [], 400),
        ("GET /api/x HTTP/1.1", ["X: " + "y" * 200_000], 431),
    ],
)
def test_what_is_no_plain_request_to_this_system_is_refused(gateway, echoing, request_line, headers, expected):
    answered = send(gateway.port, gateway.head(request_line, *headers))
    assert status(answered) == expected
    assert len(gateway.refused) == 1
    assert echoing.seen == []


@pytest.mark.parametrize("nonce", ["", "X-Runbooks-Nonce:", "X-Runbooks-Nonce: guess", "X_Runbooks_Nonce: {nonce}"])
def test_without_the_runs_nonce_nothing_passes(gateway, echoing, nonce):
    lines = [
        "GET /api/x HTTP/1.1",
        f"Host: {HOST}:{gateway.port}",
        nonce.format(nonce=gateway.gateway.nonce),
        "Connection: close",
    ]
    answered = send(gateway.port, "\r\n".join([*filter(None, lines), "", ""]).encode())
    assert status(answered) == 403
    assert b"kit.http('prometheus')" in answered
    assert echoing.seen == []


def test_another_runs_nonce_is_worth_nothing(opened, gateway, echoing):
    other = opened(route(echoing.port))
    head = gateway.head("GET /api/x HTTP/1.1", f"X-Runbooks-Nonce: {other.gateway.nonce}")
    assert status(send(gateway.port, head)) == 403
    assert echoing.seen == []


def test_two_nonces_are_none(gateway, echoing):
    nonce = f"X-Runbooks-Nonce: {gateway.gateway.nonce}"
    assert status(send(gateway.port, gateway.head("GET /api/x HTTP/1.1", nonce, "X-Runbooks-Nonce: x"))) == 403
    assert echoing.seen == []


def test_the_nonce_goes_no_further_than_the_gateway(gateway, echoing):
    send(gateway.port, gateway.head("GET /api/x HTTP/1.1"))
    assert gateway.gateway.nonce not in str(echoing.seen)
    assert gateway.gateway.nonce not in repr(gateway.gateway)


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nquery\r\n0\r\n\r\nDELETE /prom/admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"5;a=b\r\nquery\r\n0\r\nX: y\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_request_hidden_behind_a_body_is_judged_by_itself(gateway, echoing, body):
    head = gateway.head("POST /api/v1/query HTTP/1.1", "Transfer-Encoding: chunked", "Connection: keep-alive")
    send(gateway.port, head + body)
    assert [(seen["method"], seen["path"], seen["body"]) for seen in echoing.seen] == [
        ("POST", "/prom/api/v1/query", "query")
    ]
    assert len(gateway.refused) == 1


@pytest.mark.parametrize(
    "body", [b"5\r\nqueryX\r\n0\r\n\r\n", b"0x5\r\nquery\r\n0\r\n\r\n", b"5\nquery\n0\n\n", b"-5\r\nquery\r\n0\r\n\r\n"]
)
def test_chunks_that_two_servers_could_read_differently_never_make_a_whole_request(gateway, echoing, body):
    head = gateway.head("POST /api/v1/query HTTP/1.1", "Transfer-Encoding: chunked")
    send(gateway.port, head + body, leave=True)
    assert [seen for seen in echoing.seen if seen["body"] not in ("query", "")] == []
    with gateway.client() as client:
        assert client.get("/api/x").status_code == 200


def test_pipelined_requests_are_answered_one_by_one_each_by_its_own_rules(gateway, echoing):
    last = {"/api/a": "keep-alive", "/admin": "keep-alive", "/api/b": "close"}
    heads = [gateway.head(f"GET {path} HTTP/1.1", f"Connection: {how}") for path, how in last.items()]
    answered = send(gateway.port, b"".join(heads))
    assert re.findall(rb"HTTP/1.1 (\d+)", answered) == [b"200", b"403", b"200"]
    assert [seen["path"] for seen in echoing.seen] == ["/prom/api/a", "/prom/api/b"]


def test_half_a_request_never_arrives_as_a_whole_one(gateway, echoing):
    send(gateway.port, gateway.head("POST /api/v1/query HTTP/1.1", "Content-Length: 10") + b"half", leave=True)
    assert [seen for seen in echoing.seen if seen["size"] == 10] == []


def test_an_answer_of_the_gateways_own_cannot_be_forged_by_the_system(opened):
    from kernels.gateway.servers import answer, http_server

    def forging(handler, system):
        answer(handler, b'{"message": "forged"}', 403, X_Runbooks_Gateway="refused")

    with http_server(forging) as system, opened(route(system.port)).client() as client:
        assert "x-runbooks-gateway" not in client.get("/x").headers


def test_a_flood_of_refusals_is_told_in_part_and_counted(gateway):
    with gateway.client() as client:
        for number in range(MOST_TOLD + 30):
            assert client.delete(f"/api/{number}").status_code == 403
    assert len(gateway.refused) == MOST_TOLD
    gateway.close()
    assert len(gateway.refused) == MOST_TOLD + 1
    assert gateway.refused[-1].more == 30
    assert gateway.refused[-1].reason == "30 more requests were refused on prometheus."


def test_a_flood_of_connections_is_cut_off_and_what_was_opened_goes_on(gateway):
    with contextlib.ExitStack() as stack:
        first = http.client.HTTPConnection(HOST, gateway.port, timeout=10)
        stack.callback(first.close)
        nonce = {"X-Runbooks-Nonce": gateway.gateway.nonce}
        first.request("GET", "/api/x", headers=nonce)
        assert first.getresponse().read()
        held = [stack.enter_context(socket.create_connection((HOST, gateway.port))) for _ in range(MOST_AT_ONCE + 5)]
        cut = 0
        for connection in held[MOST_AT_ONCE - 1 :]:
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            cut += 1
        assert cut == 6
        first.request("GET", "/api/x", headers=nonce)
        assert first.getresponse().status == 200
    assert "more than 32 connections" in gateway.refused[0].reason


def test_many_at_once_each_get_their_own_answer(gateway):
    with gateway.client() as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        paths = [f"/api/{number}" for number in range(200)]
        found = list(pool.map(lambda path: client.get(path).json()["path"], paths))
    assert found == [f"/prom{path}" for path in paths]

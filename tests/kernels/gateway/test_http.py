"""What a kernel may send to an HTTP connection, what the system sees of it, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import select
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from kernels.gateway.conftest import SECRET, route, with_credential
from kernels.gateway.servers import HOST, answer, http_server, raw_server, saying, silent

pytestmark = pytest.mark.kernels


def seen_headers(system, number=-1):
    return {name.lower(): value for name, value in system.seen[number]["headers"]}


def test_a_request_that_the_stage_allows_reaches_the_system_with_the_credential(opened, echoing):
    with opened(with_credential(echoing.port)).client() as client:
        answered = client.get("/api/v1/labels", params={"match[]": "up{job='a b'}"})
    assert answered.status_code == 200
    assert echoing.seen[0]["method"] == "GET"
    assert echoing.seen[0]["path"] == "/api/v1/labels?match%5B%5D=up%7Bjob%3D%27a+b%27%7D"
    assert seen_headers(echoing)["authorization"] == f"Bearer {SECRET}"
    assert seen_headers(echoing)["host"] == f"{HOST}:{echoing.port}"


def test_a_refusal_reaches_who_is_still_sending_what_was_refused(opened, echoing):
    gateway = opened(route(echoing.port))
    head = gateway.head("POST /-/quit HTTP/1.1", "Content-Length: 200000")
    for _ in range(20):
        with socket.create_connection((HOST, gateway.port), timeout=10) as kernel:
            kernel.sendall(head)
            kernel.sendall(b"x" * 100_000)
            select.select([kernel], [], [], 10)
            kernel.sendall(b"x" * 100_000)
            kernel.shutdown(socket.SHUT_WR)
            answered = b""
            while piece := kernel.recv(65536):
                answered += piece
        assert answered.startswith(b"HTTP/1.1 403 ")
        assert b"diagnostic cells may not POST" in answered


def test_the_base_of_the_url_stands_before_every_path(opened, echoing):
    with opened(route(echoing.port, base="/prom")).client() as client:
        client.get("/api/v1/labels")
        client.get("/")
    assert [seen["path"] for seen in echoing.seen] == ["/prom/api/v1/labels", "/prom/"]


def test_a_query_endpoint_takes_a_body_whether_its_length_is_told_or_not(opened, echoing):
    with opened(route(echoing.port)).client() as client:
        client.post("/api/v1/query", data={"query": "up"})
        client.post("/api/v1/query", content=iter([b"query", b"=up"]))
        client.post("/api/v1/query")
        client.post("/api/v1/query", content=b"query=up", headers={"Expect": "100-continue"})
    assert [seen["body"] for seen in echoing.seen] == ["query=up", "query=up", "", "query=up"]
    assert seen_headers(echoing, 2)["content-length"] == "0"


def test_the_system_learns_nothing_that_the_kernel_says_about_who_it_is(opened, echoing):
    sent = {
        "Authorization": "Bearer mine", "Cookie": "a=b", "Proxy-Authorization": "x", "X-Forwarded-User": "root",
        "X_Forwarded_User": "root", "Impersonate-User": "root", "X-Real-IP": "10.0.0.1", "Forwarded": "for=x",
        "X-HTTP-Method-Override": "DELETE", "TE": "trailers", "X-Webauth-User": "root", "Remote-User": "root",
        "X-Api-Key": "mine", "x_api_key": "mine", "Connection": "close, X-Mine", "X-Mine": "1", "X-Scope-OrgID": "7",
    }  # fmt: skip
    with opened(route(echoing.port, authorize=lambda _: {"X-Api-Key": "ours"})).client() as client:
        client.get("/x", headers=sent)
    found = seen_headers(echoing)
    assert set(found) == {"host", "accept", "accept-encoding", "user-agent", "x-scope-orgid", "x-api-key"}
    assert found["x-api-key"] == "ours"


def test_no_header_makes_another_request_of_the_one_that_was_judged_or_tells_who_asks(opened, echoing):
    names = [
        "X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Original-Method", "X-HTTP-DestinationURL",
        "X-Override-URL", "X-Envoy-Original-Path", "X-Host", "Remote-Groups", "Remote-Email", "X-Authenticated-User",
        "X-Consumer-Username", "X-Goog-Authenticated-User-Email", "X-Goog-IAP-JWT-Assertion", "X-Amzn-OIDC-Data",
        "X-MS-Client-Principal", "X-Client-IP", "X-Client-Cert", "True-Client-IP", "CF-Connecting-IP",
        "Cf-Access-Authenticated-User-Email", "X-SSL-Client-Verify", "SSL-Client-Cert", "Client-Cert",
        "X-Cluster-Client-IP", "Tailscale-User-Login", "X-Authentik-Username", "X-User", "X-User-Id", "X-Email",
        "X-Groups", "X-Vouch-User",
    ]  # fmt: skip
    with opened(route(echoing.port)).client() as client:
        client.get("/x", headers=dict.fromkeys(names, "/admin"))
    assert set(seen_headers(echoing)) == {"host", "accept", "accept-encoding", "user-agent"}


def test_an_answer_that_could_hold_the_credential_is_not_asked_for_in_parts(opened, echoing):
    parts = {"Range": "bytes=0-9", "If-Range": '"x"'}
    with opened(with_credential(echoing.port)).client() as client:
        client.get("/x", headers=parts)
    assert not {"range", "if-range"} & set(seen_headers(echoing))
    with opened(route(echoing.port)).client() as client:
        client.get("/x", headers=parts)
    assert seen_headers(echoing, -1)["range"] == "bytes=0-9"


@pytest.mark.parametrize("end", ["\n", "\r\nX-More: 1", "\0"])
def test_a_credential_that_no_header_can_hold_is_not_told_in_the_error(opened, echoing, end):
    long = SECRET + "x" * 180
    given = route(echoing.port, authorize=lambda _: {"Authorization": f"Bearer {long}{end}"}, secrets=(long,))
    with opened(given).client() as client:
        answered = client.get("/x")
    assert answered.status_code == 502
    assert SECRET not in answered.text
    assert "could not be reached" in answered.json()["message"]
    assert echoing.seen == []


def test_a_credential_that_the_system_gives_back_is_masked_and_its_cookie_is_kept_from_the_kernel(opened, echoing):
    with opened(with_credential(echoing.port)).client() as client:
        answered = client.get("/debug")
    assert SECRET not in answered.text
    assert "Bearer ***************" in answered.text
    assert answered.headers["x-echo"] == "Bearer ***************"
    assert "set-cookie" not in answered.headers
    assert json.loads(answered.text)["path"] == "/debug"


def test_it_is_masked_also_where_it_comes_in_pieces(opened):
    pieces = [b"a" * 10, SECRET[:5].encode(), SECRET[5:].encode() + b"b", SECRET[:4].encode()]

    def trickling(connection, system):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")

    with raw_server(trickling) as system, opened(with_credential(system.port)).client() as client:
        assert client.get("/x").text == "a" * 10 + "*" * len(SECRET) + "b" + SECRET[:4]


def test_a_system_that_compresses_what_could_hold_the_credential_is_told_of(opened):
    compressed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx"
    with raw_server(saying(compressed)) as system:
        with opened(with_credential(system.port)).client() as client:
            answered = client.get("/x")
        assert b"accept-encoding: identity" in system.seen[0].lower()
    assert answered.status_code == 502
    assert "compressed its answer (gzip)" in answered.json()["message"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/v1/admin/tsdb/delete_series"), ("PUT", "/x"), ("DELETE", "/x"), ("PATCH", "/")]
)
def test_what_the_stage_may_not_send_is_refused_in_words(opened, echoing, method, path):
    gateway = opened(route(echoing.port))
    with gateway.client() as client:
        answered = client.request(method, path, params={"match": "secret"}, content=b"x")
        after = client.get("/x")
    assert answered.status_code == 403
    assert answered.headers["x-runbooks-gateway"] == "refused"
    message = answered.json()["message"]
    assert message.startswith(f"diagnostic cells may not {method} to prometheus: {path} was refused.")
    assert "Allowed: GET /*, POST /api/v1/query." in message
    assert "[prometheus.diagnose]" in message
    (refusal,) = gateway.refused
    assert (refusal.connection, refusal.method, refusal.path) == ("prometheus", method, path)
    assert "secret" not in str(refusal)
    assert after.status_code == 200
    assert len(echoing.seen) == 1


def test_a_remediation_may_do_what_its_rules_say_and_no_more(opened, echoing):
    gateway = opened(route(echoing.port, rules=("POST /-/reload",), stage="remediate"))
    with gateway.client() as client:
        assert client.post("/-/reload").status_code == 200
        refused = client.get("/metrics")
    assert refused.json()["message"].startswith("remediation cells may not GET to prometheus")


def test_a_connection_without_rules_lets_nothing_through(opened, echoing):
    with opened(route(echoing.port, rules=())).client() as client:
        assert "Allowed: nothing" in client.get("/").json()["message"]
    assert echoing.seen == []


@pytest.mark.parametrize("size", [700_000, 30_000_000])
def test_a_large_body_that_is_refused_still_gets_its_sentence(opened, echoing, size):
    with opened(route(echoing.port)).client() as client:
        answered = client.put("/x", content=b"x" * size)
    assert answered.status_code == 403
    assert "may not PUT to prometheus" in answered.text


# redirects


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
    ended = threading.Event()

    def waiting(connection, system):
        while connection.recv(65536):
            pass
        ended.set()

    with raw_server(waiting) as system:
        gateway = opened(route(system.port), patience=60)
        with socket.create_connection((HOST, gateway.port)) as kernel:
            kernel.sendall(gateway.head("GET /x HTTP/1.1"))
        assert ended.wait(5)


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
    assert max(waited) < 0.7


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

"""What a kernel may send to an HTTP connection, and what the system sees of it."""

from __future__ import annotations

import json
import select
import socket

import pytest
from kernels.gateway.conftest import SECRET, route, with_credential
from kernels.gateway.servers import HOST, raw_server, saying

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

"""Connections of the kit: the author's own, those that a run was granted, and what the gateway says."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_type_hints

import httpx
import psycopg
import pytest

from runbook_library import kit
from runbook_library.kit import service


def test_a_connection_parameter_is_a_plain_text_for_python():
    class Parameters:
        database: kit.Connection["postgres"] = "orders-db"  # noqa: F821, UP037 - a kind, not a name

    assert get_type_hints(Parameters) == {"database": str}
    with pytest.raises(TypeError, match="postgres, http"):
        kit.Connection["mongodb"]


def test_the_authors_own_database_is_opened_once_and_says_who_it_is(own_connections):
    db = kit.postgres("orders-db")

    assert kit.postgres("orders-db") is db
    assert db.autocommit
    assert db.execute("SELECT current_user, current_setting('application_name')").fetchone() == (
        *("reader", "runbook service (jupyter)"),
    )
    db.close()
    assert kit.postgres("orders-db").execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("open_it", "told"),
    [
        (lambda: kit.postgres("orders"), r"no connection 'orders' in .*\(there: orders-db, prometheus\)"),
        (lambda: kit.postgres("prometheus"), r"open it with kit\.http\('prometheus'\)"),
        (lambda: kit.http("orders-db"), r"open it with kit\.postgres\('orders-db'\)"),
        (lambda: kit.postgres(""), "no connection was chosen"),
    ],
)
def test_a_connection_that_there_is_not_is_told_with_what_to_do(own_connections, open_it, told):
    with pytest.raises(LookupError, match=told):
        open_it()


@pytest.mark.parametrize("text", ["[orders-db", "[orders-db]\nhost = 1", '[a]\ndsn = "x"\nurl = "y"', "orders = 1"])
def test_a_malformed_file_of_connections_is_told_with_its_path(own_connections, text):
    own_connections.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=r"connections\.toml"):
        kit.postgres("orders-db")


def test_without_a_file_there_are_no_connections(own_connections):
    own_connections.unlink()

    with pytest.raises(LookupError, match="there: none"):
        kit.postgres("orders-db")


def test_in_the_service_only_what_was_granted_can_be_opened(own_connections):
    service.configure("diagnose", {})

    with pytest.raises(LookupError, match=r"'orders-db' is not granted to this run.*runbook\.connections"):
        kit.postgres("orders-db")


def test_a_refused_credential_is_told_without_the_password(plain, orders_server):
    granted = {"kind": "postgres", "host": orders_server.host, "port": orders_server.port, "database": "shop"}
    service.configure("diagnose", {"orders-db": {**granted, "user": "reader", "password": "not-the-word"}})

    with pytest.raises(psycopg.OperationalError, match=r"cannot open the connection 'orders-db' \(diagnose\)") as told:
        kit.postgres("orders-db")
    assert "not-the-word" not in str(told.value)
    assert "not-the-word" not in repr(service.state)


def test_a_kernel_that_is_configured_anew_closes_what_was_open(plain, orders_server):
    granted = {
        "kind": "postgres", "host": orders_server.host, "port": orders_server.port, "database": "shop",
        "user": "reader", "password": "orders-password", "stage": "diagnose",
    }  # fmt: skip
    service.configure("remediate", {"orders-db": granted})
    db = kit.postgres("orders-db")
    name = db.execute("SELECT current_setting('application_name')").fetchone()
    service.configure("verify", {"orders-db": granted})

    assert name == ("runbook service (diagnose)",), "the credential's stage, not the kernel's"
    assert db.closed


class Metrics(BaseHTTPRequestHandler):
    """Answers with the path and the header that were sent."""

    def do_GET(self) -> None:
        body = f"{self.path} {self.headers.get('X-Run')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def test_an_http_connection_has_its_address_and_headers_and_is_opened_once(plain, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        service.configure("diagnose", {"prometheus": {"kind": "http", "url": url, "headers": {"X-Run": "7"}}})
        prometheus = kit.http("prometheus")
        answer = prometheus.get("/api/v1/query").text
        prometheus.close()
        server.shutdown()
        thread.join()

    assert answer == "/api/v1/query 7"
    assert kit.http("prometheus") is not prometheus


class Gateway(BaseHTTPRequestHandler):
    """Answers as the path says: with a status of the system's own, or as the gateway itself."""

    def do_GET(self) -> None:
        status, _, kind = self.path.strip("/").partition("/")
        body = b'{"message": "diagnostic cells may not do this"}'
        self.send_response(int(status))
        if kind:
            self.send_header("X-Runbooks-Gateway", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def gateway(plain):
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        service.configure("diagnose", {"prometheus": {"kind": "http", "url": f"http://127.0.0.1:{server.server_port}"}})
        with kit.http("prometheus") as client:
            yield client
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/403/refused", kit.RequestRefused),
        ("/502/unavailable", httpx.ConnectError),
        ("/504/timeout", httpx.ReadTimeout),
    ],
)
def test_what_the_gateway_says_itself_is_raised_with_its_words(gateway, path, error):
    with pytest.raises(error, match="diagnostic cells may not do this"):
        gateway.get(path)
    with pytest.raises(error), gateway.stream("GET", path):
        pass
    assert issubclass(kit.RequestRefused, PermissionError)


@pytest.mark.parametrize("status", [403, 502, 504, 200])
def test_what_the_system_answers_is_the_authors_to_judge(gateway, status):
    assert gateway.get(f"/{status}").status_code == status

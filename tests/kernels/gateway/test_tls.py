"""TLS: between kernel and database, whose real name the kernel checks; and between the gateway and an HTTP system."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import psycopg
import pytest
from kernels.gateway.certificates import Authority
from kernels.gateway.conftest import route, with_credential
from kernels.gateway.servers import HOST, raw_server, saying

from runbooks_app.kernels.gateway import http

pytestmark = pytest.mark.kernels


@pytest.fixture
def authority(tmp_path):
    return Authority.make(tmp_path)


@pytest.fixture
def tls_database(orders_server, authority):
    """The shop's PostgreSQL behind TLS as orders.example.com, since the embedded build has none."""
    context = authority.server("orders.example.com")

    def pass_on(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_RDWR)

    def terminating(connection, system):
        system.seen.append(connection.recv(8))
        connection.sendall(b"S")
        with (
            context.wrap_socket(connection, server_side=True) as client,
            socket.create_connection((HOST, orders_server.server.port)) as server,
        ):
            thread = threading.Thread(target=pass_on, args=(server, client))
            thread.start()
            pass_on(client, server)
            thread.join()

    with raw_server(terminating) as system:
        yield system


def test_a_kernel_checks_the_databases_real_name_through_the_gateway(opened, tls_database, authority, orders_server):
    gateway = opened(route(tls_database.port, kind="postgres", name="orders-db", rules=()))
    given = {
        "hostaddr": HOST, "port": gateway.port, "dbname": "postgres", "user": "postgres",
        "password": orders_server.server.password, "sslmode": "verify-full", "sslrootcert": str(authority.file),
        "connect_timeout": 10,
    }  # fmt: skip
    with psycopg.connect(host="orders.example.com", **given) as session:
        assert session.pgconn.ssl_in_use
        assert session.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        psycopg.connect(host="elsewhere.example.com", **given)


@contextlib.contextmanager
def https_server(context):
    answering = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def talk(connection, system):
        with context.wrap_socket(connection, server_side=True) as inner:
            answering(inner, system)

    with raw_server(talk) as system:
        yield system


def trusting(monkeypatch, authority):
    context = ssl.create_default_context(cafile=str(authority.file))
    monkeypatch.setattr(http, "trust", lambda: context)


def test_the_gateway_speaks_tls_to_a_system_that_the_machine_trusts(opened, authority, monkeypatch):
    trusting(monkeypatch, authority)
    with https_server(authority.server(HOST)) as system:
        with opened(with_credential(system.port, tls=True)).client() as client:
            assert client.get("/x").text == "ok"
        assert b"\r\nhost: 127.0.0.1:%d\r\n" % system.port in system.seen[0].lower()
        assert b"authorization: bearer" in system.seen[0].lower()


@pytest.mark.parametrize("trusted", [True, False])
def test_a_system_that_cannot_prove_its_name_gets_no_credential(opened, authority, monkeypatch, trusted):
    if trusted:
        trusting(monkeypatch, authority)
    name = "elsewhere.example.com" if trusted else HOST
    with https_server(authority.server(name)) as system:
        with opened(with_credential(system.port, tls=True)).client() as client:
            answered = client.get("/x")
        assert answered.status_code == 502
        assert "certificate verify failed" in answered.json()["message"]
        assert system.seen == []

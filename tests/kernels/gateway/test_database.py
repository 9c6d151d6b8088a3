"""Databases through a gateway: the real protocol, cancelling, and nowhere else."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import psycopg
import pytest
from kernels.gateway.conftest import route
from kernels.gateway.servers import HOST, raw_server
from kernels.gateway.test_http_answers import resident

pytestmark = pytest.mark.kernels

HOLDING = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(61)' AND state = 'active'"


@pytest.fixture
def through(opened, orders_server):
    """Arguments of a session at the shop's database by way of a gateway, as the kit makes them."""
    server = orders_server.server
    gateway = opened(route(server.port, kind="postgres", name="orders-db", rules=()))
    return {
        "host": "orders.example.com",
        "hostaddr": HOST,
        "port": gateway.port,
        "dbname": "orders",
        "user": "postgres",
        "password": server.password,
        "autocommit": True,
        "connect_timeout": 10,
    }


def test_a_session_takes_the_gateways_way_whatever_the_real_hosts_name_leads_to(through):
    with psycopg.connect(**through) as session:
        assert session.execute("SELECT 1 + 1").fetchone() == (2,)
        assert session.info.host == "orders.example.com"


def test_a_cancelled_query_ends_at_the_server(through, orders_server):
    with psycopg.connect(**through) as session, psycopg.connect(**through) as other:
        problem = []

        def wait():
            try:
                session.execute("SELECT pg_sleep(61)")
            except psycopg.errors.QueryCanceled as error:
                problem.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        while other.execute(HOLDING).fetchone() == (0,):
            pass
        session.cancel_safe(timeout=5)
        thread.join(10)
        assert problem
        assert other.execute(HOLDING).fetchone() == (0,)


def test_sixty_megabytes_pass_without_staying(through):
    before = resident()
    peak = 0
    with psycopg.connect(**through) as session, session.cursor() as cursor:
        received = 0
        with cursor.copy("COPY (SELECT repeat('x', 65535) FROM generate_series(1, 960)) TO STDOUT") as copy:
            for piece in copy:
                received += len(piece)
                peak = max(peak, resident())
        cursor.execute("CREATE TEMP TABLE t (x text)")
        with cursor.copy("COPY t FROM STDIN") as copy:
            for _ in range(960):
                copy.write(b"x" * 65535 + b"\n")
                peak = max(peak, resident())
        assert cursor.execute("SELECT count(*) FROM t").fetchone() == (960,)
    assert received == 960 * 65536
    assert peak - before < 20 << 20


def test_a_database_that_is_away_is_told_by_name_and_at_once(opened):
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    gateway = opened(route(port, kind="postgres", name="orders-db", rules=()))
    with pytest.raises(psycopg.OperationalError, match=rf"orders-db \(127.0.0.1:{port}\) is away: .*refused"):
        psycopg.connect(host="orders", hostaddr=HOST, port=gateway.port, user="x", dbname="x", connect_timeout=10)


@pytest.mark.parametrize(
    "sent", [b"", b"\0\0\0\x08", struct.pack("!II", 1 << 31, 196608), b"GET / HTTP/1.1\r\n\r\n" * 9]
)
def test_whatever_is_sent_to_a_database_that_is_away_the_port_goes_on(opened, sent):
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    gateway = opened(route(port, kind="postgres", name="orders-db", rules=()))
    with socket.create_connection((HOST, gateway.port), timeout=10) as kernel, contextlib.suppress(ConnectionError):
        kernel.sendall(sent)
        kernel.shutdown(socket.SHUT_WR)
        assert kernel.recv(1) == b""
    with pytest.raises(psycopg.OperationalError, match="is away"):
        psycopg.connect(host="orders", hostaddr=HOST, port=gateway.port, user="x", dbname="x", connect_timeout=10)


def test_each_side_may_end_its_half_first(opened):
    def answering_at_the_end(connection, system):
        while piece := connection.recv(65536):
            system.seen.append(piece)
        connection.sendall(b"all of it came")

    with raw_server(answering_at_the_end) as system:
        gateway = opened(route(system.port, kind="postgres", name="orders-db", rules=()))
        with socket.create_connection((HOST, gateway.port), timeout=10) as kernel:
            kernel.sendall(b"question")
            kernel.shutdown(socket.SHUT_WR)
            assert kernel.recv(100) == b"all of it came"
            assert kernel.recv(1) == b""
        assert b"".join(system.seen) == b"question"


def test_a_server_that_goes_is_seen_to_go_and_closing_the_gateway_ends_sessions(through, opened, orders_server):
    with psycopg.connect(**through) as session:
        with psycopg.connect(orders_server.server.url(), autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [session.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    server = orders_server.server
    gateway = opened(route(server.port, kind="postgres", name="orders-db", rules=()))
    with psycopg.connect(**(through | {"port": gateway.port})) as session:
        gateway.close()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")

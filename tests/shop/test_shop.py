"""The orders shop: it is busy, it breaks when told to, it never heals by itself, and it leaves nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

from runbooks_app.core.errors import NotFound
from runbooks_app.main.demo.shop import Shop

BLOCKED = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'orders-api' AND cardinality(pg_blocking_pids(pid)) > 0
"""
HOLDER = "SELECT pid, state FROM pg_stat_activity WHERE usename = 'orders_owner'"


@pytest.fixture
def admin(orders_server):
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as session:
        yield session


@pytest.fixture
def traffic(orders_server):
    process = orders_server.traffic()
    yield process
    process.stop()


def until(session, query, true_of, seconds=20):
    """Ask until the answer is as wanted; the last answer."""
    end = time.monotonic() + seconds
    while not true_of(answer := session.execute(query).fetchone()[0]):
        assert time.monotonic() < end, f"{query} still gives {answer}"
        time.sleep(0.02)
    return answer


@pytest.mark.parametrize(("fault", "many"), [("migration", 37), ("idle-row-lock", 25)])
def test_a_fault_piles_sessions_up_until_its_session_is_ended(orders_server, admin, traffic, fault, many):
    assert admin.execute(BLOCKED).fetchone()[0] < 5
    holder = orders_server.inject(fault)
    try:
        assert until(admin, BLOCKED, lambda blocked: blocked >= many) <= 37
        rows = admin.execute(HOLDER).fetchall()
        assert [state for _, state in rows] == ["idle in transaction"]
        assert holder.alive
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [rows[0][0]])
        until(admin, BLOCKED, lambda blocked: blocked < 5)
        assert holder.guard.wait(10) == 0
    finally:
        holder.stop()


def test_traffic_comes_back_after_its_sessions_were_ended(orders_server, admin, traffic):
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orders-api'")
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orders-api'"
    until(admin, sessions, lambda count: count >= 12)
    assert traffic.alive


def test_stopping_a_fault_rolls_it_back_and_leaves_no_session(orders_server, admin):
    orders_server.inject("migration").stop()
    until(
        admin,
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders_owner'",
        lambda count: count == 0,
    )
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'discount'"
    assert admin.execute(columns).fetchone()[0] == 0


def test_no_password_is_on_a_command_line_or_in_an_environment(orders_server, traffic):
    for part in ("cmdline", "environ"):
        told = Path(f"/proc/{traffic.pid}/{part}").read_bytes()
        assert not any(password.encode() in told for password in orders_server.passwords.values())


def test_killed_traffic_leaves_no_process(orders_server):
    process = orders_server.traffic()
    os.kill(process.pid, signal.SIGKILL)
    assert process.guard.wait(10) == 128 + signal.SIGKILL
    process.stop()


def test_an_unknown_fault_names_the_known_ones(orders_server):
    with pytest.raises(NotFound, match="migration, idle-row-lock"):
        orders_server.inject("earthquake")


def test_a_shop_opened_again_has_its_rows_and_passwords(orders_server, servers_folder):
    folder = servers_folder / "second-shop"
    first = Shop.open(folder, durable=False)
    try:
        with psycopg.connect(first.url("orders_api")) as session:
            session.execute("UPDATE customers SET balance = 42 WHERE id = 7")
    finally:
        first.close()
    again = Shop.open(folder, durable=False)
    try:
        with psycopg.connect(again.url("orders_api")) as session:
            assert session.execute("SELECT balance FROM customers WHERE id = 7").fetchone()[0] == 42
            assert session.execute("SELECT count(*) FROM order_items").fetchone()[0] > 1000
    finally:
        again.close()

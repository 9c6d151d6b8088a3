"""Sessions that are kept between two uses, at a real server."""

from __future__ import annotations

import psycopg
import pytest

from runbooks_app.credentials import sessions

pytestmark = pytest.mark.identity


@pytest.fixture
def log_in(orders_server):
    yield lambda: psycopg.connect(orders_server.server.url(), autocommit=True)
    sessions.close()


def pid(log_in, key="minter"):
    with sessions.session(key, log_in) as session:
        return session.info.backend_pid


def test_what_was_used_a_moment_ago_is_used_again_and_no_other_key_gets_it(log_in):
    first = pid(log_in)
    assert pid(log_in) == first
    assert pid(log_in, "somebody else") != first


def test_two_at_the_same_time_have_one_each_and_one_is_kept(log_in):
    with sessions.session("minter", log_in) as one, sessions.session("minter", log_in) as other:
        pids = {one.info.backend_pid, other.info.backend_pid}
    assert len(pids) == 2
    assert one.closed != other.closed
    assert pid(log_in) in pids


def test_one_that_the_server_ended_meanwhile_is_opened_anew(log_in, orders_server):
    ended = pid(log_in)
    with psycopg.connect(orders_server.server.url(), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])
    assert pid(log_in) != ended


def test_one_in_which_something_went_wrong_is_not_used_again(log_in):
    with pytest.raises(psycopg.errors.DivisionByZero), sessions.session("minter", log_in) as session:
        session.execute("SELECT 1/0")
    assert session.closed


def test_locks_of_one_use_do_not_reach_into_the_next(log_in, orders_server):
    with sessions.session("minter", log_in) as session:
        session.execute("SELECT pg_advisory_lock(7)")
    with psycopg.connect(orders_server.server.url(), autocommit=True) as other:
        assert other.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,)


def test_one_that_nobody_needed_for_long_is_closed_by_the_next_to_come(log_in, monkeypatch):
    with sessions.session("minter", log_in) as session:
        pass
    monkeypatch.setattr(sessions, "KEPT", -1.0)
    pid(log_in, "somebody else")
    assert session.closed

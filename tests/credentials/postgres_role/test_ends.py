"""How minted roles end: revoked, swept, and nothing left of them."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

import psycopg
import pytest
from credentials.postgres_role.conftest import DIAGNOSE, NOBODY_LIVES, REMEDIATE, minted, minting

from runbooks_app.core.errors import InvalidInput
from runbooks_app.credentials import postgres_role as room


def test_revoking_ends_sessions_and_their_locks(operator, connection, admin, login):
    credential = operator.mint(connection, REMEDIATE)
    with contextlib.closing(login(credential)) as session:
        session.execute("SELECT pg_advisory_lock(7)")
        operator.revoke(connection, credential.identity)
        assert not admin.execute("SELECT 1 FROM pg_stat_activity WHERE usename = %s", [credential.identity]).fetchall()
        assert not admin.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchall()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        login(credential).close()
    assert credential.identity not in minted(admin)


def test_revoking_twice_or_what_never_was_is_fine(reader, connection):
    credential = reader.mint(connection, DIAGNOSE)
    reader.revoke(connection, credential.identity)
    reader.revoke(connection, credential.identity)
    reader.revoke(connection, "runbook_d_0000000000000000")


@pytest.mark.parametrize("identity", ["postgres", "orders_reader", "runbook_x_0000000000000000", 'runbook_d_"; --', ""])
def test_a_role_that_was_not_minted_is_never_dropped(reader, connection, identity):
    with pytest.raises(InvalidInput, match="left alone"):
        reader.revoke(connection, identity)


@pytest.mark.parametrize("database", ["orders", "postgres"])
def test_large_objects_do_not_keep_a_role(reader, connection, admin, database, login):
    credential = reader.mint(connection, DIAGNOSE)
    with login(credential, database) as session:
        session.execute("SET default_transaction_read_only = off")
        session.execute("SELECT lo_from_bytea(0, 'left behind')")
        session.execute("CREATE TEMPORARY TABLE scratch AS SELECT 1")
    reader.revoke(connection, credential.identity)
    assert credential.identity not in minted(admin)


def test_what_a_remediation_made_is_kept_by_its_role(operator, connection, admin, login):
    admin.execute("GRANT CREATE ON SCHEMA public TO orders_operator")
    try:
        credential = operator.mint(connection, REMEDIATE)
        with login(credential) as session:
            session.execute("CREATE TABLE rescued AS SELECT 1 AS row")
        operator.revoke(connection, credential.identity)
        owner = admin.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'rescued'").fetchone()
        assert owner == ("orders_operator",)
    finally:
        admin.execute("DROP TABLE IF EXISTS rescued")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM orders_operator")


# Sweeping


def test_what_a_remediation_made_is_kept_by_its_role_also_when_the_diagnosing_provider_sweeps(
    reader, operator, connection, admin, monkeypatch, login
):
    credential = operator.mint(connection, REMEDIATE)
    monkeypatch.setattr(room, "SWEEP_AFTER", 0)
    admin.execute("GRANT CREATE ON SCHEMA public TO orders_operator")
    try:
        with login(credential) as session:
            session.execute("CREATE TABLE swept_notes (text text)")
        assert reader.sweep(connection, NOBODY_LIVES) == [credential.identity]
        owner = admin.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'swept_notes'").fetchone()
        assert owner == ("orders_operator",)
    finally:
        admin.execute("DROP TABLE IF EXISTS swept_notes")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM orders_operator")


def test_a_sweep_drops_what_is_not_live_and_keeps_what_is(reader, connection, monkeypatch, login):
    monkeypatch.setattr(room, "SWEEP_AFTER", 0)
    with minting(reader, connection, DIAGNOSE) as live:
        left_behind = reader.mint(connection, DIAGNOSE)
        assert reader.sweep(connection, frozenset({live.identity})) == [left_behind.identity]
        login(live).close()


def test_a_sweep_leaves_a_role_alone_that_was_minted_this_moment(reader, connection):
    with minting(reader, connection, DIAGNOSE):
        assert reader.sweep(connection, NOBODY_LIVES) == []


def test_a_sweep_drops_an_expired_role_even_if_it_is_called_live(reader, connection, admin):
    credential = reader.mint(connection, replace(DIAGNOSE, lifetime=1))
    while admin.execute("SELECT now() < %s", [credential.expires_at]).fetchone()[0]:
        pass
    assert reader.sweep(connection, frozenset({credential.identity})) == [credential.identity]


def test_a_sweep_touches_nobody_elses_roles(reader, connection, admin, monkeypatch):
    monkeypatch.setattr(room, "SWEEP_AFTER", 0)
    admin.execute("CREATE ROLE runbook_d_ffffffffffffffff")
    try:
        assert reader.sweep(connection, NOBODY_LIVES) == []
    finally:
        admin.execute("DROP ROLE runbook_d_ffffffffffffffff")


def test_a_role_that_cannot_be_dropped_does_not_keep_the_others(
    operator, connection, admin, monkeypatch, caplog, login
):
    monkeypatch.setattr(room, "SWEEP_AFTER", 0)
    one, other = sorted((operator.mint(connection, REMEDIATE) for _ in range(2)), key=lambda c: c.identity)
    admin.execute("CREATE DATABASE closed")
    try:
        with login(one, "closed") as session:
            session.execute("SELECT lo_from_bytea(0, 'in the way')")
        admin.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        with caplog.at_level(logging.WARNING):
            assert operator.sweep(connection, NOBODY_LIVES) == [other.identity]
        assert one.identity in caplog.text
        assert "closed" in caplog.text
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            login(one).close()
    finally:
        admin.execute("DROP DATABASE closed")
    assert operator.sweep(connection, NOBODY_LIVES) == [one.identity]


# An outage

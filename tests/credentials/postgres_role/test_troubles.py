"""A PostgreSQL that is full, away, old, a standby or set up wrongly: told with the mend, and nothing stays."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import psycopg
import pytest
from credentials.postgres_role.conftest import DIAGNOSE, NOBODY_LIVES, minting
from psycopg import errors

from runbooks_app.connections import CredentialSource
from runbooks_app.core.errors import InvalidInput, Misconfigured, Unavailable
from runbooks_app.credentials import postgres_role as room
from runbooks_app.credentials import provider_for


def test_exhausted_connections_still_let_a_minted_role_in(reader, connection, orders_server, login):
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(psycopg.connect(orders_server.url("orders_api")))
        with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
            psycopg.connect(orders_server.url("orders_api")).close()
        credential = stack.enter_context(minting(reader, connection, DIAGNOSE))
        session = stack.enter_context(login(credential))
        assert session.execute("SELECT count(*) FROM pg_stat_activity").fetchone()[0] > 80


def test_an_unreachable_database_is_told_with_the_connections_name(reader, connection):
    closed = replace(connection, port=1)
    for call in (
        lambda: reader.mint(closed, DIAGNOSE),
        lambda: reader.revoke(closed, "runbook_d_0000000000000000"),
        lambda: reader.sweep(closed, NOBODY_LIVES),
    ):
        with pytest.raises(
            Unavailable, match=r"^orders-db \(orders at 127\.0\.0\.1:1\).*Check that the database is up"
        ):
            call()


def test_a_refused_minter_is_told_with_the_mend(reader, connection, tmp_path):
    (tmp_path / "old").write_text("yesterday's")
    with pytest.raises(Unavailable, match="current password") as refused:
        replace(reader, password_file=tmp_path / "old").mint(connection, DIAGNOSE)
    assert "yesterday's" not in str(refused.value)


def test_a_missing_password_file_is_told(reader, connection, tmp_path):
    with pytest.raises(Misconfigured, match="the password of runbooks_minter cannot be read"):
        replace(reader, password_file=tmp_path / "none").mint(connection, DIAGNOSE)


@pytest.mark.parametrize("role", ["no_such_role", "pg_read_all_data", "orders_owner"])
def test_a_role_that_the_minter_may_not_give_is_told_and_leaves_nothing(reader, connection, role):
    with pytest.raises(Misconfigured, match=r"minter\.sql"):
        replace(reader, role=role).mint(connection, DIAGNOSE)


def test_a_standby_is_told_as_such(reader, connection, admin):
    admin.execute("ALTER ROLE runbooks_minter SET default_transaction_read_only = on")
    try:
        with pytest.raises(Unavailable, match="point the connection at the primary"):
            reader.mint(connection, DIAGNOSE)
    finally:
        admin.execute("ALTER ROLE runbooks_minter RESET default_transaction_read_only")


def test_a_missing_synchronous_standby_does_not_hold_minting(reader, connection, admin, login):
    admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'away'")
    admin.execute("SELECT pg_reload_conf()")
    try:
        with minting(reader, connection, DIAGNOSE) as credential:
            login(credential).close()
    finally:
        admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        admin.execute("SELECT pg_reload_conf()")


def test_a_version_too_old_is_told_with_the_reason(reader, connection, monkeypatch):
    monkeypatch.setattr(room, "OLDEST", 990000)  # every version is too old for a time
    with pytest.raises(Misconfigured, match="is PostgreSQL 18; minted roles need 16 or later"):
        reader.mint(connection, DIAGNOSE)


# Odds and ends


def test_setting_the_database_up_again_is_harmless(admin):
    from runbooks_app.main.demo.shop import MINTER_SQL

    admin.execute(MINTER_SQL.read_bytes())


def test_the_minter_itself_reads_no_table(orders_server):
    with (
        psycopg.connect(orders_server.url("runbooks_minter")) as session,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        session.execute("SELECT * FROM orders")


@pytest.mark.parametrize("purpose", [replace(DIAGNOSE, stage="verify"), replace(DIAGNOSE, lifetime=0)])
def test_a_purpose_that_is_not_known_gets_nothing(reader, connection, purpose):
    with pytest.raises(InvalidInput):
        reader.mint(connection, purpose)


def test_an_unknown_provider_is_refused():
    with pytest.raises(Misconfigured, match="postgres-role"):
        provider_for(CredentialSource("crystal-ball", {}))

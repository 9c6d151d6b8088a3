"""What minted roles may in a real PostgreSQL, and for how long."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, timedelta

import psycopg
import pytest
from credentials.postgres_role.conftest import DIAGNOSE, REMEDIATE, minting
from psycopg import errors


def test_a_diagnosis_reads_the_named_tables_and_other_sessions_statistics(reader, connection, admin, login):
    with minting(reader, connection, DIAGNOSE) as credential, login(credential) as session:
        assert session.execute("SELECT count(*) FROM orders").fetchone()[0] > 1000
        seen = session.execute(
            "SELECT query, backend_start FROM pg_stat_activity WHERE pid = %s", [admin.info.backend_pid]
        ).fetchone()
        assert None not in seen
        assert "insufficient privilege" not in seen[0]


WRITES = [
    "INSERT INTO orders (customer_id) VALUES (1)",
    "UPDATE customers SET balance = 0",
    "DELETE FROM order_items",
    "TRUNCATE orders",
    "CREATE TABLE mine ()",
    "CREATE SCHEMA mine",
    "ALTER TABLE orders ADD COLUMN mine int",
    "DROP TABLE orders",
    "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE",
    "CREATE ROLE mine",
    "COPY orders TO PROGRAM 'cat'",
    "SELECT pg_read_file('pg_hba.conf')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders_owner'",
    "SELECT pg_reload_conf()",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "SET ROLE orders_operator",
    "SET ROLE orders_reader",
    "SET ROLE runbooks_minter",
    "SET ROLE orders_owner",
    "SET SESSION AUTHORIZATION postgres",
    "GRANT orders_operator TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT 1000",
]


@pytest.mark.parametrize("read_only_undone", [False, True])
@pytest.mark.parametrize("statement", WRITES)
def test_a_diagnosis_cannot_write_even_after_undoing_its_read_only_setting(diagnosis, statement, read_only_undone):
    diagnosis.execute("SET default_transaction_read_only = " + ("off" if read_only_undone else "on"))
    refusals = (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)
    with psycopg.connect(diagnosis.orders.url("orders_owner")) as bait, pytest.raises(refusals) as refused:
        diagnosis.execute(statement)
    assert not bait.broken
    if read_only_undone:
        assert isinstance(refused.value, errors.InsufficientPrivilege)


class Diagnosis:
    """A diagnosis' session, and the shop it is in."""

    def __init__(self, session, orders):
        self.execute, self.orders = session.execute, orders


@pytest.fixture
def diagnosis(reader, connection, orders_server, login):
    with minting(reader, connection, DIAGNOSE) as credential, login(credential) as session:
        yield Diagnosis(session, orders_server)


def test_a_diagnosis_is_read_only_and_limited_from_the_first_statement(diagnosis):
    def shows(setting):
        return diagnosis.execute(f"SHOW {setting}").fetchone()[0]

    assert shows("transaction_read_only") == "on"
    assert (shows("statement_timeout"), shows("lock_timeout")) == ("15s", "2s")
    assert shows("idle_in_transaction_session_timeout") == "30s"
    assert shows("application_name") == "runbook run-1"


# What a remediation may


def test_a_remediation_ends_other_sessions_and_no_more(operator, connection, orders_server, login):
    with (
        minting(operator, connection, REMEDIATE) as credential,
        login(credential) as session,
        contextlib.closing(psycopg.connect(orders_server.url("orders_owner"))) as blocker,
    ):
        assert session.execute("SELECT pg_terminate_backend(%s, 5000)", [blocker.info.backend_pid]).fetchone()[0]
        for statement in (
            "INSERT INTO orders (customer_id) VALUES (1)",
            "CREATE TABLE mine ()",
            "SET ROLE postgres",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                session.execute(statement)


def test_the_database_can_tell_what_a_role_was_for_and_who_approved(operator, connection, admin):
    with minting(operator, connection, REMEDIATE) as credential:
        told = admin.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s",
            [credential.identity],
        ).fetchone()[0]
    assert "run=run-1 stage=remediate proposal=proposal-1" in told
    assert "approved_by=https://issuer#dana,https://issuer#o'neil" in told


def test_hostile_ids_are_mere_text(reader, connection, admin, login):
    hostile = "x'; DROP ROLE orders_reader; --\\"
    with (
        minting(reader, connection, replace(DIAGNOSE, run_id=hostile)) as credential,
        login(credential) as session,
    ):
        assert session.execute("SHOW application_name").fetchone()[0] == f"runbook {hostile}"


# Secrets


def test_the_password_is_neither_stored_nor_logged_nor_shown(reader, connection, admin, orders_server, login):
    with minting(reader, connection, DIAGNOSE) as credential, login(credential):
        stored = admin.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [credential.identity]
        ).fetchone()[0]
        assert stored.startswith("SCRAM-SHA-256$")
        assert credential.secret not in stored
        assert credential.secret not in repr(credential)
    logged = orders_server.server.log.read_text()
    assert f'CREATE ROLE "{credential.identity}"' in logged  # log_statement=all: it would be there
    assert credential.secret not in logged
    assert all(password not in logged for password in orders_server.passwords.values())


def test_two_credentials_are_never_alike(reader, connection):
    with minting(reader, connection, DIAGNOSE) as one, minting(reader, connection, DIAGNOSE) as other:
        assert one.identity != other.identity
        assert one.secret != other.secret
        assert len(one.secret) >= 32


# The end


def test_an_expired_role_cannot_log_in(reader, connection, admin, login):
    with minting(reader, connection, replace(DIAGNOSE, lifetime=1)) as credential:
        login(credential).close()
        while admin.execute("SELECT now() < %s", [credential.expires_at]).fetchone()[0]:
            pass
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            login(credential).close()


def test_expiry_is_by_the_databases_clock(reader, connection, admin):
    with minting(reader, connection, DIAGNOSE) as credential:
        until, now = admin.execute(
            "SELECT rolvaliduntil, now() FROM pg_roles WHERE rolname = %s", [credential.identity]
        ).fetchone()
    assert until == credential.expires_at
    assert credential.expires_at.tzinfo is UTC
    assert timedelta(seconds=50) < until - now <= timedelta(seconds=60)

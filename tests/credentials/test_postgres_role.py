"""Minted roles against a real PostgreSQL: what they may, what they may not, and that nothing stays."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from datetime import UTC, timedelta

import psycopg
import pytest
from psycopg import errors

from runbooks_app.connections import CredentialSource, read_connections
from runbooks_app.core.errors import InvalidInput, Misconfigured, Unavailable
from runbooks_app.credentials import Purpose, provider_for
from runbooks_app.credentials import postgres_role as room

DIAGNOSE = Purpose("run-1", "diagnose", lifetime=60)
REMEDIATE = Purpose("run-1", "remediate", 60, "proposal-1", ("https://issuer#dana", "https://issuer#o'neil"))
NOBODY_LIVES = frozenset()


@pytest.fixture(scope="module")
def connection(orders_server, tmp_path_factory):
    file = tmp_path_factory.mktemp("connections") / "connections.toml"
    file.write_text(orders_server.connection())
    return read_connections(file)["orders-db"]


@pytest.fixture(scope="module")
def reader(connection):
    return provider_for(connection.diagnose)


@pytest.fixture(scope="module")
def operator(connection):
    return provider_for(connection.remediate)


@pytest.fixture(scope="module")
def login(connection):
    """Opens sessions as whom a credential lets in."""

    def session(credential, database="orders", **options):
        return psycopg.connect(
            host=connection.host,
            port=connection.port,
            dbname=database,
            user=credential.identity,
            password=credential.secret,
            autocommit=True,
            **options,
        )

    return session


@pytest.fixture
def admin(orders_server):
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as session:
        yield session


@pytest.fixture(autouse=True)
def nothing_left(request):
    """Every test leaves the cluster without a minted role; what failed half-way is not blamed on the next."""
    yield
    if "connection" in request.fixturenames:
        connection = request.getfixturevalue("connection")
        server = request.getfixturevalue("orders_server").server
        with psycopg.connect(server.url(database="orders"), autocommit=True) as session:
            left = minted(session)
        provider = provider_for(connection.remediate)
        for identity in left:
            provider.revoke(connection, identity)
        assert not left


def minted(session):
    rows = session.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^runbook_[dr]_'").fetchall()
    return {row[0] for row in rows}


@contextlib.contextmanager
def minting(provider, connection, purpose):
    credential = provider.mint(connection, purpose)
    try:
        yield credential
    finally:
        provider.revoke(connection, credential.identity)


# What a diagnosis may


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

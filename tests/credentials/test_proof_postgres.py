"""A role that really reads only is proved to; each way to write is found and named. Against a real PostgreSQL."""

from __future__ import annotations

import time
from types import SimpleNamespace

import psycopg
import pytest
from credentials.holes import HOLES

from runbooks_app.connections import read_connections
from runbooks_app.core.errors import Unavailable
from runbooks_app.credentials import Credential, Purpose, postgres_proof, provider_for
from runbooks_app.credentials.proof import Held, prove
from runbooks_app.main.embedded import Postgres

pytestmark = pytest.mark.identity

LOGIN, PASSWORD = "proof_login", "a password for tests"
TABLES = ("customers", "orders", "order_items")


@pytest.fixture(scope="module")
def connection(orders_server, tmp_path_factory):
    file = tmp_path_factory.mktemp("connections") / "connections.toml"
    file.write_text(orders_server.connection())
    return read_connections(file)["orders-db"]


@pytest.fixture
def admin(orders_server):
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as session:
        yield session


@pytest.fixture
def proof(connection):
    """`proof()` mints a login as a run does, and proves it."""

    def look():
        provider = provider_for(connection.diagnose)
        credential = provider.mint(connection, Purpose("run-1", "diagnose", lifetime=60))
        try:
            return prove(connection, Held(connection.diagnose, provider, credential))
        finally:
            provider.revoke(connection, credential.identity)

    return look


@pytest.fixture
def made(admin):
    """`made("GRANT …", undo="REVOKE …")`; what was made is undone in reverse, also what failed half-way."""
    undos = []

    def make(*statements, undo):
        undos.append(undo)
        for statement in statements:
            admin.execute(statement)

    yield make
    for undo in reversed(undos):
        admin.execute(undo)


def everything(admin):
    """Rows, roles and objects: what a proof must leave as it was."""
    counted = [admin.execute(f"SELECT count(*), max(xmin::text::bigint) FROM {t}").fetchone() for t in TABLES]
    catalog = [admin.execute(f"SELECT count(*) FROM {t}").fetchone() for t in ("pg_class", "pg_namespace", "pg_authid")]
    return counted, catalog


# What holds


def test_a_role_that_only_reads_is_proved_to_and_what_remains_is_told(proof, admin):
    before = everything(admin)
    found = proof()
    assert found.holds is True
    assert found.says == (
        "A diagnosis cannot change data. What every login may do remains: "
        "temporary tables, large objects of its own, NOTIFY, advisory locks."
    )
    assert "15 statements that would change something, tried and refused" in found.tried
    assert "the same in database postgres" in found.tried
    assert everything(admin) == before


def test_what_was_revoked_from_everybody_does_not_remain(proof, made):
    for right, thing in (("TEMP", "DATABASE orders"), ("EXECUTE", "FUNCTION lo_create(oid)")):
        made(f"REVOKE {right} ON {thing} FROM PUBLIC", undo=f"GRANT {right} ON {thing} TO PUBLIC")
    assert proof().says.endswith("remains: NOTIFY, advisory locks.")


# What does not


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_is_found_and_named_and_looking_changes_nothing(hole, proof, made, admin):
    told, makes, undo = HOLES[hole]
    made(*makes, undo=undo)
    before = everything(admin)
    found = proof()
    assert found.holds is False
    assert told in found.says
    assert "Revoke it from orders_reader, and from PUBLIC" in found.says
    assert everything(admin) == before


def test_a_hole_in_another_database_of_the_cluster_is_found(proof, made, admin, orders_server):
    made("CREATE DATABASE proof_other", undo="DROP DATABASE proof_other WITH (FORCE)")
    with psycopg.connect(orders_server.server.url(database="proof_other"), autocommit=True) as other:
        other.execute("CREATE TABLE notes (); GRANT INSERT ON notes TO PUBLIC")
    found = proof()
    assert found.holds is False
    assert "INSERT on table public.notes (database proof_other)" in found.says
    admin.execute("REVOKE CONNECT ON DATABASE proof_other FROM PUBLIC")
    assert proof().holds is True


def test_of_many_holes_some_are_named_and_the_rest_counted(proof, made):
    made("CREATE SCHEMA many; GRANT USAGE ON SCHEMA many TO PUBLIC", undo="DROP SCHEMA many CASCADE")
    for number in range(30):
        made(f"CREATE TABLE many.t{number} (); GRANT INSERT ON many.t{number} TO PUBLIC", undo="SELECT 1")
    assert "; and 15 more. Revoke" in proof().says
    examined = proof()
    assert len(examined.says) < 600


def test_a_name_that_would_speak_to_a_terminal_is_told_without_its_voice(proof, made):
    name = '"\x1b]0;all is well\x07\u202e<b>\n"'
    made(f"CREATE TABLE {name} (); GRANT INSERT ON {name} TO PUBLIC", undo=f"DROP TABLE {name}")
    says = proof().says
    assert "]0;all is well" in says
    assert says.isprintable()


# What cannot be proved harmless


DOUBTS = {
    "a function with its owner's rights": (
        "public.pay(integer) runs with the rights of orders_owner",
        [
            "SET ROLE orders_owner",
            "CREATE FUNCTION pay(int) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM orders WHERE id = $1'",
            "RESET ROLE",
        ],
        "RESET ROLE; DROP FUNCTION pay",
    ),
    "a function in a language without rules": (
        "public.shell() runs on the server without its rules (shellish)",
        [
            "CREATE LANGUAGE shellish HANDLER plpgsql_call_handler",
            "CREATE FUNCTION shell() RETURNS void LANGUAGE shellish AS 'BEGIN END'",
        ],
        "DROP LANGUAGE shellish CASCADE",
    ),
    "tables to come": (
        "INSERT, UPDATE on each new table that orders_owner makes",
        ["ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner GRANT SELECT, INSERT, UPDATE ON TABLES TO PUBLIC"],
        "ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner REVOKE ALL ON TABLES FROM PUBLIC",
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_proved_harmless_is_named_and_nothing_is_claimed(doubt, proof, made):
    told, makes, undo = DOUBTS[doubt]
    made(*makes, undo=undo)
    found = proof()
    assert found.holds is None
    assert told in found.says


HARMLESS = {
    "a function with the caller's rights": (
        ["CREATE FUNCTION look() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM orders'"],
        "DROP FUNCTION look",
    ),
    "a trigger's function": (
        ["CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'"],
        "DROP FUNCTION t",
    ),
    "a view that nobody can update": (
        ["CREATE VIEW totals AS SELECT count(*) FROM orders", "GRANT ALL ON totals TO PUBLIC"],
        "DROP VIEW totals",
    ),
    "a table out of reach": (
        ["CREATE SCHEMA closed", "CREATE TABLE closed.t ()", "GRANT ALL ON closed.t TO PUBLIC"],
        "DROP SCHEMA closed CASCADE",
    ),
    "monitoring": (["GRANT pg_monitor TO orders_reader"], "REVOKE pg_monitor FROM orders_reader"),
    "default rights to read": (
        ["ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner GRANT SELECT ON TABLES TO orders_reader"],
        "ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner REVOKE ALL ON TABLES FROM orders_reader",
    ),
}


@pytest.mark.parametrize("harmless", HARMLESS)
def test_what_changes_nothing_is_no_hole(harmless, proof, made):
    makes, undo = HARMLESS[harmless]
    made(*makes, undo=undo)
    assert proof().holds is True


# Logins that others make


@pytest.fixture
def login(made, connection, admin):
    """`login("CREATEROLE")` proves a login with these attributes, as another provider might give it."""

    def look(attributes="", *grants):
        made(
            f"CREATE ROLE {LOGIN} LOGIN {attributes} PASSWORD '{PASSWORD}'",
            *grants,
            undo=f"DROP OWNED BY {LOGIN}; DROP ROLE {LOGIN}",
        )
        login = Credential(LOGIN, PASSWORD, expires_at=None)
        return prove(connection, Held(connection.diagnose, provider_for(connection.diagnose), login))

    return look


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("SUPERUSER", "can change something: it is a superuser. Revoke"),
        ("CREATEROLE", "it may make roles (CREATEROLE)"),
        ("CREATEDB", "it may make databases (CREATEDB)"),
        ("REPLICATION", "it may replicate (REPLICATION)"),
        ("BYPASSRLS", "it passes over row security (BYPASSRLS)"),
    ],
)
def test_what_a_role_is_allowed_by_its_attributes_is_a_hole(attribute, told, login):
    found = login(attribute)
    assert found.holds is False
    assert told in found.says


def test_an_owner_that_it_may_become_is_a_hole_though_it_inherits_nothing(login):
    found = login("NOINHERIT", f"GRANT orders_owner TO {LOGIN} WITH INHERIT FALSE, SET TRUE")
    assert found.holds is False
    assert "it owns table public.customers, after SET ROLE orders_owner" in found.says


def test_who_may_become_a_superuser_is_told_that_alone(login, made):
    made("CREATE ROLE proof_boss SUPERUSER", undo="DROP ROLE proof_boss")
    found = login("", f"GRANT proof_boss TO {LOGIN}")
    assert "can change something: it is a superuser, after SET ROLE proof_boss. Revoke" in found.says


def test_who_has_a_superusers_rights_without_becoming_it_is_told_so(login, made):
    made("CREATE ROLE proof_boss SUPERUSER", undo="DROP ROLE proof_boss")
    found = login("", f"GRANT proof_boss TO {LOGIN} WITH INHERIT TRUE, SET FALSE")
    assert "it is a member of proof_boss" in found.says


def test_a_login_with_a_readers_role_that_it_may_become_holds(login):
    assert login("", f"GRANT orders_reader TO {LOGIN}").holds is True


# Being a good guest


def test_what_is_refused_by_nobody_is_a_hole_even_where_no_right_tells_of_it(proof, monkeypatch):
    monkeypatch.setattr(postgres_proof, "TRIES", ("CREATE TEMP TABLE proof ()",))
    found = proof()
    assert found.holds is False
    assert "CREATE TEMP TABLE proof () was not refused" in found.says


def test_a_locked_table_delays_it_by_a_blink_and_nobody_waits_behind_it(proof, orders_server):
    with psycopg.connect(orders_server.server.url(database="orders")) as migration:
        migration.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        found = proof()
        assert found.holds is True
        assert time.monotonic() - began < 3
        assert "12 statements that would change something, tried and refused" in found.tried


def test_a_login_that_is_gone_is_told_without_its_password(connection):
    gone = Credential("nobody", PASSWORD, expires_at=None)
    with pytest.raises(Unavailable, match="orders-db") as told:
        prove(connection, Held(connection.diagnose, provider_for(connection.diagnose), gone))
    assert PASSWORD not in str(told.value)
    assert told.value.__cause__ is None


def test_of_a_standby_the_rights_are_read_and_nothing_is_tried(servers_folder, postgres_programs):
    folder = servers_folder / "standby"
    with Postgres.start(folder, durable=False) as primary, psycopg.connect(primary.url()) as admin:
        admin.execute(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{PASSWORD}'")
    (folder / "data" / "standby.signal").touch()
    with Postgres.start(folder, durable=False) as standby:
        replica = SimpleNamespace(name="replica", host=standby.host, port=standby.port, database="postgres")
        found = postgres_proof.examine(replica, Credential(LOGIN, PASSWORD, expires_at=None))
    assert (found.writes, found.doubtful) == ([], [])
    assert "roles that it may grant itself" in found.tried
    assert "no statement was tried: this is a standby" in found.tried

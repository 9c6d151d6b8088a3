"""One transaction: state, jobs and audit entries together, or nothing."""

from __future__ import annotations

import os
import socket

import psycopg
import pytest
from service_database import APP_PASSWORD
from sqlalchemy import create_engine
from sqlalchemy.exc import ProgrammingError

from runbooks_app.core.audit import Event, verify
from runbooks_app.core.errors import Conflict, DatabaseAway, Misconfigured, Unavailable
from runbooks_app.core.people import Actor
from runbooks_app.main.assemble import queue_conninfo
from runbooks_app.settings import Settings
from runbooks_app.store import audit
from runbooks_app.store.database import NOTICES, connect, reading, transaction
from runbooks_app.store.migrate import migrate
from runbooks_app.store.schema import latest, require_current

ANA = Actor("person", "https://idp#ana", "Ana “quoted” 🙂", {"surface": "web", "auth_time": 1})


def test_a_transaction_writes_its_jobs_and_entries_with_its_change(database):
    with transaction(database.engine) as tx:
        tx.execute("INSERT INTO refusals VALUES ('x', 1)")
        tx.defer("diagnose", run_id="abc", after=5, priority=7)
        tx.audit(ANA, Event.RUN_REQUESTED, {"run": "abc"}, {"n": 1.5, "text": "line\nbreak \u2028 \x7f"})
    with reading(database.engine) as tx:
        assert tx.execute("SELECT task_name, args, priority, scheduled_at > now() FROM procrastinate_jobs").one() == (
            "diagnose",
            {"run_id": "abc"},
            7,
            True,
        )
        verdict = verify(audit.entries(tx), audit.head(tx))
        assert (verdict.ok, verdict.entries) == (True, 1)


def test_a_transaction_that_fails_leaves_neither_state_nor_job_nor_entry(database):
    def fails() -> None:
        with transaction(database.engine) as tx:
            tx.execute("INSERT INTO refusals VALUES ('x', 1)")
            tx.defer("diagnose", run_id="abc")
            tx.audit(ANA, Event.RUN_REQUESTED, {"run": "abc"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with reading(database.engine) as tx:
        assert tx.execute("SELECT count(*) FROM refusals").scalar_one() == 0
        assert tx.execute("SELECT count(*) FROM procrastinate_jobs").scalar_one() == 0
        assert audit.head(tx) == (0, "0" * 64)


def test_a_guarded_change_that_finds_another_state_is_a_conflict(database):
    with pytest.raises(Conflict, match="Thing has moved on"), transaction(database.engine) as tx:
        tx.moved("Thing", "UPDATE refusals SET count = 2 WHERE reason = 'absent'")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET body = '{}'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "INSERT INTO audit_entries SELECT * FROM audit_entries",
        "UPDATE audit_head SET seq = 0",
        "DROP TABLE audit_entries",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "DELETE FROM decisions",
    ],
)
def test_the_application_can_only_append_to_the_trail(database, statement):
    with transaction(database.engine) as tx:
        tx.audit(ANA, Event.SIGNED_IN, {})
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        transaction(database.engine) as tx,
    ):
        tx.execute(statement)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_entries SET body = '{}'", "DELETE FROM audit_entries", "TRUNCATE audit_entries"],
)
def test_even_the_owner_is_stopped_by_the_triggers(database, statement):
    with transaction(database.engine) as tx:
        tx.audit(ANA, Event.SIGNED_IN, {})
    with (
        psycopg.connect(database.owner_url) as owner,
        pytest.raises(psycopg.errors.RaiseException, match="append-only"),
    ):
        owner.execute(statement)


def test_a_superuser_who_edits_an_entry_is_found_and_located(database):
    for _ in range(5):
        with transaction(database.engine) as tx:
            tx.audit(ANA, Event.SIGNED_IN, {}, {"n": 1})
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE audit_entries DISABLE TRIGGER ALL")
        owner.execute("""UPDATE audit_entries SET body = '{"n":2}' WHERE seq = 3""")
    with reading(database.engine) as tx:
        verdict = verify(audit.entries(tx), audit.head(tx))
    assert (verdict.broken_at, verdict.entries) == (3, 2)
    assert "altered" in verdict.reason


def test_concurrent_appends_make_one_chain(database):
    from concurrent.futures import ThreadPoolExecutor

    def append(number: int) -> None:
        with transaction(database.engine) as tx:
            tx.audit(ANA, Event.SIGNED_IN, {"n": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(40)))
    with reading(database.engine) as tx:
        verdict = verify(audit.entries(tx), audit.head(tx))
    assert (verdict.ok, verdict.entries) == (True, 40)


def test_a_database_that_is_away_is_told_as_unavailable():
    engine = connect("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="database is away"), transaction(engine):
        pass


def test_the_migration_goes_back_and_forth(database):
    assert migrate(database.owner_url, "", "runbooks_app") == (latest(), latest())
    assert migrate(database.owner_url, "", "runbooks_app", to="0001") == (latest(), "0001")
    assert migrate(database.owner_url, "", "runbooks_app") == ("0001", latest())
    assert migrate(database.owner_url, "", "runbooks_app", to="base") == (latest(), "empty")
    with psycopg.connect(database.owner_url) as owner:
        left = owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        assert left.fetchall() == [("alembic_version",)]
    with pytest.raises(Misconfigured, match="run `runbooks migrate`"), reading(database.engine) as tx:
        require_current(tx)
    assert migrate(database.owner_url, "", "runbooks_app") == ("empty", latest())
    with reading(database.engine) as tx:
        require_current(tx)
    with transaction(database.engine) as tx:
        tx.audit(ANA, Event.SIGNED_IN, {})


def test_having_no_connection_left_is_told_as_unavailable(database):
    engine = create_engine(database.engine.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with transaction(engine), pytest.raises(Unavailable, match="in use"), transaction(engine):
        pass
    engine.dispose()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM proposals WHERE predecessor = 'x'",
        "SELECT run_id FROM proposals WHERE gate = 'x' AND state = 'applied' ORDER BY ended_at DESC LIMIT 1",
        "SELECT * FROM incidents ORDER BY opened_at DESC, id DESC LIMIT 50",
    ],
)
def test_what_every_page_and_message_asks_for_is_found_by_an_index(database, query):
    with transaction(database.engine) as tx:
        tx.execute("SET LOCAL enable_seqscan = off")
        tx.execute("SET LOCAL enable_sort = off")
        plan = "\n".join(row[0] for row in tx.execute(f"EXPLAIN {query}"))
    assert "Index" in plan, plan
    assert "Seq Scan" not in plan, plan


def test_who_stops_in_the_middle_of_a_transaction_loses_it_and_its_locks_and_is_told(database):
    with transaction(database.engine) as tx:
        tx.execute("INSERT INTO refusals VALUES ('x', 1)")

    def stops() -> None:
        with transaction(database.engine) as tx:
            tx.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")  # where 5 s are set
            tx.execute("UPDATE refusals SET count = 7")
            with transaction(database.engine) as other:  # waits for the row until it is let go
                other.execute("UPDATE refusals SET count = count + 1")
            tx.audit(ANA, Event.SIGNED_IN, {})

    with pytest.raises(DatabaseAway):
        stops()
    with reading(database.engine) as tx:
        assert tx.execute("SELECT count FROM refusals").scalar_one() == 2
        assert audit.head(tx) == (0, "0" * 64)
        idles = "SHOW idle_in_transaction_session_timeout"
        assert tx.execute(idles).scalar_one() == "10min"
    with transaction(database.engine) as tx:  # on the same session
        assert tx.execute(idles).scalar_one() == "5s"


def test_a_session_notices_within_half_a_minute_that_its_server_s_machine_is_gone(database):
    with database.engine.connect() as session:
        raw = session.connection.driver_connection
        assert raw is not None
        with socket.socket(fileno=os.dup(raw.fileno())) as wire:
            dead = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000
            asks = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            again = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            times = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert 0 < dead < 30
    assert asks + again * times < 30


def test_the_queue_s_own_sessions_let_go_and_notice_likewise(database, tmp_path):
    password = tmp_path / "password"
    password.write_text(APP_PASSWORD)
    settings = Settings(database_url=database.app_url, database_password_file=password)
    with psycopg.connect(queue_conninfo(settings)) as session:
        assert session.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("5s",)
        set_to = session.info.get_parameters()
    assert {name: set_to[name] for name in NOTICES} == {name: str(value) for name, value in NOTICES.items()}

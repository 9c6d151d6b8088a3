"""Connections are tested by workers: with credentials as runs get them, now and then, and told where it is news."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from notebooks import cell, write
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from worker.conftest import while_working

from runbooks_app.actions import connections
from runbooks_app.connections import Connection, CredentialSource
from runbooks_app.core.connection_tests import AT_MOST_EVERY, EVERY, SPREAD, Standing
from runbooks_app.core.errors import DatabaseAway, Unavailable
from runbooks_app.core.http_rules import READ_ALL
from runbooks_app.credentials.postgres_role import PostgresRole
from runbooks_app.library import Library
from runbooks_app.store import audit, connection_tests
from runbooks_app.store.database import connect, reading, transaction
from runbooks_app.worker import holding, proving
from runbooks_app.worker.measuring import watch_the_connections

pytestmark = pytest.mark.identity


@pytest.fixture
def orders(house):
    return house.service.connections["orders-db"]


@pytest.fixture
def tested(house):
    """`tested(connection)` tests it now; what came of it."""
    return lambda connection: proving.prove_now(house.service, "w1", connection, None)


@pytest.fixture
def entered(house):
    """`entered("connection.tested")` are the bodies of such entries."""

    def look(event):
        with reading(house.service.engine) as tx:
            return [json.loads(entry.body) for entry in reversed(audit.search(tx, event=event))]

    return look


@pytest.fixture
def later(house):
    """`later(hours=1)` lets so much time pass for what was tested."""

    def pass_by(**time):
        with transaction(house.service.engine) as tx:
            tx.execute(
                "UPDATE connection_tests SET tested_at = tested_at - :time, entered_at = entered_at - :time",
                time=timedelta(**time),
            )

    return pass_by


@pytest.fixture
def admin(orders_server):
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as session:
        yield session


def roles(admin):
    return [row[0] for row in admin.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^runbook_'")]


# With what it is tested


def test_a_test_gets_a_credential_as_a_run_does_and_gives_it_back(house, tested, orders, entered, admin):
    assert tested(orders).standing is Standing.HOLDS
    (issued,), (ended,) = entered("credential.issued"), entered("credential.ended")
    assert issued == {
        "identity": ended["identity"],
        "provider": "postgres-role",
        "role": "orders_reader",
        "scope": "",
        "stage": "diagnose",
        "lifetime": 40,
        "purpose": "connection test",
    }
    assert ended["how"] == "revoked"
    assert roles(admin) == []


def test_what_cannot_be_entered_is_not_used_and_does_not_stay(house, tested, orders, admin, monkeypatch):
    def away(*_):
        raise DatabaseAway

    monkeypatch.setattr(proving, "credential_issued_to_test", away)
    with pytest.raises(DatabaseAway):
        tested(orders)
    assert roles(admin) == []
    with reading(house.service.engine) as tx:
        assert connection_tests.latest(tx) == {}


def test_a_login_that_a_killed_test_left_behind_is_swept_and_told(house, tested, orders, entered, admin, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(PostgresRole, "revoke", lambda *_: (_ for _ in ()).throw(Unavailable("killed")))
        assert tested(orders).standing is Standing.HOLDS
    (left,) = roles(admin)
    holding.sweep(house.worker)
    assert roles(admin) == [left]  # it could be in use
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE credentials SET expires_at = now()")
    holding.sweep(house.worker)
    assert roles(admin) == []
    assert entered("credential.ended") == [{"identity": left, "how": "swept"}]


def test_it_is_asked_for_as_a_diagnosis_by_a_runbook_that_uses_the_connection(house, orders, library_folder):
    assert proving._purpose(house.service, orders).runbook_id == proving.NOBODYS
    write(library_folder, "look", cell("look", "kit.postgres('orders-db')", "diagnostic"))
    service = replace(house.service, library=Library(library_folder))
    purpose = proving._purpose(service, orders)
    runbook = service.library.get("look")
    assert (purpose.runbook_id, purpose.runbook_digest, purpose.stage) == (runbook.id, runbook.digest, "diagnose")
    other = replace(orders, name="metrics", kind="http")
    assert proving._purpose(service, other).runbook_id == proving.NOBODYS


# What comes of it


def test_a_role_that_can_write_is_told_at_once_and_again_when_it_is_mended(tested, orders, entered, admin):
    tested(orders)
    admin.execute("GRANT DELETE ON orders TO orders_reader")
    try:
        told = tested(orders)
    finally:
        admin.execute("REVOKE DELETE ON orders FROM orders_reader")
    assert told.standing is Standing.WRITES
    tested(orders)
    assert [body["standing"] for body in entered("connection.tested")] == ["holds", "writes", "holds"]
    assert "DELETE on table public.orders" in entered("connection.tested")[1]["says"]
    assert entered("connection.tested")[0]["role"] == "orders_reader"


def test_the_same_result_is_entered_once_a_day(tested, orders, entered, later):
    for hours in (1, 1, 21, 1):
        tested(orders)
        later(hours=hours)
    assert len(entered("connection.tested")) == 1
    tested(orders)
    assert len(entered("connection.tested")) == 2


@pytest.fixture
def nobody():
    """A port where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_database_that_is_away_is_told_so_and_nothing_is_said_of_its_role(tested, orders, nobody):
    outcome = tested(replace(orders, port=nobody))
    assert (outcome.standing, outcome.holds) == (Standing.AWAY, None)
    assert "Check that the database is up" in outcome.says


# HTTP


def http(port, **given):
    given = {"diagnose_rules": READ_ALL, **given}
    return Connection("prometheus", "http", "Prometheus", url=f"http://127.0.0.1:{port}", **given)


@pytest.fixture
def system():
    """The port of a system that lets itself be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_what_needs_no_credential_cannot_be_proved_and_nothing_is_issued(tested, system, entered):
    outcome = tested(http(system))
    assert outcome.standing is Standing.UNPROVED
    assert "the gateway's rules are all that holds" in outcome.says
    assert entered("credential.issued") == []


def test_a_standing_credential_cannot_be_proved_and_says_so(tested, system, entered, tmp_path):
    (tmp_path / "token").write_text("a standing secret")
    options = {"secret_file": str(tmp_path / "token"), "header": "Authorization", "scheme": "Bearer"}
    outcome = tested(http(system, diagnose=CredentialSource("static", options)))
    assert outcome.standing is Standing.UNPROVED
    assert "the same for every run" in outcome.says
    assert [body["how"] for body in entered("credential.ended")] == ["let go"]


def test_a_system_that_is_away_is_told_without_asking_for_a_credential(tested, nobody, entered):
    outcome = tested(http(nobody, diagnose=CredentialSource("static", {})))
    assert outcome.standing is Standing.AWAY
    assert "could not be reached: Connection refused" in outcome.says
    assert entered("credential.issued") == []


# When


def test_each_connection_has_its_turn_within_the_hour_and_not_before(house, orders, tested, later):
    assert connections.next_due(house.service) == orders
    tested(orders)
    assert connections.next_due(house.service) is None
    later(seconds=(EVERY - SPREAD).total_seconds() - 1)
    assert connections.next_due(house.service) is None
    later(seconds=SPREAD.total_seconds() + 1)
    assert connections.next_due(house.service) == orders


def test_a_system_that_was_away_has_its_turn_again_within_minutes(house, nobody, tested, later):
    away = http(nobody)
    service = replace(house.service, connections={away.name: away})
    assert tested(away).standing is Standing.AWAY
    later(minutes=4)
    assert connections.next_due(service) is None
    later(minutes=1)
    assert connections.next_due(service) == away


def test_what_was_never_tested_comes_first_and_then_what_waited_longest(house, orders, tested, later):
    service = replace(house.service, connections={name: replace(orders, name=name) for name in ("a", "b", "c")})
    tested(service.connections["b"])
    later(minutes=5)
    tested(service.connections["a"])
    assert connections.next_due(service).name == "c"
    tested(service.connections["c"])
    later(hours=1)
    assert connections.next_due(service).name == "b"


def test_a_connection_that_is_configured_anew_is_tested_soon_and_its_old_result_counts_no_more(
    house, orders, tested, later
):
    tested(orders)
    other = replace(orders, database="billing")
    service = replace(house.service, connections={"orders-db": other})
    with reading(service.engine) as tx:
        assert connections.seen(tx, service.connections)["orders-db"].standing is Standing.UNTESTED
        assert connections.seen(tx, house.service.connections)["orders-db"].standing is Standing.HOLDS
    assert connections.next_due(service) is None
    later(seconds=AT_MOST_EVERY.total_seconds())
    assert connections.next_due(service) == other


def test_where_a_workers_files_lie_does_not_make_it_another_connection(orders):
    def moved(folder):
        options = {**orders.diagnose.options, "password_file": f"{folder}/x.password"}
        return replace(orders, diagnose=replace(orders.diagnose, options=options))

    assert connections.configured(moved("/a")) == connections.configured(moved("/b"))
    changed = replace(orders, diagnose=replace(orders.diagnose, options={**orders.diagnose.options, "role": "other"}))
    assert connections.configured(changed) != connections.configured(orders)


def test_a_gauge_tells_which_connections_are_proved_and_nothing_while_nobody_knows(house, orders, tested):
    house.service.connections["metrics"] = http(1)
    reader, away = InMemoryMetricReader(), InMemoryMetricReader()
    with_them, without = MeterProvider([reader]), MeterProvider([away])
    watch_the_connections(house.service, with_them.get_meter("tests"))
    nowhere = replace(house.service, engine=connect("postgresql://nobody@127.0.0.1:1/nowhere"))
    watch_the_connections(nowhere, without.get_meter("tests"))
    tested(orders)
    assert gauged(reader) == {("metrics", "untested"): 0, ("orders-db", "holds"): 1}
    tested(replace(orders, port=1))
    house.service.connections["orders-db"] = replace(orders, port=1)
    assert gauged(reader) == {("metrics", "untested"): 0, ("orders-db", "away"): 0}
    assert gauged(away) == {}
    with_them.shutdown()
    without.shutdown()


def gauged(reader):
    """What the gauge tells, by connection and standing."""
    data = reader.get_metrics_data()
    told = data.resource_metrics if data else []
    points = [p for r in told for s in r.scope_metrics for m in s.metrics for p in m.data.data_points]
    prefix = "runbooks.connection."
    return {(p.attributes[prefix + "name"], p.attributes[prefix + "standing"]): p.value for p in points}


def test_a_worker_tests_by_itself_from_its_start(house, entered):
    def wait():
        deadline = timedelta(seconds=30)
        with psycopg.connect(house.database.owner_url, autocommit=True) as session:
            began = session.execute("SELECT clock_timestamp()").fetchone()[0]
            while not session.execute("SELECT count(*) FROM connection_tests").fetchone()[0]:
                assert session.execute("SELECT clock_timestamp() - %s", [began]).fetchone()[0] < deadline
                session.execute("SELECT pg_sleep(0.05)")

    while_working(house, wait)
    assert [body["standing"] for body in entered("connection.tested")] == ["holds"]

"""`runbooks connections test`: what holds and what does not, by words, JSON and exit code; and what doctor says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from service_database import APP_PASSWORD

from runbooks_app.core.audit import verify
from runbooks_app.main import doctor
from runbooks_app.settings import Settings
from runbooks_app.store import audit
from runbooks_app.store.database import reading

pytestmark = pytest.mark.identity

LIBRARY = Path(__file__).parents[2] / "runbook_library"


@pytest.fixture
def installation(database, orders_server, tmp_path):
    """Settings with the service's database, and connections of which one is away."""
    away = orders_server.connection("away-db").replace(f"port = {orders_server.server.port}", "port = 1")
    text = orders_server.connection() + away
    (tmp_path / "connections.toml").write_text(text)
    (tmp_path / "password").write_text(APP_PASSWORD)
    return {
        "config_dir": str(tmp_path),
        "library": str(LIBRARY),
        "database_url": database.server.url("runbooks_app", database.name, ""),
        "database_password_file": str(tmp_path / "password"),
    }


@pytest.fixture
def command(installation):
    environment = {**os.environ, **{f"RUNBOOKS_{name.upper()}": value for name, value in installation.items()}}

    def run(*arguments):
        command = [sys.executable, "-m", "runbooks_app.main", "connections", "test", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


@pytest.fixture
def hole(orders_server):
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as admin:
        admin.execute("GRANT UPDATE ON customers TO orders_reader")
        yield
        admin.execute("REVOKE UPDATE ON customers FROM orders_reader")


@pytest.fixture
def diagnosed(installation, monkeypatch):
    """`diagnosed()` is what doctor says of the proofs."""
    monkeypatch.setattr(doctor, "CHECKS", {"proofs": doctor.proofs})

    def look():
        (finding,) = doctor.examine(Settings(**installation))
        return finding

    return look


def test_one_that_holds_is_told_and_exits_with_0_and_doctor_is_content(
    command, database, orders_server, tmp_path, diagnosed
):
    answer = command("orders-db")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("✓ only reads    orders-db: A diagnosis cannot change data.")
    with reading(database.engine) as tx:
        entries = list(audit.entries(tx))
    assert [entry.event for entry in entries] == ["credential.issued", "credential.ended", "connection.tested"]
    assert verify(entries).ok
    (tmp_path / "connections.toml").write_text(orders_server.connection())
    fine = diagnosed()
    assert (fine.state, fine.says) == ("ok", "proved to only read: orders-db")


def test_one_that_can_write_and_one_that_is_away_exit_with_1_and_doctor_says_so(
    command, hole, diagnosed, orders_server
):
    untested = diagnosed()
    assert (untested.state, "orders-db: has not been tested." in untested.says) == ("remark", True)
    answer = command()
    assert answer.returncode == 1
    away, orders = answer.stdout.splitlines()
    assert away.startswith("✗ away          away-db: away-db (orders at 127.0.0.1:1): could not")
    assert orders.startswith("▲ can write     orders-db: A diagnosis can change something: UPDATE on table")
    for secret in (*orders_server.passwords.values(), APP_PASSWORD):
        assert secret not in answer.stdout + answer.stderr
    wrong = diagnosed()
    assert wrong.state == "wrong"
    assert "orders-db: A diagnosis can change something: UPDATE on table public.customers" in wrong.says
    assert "away-db: away-db (orders at 127.0.0.1:1): could not" in wrong.says


def test_json_tells_what_was_found_and_what_was_looked_for(command, hole):
    answer = command("orders-db", "--json")
    told = json.loads(answer.stdout)
    assert (answer.returncode, told["ok"]) == (1, False)
    found = told["connections"]["orders-db"]
    assert (found["standing"], found["holds"], found["reachable"]) == ("writes", False, True)
    assert "UPDATE on table public.customers" in found["says"]
    assert "attributes of the role" in found["tried"]


def test_an_unknown_name_is_told_with_what_was_meant(command):
    answer = command("order-db")
    assert answer.returncode == 2
    assert "There is no connection 'order-db'. Did you mean orders-db?" in answer.stderr

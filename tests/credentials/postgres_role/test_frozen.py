"""A worker that freezes in the middle of what it does at a diagnosed database holds up no other."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from credentials.postgres_role.conftest import DIAGNOSE, minted, minting
from psycopg import sql
from whole_stage import until

ANOTHER_WORKER = """
import sys
from pathlib import Path
from runbooks_app.connections import read_connections
from runbooks_app.credentials import Purpose, postgres_role, provider_for

connection = read_connections(Path(sys.argv[1]))["orders-db"]
provider = provider_for(connection.diagnose)
if sys.argv[2] == "mint":
    provider.mint(connection, Purpose("run-2", "diagnose", lifetime=60))
else:
    postgres_role.SESSION = postgres_role.SESSION.replace("45s", "2s")
    provider.revoke(connection, sys.argv[2])
"""
WAITS_FOR_ME = "SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"


@pytest.fixture
def frozen(admin, orders_server, tmp_path):
    """Freeze another worker where it waits for what a statement locks, which it has for itself from then on."""
    file = tmp_path / "connections.toml"
    file.write_text(orders_server.connection())

    @contextlib.contextmanager
    def freeze(does, statement):
        admin.execute("BEGIN")
        admin.execute(statement)
        worker = subprocess.Popen([sys.executable, "-c", ANOTHER_WORKER, file, does], stderr=subprocess.PIPE)
        try:
            until("the other worker to wait", lambda: admin.execute(WAITS_FOR_ME).rowcount)
            os.kill(worker.pid, signal.SIGSTOP)
            admin.execute("ROLLBACK")
            yield
            os.kill(worker.pid, signal.SIGCONT)
            said = worker.communicate(timeout=30)[1].decode()
            assert worker.returncode, "it was told that nothing came of it"
            assert "runbooks_app.core.errors.Unavailable: orders-db (orders at" in said
        finally:
            worker.kill()
            worker.communicate()

    return freeze


def test_a_login_that_is_half_made_holds_up_no_other_of_its_role(frozen, reader, connection, admin):
    with frozen("mint", "GRANT orders_reader TO orders_owner"), minting(reader, connection, DIAGNOSE) as credential:
        assert minted(admin) == {credential.identity}


def test_a_login_whose_end_is_half_done_is_ended_by_another(frozen, reader, connection, admin):
    identity = reader.mint(connection, DIAGNOSE).identity
    with frozen(identity, sql.SQL("ALTER ROLE {} CONNECTION LIMIT 3").format(sql.Identifier(identity))):
        reader.revoke(connection, identity)
        assert minted(admin) == set()

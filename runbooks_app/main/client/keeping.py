"""The file that keeps somebody signed in: one for each service, for its owner's eyes alone.

`~/.config/runbooks/<host>.json` (under `XDG_CONFIG_HOME` where that is set) has mode 0600 in a folder of mode 0700; it
is refused where others could read or change it. It is replaced as a whole, so a crash leaves the old or the new one.
Whoever wants to change it holds the lock beside it: a refresh token counts once, and of two commands that come at the
same moment the second has to see what the first one got. Agents' sign-ins are kept apart, in a folder of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from runbooks_app.main.client.failures import Failure


@dataclass(frozen=True)
class Session:
    """Somebody signed in to the service at `url`. Times are in seconds since the epoch.

    `resource` is the audience of its tokens. Without `refresh_token` it ends at `expires_at`.
    """

    url: str
    issuer: str
    client_id: str
    resource: str
    token_endpoint: str
    signed_in_at: float
    expires_at: float
    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    revocation_endpoint: str = ""


class Sessions:
    """The sessions of this account on this machine; those of its agents with `agent`."""

    def __init__(self, folder: Path | None = None, *, agent: bool = False) -> None:
        self.folder = folder or config_folder(agent=agent)
        self.agent = agent

    @property
    def login(self) -> str:
        """The command that signs in to what is kept here."""
        return "runbooks login --agent" if self.agent else "runbooks login"

    def load(self, url: str) -> Session | None:
        """Who is signed in there; None for nobody. Raises `Failure` for a file that others could have read."""
        return self._read(self._path(url))

    def latest(self) -> Session | None:
        """The session whose sign-in was the latest of all."""
        found = [session for path in sorted(self.folder.glob("*.json")) if (session := self._read(path))]
        return max(found, key=lambda session: session.signed_in_at, default=None)

    def save(self, session: Session) -> None:
        """Keep the session, in place of what was kept for its service."""
        self._folder()
        path = self._path(session.url)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as out:
                json.dump(asdict(session), out)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink()
            raise Failure(f"Your sign-in cannot be kept in {path} ({error.strerror}).") from None

    def remove(self, url: str) -> None:
        """Forget the session."""
        self._path(url).unlink(missing_ok=True)

    @contextmanager
    def locked(self, url: str) -> Iterator[None]:
        """Nobody else changes this service's session meanwhile."""
        self._folder()
        path = self._path(url).with_suffix(".lock")
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, url: str) -> Path:
        return self.folder / (re.sub(r"[^a-z0-9.-]", "_", urlsplit(url).netloc.lower()) + ".json")

    def _folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = self.folder.stat()
        except OSError as error:
            raise Failure(f"{self.folder} cannot be made, to keep your sign-in in ({error.strerror}).") from None
        _own(self.folder, found, 0o700)

    def _read(self, path: Path) -> Session | None:
        try:
            self._folder_if_there()
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise Failure(f"{path} is no ordinary file, so it keeps no sign-in. Remove it.")
                _own(path, found, 0o600)
                text = file.read(1_000_000)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failure(f"{path} cannot be read ({error.strerror}).") from None
        try:
            session = Session(**json.loads(text))
            numbers = {"signed_in_at", "expires_at"}
            sound = all(isinstance(v, int | float if n in numbers else str) for n, v in asdict(session).items())
        except (ValueError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise Failure(f"{path} is damaged. Remove it, and sign in again: runbooks login")
        return session

    def _folder_if_there(self) -> None:
        with suppress(FileNotFoundError):
            _own(self.folder, self.folder.stat(), 0o700)


def config_folder(*, agent: bool = False) -> Path:
    """Where this account keeps sessions, by the XDG Base Directory Specification; those of its agents with `agent`."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(given) if given.startswith("/") else Path.home() / ".config"
    return home / ("runbooks-agents" if agent else "runbooks")


def _own(path: Path, found: os.stat_result, mode: int) -> None:
    """Refuse what belongs to somebody else, or what others may look into or change."""
    if found.st_uid != os.geteuid():
        raise Failure(f"{path} belongs to somebody else, so your sign-in is not kept there. Look into it.")
    if found.st_mode & 0o077:
        raise Failure(f"{path} is open to others, and keeps your sign-in. Close it: chmod {mode:o} {path}")

"""The folder with the private keys that sign run tokens. Workers may share it, on one machine or by a network's disk.

    identity/                  mode 0700, the worker's own
      .lock                    held by whoever looks through it or changes it
      <thumbprint>.pem         mode 0600, one key each; it appears whole or not at all

Nothing here says which key signs: that is decided from when their public halves were published.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from runbooks_app.core.errors import InvalidInput, Misconfigured, Problem, Unavailable
from runbooks_app.core.run_identity import thumbprint

BITS = 2048
LOCK, KEY, NEW = ".lock", ".pem", ".new-"
LARGEST = 16 * 1024
"""Bytes of a file with a key."""
PATIENCE = 10.0
"""Seconds to wait for another worker that makes a key."""


@dataclass(frozen=True)
class KeyFolder:
    """Private keys by their thumbprints. All but `locked` want the lock to be held."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have the folder to oneself; it is made where it is missing, and refused where others can look into it."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            problem = _problem(self.path.lstat(), self.path, "folder", 0o700)
            if problem:
                raise Misconfigured(f"RUNBOOKS_IDENTITY_KEYS: {problem}")
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._away(error) from None
        try:
            self._take(lock)
            yield
        except OSError as error:
            raise self._away(error) from None
        finally:
            os.close(lock)

    def keys(self) -> dict[str, RSAKey]:
        """Every key. Raises `Misconfigured` with each file that may not be used: it might be somebody else's."""
        found: dict[str, RSAKey] = {}
        problems = []
        for path in sorted(self.path.glob(f"*{KEY}")):
            try:
                found[path.stem] = _read(path)
            except InvalidInput as error:
                problems.append(Problem(path.name, error.message, "Remove it: another one is made where none is left."))
        if problems:
            raise Misconfigured(f"Keys in {self.path} may not be used.", problems=tuple(problems))
        return found

    def make(self) -> None:
        """Make one more key."""
        for left in self.path.glob(f"{NEW}*"):  # by a worker that died meanwhile: nobody else writes here now
            left.unlink()
        key = RSAKey.generate_key(BITS, private=True)
        path = self.path / f"{NEW}{secrets.token_hex(8)}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
            file.write(key.as_pem(private=True))
            file.flush()
            os.fsync(file.fileno())
        path.rename(self.path / f"{thumbprint(key.as_dict(private=False))}{KEY}")
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, kid: str) -> None:
        """Remove a key that signs no more; one that is gone already is fine."""
        (self.path / f"{kid}{KEY}").unlink(missing_ok=True)

    def _take(self, lock: int) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Unavailable(f"Another process holds {self.path / LOCK}. Is a worker there stopped?") from None
                time.sleep(0.05)
            else:
                return

    def _away(self, error: OSError) -> Misconfigured:
        return Misconfigured(
            f"RUNBOOKS_IDENTITY_KEYS: {self.path} cannot be used ({error.strerror}). "
            "Name a folder that the worker's user owns, and nobody else can read."
        )


def _read(path: Path) -> RSAKey:
    """The key in a file. Raises `InvalidInput` where it may not be used; never with a part of it."""
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if problem := _problem(os.fstat(descriptor), path, "file", 0o600):
            raise InvalidInput(problem)
        key = RSAKey.import_key(os.read(descriptor, LARGEST))
        named = thumbprint(key.as_dict(private=False))
    except OSError as error:
        raise InvalidInput(f"cannot be read ({error.strerror}).") from None
    except (JoseError, ValueError, TypeError):
        raise InvalidInput("holds no RSA key.") from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    private = key.private_key
    if private is None or private.key_size < BITS or named != path.stem:
        raise InvalidInput(f"holds no private key of {BITS} bits that has this name.")
    return key


def _problem(found: os.stat_result, path: Path, kind: str, mode: int) -> str:
    """What is wrong with a folder or file that is to be ours alone; empty where all is well."""
    if not (stat.S_ISDIR if kind == "folder" else stat.S_ISREG)(found.st_mode):
        return f"{path} is no {kind}."
    if found.st_uid != os.geteuid():
        return f"{path} belongs to another user, who may have the keys. chown it to the worker's user, or name another."
    if found.st_mode & 0o077:
        return f"{path} is open to others, who may have the keys. Remove the keys in it, then chmod {mode:o} it."
    return ""

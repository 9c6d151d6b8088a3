"""Starting and stopping a process under its guard (`guard.py`): nothing outlives the launcher."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runbooks_app.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbooks_app.main.embedded.account import Account

GUARD = Path(__file__).with_name("guard.py")
STOPPED_WITHIN = 10.0
"""Seconds beyond the grace of every stop signal within which a guard must have ended."""


@dataclass(frozen=True)
class Guarded:
    """A process under its guard. `name` is for messages; `stops` as `guard.py` takes them."""

    name: str
    guard: subprocess.Popen[bytes]
    stops: str

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        stops: str = "TERM:10",
        account: Account | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: IO[bytes] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        lock: int | None = None,
    ) -> Guarded:
        """Start `command` in a session of its own, so that Ctrl-C reaches the launcher alone.

        `log` takes what it prints. `lock` is a descriptor that the guard keeps open to its end and the
        command does not get. With an account, the command runs under it and without any other group.
        """
        uid, gid = (str(account.uid), str(account.gid)) if account and account.changes else ("-", "-")
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", GUARD, str(os.getpid()), uid, gid, stops, *command],
            env=dict(env) if env is not None else None,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout if stdout is not None else log,
            stderr=log,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )
        return cls(name, guard, stops)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.guard.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the command itself (not its guard's), None once it has ended."""
        with contextlib.suppress(OSError, ValueError):
            children = Path(f"/proc/{self.guard.pid}/task/{self.guard.pid}/children").read_text()
            return int(children.split()[0]) if children.split() else None
        return None

    def stop(self) -> int:
        """Stop the process and wait until it and all its descendants are gone; its exit status.

        Doing so twice is harmless. Raises `Unavailable` if it is still there after every signal.
        """
        if self.alive:
            self.guard.terminate()
        grace = sum(float(step.split(":")[1]) for step in self.stops.split(","))
        try:
            return self.guard.wait(grace + STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            raise Unavailable(
                f"{self.name} did not stop within {grace + STOPPED_WITHIN:.0f} s. End process {self.pid} by hand."
            ) from None
        finally:
            for pipe in (self.guard.stdin, self.guard.stdout):
                if pipe is not None:
                    pipe.close()

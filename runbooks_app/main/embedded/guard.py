"""Keeps one server process on a leash: it never outlives whoever started it.

Run as a script of its own (`python -I -S guard.py …`), standard library only, so that it starts in
milliseconds and needs nothing that the server's account could not read:

    guard.py LAUNCHER UID GID STOPS COMMAND…

`LAUNCHER` is the process id to watch. `UID` and `GID` are those to run the command under, or `-`.
`STOPS` is how to stop it: `INT:20,QUIT:5` sends SIGINT, waits 20 s, then SIGQUIT, 5 s, then SIGKILL.

The command is stopped when the launcher is gone (however it died), and on SIGTERM, SIGINT or SIGHUP to the
guard. Should the guard itself be killed, the kernel sends the command the last of the stop signals.
The guard adopts orphans among the command's descendants and kills them before it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_EVERY = 0.2
"""Seconds between two looks at whether the launcher still lives; the command's own end is noticed at once."""
ORDERS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
WATCHED = ORDERS | {signal.SIGCHLD}

libc = ctypes.CDLL(None, use_errno=True)


class Ward:
    """The command while it runs; `status` is its exit status (negative: a signal) once it has ended."""

    def __init__(self, command: list[str], uid: str, gid: str, last_signal: int) -> None:
        guard = os.getpid()

        def leash() -> None:
            # After the uid has changed, since that change clears the parent-death signal.
            libc.prctl(PR_SET_PDEATHSIG, last_signal, 0, 0, 0)
            if os.getppid() != guard:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

        self.status: int | None = None
        self.process = subprocess.Popen(
            command,
            user=None if uid == "-" else int(uid),
            group=None if gid == "-" else int(gid),
            extra_groups=None if uid == "-" else [],
            preexec_fn=leash,  # noqa: PLW1509 - this process has one thread
            umask=0o077,
        )

    def reap(self) -> bool:
        """Take note of everything that has ended; whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.process.pid:
                self.status = self.process.returncode = os.waitstatus_to_exitcode(status)

    def wait(self, seconds: float) -> bool:
        """Wait for the command's end; whether it has ended."""
        end = time.monotonic() + seconds
        while self.reap() and self.status is None and (left := end - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
        return self.status is not None

    def clear(self) -> None:
        """Kill what the command left behind (adopted by this process), until nothing is left."""
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        while self.reap():
            for pid in children.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY)


def main(launcher: int, uid: str, gid: str, stops: str, command: list[str]) -> int:
    """Run the command until it ends or has to end; its exit status, as a shell would tell it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    steps = [
        (signal.Signals[f"SIG{name}"], float(seconds))
        for name, seconds in (step.split(":") for step in stops.split(","))
    ]
    try:
        ward = Ward(command, uid, gid, steps[-1][0])
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"{command[0]} could not be started: {error}\n")
        return 126
    while ward.reap() and ward.status is None and os.getppid() == launcher:
        told = signal.sigtimedwait(WATCHED, LOOK_EVERY)
        if told is not None and told.si_signo in ORDERS:
            break
    for stop, seconds in steps:
        if ward.status is None:
            ward.process.send_signal(stop)
            ward.wait(seconds)
    if ward.status is None:
        ward.process.kill()
    ward.clear()
    status = ward.status or 0
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]))

"""The process between worker and zygote. It ends everything below it, whichever of the two goes first.

    worker ── warden ── zygote ── kernels ── whatever their cells started

A kernel dies with its zygote, but what its cells started need not. All of it falls to the warden as the nearest
subreaper, who kills until nothing is left and then removes the folder of all runs. It is small, runs no foreign
code and waits for three things: the worker's end of a pipe closing (also by kill -9), SIGTERM, the zygote's death.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from runbooks_app.kernels.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    children,
    die_with,
    kill,
    prctl,
)

PATIENCE = 10.0
"""Seconds in which a process that was killed must be gone; only one stuck in the system itself takes longer."""


def main(lifeline: int, control: int, folder: str) -> None:
    """Fork the zygote, wait for an end, clear up."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)
    wakened, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    # Where the worker died before this line, its end of the lifeline is closed already.
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    warden = os.getpid()
    zygote = os.fork()
    if zygote == 0:
        _become_zygote(warden, lifeline, control, folder, (wakened, wake))
    os.close(control)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(wakened, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if lifeline in ready:
            break
        signals = os.read(wakened, 512)
        if signal.SIGTERM in signals or not _alive(zygote):
            break
    _kill_all()
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        Path(folder).parent.rmdir()  # the engine's own, where nothing else is in it


def _become_zygote(warden: int, lifeline: int, control: int, folder: str, wake: tuple[int, int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in (lifeline, *wake):
        os.close(descriptor)
    code = 1
    try:
        die_with(warden)
        # Imported here: the warden needs none of it.
        from runbooks_app.kernels import zygote  # noqa: PLC0415

        zygote.main(control, folder)
        code = 0
    except BaseException:  # noqa: BLE001  whatever it was, it is told to the worker's log and ends this process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _alive(zygote: int) -> bool:
    """Whether the zygote lives; whoever else has ended by now is waited for on the way."""
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            if pid == zygote:
                return False
        return True
    return False


def _kill_all() -> None:
    deadline = time.monotonic() + PATIENCE
    # Whoever forks between two rounds leaves a child that the next round finds.
    while (left := children()) and time.monotonic() < deadline:
        for pid in left:
            kill(pid)
        _alive(0)
        time.sleep(0.001)

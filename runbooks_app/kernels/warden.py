"""The process between worker and zygote. It ends everything below it, whichever of the two goes first.

    worker ── warden ── zygote ── kernels ── whatever their cells started

A kernel dies with its zygote, but what its cells started need not. All of it falls to the warden as the nearest
subreaper, who kills until nothing is left but the zygote's heir. That goes on; where there is none, or where the
worker has gone, the warden kills all and removes the folder of all runs. It is small, runs no foreign
code and waits for three things: the worker's end of a socket closing (also by kill -9), SIGTERM, the zygote's death.
Meanwhile it watches what kernels use up (`watch`).
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from runbooks_app.kernels.folders import remove
from runbooks_app.kernels.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    children,
    die_with,
    kill,
    prctl,
)
from runbooks_app.kernels.watch import EVERY, Watch

PACKET = 65536

PATIENCE = 10.0
"""Seconds in which a process that was killed must be gone; only one stuck in the system itself takes longer."""


def main(lifeline: int, control: int, plan: dict[str, Any]) -> None:
    """Fork the zygote, wait for an end, clear up."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)
    worker = socket.socket(fileno=lifeline)
    wakened, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    # Where the worker died before this line, its end of the lifeline is closed already.
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    warden = os.getpid()
    line = _Line()
    zygote = os.fork()
    if zygote == 0:
        signal.set_wakeup_fd(-1)
        for descriptor in (lifeline, wakened, wake):
            os.close(descriptor)
        _become_zygote(warden, control, line, plan)
    os.close(control)
    line.keep()
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(wakened, select.POLLIN)
    _come_first()
    watch = Watch(partial(_tell, worker))
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(1000 * EVERY if watch.kernels else None)]
        if lifeline in ready:
            packet = worker.recv(PACKET)
            if not packet:
                break
            watch.take(json.loads(packet))
        if wakened in ready:
            if signal.SIGTERM in os.read(wakened, 512):
                break
            if not _alive(zygote):
                watch.forget_all()
                zygote = line.succeed()
                if not zygote:
                    break
        if watch.due:
            watch.look()
    _kill_all()
    folder = Path(plan["folder"])
    remove(folder)
    with suppress(OSError):
        folder.parent.rmdir()  # the engine's own, where nothing else is in it


def _come_first() -> None:
    """Where we may: be served before whoever multiplies, and have a descriptor for each place in a deep folder."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tell(worker: socket.socket, message: dict[str, Any]) -> None:
    """To the worker. One that has gone, or has not listened for long, is not waited for: kernels are killed anyway."""
    with suppress(OSError):
        worker.send(json.dumps(message).encode(), socket.MSG_DONTWAIT)


class _Line:
    """The zygote's heirs: which one waits, and that it is to go on."""

    def __init__(self) -> None:
        self.heirs, self.name_heir = os.pipe2(os.O_CLOEXEC)
        self.go, self.let_go = os.pipe2(os.O_CLOEXEC)
        self.heir = 0

    def keep(self) -> None:
        """In the warden: our ends alone."""
        os.close(self.name_heir)
        os.close(self.go)
        os.set_blocking(self.heirs, False)

    def hand_over(self) -> tuple[int, int]:
        """In the zygote: its ends alone."""
        os.close(self.heirs)
        os.close(self.let_go)
        return self.name_heir, self.go

    def succeed(self) -> int:
        """After a zygote's death: end all that it left but its heir, who goes on; its pid, 0 where there is none."""
        with suppress(BlockingIOError):
            while named := os.read(self.heirs, 4):
                (self.heir,) = struct.unpack("=i", named)
        # It is our child only now, and stays one until it is waited for.
        if self.heir not in children():
            return 0
        _kill_all(but=self.heir)
        os.write(self.let_go, b"x")
        return self.heir


def _become_zygote(warden: int, control: int, line: _Line, plan: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        die_with(warden)
        # Imported here: the warden needs none of it.
        from runbooks_app.kernels import zygote  # noqa: PLC0415

        zygote.main(control, *line.hand_over(), plan)
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


def _kill_all(but: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE
    # Whoever forks between two rounds leaves a child that the next round finds.
    while (left := [pid for pid in children() if pid != but]) and time.monotonic() < deadline:
        for pid in left:
            kill(pid)
        _alive(0)
        time.sleep(0.001)

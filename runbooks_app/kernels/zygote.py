"""The process that kernels are forked from: libraries imported, shell built and rehearsed, one thread, no secret.

Requests and answers are JSON packets over one socket to the worker:

    {"fork": id, "sandbox": spec or null, "probe": targets or null} with five descriptors
                                        →  {"id": id, "pid": pid}   or   {"id": id, "error": why}
    {"signal": id, "number": 2 or 9}    →  nothing, or the end
                                           {"id": id, "status": exit status as wait(2) has it, "left": processes}
    {"nice": id}                        →  nothing: from now on the kernel gives way to others

An end is told when the kernel and all that it had started is gone. The worker closing its end ends us.

Beside the zygote waits its heir, a fork of it from before its first kernel, which has cost nothing but the fork. When
the zygote is killed, the warden ends what it leaves and lets the heir go on, which tells {"lost": pid} and is ready.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from runbooks_app.kernels import child, rehearsal
from runbooks_app.kernels.huge import collapse
from runbooks_app.kernels.priority import STANDS_BACK, USUAL, Lever
from runbooks_app.kernels.processes import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, children, die_with, kill, prctl
from runbooks_app.kernels.sandbox import probes
from runbooks_app.kernels.sandbox.lockdown import Lockdown, bind, lock
from runbooks_app.kernels.sandbox.privileges import hindrance
from runbooks_app.kernels.sandbox.spec import Spec

DESCRIPTORS = 5
"""Of a kernel: its channel, and both ends of the pipes that are its stdout and stderr."""

PATIENCE = 5.0
"""Seconds after which an end is told although a killed process will not go: it is stuck in the system itself."""

PACKET = 65536

_ALL = 2**31 - 1
"""More than any descriptor: what is open from a number on is closed by one call of the system's."""


AGAIN = 0.1
"""Seconds after which a kernel's share is set again that could not be set."""


def main(control: int, heirs: int, go: int, plan: dict[str, Any]) -> None:
    """Prepare as the worker's `plan` says, say so, serve until the worker closes the socket.

    Into `heirs` goes the pid of each heir; a byte comes out of `go` for the one that is to go on.
    """
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)
    roots = [Path(root) for root in plan["roots"]]
    lockdown = Lockdown(roots) if plan["sandbox"] else None
    kernel = rehearsal.prepare(plan["folder"])
    stays = hindrance(plan["uid"], _imported(), [plan["folder"]]) if plan["uid"] is not None else ""
    threads = list(Path("/proc/self/task").iterdir())
    if len(threads) != 1:
        # A fork copies only the calling thread: a lock that another one holds would stay locked for ever.
        raise RuntimeError(f"{len(threads)} threads run after the libraries were imported; kernels need exactly one")
    gc.collect()
    # What exists now is never looked at by the collector again, so that kernels go on sharing its pages.
    gc.freeze()
    collapse()
    Zygote(socket.socket(fileno=control), heirs, go, kernel, lockdown, stays).serve()


def _imported() -> list[str]:
    """Where Python and everything that kernels import lies."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    folders = {str(Path(file).parent) for file in files if file}
    return [sys.executable, *sorted(folders), *(path for path in sys.path if Path(path).exists())]


@dataclass
class Ended:
    """A kernel that is dead, and since when (monotonic seconds) its remains are being cleared up."""

    number: int
    status: int
    since: float


@dataclass
class Zygote:
    """Serves one worker."""

    control: socket.socket
    heirs: int
    go: int
    kernel: child.Kernel
    lockdown: Lockdown | None
    stays: str  # why kernels stay who we are; empty where they may become another user
    heir: int = 0  # its pid
    kernels: dict[int, int] = field(default_factory=dict)  # pid → the worker's number for it
    ended: list[Ended] = field(default_factory=list)
    levers: dict[int, Lever] = field(default_factory=dict)  # pid → what sets its share of the processors

    def serve(self) -> None:
        """Returns when the worker is gone; in a forked kernel it never returns."""
        wakened, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.PollSelector()
        selector.register(self.control, selectors.EVENT_READ)
        selector.register(wakened, selectors.EVENT_READ)
        self.tell({"ready": os.getpid(), "stays": self.stays})
        self.provide_heir()
        while True:
            wanting = {pid: lever.wanted for pid, lever in self.levers.items() if lever.wanted is not None}
            for pid, wanted in wanting.items():
                self.levers[pid].set(pid, wanted)
            for key, _ in selector.select(0.02 if self.ended else AGAIN if wanting else None):
                if key.fd == wakened:
                    with suppress(BlockingIOError):
                        os.read(wakened, PACKET)
                elif not self.answer():
                    return
            self.clear_up()

    # ---- succession

    def provide_heir(self) -> None:
        """Fork who goes on in our place when we are killed. In the heir, this returns when that has happened."""
        try:
            while (pid := os.fork()) == 0:
                if not os.read(self.go, 1):
                    os._exit(0)  # the warden has gone
                self.take_over()
        except OSError:
            return  # no process could be made; without an heir, the next zygote is started from the beginning
        self.heir = pid
        os.write(self.heirs, struct.pack("=i", pid))

    def take_over(self) -> None:
        """Be the zygote. All kernels of the one before are gone."""
        die_with(os.getppid())
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        for lever in self.levers.values():
            lever.close()
        self.levers.clear()
        self.kernels.clear()
        self.ended.clear()
        self.tell({"lost": os.getpid()})

    # ---- kernels

    def tell(self, message: dict[str, object]) -> None:
        """One packet to the worker. One that has gone needs none: the next read ends us."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.control.send(json.dumps(message).encode())

    def answer(self) -> bool:
        """Serve one request; False once the worker has gone."""
        packet, descriptors, _, _ = socket.recv_fds(self.control, PACKET, DESCRIPTORS)
        if not packet:
            return False
        request = json.loads(packet)
        if "fork" in request:
            self.fork(request, descriptors)
            return True
        for pid, number in self.kernels.items():
            if number == request.get("nice"):
                self.levers[pid].set(pid, STANDS_BACK)
            elif number == request.get("signal"):
                # It is to end, and soon: what it still has to say of that waits behind nobody.
                self.levers[pid].set(pid, USUAL)
                with suppress(ProcessLookupError):
                    # A kernel leads its own group: with it are interrupted, as Ctrl-C does, or killed at once, before
                    # they multiply, its subprocesses.
                    try:
                        os.killpg(pid, request["number"])
                    except ProcessLookupError:
                        os.kill(pid, request["number"])  # it has only just been forked
        return True

    def fork(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Fork one kernel; the child never comes back from here."""
        number = request["fork"]
        zygote = os.getpid()
        lever = Lever()
        try:
            pid = os.fork()
        except OSError as error:
            self.tell({"id": number, "error": f"no process could be made: {error.strerror}"})
            lever.close()
        else:
            if pid == 0:
                self.become_kernel(zygote, lever, descriptors, request)
            self.kernels[pid], self.levers[pid] = number, lever
            self.tell({"id": number, "pid": pid})
        for descriptor in descriptors:
            os.close(descriptor)

    def become_kernel(self, zygote: int, lever: Lever, descriptors: list[int], request: dict[str, Any]) -> None:
        """In the child: take its own descriptors, be locked down, keep no others, serve cells."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            bind(lever)
            settle(descriptors)
            spec = Spec.from_json(request["sandbox"]) if request["sandbox"] is not None else None
            lock(zygote, self.lockdown, spec)
            os.closerange(child.CAPTURED_ERROR + 1, _ALL)
            if request["probe"] is not None:
                tell_answers(probes.Targets(**request["probe"]))
            # Objects made by the zygote still hold numbers of descriptors that are something else by now. None of
            # them may be collected, and this frame, which never returns, keeps them.
            self.kernel.serve()
        except BaseException:  # noqa: BLE001  the worker reads it from the kernel's stderr, and sees the exit code
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)

    def clear_up(self) -> None:
        """Wait for whoever has died, kill what dead kernels left, tell ends that are complete."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid in self.kernels:
                    self.ended.append(Ended(self.kernels.pop(pid), status, time.monotonic()))
                    self.levers.pop(pid).close()
                elif pid == self.heir:
                    self.provide_heir()
        if not self.ended:
            return
        remains = [pid for pid in children() if pid not in self.kernels and pid != self.heir]
        for pid in remains:
            kill(pid)
        now = time.monotonic()
        for end in list(self.ended):
            if not remains or now - end.since > PATIENCE:
                self.ended.remove(end)
                self.tell({"id": end.number, "status": end.status, "left": len(remains)})


def tell_answers(targets: probes.Targets) -> NoReturn:
    """Try the sandbox out from within, and tell the worker."""
    answers = json.dumps(probes.ask(probes.ALL, targets)).encode()
    with socket.socket(fileno=child.CHANNEL) as channel:
        channel.sendall(answers)
    os._exit(0)


def settle(descriptors: list[int]) -> None:
    """Have 0 be nothing, 1 and 2 the pipes, then `child.CHANNEL` and the pipes' other ends."""
    # First out of the way of the numbers that they are to get.
    channel, out_read, out_write, error_read, error_write = (
        fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in descriptors
    )
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(out_write, 1)
    os.dup2(error_write, 2)
    os.dup2(channel, child.CHANNEL, inheritable=False)
    os.dup2(out_read, child.CAPTURED_OUT, inheritable=False)
    os.dup2(error_read, child.CAPTURED_ERROR, inheritable=False)

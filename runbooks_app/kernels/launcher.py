"""The worker's half of the zygote: starts it with an environment of its own, asks for kernels, learns of ends.

Everything here runs in the engine's one thread, which lasts as long as the engine: a process is told to die with
the thread that started it (PR_SET_PDEATHSIG), so a job's thread must never start one. Starting goes through exec,
so a zygote that is started again later finds nothing of the worker's memory, environment or descriptors either.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from runbooks_app.core.errors import Unavailable
from runbooks_app.kernels.limits import Limits
from runbooks_app.kernels.sandbox.spec import Spec

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds in which a zygote must be ready; matplotlib may have to look at every font first."""

_BOOT = """
import json, sys
lifeline, control, plan = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
sys.path[:0] = plan["roots"]
from runbooks_app.kernels import warden
warden.main(lifeline, control, plan)
"""


def environment(folder: Path) -> dict[str, str]:
    """All that a zygote, or a kernel with its run's folder, finds in its environment. Nothing is taken over."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        # Threads of a linear algebra library would not survive the fork, and 100 kernels share few cores.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def make_folder(folder: Path, uid: int | None = None, *, passable: bool = False) -> Path:
    """A folder for a process: what its environment names, and `work` to work in. For its owner alone: us, or `uid`.

    Through a passable one others may go on to folders in it that are their own.
    """
    inner = [folder / name for name in ("home", "tmp", "work")]
    for made in (folder, *inner):
        made.mkdir(mode=0o700, parents=True)
        if uid is not None:
            os.chown(made, uid, uid)
    if passable:
        folder.chmod(0o711)
    return folder


@dataclass(frozen=True)
class End:
    """How a kernel ended: `status` as wait(2) has it; None where it went with its zygote."""

    status: int | None
    left: int = 0


class KernelProcess:
    """One kernel's process. `ended` is set once it and all that it had started are gone."""

    def __init__(self, zygote: Zygote, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.zygote, self.number = zygote, number
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[End] = loop.create_future()
        self.killed = False
        self.lost = False  # with its zygote
        self.over = ""  # the limit that it was killed for
        self.on_still: Callable[[float], None] = lambda _: None  # is told for how long it has not computed
        self.has_kernel = True  # nbclient asks its kernel manager, which we are to it

    def watch(self, folder: Path, limits: Limits) -> None:
        """Have the warden keep it to its limits."""
        self.zygote.tell_warden(
            {
                "watch": self.started.result(),
                "folder": str(folder),
                "memory": limits.memory,
                "processes": limits.processes,
                "disk": limits.disk,
                "idle": limits.idle,
            }
        )

    def interrupt(self) -> None:
        """SIGINT to the kernel and its subprocesses."""
        self.zygote.tell({"signal": self.number, "number": int(signal.SIGINT)})

    def give_way(self) -> None:
        """From now on the kernel stands back behind others."""
        self.zygote.tell({"nice": self.number})

    def kill(self) -> None:
        """SIGKILL to the kernel; its descendants follow."""
        self.killed = True
        self.zygote.tell({"signal": self.number, "number": int(signal.SIGKILL)})


@dataclass
class Zygote:
    """A running zygote, with its warden. `stays` says why its kernels stay who we are, empty where they need not."""

    process: subprocess.Popen[bytes]
    folder: Path
    control: socket.socket
    lifeline: socket.socket
    ready: asyncio.Future[int]
    gone: asyncio.Future[None]
    kernels: dict[int, KernelProcess] = field(default_factory=dict)
    numbers: count[int] = field(default_factory=count)
    said: bytes = b""
    lost: bool = False
    sandbox: bool = True
    stays: str = ""
    losses: int = 0  # how often its kernels were lost

    @classmethod
    async def start(
        cls, folder: Path, roots: Sequence[Path], *, sandbox: bool = True, uid: int | None = None
    ) -> Zygote:
        """Start one and wait until it can fork; Unavailable, with what it said, where it cannot.

        `uid` is one of those that kernels are to run under, which is tried out then.
        """
        loop = asyncio.get_running_loop()
        make_folder(folder, passable=True)
        plan = {"folder": str(folder), "roots": [str(root) for root in roots], "sandbox": sandbox, "uid": uid}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lifeline, lifeline_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        numbers = (lifeline_theirs.fileno(), theirs.fileno())
        try:
            process = subprocess.Popen(  # noqa: ASYNC220  takes a few ms; the process itself is waited for below
                [sys.executable, "-I", "-c", _BOOT, *map(str, numbers), json.dumps(plan)],
                env=environment(folder),
                cwd=folder / "work",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=numbers,
                # Ctrl-C on a terminal is for the worker, which then ends its kernels in order.
                start_new_session=True,
            )
        finally:
            theirs.close()
            lifeline_theirs.close()
        ours.setblocking(False)
        lifeline.setblocking(False)
        zygote = cls(process, folder, ours, lifeline, loop.create_future(), loop.create_future(), sandbox=sandbox)
        zygote.watch(loop)
        either: set[asyncio.Future[Any]] = {zygote.ready, zygote.gone}
        await asyncio.wait(either, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if not zygote.ready.done():
            await zygote.close()
            said = zygote.said.decode(errors="replace").strip() or "It said nothing."
            raise Unavailable(f"The process that kernels are forked from did not start. {said}")
        return zygote

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to it, to its log, and for its end."""
        assert self.process.stderr is not None  # noqa: S101  it was asked for as a pipe
        os.set_blocking(self.process.stderr.fileno(), False)
        pidfd = os.pidfd_open(self.process.pid)
        loop.add_reader(self.control, self.on_packet)
        loop.add_reader(self.lifeline, self.on_report)
        loop.add_reader(self.process.stderr, self.on_log)
        loop.add_reader(pidfd, self.on_gone, pidfd)

    def tell(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> bool:
        """One packet; whether it went out. A zygote that is gone needs none: the ends of its kernels are told."""
        with suppress(OSError):
            socket.send_fds(self.control, [json.dumps(message).encode()], descriptors)
            return True
        return False

    def tell_warden(self, message: dict[str, Any]) -> None:
        """One packet; a warden that is gone has taken every kernel with it."""
        with suppress(OSError):
            self.lifeline.send(json.dumps(message).encode())

    def fork(
        self, descriptors: Sequence[int], spec: Spec | None, *, probe: dict[str, Any] | None = None
    ) -> KernelProcess:
        """Ask for a kernel that gets `descriptors`, as `zygote.DESCRIPTORS` has them, and may do what `spec` says.

        With a `probe` it serves no cells, but aims at these targets and says what came of it.
        """
        kernel = KernelProcess(self, next(self.numbers))
        self.kernels[kernel.number] = kernel
        request = {"fork": kernel.number, "sandbox": spec.to_json() if spec else None, "probe": probe}
        if not self.tell(request, descriptors):
            self.end(kernel, End(None), Unavailable("The kernel did not start: its zygote does not listen."))
        return kernel

    def on_packet(self) -> None:
        """An answer, or the end of the zygote."""
        try:
            packet = self.control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self.lost = True
            asyncio.get_running_loop().remove_reader(self.control)
            return
        message = json.loads(packet)
        if "ready" in message:
            self.stays = message["stays"]
            self.ready.set_result(message["ready"])
            return
        if "lost" in message:
            log.error("the kernels' zygote was killed, and %d kernels with it; its heir goes on", len(self.kernels))
            self.lose_kernels()
            return
        kernel = self.kernels.get(message["id"])
        if kernel is None:
            return  # the heir has made one that was asked of its predecessor; nobody speaks with it, so it ends
        if "pid" in message:
            kernel.started.set_result(message["pid"])
        elif "error" in message:
            self.end(kernel, End(None), Unavailable(f"The kernel did not start: {message['error']}."))
        else:
            self.on_report()  # the warden tells why it kills before it does
            if message["left"]:
                log.warning("kernel left processes that cannot be killed", extra={"processes": message["left"]})
            self.end(kernel, End(message["status"], message["left"]))

    def on_report(self) -> None:
        """What the warden has seen of kernels."""
        with suppress(OSError):
            while packet := self.lifeline.recv(65536):
                message = json.loads(packet)
                for kernel in self.kernels.values():
                    if kernel.started.done() and kernel.started.result() == message["pid"]:
                        if "over" in message:
                            kernel.over = message["over"]
                            log.warning("a kernel was over its %s, with %d, and is ended", kernel.over, message["used"])
                        else:
                            kernel.on_still(message["still"])
            asyncio.get_running_loop().remove_reader(self.lifeline)

    def end(self, kernel: KernelProcess, end: End, error: Unavailable | None = None) -> None:
        """Tell whoever waits for this kernel."""
        del self.kernels[kernel.number]
        kernel.has_kernel = False
        if kernel.started.done():
            self.tell_warden({"forget": kernel.started.result()})
        else:
            kernel.started.set_exception(error or Unavailable("The kernel died before it was started."))
            kernel.started.exception()  # looked at: nobody may be waiting any more
        if not kernel.ended.done():
            kernel.ended.set_result(end)

    def on_log(self) -> None:
        """What zygote and warden say; normally nothing."""
        assert self.process.stderr is not None  # noqa: S101
        said = self.process.stderr.read(65536)
        if said:
            self.said = (self.said + said)[-4000:]
            log.warning("the kernels' zygote says: %s", said.decode(errors="replace").strip())
        elif said == b"":
            asyncio.get_running_loop().remove_reader(self.process.stderr)

    def on_gone(self, pidfd: int) -> None:
        """The warden has ended, and so has everything below it."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(pidfd)
        os.close(pidfd)
        self.lost = True
        self.process.wait()
        self.on_log()
        assert self.process.stderr is not None  # noqa: S101
        for source in (self.control, self.lifeline, self.process.stderr):
            loop.remove_reader(source)
            source.close()
        self.lose_kernels()
        self.gone.set_result(None)

    def lose_kernels(self) -> None:
        """All that there were are gone with their zygote."""
        self.losses += 1
        for kernel in list(self.kernels.values()):
            kernel.lost = True
            self.end(kernel, End(None))

    async def close(self) -> None:
        """End it with all its kernels; returns when everything is gone."""
        if not self.gone.done():
            self.process.terminate()
            await self.gone

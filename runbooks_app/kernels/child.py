"""The kernel's half of the channel: IPython's shell for Jupyter, speaking message dicts over one inherited socket.

A frame is four bytes and what they announce: two bits for its kind, thirty for its length. Most are JSON objects.
In: `activate`, `assign` and `execute` requests, one at a time. Out: the replies, between them what Jupyter has on IOPub
(display_data, execute_result, error, …), and what was printed as the bytes that it is.
No ZMQ: nothing binds, listens or signs.

Whatever is printed, by Python or below it (subprocesses, C libraries), goes into one of two pipes, which are the
kernel's descriptors 1 and 2: the system keeps the order, and whoever prints faster than the worker reads has to wait.
The kernel moves it on from there before each frame, so that everything comes in the order in which it happened, and
the rest some milliseconds later, a few frames for many lines. It is moved (splice), not read: no byte is ever held by
a process that may die. What is still in the pipes when a kernel dies is read by the worker, which holds them too.
"""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import importlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.profiledir import ProfileDir
from IPython.external.pickleshare import PickleShareDB
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from traitlets.config import Config

from runbooks_app.kernels.printing import Output, waiting, write_all
from runbooks_app.kernels.values import real_all
from runbooks_app.kernels.warm import Warm

CHANNEL, CAPTURED_OUT, CAPTURED_ERROR = 3, 4, 5
"""Descriptors of a kernel, beside the usual three."""

PIPES = {1: CAPTURED_OUT, 2: CAPTURED_ERROR}
"""Where it is read what was written to a descriptor."""

KIND = 30
"""Bits of a frame's length; above them stands its kind: 0 for JSON, else the descriptor that was printed to."""

KIT = "runbook_library.kit.service"

SHORT = 4000
"""Characters of an exception's text in a reply; the whole of it is in the error message before."""

LATE = 0.02
"""Seconds between two frames of printed text, as long as little is printed; the first of a cell goes at once."""

QUICK = 0.002
"""Seconds that a piece of a line may wait for the rest of it; between two frames where much is printed."""


class DirectSession(Session):
    """What the shell publishes through, instead of ZMQ sockets."""

    kernel: Kernel

    def msg(self, msg_type: str, content: Any = None, *_: Any, **__: Any) -> dict[str, Any]:
        """Make a message."""
        return {"header": {"msg_type": msg_type}, "msg_type": msg_type, "content": content or {}}

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *_: Any, **__: Any) -> dict[str, Any]:  # noqa: ARG002
        """Send one; there is but one stream."""
        message = msg_or_type if isinstance(msg_or_type, dict) else self.msg(msg_or_type, content)
        self.kernel.send(message["msg_type"], message["content"])
        return message


class Shell(ZMQInteractiveShell):
    """The shell of a runbook's kernel."""

    def ask_exit(self) -> NoReturn:
        """Refuse exit() and quit()."""
        raise RuntimeError("exit() ends nothing in a runbook: its kernel ends with its last cell. Remove the call.")

    def enable_gui(self, gui: Any = None) -> None:
        """There is no window to show anything in; charts are outputs."""

    def init_environment(self) -> None:
        """The environment is given whole when the kernel is activated."""

    def system(self, cmd: str) -> None:
        """Run `!cmd`. Jupyter gives it a terminal of its own, and so a session, which no process of a kernel has."""
        if cmd.rstrip().endswith("&"):
            raise OSError("Background processes not supported.")
        command = self.var_expand(cmd, depth=1)  # type: ignore[no-untyped-call]
        code = subprocess.call(command, shell=True)  # noqa: S602  a shell is what was asked for
        self.user_ns["_exit_code"] = 128 - code if code > 128 else code


class Kernel:
    """One kernel; built in the zygote, brought to life in the fork."""

    def __init__(self, folder: str, warm: Warm) -> None:
        self.warm = warm
        config = Config()
        config.HistoryManager.enabled = False  # else: a thread and an SQLite file
        config.InteractiveShell.colors = "nocolor"  # colour codes would cut a secret in a traceback in pieces
        profile = ProfileDir.create_profile_dir(f"{folder}/profile", config=config)  # type: ignore[no-untyped-call]
        self.shell = Shell.instance(config=config, profile_dir=profile)
        self.shell.loop_runner = self.run_coroutine
        session = DirectSession()
        session.kernel = self
        publishers: tuple[Any, ...] = (self.shell.displayhook, self.shell.display_pub)
        for publisher in publishers:
            publisher.session = session
            publisher.pub_socket = None
        self.session = session
        self.channel = -1
        self.pipes: dict[int, int] = {}  # as `PIPES`; none in the rehearsal
        self.parent = ""
        self.lock = threading.RLock()  # who writes to the channel
        self.printing = threading.RLock()  # who prints
        self.printed_to = 1
        self.line_ended = True
        self.waiting = 0  # bytes that Python printed and that were not moved on yet
        self.moved_at = 0.0
        self.piece = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[Any] | None = None  # the cell that awaits
        self.running = self.sending = self.interrupted = False
        self.pid = 0
        self.forked = False
        self.others: dict[int, select.poll] = {}  # to look into the other pipe
        self.room = select.poll()  # to look whether there is room in the pipes

    # ---- life

    def attach(self, channel: int, out: int, error: int, pipes: dict[int, int]) -> None:
        """Speak over `channel` from now on, print to `out` and `error`, move on what is in the `pipes`."""
        self.pid = os.getpid()
        self.channel = channel
        self.pipes = pipes
        for descriptor in pipes:
            self.others[descriptor] = select.poll()
            self.others[descriptor].register(pipes[3 - descriptor], select.POLLIN)
            self.room.register(descriptor, select.POLLOUT)
        # Half of what a pipe holds: less is never waited for while there is nobody to empty it.
        self.piece = min((fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) for pipe in pipes.values()), default=1 << 16) // 2
        sys.stdout = Output(self.print, "stdout", out)
        sys.stderr = Output(self.print, "stderr", error)
        sys.displayhook = self.shell.displayhook

    def serve(self) -> NoReturn:
        """Answer requests until the worker closes the channel."""
        self.attach(CHANNEL, 1, 2, PIPES)
        signal.signal(signal.SIGINT, self.on_interrupt)
        # `timeout` ends its whole process group. That is ours as well: the sandbox lets nobody leave it.
        signal.signal(signal.SIGTERM, lambda *_: None)
        # A crash below Python names the line that it happened in.
        faulthandler.enable(2, all_threads=False)
        # A process that a cell forks has no thread that would ever release these locks.
        os.register_at_fork(after_in_child=self.renew_locks)
        threading.Thread(target=self.watch, name="captured output", daemon=True).start()
        requests = os.fdopen(os.dup(CHANNEL), "rb")
        while True:
            header = requests.read(4)
            if len(header) < 4:
                os._exit(0)
            request = json.loads(requests.read(struct.unpack("!I", header)[0]))
            self.parent = request["msg_id"]
            reply = getattr(self, request["msg_type"].removesuffix("_request"))(request["content"])
            if os.getpid() != self.pid:
                os._exit(0)  # a cell forked, and its child came back out of the cell: it is no second kernel
            self.send(request["msg_type"].replace("_request", "_reply"), reply)

    # ---- requests

    def activate(self, content: dict[str, Any]) -> dict[str, Any]:
        """Become the kernel of one segment: folder, environment, connections."""
        os.chdir(content["folder"])
        # What `%cd` and `%bookmark` remember.
        self.shell.user_ns["_dh"][:] = [content["folder"]]
        self.shell.db = PickleShareDB(content["environment"]["HOME"] + "/.ipython")  # type: ignore[no-untyped-call]
        os.environ.clear()
        os.environ.update(content["environment"])
        tempfile.tempdir = None
        # CPython reseeds `random` in a fork; numpy's global generator would be the same in all kernels.
        sys.modules["numpy"].random.seed()
        self.warm.put_back()
        try:
            importlib.import_module(KIT).configure(**content["kit"])
        except Exception as error:  # noqa: BLE001  told by the worker as the reason why no cell ran
            return {"status": "error", "reason": f"{type(error).__name__}: {error}"[:SHORT]}
        return {"status": "ok"}

    def assign(self, content: dict[str, Any]) -> dict[str, Any]:
        """Set variables, as real objects."""
        self.shell.user_ns.update(real_all(content))
        return {"status": "ok"}

    def execute(self, content: dict[str, Any]) -> dict[str, Any]:
        """Run one cell."""
        error: BaseException | None
        self.interrupted = False
        self.moved_at = 0.0
        try:
            self.running = True
            result = self.shell.run_cell(content["code"], store_history=True)  # type: ignore[no-untyped-call]
            self.running = False
            error = result.error_before_exec or result.error_in_exec
            if error is None and self.shell._last_traceback_during_displayhook:  # noqa: SLF001
                error = RuntimeError("the cell's last value could not be displayed")
        except KeyboardInterrupt as interrupt:  # it came in the moment between shell and cell
            error = interrupt
        finally:
            self.running = False
        reply: dict[str, Any] = {"status": "ok", "execution_count": self.shell.execution_count - 1}
        if error is not None:
            reply |= {"status": "error", "ename": type(error).__name__, "evalue": told(error)}
        return reply

    def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a cell that awaits. Interrupted, it is cancelled, not left to go on under later cells."""
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        self.task = task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            with suppress(asyncio.CancelledError):
                self.loop.run_until_complete(task)
            raise
        finally:
            self.task = None

    def on_interrupt(self, *_: object) -> None:
        """SIGINT: only a running cell is interrupted, and never in the middle of a frame."""
        if self.sending:
            self.interrupted = True
        elif self.task is not None and self.loop is not None and asyncio.current_task(self.loop) is None:
            # Raised amid the loop's own work, it could lose what was to wake the cell, which then never ended.
            self.loop.call_soon_threadsafe(self.task.cancel)
        elif self.running:
            raise KeyboardInterrupt

    # ---- output

    def print(self, descriptor: int, text: str) -> None:
        """Put text into a pipe, and move on what waits in it where that is due."""
        body = text.encode(errors="replace")
        if self.forked:  # as multiprocessing does: the channel is not its own, the pipes are
            write_all(descriptor, body)
            return
        with self.printing:
            if self.pipes and (self.line_ended or descriptor != self.printed_to) and self.others[descriptor].poll(0):
                self.uninterrupted(self.move)  # what went to the other pipe came before
            self.printed_to = descriptor
            if len(body) >= self.piece and self.pipes:
                self.uninterrupted(lambda: self.write_printed(descriptor, body))
                return
            self.line_ended = text.endswith("\n")
            self.waiting += len(body)
            write_all(descriptor, body)
            if self.waiting >= self.piece or (self.line_ended and time.monotonic() - self.moved_at >= LATE):
                self.uninterrupted(self.move)

    def send(self, msg_type: str, content: dict[str, Any]) -> None:
        """One message to the worker, after whatever was printed before it."""
        if self.forked:
            text = content.get("text") or content.get("data", {}).get("text/plain", "")
            write_all(2 if content.get("name") == "stderr" else 1, text.encode(errors="replace"))
            return
        message = {"msg_type": msg_type, "parent_header": {"msg_id": self.parent}, "content": content}
        body = json.dumps(message, default=json_default, ensure_ascii=False).encode(errors="replace")
        self.uninterrupted(lambda: self.write_message(body))

    def uninterrupted(self, act: Callable[[], object]) -> None:
        """Write to the channel, one thread at a time; an interrupt waits until that is done."""
        main = threading.current_thread() is threading.main_thread()
        if main:
            self.sending = True
        try:
            with self.printing, self.lock:
                act()
        finally:
            if main:
                self.sending = False
        if main and self.interrupted:
            self.interrupted = False
            if self.running:
                raise KeyboardInterrupt

    def write_message(self, body: bytes) -> None:
        """A frame of JSON. With the lock held."""
        self.move()
        write_all(self.channel, struct.pack("!I", len(body)) + body)

    def write_printed(self, descriptor: int, body: bytes) -> None:
        """Print more than fits into a pipe. With the lock held."""
        self.move()
        for at in range(0, len(body), 1 << 24):
            piece = body[at : at + (1 << 24)]
            write_all(self.channel, struct.pack("!I", descriptor << KIND | len(piece)) + piece)
        self.moved_at = time.monotonic()

    def move(self, *, alone: bool = True) -> int:
        """Move on what is in the pipes; how many bytes. With the lock held; `alone` while nobody prints."""
        moved = self.waiting = 0
        # What Python printed came before what is in the other pipe: it looked there first.
        for descriptor in sorted(self.pipes, key=lambda descriptor: descriptor != self.printed_to):
            pipe = self.pipes[descriptor]
            if length := waiting(pipe):
                write_all(self.channel, struct.pack("!I", descriptor << KIND | length))
                moved += length
            while length:
                length -= os.splice(pipe, self.channel, length)
        if alone:
            self.printed_to = 1
        if moved:
            self.moved_at = time.monotonic()
        return moved

    def watch(self) -> None:
        """A thread: empties the pipes while the cell computes, or waits for whoever prints below Python."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        poll = select.poll()
        for pipe in self.pipes.values():
            poll.register(pipe, select.POLLIN)
        pause = LATE
        while True:
            poll.poll()
            time.sleep(max(QUICK, self.moved_at + pause - time.monotonic()))
            # Who prints for so long waits for room in a pipe, and so for us. Or else for a processor: then it goes on
            # first, or what it has yet to print of a line would come after what it prints elsewhere later.
            alone = self.printing.acquire(timeout=QUICK)
            if alone or len(self.room.poll(0)) < len(self.pipes):
                with self.lock:
                    pause = LATE if self.move(alone=alone) < self.piece else QUICK
            if alone:
                self.printing.release()

    def renew_locks(self) -> None:
        """In a process that a cell has forked."""
        self.forked = True
        self.lock, self.printing = threading.RLock(), threading.RLock()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a pool ends its processes by it


def told(error: BaseException) -> str:
    """An exception's text, also where its __str__ fails."""
    try:
        return str(error)[:SHORT]
    except Exception:  # noqa: BLE001
        return "(the exception has no readable text)"

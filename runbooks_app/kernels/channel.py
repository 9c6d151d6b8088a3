"""The worker's half of a kernel's channel: a `KernelClient` to nbclient, over one socket instead of five.

Requests go out and messages come in as frames (see `child`). One socket keeps them in order, so whatever a cell
put out is here before its reply. A frame that is too long is not kept but counted, one that cannot be read as
well: nothing that a kernel sends may exhaust or break the worker. Printed text is taken as it comes, however long its
frame is, and of one that a kernel's death cut off the rest is still in its pipe: nothing is lost that a cell printed.
What comes between two cells waits for the next one, as much of it as that may keep.

A kernel's socket is read a little at a time, in turn with the others', and what was read has been dealt with before
more is: who prints faster than that has to wait.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import socket
import struct
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from runbooks_app.kernels.launcher import KernelProcess, Zygote
from runbooks_app.kernels.sandbox.spec import Spec

Message = dict[str, Any]

OUTPUTS = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"})
"""What a kernel may send beside replies; whatever else it sends is not heard."""

STATUSES = ("ok", "error")
"""What a kernel of ours says of a cell. Any other reply is forged, and the true one still comes."""

WEIGHT = 1000
"""Bytes that a message takes beside its text, about."""

TURN = 50
"""Messages of one kernel that are dealt with in a row, while others wait."""

READ = 1 << 16
"""Bytes read at once."""

PRINTED = {1: "stdout", 2: "stderr"}
"""Streams by the kind of frame that brings them."""


class Gone(Exception):
    """The kernel ended before it answered."""


class Queue:
    """A channel as nbclient reads it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.current = ""
        self.taken = 0
        self.read_on: Callable[[], object] = lambda: None

    async def get_msg(self, timeout: float | None = None) -> Message:  # noqa: ARG002, ASYNC109
        """The next message, as an answer to the request at hand.

        A thread may print when its cell has long ended. nbclient drops what belongs to another request; here it
        goes to the cell that runs now. `timeout` is nbclient's; deadlines are kept in `conduct` alone.
        """
        if self.messages.empty():
            self.read_on()
        elif self.taken % TURN == 0:
            await asyncio.sleep(0)
        self.taken += 1
        message = await self.messages.get()
        return message | {"parent_header": {"msg_id": self.current}}


class Channel:
    """Speaks with one kernel."""

    def __init__(self, zygote: Zygote, spec: Spec | None, frame_limit: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.frame_limit = frame_limit
        self.shell_channel, self.iopub_channel = Queue(), Queue()
        self.replies: dict[str, asyncio.Future[Message]] = {}
        self.executing = ""
        self.iopub_channel.read_on = self.read_on
        self.waits = False  # until what was read has been dealt with
        self.received = bytearray()
        self.skipping = 0
        self.printed, self.printing = "", 0  # the stream whose frame is under way, and the bytes that are missing
        self.decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in PRINTED.values()}
        self.unsent = bytearray()
        self.writing = False  # whether there was no room for all of it
        self.unheard = self.missed = 0  # bytes that came while no cell ran, and those of them that none will hear
        self.socket, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        self.pipes = {"stdout": out_read, "stderr": error_read}
        for descriptor in self.pipes.values():
            os.set_blocking(descriptor, False)
        try:
            descriptors = (theirs.fileno(), out_read, out_write, error_read, error_write)
            self.process: KernelProcess = zygote.fork(descriptors, spec)
        finally:
            theirs.close()
            os.close(out_write)
            os.close(error_write)
        self.socket.setblocking(False)
        self.loop.add_reader(self.socket, self.on_readable)

    # ---- requests

    def request(self, kind: str, content: Mapping[str, Any]) -> str:
        """Send a request; its id."""
        number = uuid.uuid4().hex
        body = json.dumps({"msg_type": f"{kind}_request", "msg_id": number, "content": content}).encode()
        self.unsent += struct.pack("!I", len(body)) + body
        self.on_writable()
        return number

    async def ask(self, kind: str, content: Mapping[str, Any], seconds: float) -> Message:
        """Send a request and wait for its reply's content; `Gone` where the kernel ends first, or TimeoutError."""
        return await self.answer(self.begin(kind, content), seconds)

    def begin(self, kind: str, content: Mapping[str, Any]) -> asyncio.Future[Message]:
        """Send a request, also to a kernel that is still being made: it lies there when the kernel begins to read."""
        reply: asyncio.Future[Message] = self.loop.create_future()
        self.replies[self.request(kind, content)] = reply
        return reply

    async def answer(self, reply: asyncio.Future[Message], seconds: float) -> Message:
        """Wait for the reply to a request; `Gone` where the kernel ends first, or TimeoutError."""
        either: set[asyncio.Future[Any]] = {reply, self.process.ended}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if reply.done():
            return reply.result()
        if self.process.ended.done():
            raise Gone
        raise TimeoutError

    def execute(self, code: str, **_: Any) -> str:
        """Run a cell; as nbclient calls it."""
        self.executing = self.request("execute", {"code": code})
        self.shell_channel.current = self.iopub_channel.current = self.executing
        missed, self.unheard, self.missed = self.missed, 0, 0
        if missed:
            self.left_out(missed)
        return self.executing

    async def is_alive(self) -> bool:
        """Whether the kernel lives; as nbclient asks."""
        return not self.process.ended.done()

    def on_writable(self) -> None:
        """Send what is left to send."""
        try:
            while self.unsent:
                del self.unsent[: self.socket.send(self.unsent)]
        except BlockingIOError:
            if not self.writing:
                self.loop.add_writer(self.socket, self.on_writable)
                self.writing = True
            return
        except OSError:
            self.unsent.clear()  # the kernel has gone, and its end will be told
        if self.writing:
            self.loop.remove_writer(self.socket)
            self.writing = False

    # ---- messages

    def on_readable(self) -> None:
        """Read once: every kernel gets its turn."""
        if self.executing and not self.iopub_channel.messages.empty():
            self.waits = True
            self.loop.remove_reader(self.socket)
            return
        with suppress(BlockingIOError):
            if not self.read():
                self.loop.remove_reader(self.socket)

    def read_on(self) -> None:
        """What was read has been dealt with."""
        if self.waits:
            self.waits = False
            self.loop.add_reader(self.socket, self.on_readable)

    def read(self) -> bool:
        """Read what is there, at most `READ` bytes; False at the end. BlockingIOError where there is nothing yet."""
        try:
            piece = self.socket.recv(READ)
        except ConnectionError:
            return False
        skipped = min(self.skipping, len(piece))
        self.skipping -= skipped
        self.received += memoryview(piece)[skipped:]
        self.take_frames()
        return bool(piece)

    def take_frames(self) -> None:
        """Every complete frame, and of printed text all that is there."""
        at, end = 0, len(self.received)
        while True:
            if self.printing:
                length = min(self.printing, end - at)
                self.take_printed(self.printed, self.received[at : at + length])
                self.printing -= length
                at += length
            if end - at < 4:
                break
            (word,) = struct.unpack_from("!I", self.received, at)
            kind, length = word >> 30, word & 0x3FFFFFFF
            if kind in PRINTED:
                self.printed, self.printing = PRINTED[kind], length
                at += 4
                continue
            if word > self.frame_limit:
                self.left_out(word)
                here = end - at - 4
                self.skipping = max(0, word - here)
                at += 4 + min(word, here)
                continue
            if end - at - 4 < word:
                break
            self.take(bytes(self.received[at + 4 : at + 4 + word]))
            at += 4 + word
        del self.received[:at]

    def take_printed(self, name: str, piece: bytes | bytearray, *, last: bool = False) -> None:
        """Printed bytes; a character may be cut anywhere between two pieces of them."""
        if text := self.decoders[name].decode(piece, last):
            self.hear(stream(name, text), len(piece))

    def hear(self, message: Message, length: int) -> None:
        """Have a cell take it: the one that runs; where none does, the next, and no more than it could keep."""
        if not self.executing:
            self.unheard += WEIGHT + length
            if self.unheard > self.frame_limit:
                self.missed += length
                return
        self.iopub_channel.messages.put_nowait(message)

    def take(self, frame: bytes) -> None:
        """One frame from the kernel, which may hold anything."""
        try:
            message = json.loads(frame, parse_constant=lambda _: None)  # JSON has no NaN
            kind, parent = message["msg_type"], message["parent_header"]["msg_id"]
        except (ValueError, RecursionError, TypeError, KeyError):
            self.left_out(len(frame))
            return
        known = isinstance(kind, str) and isinstance(parent, str | int) and isinstance(message.get("content"), dict)
        if not known:
            self.left_out(len(frame))
        elif kind in OUTPUTS:
            self.hear(message, len(frame))
        elif parent in self.replies:
            self.replies.pop(parent).set_result(message["content"])
        elif parent == self.executing and kind == "execute_reply" and message["content"].get("status") in STATUSES:
            for name in self.decoders:
                self.take_printed(name, b"", last=True)
            self.executing = ""
            self.shell_channel.messages.put_nowait(message)
            idle = {"msg_type": "status", "content": {"execution_state": "idle"}}
            self.iopub_channel.messages.put_nowait(idle)

    def left_out(self, length: int) -> None:
        """Have the cell tell that something is missing."""
        self.hear({"msg_type": "left_out", "content": {"bytes": length}}, length)

    def rest(self) -> list[Message]:
        """After the kernel's death: what it had still sent or written and nobody has taken."""
        with suppress(BlockingIOError):
            while self.read():
                pass
        # The rest of a frame that was cut off comes first.
        for name in sorted(self.pipes, key=lambda name: not (self.printing and name == self.printed)):
            with suppress(BlockingIOError):
                while piece := os.read(self.pipes[name], READ):
                    self.take_printed(name, piece)
            self.take_printed(name, b"", last=True)
        messages = []
        while not self.iopub_channel.messages.empty():
            messages.append(self.iopub_channel.messages.get_nowait())
        return messages

    def close(self) -> None:
        """Let go of the kernel."""
        self.loop.remove_reader(self.socket)
        if self.writing:
            self.loop.remove_writer(self.socket)
        self.socket.close()
        for descriptor in self.pipes.values():
            os.close(descriptor)


def stream(name: str, text: str) -> Message:
    """What Jupyter makes of printed text."""
    return {"msg_type": "stream", "content": {"name": name, "text": text}}

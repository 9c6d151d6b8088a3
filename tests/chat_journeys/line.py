"""A line to a server on this machine that can be cut in the ways in which networks cut lines.

    line = Line(port)                  # listens on a port of its own, `line.port`
    with line.cut(Cut.SILENT): …       # nothing comes through, nobody is told so
    line.close()

What was on its way when the line was cut, or when it was mended, is gone: its connections are reset.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto

HARD = struct.pack("ii", 1, 0)
"""SO_LINGER with no time left: closing resets the connection."""


class Cut(Enum):
    """How the line is."""

    NOT = auto()
    SILENT = auto()
    """Connections are taken and nothing comes through."""
    RESET = auto()
    """Connections are reset."""
    DEAF = auto()
    """What is asked arrives and is done; instead of the answer the connection is reset."""


class Line:
    """It may be used from any thread. `refused` counts connections that were not left in peace."""

    def __init__(self, behind: int) -> None:
        self._behind = ("127.0.0.1", behind)
        self._how = Cut.NOT
        self._lock = threading.Lock()
        self._going: set[socket.socket] = set()
        self.refused = 0
        self._door = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._serve, name="a line", daemon=True).start()

    @contextmanager
    def cut(self, how: Cut) -> Iterator[None]:
        """It is like this until the block is left."""
        self._be(how)
        try:
            yield
        finally:
            self._be(Cut.NOT)

    def close(self) -> None:
        """End it and all that goes over it."""
        # Whoever waits in accept() is not woken by close() alone.
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._be(Cut.RESET)

    def _be(self, how: Cut) -> None:
        with self._lock:
            self._how, cut = how, set(self._going)
        for end in cut:
            _reset(end)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            with self._lock:
                how = self._how
                self.refused += how is not Cut.NOT
                if how is not Cut.RESET:
                    self._going.add(near)
            if how is Cut.RESET:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD)
                near.close()
            else:
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with suppress(OSError), socket.create_connection(self._behind) as far:
            with self._lock:
                self._going.add(far)
            back = threading.Thread(target=self._copy, args=(far, near, True), daemon=True)
            back.start()
            self._copy(near, far, False)
            back.join()
        with self._lock:
            self._going -= {near, far}
        near.close()

    def _copy(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if self._how is Cut.DEAF and answers:
                    _reset(target)
                    break
                if self._how is not Cut.SILENT:
                    target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _reset(end: socket.socket) -> None:
    """Reset a connection that others may be waiting at; they close it."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD)
        end.shutdown(socket.SHUT_RDWR)

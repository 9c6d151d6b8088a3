"""Many live pages in one thread: sockets that read server-sent events, and when each of them saw what."""

from __future__ import annotations

import re
import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = re.compile(rb"mark-(\d+)-end")
_KEPT = 64
"""Bytes of an answer that are looked at again with what follows: a mark may come in two pieces."""


class Watchers:
    """Viewers of one stream, each with a cookie of its own.

    `seen[n]` holds when each of them saw mark n first, by the monotonic clock.
    """

    def __init__(self, port: int, path: str, cookies: Sequence[str]) -> None:
        self.seen: dict[int, dict[int, float]] = {}
        self.refused = 0
        self.received = 0
        self._head: dict[int, bytes] = {}
        self._left: dict[int, bytes] = {}
        self._sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._closing = threading.Event()
        for number, cookie in enumerate(cookies):
            ask = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
            one = socket.create_connection(("127.0.0.1", port), timeout=10)
            one.sendall(ask)
            one.setblocking(False)
            self._sockets.append(one)
            self._selector.register(one, selectors.EVENT_READ, number)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def answered(self) -> int:
        """How many have their stream."""
        return sum(head.startswith(b"HTTP/1.1 200") for head in list(self._head.values()))

    def close(self) -> None:
        """Leave."""
        self._closing.set()
        self._thread.join()
        for one in self._sockets:
            one.close()

    def _read(self) -> None:
        while not self._closing.is_set():
            for key, _ in self._selector.select(0.1):
                got = b""
                with suppress(OSError):
                    got = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]  # sockets alone are registered
                self._take(key.data, got, time.monotonic())
                if not got:
                    self._selector.unregister(key.fileobj)

    def _take(self, number: int, got: bytes, now: float) -> None:
        if number not in self._head:
            self._head[number] = got[:20]
            self.refused += not got.startswith(b"HTTP/1.1 200")
        self.received += len(got)
        text = self._left.get(number, b"") + got
        for found in _MARK.finditer(text):
            self.seen.setdefault(int(found[1]), {}).setdefault(number, now)
        self._left[number] = text[-_KEPT:]

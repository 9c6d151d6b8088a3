"""The kernel's end of one HTTP connection: h11 reads what comes, and refuses what is not HTTP/1.1 to the letter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus

import h11
import httpx

from runbooks_app.kernels.gateway.route import TOLD_HEADER

CHUNK = 65536
"""Bytes that are read at once, and as many may wait on each side: all else waits in the sender."""

MOST_HEAD = 32768
"""Bytes of a request's line and headers."""

IDLE = 60.0
"""Seconds that a kernel may say nothing, between requests or within one."""


LINGER = 1.0
"""Seconds that the rest of a refused request may go on coming."""


class Gone(Exception):
    """The kernel closed its end, said nothing for too long, or broke its request off."""


class Peer:
    """One connection that a kernel opened."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)

    async def event(self) -> h11.Event:
        """What comes next; raises `Gone`, or h11.RemoteProtocolError for what is no HTTP."""
        while True:
            event = self.h11.next_event()
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise Gone
            if isinstance(event, h11.Event):
                return event
            if self.h11.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                async with asyncio.timeout(IDLE):
                    data = await self.reader.read(CHUNK)
            except (TimeoutError, ConnectionError) as error:
                raise Gone from error
            self.h11.receive_data(data)

    async def send(self, *events: h11.Event) -> None:
        """Send, and wait while the kernel does not read."""
        for event in events:
            if data := self.h11.send(event):
                self.writer.write(data)
        try:
            await self.writer.drain()
        except ConnectionError as error:
            raise Gone from error
        # A thousand pieces of one byte each may have come at once, and there is but one loop for all kernels.
        await asyncio.sleep(0)

    async def tell(self, status: HTTPStatus, kind: str, message: str) -> None:
        """Answer with words of the gateway's own."""
        with suppress(h11.RemoteProtocolError):  # of a short request all has come already
            while self.h11.their_state is h11.SEND_BODY and isinstance(self.h11.next_event(), h11.Data):
                pass
        body = json.dumps({"error": kind, "message": message}, ensure_ascii=False).encode()
        headers = [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            (TOLD_HEADER, kind),
        ]
        if self.h11.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        await self.send(
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        if self.h11.their_state is not h11.DONE:
            await self.linger()

    async def linger(self) -> None:
        """Close our half and let the rest come: a reset would take the answer away (RFC 9112, section 9.6)."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(LINGER):
                self.writer.write_eof()
                while await self.reader.read(CHUNK):
                    pass

    def again(self) -> bool:
        """Whether another request may come over this connection."""
        if self.h11.their_state is not h11.DONE or self.h11.our_state is not h11.DONE:
            return False
        self.h11.start_next_cycle()
        return True

    async def leave(self) -> None:
        """Wait until the kernel closes its end. What it sends meanwhile waits for its turn."""
        with suppress(ConnectionError):
            if not (data := await self.reader.read(CHUNK)):
                return
            self.h11.receive_data(data)
            await asyncio.Event().wait()

    def abort(self) -> None:
        """Break the connection off, so that a half answer is not taken for a whole one."""
        self.writer.transport.abort()


class Body(httpx.AsyncByteStream):
    """The body of a kernel's request while it is passed on. `read` is set when all of it has come."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._first: h11.Event | None = None
        self.read = asyncio.Event()

    async def begin(self) -> bool:
        """Whether there is none at all."""
        if self._peer.h11.they_are_waiting_for_100_continue:
            return False  # it sends its body once the system takes it
        self._first = await self._peer.event()
        if isinstance(self._first, h11.EndOfMessage):
            self.read.set()
        return self.read.is_set()

    async def whole(self, most: int) -> bytes | None:
        """All of it; None where it is longer than `most` bytes."""
        pieces = bytearray()
        async for piece in self:
            pieces += piece
            if len(pieces) > most:
                return None
        return bytes(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Piece by piece, as fast as the system takes them."""
        event = self._first or await self._peer.event()
        while isinstance(event, h11.Data):
            yield bytes(event.data)
            event = await self._peer.event()
        self.read.set()

"""One database of a run: bytes go to the one host and port of its connection, and to nowhere else.

Nothing is read in them, so TLS is between kernel and database, and the kernel checks the database's real name. A
request to cancel a query comes as a connection of its own, and takes the same way.
"""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import suppress

from runbooks_app.kernels.gateway.peer import CHUNK
from runbooks_app.kernels.gateway.route import Route

CONNECT = 5.0
"""Seconds to reach a database."""

WORDS = 5.0
"""Seconds in which a client must have told what it wants, to be told that its database is away."""

TLS_WANTED, GSS_WANTED, CANCEL = 80877103, 80877104, 80877102
"""Codes in the place of a protocol version, PostgreSQL docs 54.2.9 to 54.2.11."""

MOST_STARTUP = 10000
"""Bytes of a startup packet; PostgreSQL takes no longer one."""


class DatabasePort:
    """What listens for one database."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a kernel until both sides have ended."""
        route = self.route
        try:
            async with asyncio.timeout(CONNECT):
                there = await asyncio.open_connection(route.host, route.port, limit=CHUNK)
        except (OSError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            why = "it did not answer in time" if late else os.strerror(error.errno) if error.errno else str(error)
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(WORDS):
                    await _explain(reader, writer, f"{route.name} ({route.host}:{route.port}) is away: {why}")
            return
        try:
            # Either direction that breaks ends both; one that ends leaves the other to end by itself.
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, there[1]))
                both.create_task(_pump(there[0], writer))
        except* OSError:
            pass
        finally:
            there[1].transport.abort()

    async def close(self) -> None:
        """Nothing is kept."""


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on what comes, no faster than it is taken, and then the end."""
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()


async def _explain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: str) -> None:
    """Say so in PostgreSQL's own protocol, that the client's error has the words and not just a closed connection."""
    code = 0
    for _ in range(3):  # it may ask for TLS and for GSS first
        length, code = struct.unpack("!II", await reader.readexactly(8))
        if not 8 <= length <= MOST_STARTUP:
            return
        await reader.readexactly(length - 8)
        if code not in (TLS_WANTED, GSS_WANTED):
            break
        writer.write(b"N")
        await writer.drain()
    if code == CANCEL:
        return
    fields = {"S": "FATAL", "V": "FATAL", "C": "08001", "M": words}
    body = b"".join(key.encode() + value.encode() + b"\0" for key, value in fields.items()) + b"\0"
    writer.write(b"E" + struct.pack("!I", len(body) + 4) + body)
    await writer.drain()

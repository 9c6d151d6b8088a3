"""Free ports, and locks on folders."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import time
from typing import TYPE_CHECKING

from runbooks_app.core.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
LOCKED_FOR = 15.0
"""Seconds to wait for a server that is still stopping to let go of its folder."""


PORTS = range(20_000, 32_000)
"""What `free_port` chooses from: Linux gives outgoing connections those from 32,768 on."""
STRIDE = 97
"""Each process begins so many ports after the one before it: those that start together choose different ones."""

_told = itertools.count()


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, another one each time; somebody may by the time it is used."""
    for _ in PORTS:
        port = PORTS[(os.getpid() * STRIDE + next(_told)) % len(PORTS)]
        if is_free(port):
            return port
    raise Unavailable(f"No port of {HOST} is free from {PORTS.start} to {PORTS.stop}. Stop what listens there.")


def lock(folder: Path, what: str, *, seconds: float = LOCKED_FOR) -> int:
    """Take the folder for one server; a descriptor to close when it has been handed on.

    The lock lives as long as any copy of the descriptor is open. Raises `Unavailable` if another server
    holds it for longer than `seconds`.
    """
    held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(held)
                raise Unavailable(
                    f"{what} in {folder} is already running. Stop the process that started it, "
                    "or choose another folder."
                ) from None
            time.sleep(0.05)
        else:
            return held

"""A kernel's share of the processors: the zygote sets it, for a kernel of another user may not be trusted with its own.

The system divides by session before it divides by process (autogroup, see sched(7)), and each kernel is a session. The
file in which a session's share stands belongs to root once the kernel is closed to its neighbours; the kernel opens
it before that and hands it to the zygote, which lets no cell write to it.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

STANDS_BACK = 5
"""For a kernel that has shown something: it gets a third of what another one gets."""

USUAL = 0


class Lever:
    """By which the zygote sets one kernel's share; made before the fork."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.file = -1
        self.wanted: int | None = None  # where it could not be set yet

    def hand_over(self) -> None:
        """In the kernel, while it may: give the zygote the file, where the system has one."""
        with suppress(FileNotFoundError):
            file = os.open("/proc/self/autogroup", os.O_WRONLY | os.O_CLOEXEC)
            socket.send_fds(self.theirs, [b"x"], [file])
            os.close(file)

    def set(self, pid: int, nice: int) -> None:
        """Set it, or note what is `wanted`: whoever is not root may set ten a second on the whole machine."""
        # Where processes are not grouped by session, their own priorities count.
        with suppress(OSError):
            os.setpriority(os.PRIO_PGRP, pid, nice)
        self.wanted = None
        try:
            if self.file < 0:
                _, (self.file,), _, _ = socket.recv_fds(self.ours, 1, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # the system has no such file
        try:
            os.write(self.file, b"%d" % nice)
        except BlockingIOError:
            self.wanted = nice
        except OSError as error:
            sys.stderr.write(f"a kernel's share stays as it is: {error.strerror}\n")

    def close(self) -> None:
        """The kernel is gone, or was never made."""
        self.ours.close()
        self.theirs.close()
        if self.file >= 0:
            os.close(self.file)

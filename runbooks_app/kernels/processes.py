"""Linux's means for never losing sight of a process: prctl, and the list of one's own children.

Used by warden, zygote and kernel alike; imports nothing but the standard library, for the warden stays small.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_SET_THP_DISABLE = 41

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; OSError where the system refuses: nobody runs without a limit unawares."""
    if _libc.prctl(option, *(ctypes.c_ulong(number) for number in (value, 0, 0, 0))) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {value}): {os.strerror(error)}")


def die_with(parent: int) -> None:
    """Have the system kill us when `parent` dies, and end at once where it is dead already.

    The signal fires when the *thread* that forked us ends, so a parent forks from a thread that lasts.
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def children() -> list[int]:
    """Our children, orphans among our descendants included once we are their subreaper. One thread only."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(pid) for pid in listing.split()]


def kill(pid: int) -> None:
    """SIGKILL to a child that has not been waited for, whose number can thus not have been used again."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

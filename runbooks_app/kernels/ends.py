"""Why a kernel ended, from what the system says of it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import cache
from pathlib import Path

BROKEN = 70
"""The exit code of a kernel whose own half has failed; EX_SOFTWARE of <sysexits.h>."""


def cause_of_death(status: int | None, kills: int | None) -> str:
    """One sentence: `status` as wait(2) has it, None where nobody could wait; `kills` is `oom_kills` at its start."""
    if status is None:
        return "The process that kernels are forked from was lost, and this kernel with it."
    code = os.waitstatus_to_exitcode(status)
    if code == BROKEN:
        return "The kernel lost its way to the worker: a cell closed its descriptors, or broke the shell."
    if code >= 0:
        return f"The kernel ended with exit code {code} (os._exit, or a library that ends its process)."
    if -code == signal.SIGKILL:
        now = oom_kills()
        if kills is not None and now is not None and now > kills:
            return "The kernel was killed by the system: out of memory."
    return f"The kernel was ended by {_name(-code)}."


def _name(number: int) -> str:
    """A signal's name; most of the real-time ones have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def oom_kills() -> int | None:
    """How many processes of our control group the system has killed for want of memory; None where it does not say."""
    for path in _memory_files():
        with suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return None


@cache
def _memory_files() -> tuple[Path, ...]:
    """Where the count may stand, for control groups of version 2 and 1, seen from inside and outside a container."""
    found: list[Path] = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers == "":
                found.append(Path(f"/sys/fs/cgroup{group}/memory.events"))
            elif "memory" in controllers.split(","):
                found.append(Path(f"/sys/fs/cgroup/memory{group}/memory.oom_control"))
                found.append(Path("/sys/fs/cgroup/memory/memory.oom_control"))
    return tuple(path for path in found if path.exists())

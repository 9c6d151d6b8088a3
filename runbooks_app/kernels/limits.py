"""What one kernel may use up, and how it is told when that was too little.

What a runbook may ask for, and what holds otherwise, is `core.kernel_limits`; who looks and kills is `watch`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass

from runbooks_app.core.kernel_limits import AMOUNTS


@dataclass(frozen=True)
class Limits:
    """The limits of one kernel, all processes that its cells start included.

    `memory` and `disk` (of the run's folder) in bytes, of all processes and files together; `open_files` per process.
    `output` are the bytes of a cell's outputs that are kept in the run itself; the rest of them goes to a file, until
    all that is kept of all cells, files included, is `output_total`.
    `idle`: seconds in which it may neither print nor compute; None for as long as its cell may take.
    """

    memory: int
    processes: int
    open_files: int
    disk: int
    output: int
    output_total: int
    idle: float | None = None

    def shown(self, name: str) -> str:
        """One of them as people write it."""
        return AMOUNTS[name].tell(getattr(self, name))

    def breach(self, name: str) -> str:
        """Why a kernel was killed, as a sentence."""
        return f"The kernel {_OVER[name].format(self.shown(name))}, the limit of this runbook, and was ended."

    def hint(self, error: str, text: str) -> str:
        """What to add to an exception's class and text where one of the limits made it; empty for others."""
        number = int(found[1]) if (found := _ERRNO.match(text)) else None
        for name, made_it in _HINTS.items():
            if made_it(error, text, number):
                return f" ({_MAY[name].format(self.shown(name))})"
        return " (the worker's disk is full)" if number == errno.ENOSPC else ""


_OVER = {
    "memory": "with all that it had started used more than {} of memory",
    "processes": "had more than {} processes and threads",
    "disk": "filled more than {} of disk in the run's folder",
}

_MAY = {
    "memory": "this runbook may use {} of memory",
    "processes": "this runbook may have {} processes and threads at a time",
    "open_files": "each process of this runbook may have {} files and connections open",
    "disk": "this runbook may fill {} of disk",
}

_ERRNO = re.compile(r"\[Errno (\d{1,4})\]")

_HINTS: dict[str, Callable[[str, str, int | None], bool]] = {
    "memory": lambda error, _, number: error.endswith("MemoryError") or number == errno.ENOMEM,
    "processes": lambda _, text, number: number == errno.EAGAIN or text.startswith("can't start new thread"),
    "open_files": lambda _, __, number: number == errno.EMFILE,
    "disk": lambda _, __, number: number == errno.EFBIG,
}

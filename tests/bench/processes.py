"""What the system says of a process's memory, and times of what is measured."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1 << 20


def own_memory(pid: int) -> int:
    """Bytes that would be free without this process (USS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def resident(pid: int) -> int:
    """Bytes of memory in which this process has pages (RSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise ProcessLookupError(pid)


@dataclass
class Watched:
    """The most that was seen while it was watched."""

    before: int
    peak: int = 0

    @property
    def growth(self) -> float:
        """Megabytes."""
        return max(self.peak - self.before, 0) / MEGABYTE


@contextmanager
def watching(pid: int, every: float = 0.01) -> Iterator[Watched]:
    """Look at a process's resident memory while the block runs."""
    watched = Watched(resident(pid))
    over = threading.Event()

    def look() -> None:
        while not over.wait(every):
            with suppress(OSError):
                watched.peak = max(watched.peak, resident(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        over.set()
        thread.join()


@dataclass
class Times:
    """Milliseconds that something took, each time."""

    taken: list[float] = field(default_factory=list)

    @contextmanager
    def once(self) -> Iterator[None]:
        """One time more."""
        began = time.monotonic()
        yield
        self.taken.append((time.monotonic() - began) * 1000)

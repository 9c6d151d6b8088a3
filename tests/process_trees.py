"""Who is below a process, as the system says it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """Processes that this one has started and that live."""
    with suppress(OSError):
        found = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(child) for each in found for child in each]
    return []


def descendants(pid: int) -> list[int]:
    """They, theirs, and so on."""
    return [each for child in children(pid) for each in (child, *descendants(child))]

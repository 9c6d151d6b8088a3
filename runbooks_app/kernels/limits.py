"""What one kernel may use up. What a runbook may ask for, and what holds otherwise, is `core.kernel_limits`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one kernel, all processes that its cells start included.

    `memory` and `disk` (of the run's folder) in bytes, of all processes and files together; `open_files` per process.
    `output` are the bytes of a cell's outputs that are kept in the run itself; the rest goes to a file, until all that
    is kept of all cells, files included, is `output_total`.
    `idle`: seconds in which it may neither print nor compute; None for as long as its cell may take.
    """

    memory: int
    processes: int
    open_files: int
    disk: int
    output: int
    output_total: int
    idle: float | None = None

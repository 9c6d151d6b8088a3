"""What `Engine.run` tells while a segment is executed. Outputs are nbformat 4.5 dicts, redacted and capped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from runbooks_app.core.run import CellState
from runbooks_app.kernels.spool import Rest

Output: TypeAlias = dict[str, Any]
"""One output of a cell as nbformat has it: stream, display_data, execute_result or error."""


@dataclass(frozen=True)
class CellStarted:
    """The kernel has been given this cell."""

    cell_id: str
    at: datetime


@dataclass(frozen=True)
class Printed:
    """Output of a running cell, for watching live; `CellEnded.outputs` is what counts.

    `display_id` is set where a later `Printed` of the same cell with the same one replaces this. `clears`: whatever
    the cell showed before is gone.
    """

    cell_id: str
    output: Output
    display_id: str | None = None
    clears: bool = False


@dataclass(frozen=True)
class GatewayRefused:
    """The run's gateway did not let something through, while this cell ran (`""`: while none did).

    `method` and `path` (without its query) are empty where it was no request that could be read, and where `more`
    counts several that are told as one. `reason` is a sentence for people.
    """

    cell_id: str
    connection: str
    method: str
    path: str
    reason: str
    at: datetime
    more: int = 0


@dataclass(frozen=True)
class CellEnded:
    """What became of a cell.

    `started_at` is None where the kernel was never given it; `reason` is one sentence, empty where all went well;
    `redacted` counts the places where a secret was taken out; `rest` is the whole of a text that is longer than what is
    kept of it in `outputs`.
    """

    cell_id: str
    state: CellState
    outputs: tuple[Output, ...]
    execution_count: int | None
    started_at: datetime | None
    ended_at: datetime
    reason: str
    redacted: int = 0
    rest: Rest | None = None


@dataclass(frozen=True)
class CellUpdated:
    """A later cell has updated displays of one that had ended: its outputs are these from now on."""

    cell_id: str
    outputs: tuple[Output, ...]
    redacted: int = 0


@dataclass(frozen=True)
class SegmentEnded:
    """The kernel and everything it had started is gone. `reason` says why not every cell had its turn, or is empty."""

    reason: str


@dataclass(frozen=True)
class Pause:
    """Nothing has come for a moment: the time to do what can wait. Told to those who ask for it."""


Event: TypeAlias = CellStarted | Printed | GatewayRefused | CellEnded | CellUpdated | SegmentEnded | Pause

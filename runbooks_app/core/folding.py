"""Which cells of a run its page shows at length, and which as one line that opens on demand.

A page of a thousand cells or a hundred megabytes opens at once, because it holds few of them: what somebody looks for
first (what runs right now, what went wrong) stays open, everything else is a click away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runbooks_app.core.run import CellState

FEW = 60
"""Cells up to which each of them is open, where their outputs are no more than `OPEN_BYTES`."""

MOST_OPEN = 12
"""Of more cells than that, so many are open: those that run, then the first that went wrong."""

OPEN_BYTES = 1_500_000
"""Bytes of outputs, as they are stored, that open cells have in all; the first cells come first."""

LARGE = 240_000
"""Bytes that outputs count for which are too large for a row: how large they are is known only when they are read."""

_QUIET = {CellState.WAITING, CellState.OK, CellState.SKIPPED, CellState.NEVER_RAN}


@dataclass(frozen=True)
class Weight:
    """What a cell would add to the page: `size` in bytes of its outputs as stored."""

    state: CellState
    size: int


def opened(cells: Iterable[Weight]) -> list[bool]:
    """Of each cell, in order, whether it is open; what runs right now is, whatever else is."""
    weights = list(cells)
    most = FEW if len(weights) <= FEW else MOST_OPEN
    wanted = [n for n, weight in enumerate(weights) if len(weights) <= FEW or weight.state not in _QUIET]
    found = {n for n in wanted if weights[n].state is CellState.RUNNING}
    left = OPEN_BYTES - sum(weights[n].size for n in found)
    for n in wanted:
        if n not in found and len(found) < most and weights[n].size <= left:
            left -= weights[n].size
            found.add(n)
    return [n in found for n in range(len(weights))]

"""A cell's outputs, wherever they are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from runbooks_app.actions.context import Service
from runbooks_app.core.errors import NotFound, RunbooksError
from runbooks_app.store.records import Cell


def outputs_of(service: Service, cell: Cell) -> list[dict[str, Any]]:
    """The nbformat outputs of a cell; where the artifact is gone, an output that says so."""
    if not cell.artifact:
        return cell.outputs
    try:
        stored: list[dict[str, Any]] = json.loads(service.artifacts.get(cell.artifact))
    except RunbooksError as error:
        return [{"output_type": "stream", "name": "stderr", "text": f"[{error.message}]\n"}]
    return stored


def whole_text(service: Service, cell: Cell) -> tuple[int, Iterator[bytes]]:
    """All the text that a cell printed, where its outputs have only the beginning: its bytes, and how many they are."""
    if cell.whole is None:
        raise NotFound(f"Cell {cell.cell_id} printed no more than its outputs hold.")
    if not cell.whole["artifact"]:
        raise NotFound(f"The whole output of cell {cell.cell_id} could not be stored when it ran.")
    pieces = service.artifacts.pieces(cell.whole["artifact"])
    next(pieces, None)  # where the artifact is gone, that is told before anything is answered
    return int(cell.whole["size"]), pieces

"""A cell's outputs, wherever they are kept."""

from __future__ import annotations

import json
from typing import Any

from runbooks_app.actions.context import Service
from runbooks_app.core.errors import RunbooksError
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

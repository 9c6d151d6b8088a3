"""Small runbooks for tests, written as code."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

PARAMETERS = (
    'from runbook_library.kit import Connection\ndatabase: Connection["postgres"] = "orders-db"  # Which database'
)
SETUP = "from runbook_library import kit"


def cell(name: str, source: str, *tags: str, timeout: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"tags": list(tags)}
    if timeout:
        metadata["runbook"] = {"timeout": timeout}
    return {
        "cell_type": "code",
        "id": name,
        "metadata": metadata,
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def notebook(*cells: dict[str, Any], parameters: str = PARAMETERS, **runbook: Any) -> dict[str, Any]:
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "runbook": {
                "id": str(uuid.uuid4()),
                "title": "A test",
                "owner": "team@example.com",
                "description": "For tests.",
                "timeouts": {"cell": "20s", "run": "60s"},
                **runbook,
            },
        },
        "cells": [cell("parameters", parameters, "parameters"), cell("setup", SETUP, "setup"), *cells],
    }


def write(folder: Path, name: str, *cells: dict[str, Any], **options: Any) -> None:
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook(*cells, **options)))

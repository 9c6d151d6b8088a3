"""Notebooks for the tests of core, made from sources and tags."""

from __future__ import annotations

from typing import Any

import pytest

from runbooks_app.core import reading
from runbooks_app.core.runbook import Runbook

ID = "7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b57"


def make_notebook(*cells: tuple[str, str] | dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A notebook; a cell is its tag and its source (the tag `text` gives a Markdown cell), or a dict as it is."""
    made = []
    for place, cell in enumerate(cells, 1):
        if isinstance(cell, dict):
            made.append({"id": f"c{place}", "cell_type": "code", "metadata": {}, "source": "", **cell})
            continue
        tag, source = cell
        made.append(
            {
                "id": f"c{place}",
                "cell_type": "markdown" if tag == "text" else "code",
                "metadata": {"tags": [tag]} if tag not in {"text", ""} else {},
                "source": source,
            }
        )
    about = {
        "id": ID,
        "title": "Orders are slow",
        "owner": "orders",
        "description": "Looks into slow orders.",
        "timeouts": {"cell": "60s", "run": "10m"},
        **metadata,
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"runbook": about}, "cells": made}


def make_runbook(*cells: tuple[str, str] | dict[str, Any], **metadata: Any) -> Runbook:
    """The runbook in such a notebook; cells are plain Python, so there is nothing to transform."""
    return reading.read("orders", make_notebook(*cells, **metadata), {})


@pytest.fixture(name="notebook")
def _notebook():
    return make_notebook


@pytest.fixture(name="runbook")
def _runbook():
    return make_runbook

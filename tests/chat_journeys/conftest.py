"""Whole services that talk with Slack's stand-in, and clients that nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chat)
            item.add_marker(pytest.mark.timeout(240))

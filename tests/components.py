"""What tests need of the machine."""

from __future__ import annotations

import os

import pytest


def lacking(what: str) -> None:
    """Say that a component is missing: fails in CI, skips elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)

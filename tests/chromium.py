"""Debian's Chromium, as browser tests start it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

PATIENCE = 45_000
"""Milliseconds within which a page shows what it should, on a busy machine; Playwright's own are five thousand."""

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def started() -> Iterator[Browser]:
    """The browser; its driver keeps an event loop in this thread meanwhile."""
    from playwright.sync_api import expect, sync_playwright

    chromium = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
    if shutil.which(chromium) is None:
        lacking(f"There is no Chromium at {chromium}: apt-get install chromium, or name it in CHROMIUM.")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(chromium), args=QUIET)
        yield browser
        browser.close()

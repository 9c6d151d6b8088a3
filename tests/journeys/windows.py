"""What tests look at in a browser window."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESKTOP, PHONE = 1280, 390
STAY = "window.stays = true"
"""Set in a page: gone after a reload."""


def stayed(page: Page) -> bool:
    """Whether the page was not loaded anew since `STAY`."""
    return bool(page.evaluate("window.stays === true"))


def fits(page: Page) -> bool:
    """Whether nothing must be scrolled sideways."""
    widths = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
    return bool(page.evaluate(f"{widths} <= innerWidth"))


def in_order(page: Page, *selectors: str) -> bool:
    """Whether these parts follow each other from top to bottom."""
    boxes = [page.locator(selector).first.bounding_box() for selector in selectors]
    tops = [box["y"] for box in boxes if box]
    return len(tops) == len(selectors) and tops == sorted(tops)

"""What tests look at in a browser window."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

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


def tabs_to(page: Page, locator: Locator, most: int = 80) -> None:
    """Get there by Tab alone, and see where the focus is."""
    for _ in range(most):
        if locator.evaluate("(element) => element === document.activeElement"):
            outline = locator.evaluate("(e) => [getComputedStyle(e).outlineStyle, getComputedStyle(e).boxShadow]")
            assert outline != ["none", "none"], "nothing shows where the focus is"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{most} times Tab do not lead to {locator}")

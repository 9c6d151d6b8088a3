"""axe-core in a page: what it finds, told so that one can go and mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import lacking

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js"


def source() -> str:
    """Its source, as npm fetched it by the lock."""
    if not SOURCE.exists():
        lacking("axe-core is missing: make node")
    return SOURCE.read_text()


def violations(page: Page, axe: str) -> list[str]:
    """All that it finds: rule, element, what is wrong. It stays out of frames with what notebooks printed."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(axe)  # past the policy of the page, which lets in no script but its own
    told: dict[str, Any] = page.evaluate("axe.run(document, {iframes: false, resultTypes: ['violations']})")
    return [
        f"{violation['id']} at {node['target']}: {' '.join((node.get('failureSummary') or violation['help']).split())}"
        for violation in told["violations"]
        for node in violation["nodes"]
    ]

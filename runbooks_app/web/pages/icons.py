"""The icon of a page: the symbol that its title begins with, so that a row of tabs tells states by shape."""

from __future__ import annotations

ICONS = {
    "○": "queued",
    "●": "going",
    "✓": "good",
    "✗": "bad",
    "▲": "bad",
    "?": "unknown",
    "◐": "part",
    "◇": "waits",
    "–": "over",  # noqa: RUF001 -- the symbol of what did not come about (`words.NOT`)
}
"""Names of files in static/icons/, by the symbols of `words`."""


def icon_file(title: str) -> str:
    """The static file of the icon for a page with this title; the service's own where the title tells no state."""
    name = ICONS.get(title.strip()[:1])
    return f"icons/{name}.svg" if name else "icon.svg"

"""How what the API tells is shown to a person: tables and colours on a terminal, plain lines with tabs elsewhere.

Notebooks print whatever they like, and names come from people: no control character of theirs reaches the terminal.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runbooks_app.core.wording import one_line, show, since

if TYPE_CHECKING:
    from rich.console import Console

_TRICKS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_COLOURS = {
    "critical": "bold red", "warning": "yellow", "failed": "red", "timed_out": "red", "lost": "red", "unknown": "red",
    "ok": "green", "diagnosed": "green", "applied": "green", "verified": "green", "approved": "green",
    "not_verified": "red", "denied": "red", "stale": "yellow", "expired": "yellow",
}  # fmt: skip


def plain(text: str) -> str:
    """The text without what could move a terminal's cursor, change its colours or turn its direction."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _TRICKS)


def as_json(told: Any) -> None:
    """Print what the API told, as it told it; in ASCII, so that no terminal takes part of it for an order."""
    print(json.dumps(told, indent=2))


def on_terminal() -> bool:
    """Whether somebody looks at the output."""
    return sys.stdout.isatty()


def console(*, stderr: bool = False) -> Console:
    """Where text with colours goes."""
    from rich.console import Console  # noqa: PLC0415 -- scripts get no colours and need not wait for them

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def line(text: str = "", *, style: str = "", indent: int = 0) -> None:
    """One line or more, in the colour of `style` on a terminal."""
    shown = "\n".join(" " * indent + part for part in plain(text).split("\n"))
    if on_terminal() and style:
        from rich.text import Text  # noqa: PLC0415

        console().print(Text(shown, style))
    else:
        print(shown)


def table(names: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table on a terminal; elsewhere one line for each row, its cells between tabs, without a head."""
    cells = [[one_line(plain(cell), 200) for cell in row] for row in rows]
    if not on_terminal():
        for row in cells:
            print("\t".join(row))
        return
    if not cells:
        print(empty)
        return
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(names):
        # The first column is what the next command takes: it is never cut.
        shown.add_column(name, no_wrap=number == 0 or name in {"WHEN", "EXPIRES"}, overflow="fold")
    for row in cells:
        shown.add_row(*(Text(cell, _COLOURS.get(cell, "")) for cell in row))
    console().print(shown, soft_wrap=False)


def when(told: object) -> str:
    """A time of the API as seen from here: `2026-01-02 03:12:05 CET (3 min ago)`; empty for none."""
    if not isinstance(told, str):
        return ""
    at = datetime.fromisoformat(told)
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z} ({since(at, datetime.now(UTC))})"


def values(given: Mapping[str, Any]) -> str:
    """Parameters or inputs in one line, as they are typed."""
    return "  ".join(f"{name}={show(value, 200)}" for name, value in given.items())

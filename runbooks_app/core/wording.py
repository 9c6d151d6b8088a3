"""Small help with words: what somebody may have meant, and how a value is shown in one line.

Values come from people, chats and kernels. What is shown here is short, on one line, and free of control
and direction-changing characters, so that it can stand in a sentence that somebody approves.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

SHOWN = 60
"""Characters of a value that are shown in a sentence."""

_ITEMS = 5


def one_line(text: str, limit: int = SHOWN) -> str:
    """The text on one line and at most `limit` characters; what cannot be printed becomes U+FFFD."""
    line = " ".join(text[: limit * 4].split())
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"


def show(value: Any, limit: int = SHOWN) -> str:
    """A JSON value as a person would write it, short and on one line."""
    if isinstance(value, str):
        return one_line(value, limit)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value.bit_length() > SHOWN * 4:
        return "a huge number"
    if isinstance(value, list | tuple):
        more = f" and {len(value) - _ITEMS} more" if len(value) > _ITEMS else ""
        return one_line(", ".join(_item(item, limit) for item in value[:_ITEMS]), limit) + more
    if isinstance(value, Mapping):
        return f"an object with {len(value)} entries"
    return one_line(repr(value), limit)


def _item(value: Any, limit: int) -> str:
    """An entry of a list; a list within a list is only counted, for it may be nested without end."""
    return f"a list of {len(value)}" if isinstance(value, list | tuple) else show(value, limit)


def quoted(value: Any) -> str:
    """A value in a message: text in quotes, so that blanks at its ends are seen."""
    return f'"{one_line(value)}"' if isinstance(value, str) else show(value)


def since(at: datetime, now: datetime) -> str:
    """A time as seen from now: `3 min ago`, `in 2 h`."""
    seconds = round((now - at).total_seconds())
    size = abs(seconds)
    if size < 5:
        return "just now"
    unit = (
        f"{size} s"
        if size < 90
        else f"{round(size / 60)} min"
        if size < 5400
        else f"{round(size / 3600)} h"
        if size < 129_600
        else f"{round(size / 86400)} days"
    )
    return f"{unit} ago" if seconds > 0 else f"in {unit}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with what may have been meant, else with what there is."""
    choices = sorted(known)
    close = difflib.get_close_matches(word[:SHOWN], choices, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"There is {', '.join(choices)}." if choices else "There is none."

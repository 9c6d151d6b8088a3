"""Spans of time as people write them in settings, notebooks and the connections file: `90s`, `10m`, `2h`."""

from __future__ import annotations

import re

from runbooks_app.core.errors import InvalidInput

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = 366 * UNITS["d"]
"""Seconds; more than that is a slip of the keyboard."""
FORM = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)


def parse(text: object) -> int:
    """Seconds of a span such as `90s`, `10m`, `2h` or `1d`; raises `InvalidInput` for anything else."""
    found = FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        shown = repr(text)[:40]
        raise InvalidInput(f"{shown} is no duration. Write a whole number and a unit, as in '90s', '10m' or '2h'.")
    seconds = int(found[1]) * UNITS[found[2]]
    if seconds > LONGEST:
        raise InvalidInput(f"{found[0]!r} is too long: a duration is at most {tell(LONGEST)}.")
    return seconds


def tell(seconds: int) -> str:
    """The span in the largest unit that loses nothing; `parse` reads it back."""
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % UNITS[unit] == 0 and (seconds or unit == "s"))
    return f"{seconds // UNITS[unit]}{unit}"

"""Python values as JSON, exactly: for inputs, kept values and evidence.

Dates and times become ISO 8601 text with microseconds, in UTC where their zone is known, so that one moment
always gives one text. Decimals and numpy's and pandas' numbers become numbers, intervals seconds. Integers
must be below 2**53, the most that JSON numbers carry everywhere (RFC 8785).

Inputs and kept values are strict: what has no JSON form raises. Evidence is lenient, since half an answer is
better than none: there a missing number is null, and what has no JSON form is told as text.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any
from uuid import UUID

MAX_ROWS = 200
"""Rows of a table that travel as evidence; the rest is counted."""

MAX_TEXT = 1_000
"""Characters of one cell of such a table."""

MAX_DEPTH = 20
"""Levels of lists and mappings within one another."""

MAX_INTEGER = 2**53 - 1

_UNITS = {"s": 1, "m": 60, "h": 3600}
_TEXTUAL = (UUID, IPv4Address, IPv6Address, IPv4Interface, IPv6Interface)


def seconds(duration: float | str) -> float:
    """A duration in seconds, from a number of them or from text like "90s", "5m", "2h"."""
    if isinstance(duration, str):
        found = re.fullmatch(r"(\d+)([smh])", duration)
        if not found:
            raise ValueError(f'a duration is written like "90s", "5m" or "2h", not {duration!r}')
        return int(found[1]) * _UNITS[found[2]]
    if isinstance(duration, bool) or not 0 <= duration < math.inf:
        raise ValueError(f"a duration is a number of seconds from 0, not {duration!r}")
    return duration


def as_json(value: Any, where: str, *, lenient: bool = False, depth: int = 0) -> Any:
    """The value as JSON types; `where` names it in errors.

    Strict by default: raises ValueError for NaN, infinities and integers from 2**53, TypeError for
    values without a JSON form. Lenient, these become null, text, and text.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"{where}: more than {MAX_DEPTH} levels of lists and mappings")
    value = _plain(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # A lone surrogate has no UTF-8 form; it would break the message on its way.
        return str(value).encode("utf-8", "replace").decode()
    if isinstance(value, int | float | Decimal):
        return _number(value, where, lenient=lenient)
    moment = _moment(value)
    if moment is not None:
        return moment
    if isinstance(value, Mapping):
        return {
            str(key): as_json(item, f"{where}[{key!r}]", lenient=lenient, depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray | memoryview):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [
            as_json(item, f"{where}[{position}]", lenient=lenient, depth=depth + 1)
            for position, item in enumerate(items)
        ]
    if lenient:
        return str(value)
    raise TypeError(f"{where}: a {type(value).__name__} has no JSON form; turn it into text or numbers first")


def as_evidence(evidence: Any) -> dict[str, Any] | None:
    """Evidence in the form that the service takes: a table, text or JSON."""
    if evidence is None:
        return None
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(evidence, pandas.Series):
        evidence = evidence.to_frame(name=evidence.name if evidence.name is not None else "value")
    if pandas is not None and isinstance(evidence, pandas.DataFrame):
        frame = evidence if isinstance(evidence.index, pandas.RangeIndex) else evidence.reset_index()
        shown = frame.head(MAX_ROWS)
        names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.columns]
        columns = [list(shown.iloc[:, position]) for position in range(len(names))]
        return _table(names, columns, len(frame))
    if isinstance(evidence, str):
        return {"kind": "text", "text": evidence}
    if isinstance(evidence, list) and evidence and all(isinstance(row, dict) for row in evidence):
        keys = list(dict.fromkeys(key for row in evidence for key in row))
        columns = [[row.get(key) for row in evidence[:MAX_ROWS]] for key in keys]
        return _table([str(key) for key in keys], columns, len(evidence))
    return {"kind": "json", "value": as_json(evidence, "evidence", lenient=True)}


def _table(names: list[str], columns: list[list[Any]], total: int) -> dict[str, Any]:
    """A typed table from its columns, of which at most `MAX_ROWS` rows are given."""
    typed = [_column(values) for values in columns]
    rows = [list(row) for row in zip(*(values for _, values in typed), strict=True)]
    return {
        "kind": "table",
        "columns": [{"name": name, "type": kind} for name, (kind, _) in zip(names, typed, strict=True)],
        "rows": rows,
        "omitted": total - len(rows),
    }


def _column(values: list[Any]) -> tuple[str, list[Any]]:
    """Type of a column and its values as JSON; of mixed types all are told as text."""
    present = [plain for value in values if (plain := _plain(value)) is not None and plain == plain]  # noqa: PLR0124 - not NaN
    cells = [as_json(value, "evidence", lenient=True) for value in values]
    told = [cell for cell in cells if cell is not None]
    if present and all(isinstance(value, datetime | date) for value in present):
        return "time", cells
    if told and all(isinstance(cell, bool) for cell in told):
        return "bool", cells
    if told and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in told):
        return "number", cells
    return "text", [None if cell is None else _shortened(str(cell)) for cell in cells]


def _shortened(text: str) -> str:
    """The text, cut where it is too long for a cell of a table."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _plain(value: Any) -> Any:
    """The value without numpy, pandas and enums around it; None for their missing values."""
    if isinstance(value, Enum):
        return value.value
    kind = type(value)
    package = kind.__module__.split(".")[0]
    if package == "pandas" and kind.__name__ in {"NAType", "NaTType"}:
        return None
    if package == "numpy":
        if kind.__name__ in {"datetime64", "timedelta64"}:
            import pandas  # noqa: ICN001, PLC0415 - knows every resolution; numpy gives bare integers for some

            return _plain(pandas.Timestamp(value) if kind.__name__ == "datetime64" else pandas.Timedelta(value))
        return value.tolist() if hasattr(value, "tolist") else value
    return value


def _number(value: float | Decimal, where: str, *, lenient: bool) -> Any:
    """An int or a float that JSON can carry."""
    if not isinstance(value, int) and not math.isfinite(value):
        if lenient:
            return None
        raise ValueError(f"{where}: {value} is no number that JSON can carry; leave it out or give None")
    exact = int(value) if isinstance(value, int) or (isinstance(value, Decimal) and value == int(value)) else None
    if exact is None:
        return float(value)
    if abs(exact) <= MAX_INTEGER:
        return exact
    if lenient:
        return str(exact)
    raise ValueError(f"{where}: {exact} is too big for a JSON number (2**53 and more lose digits); give it as text")


def _moment(value: Any) -> Any:
    """ISO 8601 text of a date or time, seconds of an interval, text of an id or address; else None."""
    if isinstance(value, datetime):
        known = value.astimezone(UTC) if value.tzinfo is not None else value
        return known.isoformat(timespec="microseconds")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, _TEXTUAL):
        return str(value)
    return None

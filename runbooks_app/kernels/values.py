"""Typed JSON values become real Python objects in a kernel; nothing is ever spliced into source.

A typed value is `{"type": "date", "value": "2026-11-22"}`; a list carries its items' type:
`{"type": "list", "item": "date", "value": [...]}`.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, TypeAlias

TypedValue: TypeAlias = Mapping[str, Any]
"""`type`, `value` and, for a list, `item`."""

_EXACT: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}


def real(typed: TypedValue) -> object:
    """The object that a cell finds under the value's name; ValueError where type and value do not agree."""
    kind, value = typed.get("type"), typed.get("value")
    if kind == "list":
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")
        return [real({"type": typed.get("item", "json"), "value": item}) for item in value]
    if kind == "json":
        return value
    if kind in ("date", "datetime"):
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a {kind} as ISO 8601 text")
        return date.fromisoformat(value) if kind == "date" else datetime.fromisoformat(value)
    if kind not in _EXACT:
        raise ValueError(f"there is no type {kind!r}")
    # bool is an int to Python, but never to the person who filled in the form.
    if not isinstance(value, _EXACT[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError(f"{value!r} is not of type {kind}")
    return float(value) if kind == "float" and isinstance(value, int) else value


def real_all(values: Mapping[str, TypedValue]) -> dict[str, object]:
    """Every value under its name; ValueError names the first that cannot be a variable or has a wrong type."""
    found = {}
    for name, typed in values.items():
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise ValueError(f"{name!r} cannot be the name of a value")
        try:
            found[name] = real(typed)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found

"""The service's own MIME bundles (docs: findings, proposals, checks, kept values, evidence) as pieces.

What a bundle may hold is decided once, in `runbooks_app.core.bundles`; here it only becomes something to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runbooks_app.documents.pieces import (
    Checked,
    Column,
    Found,
    Kept,
    Piece,
    Suggested,
    Table,
    Withheld,
    json_piece,
    text_piece,
)
from runbooks_app.documents.text import CHARACTERS, LINES, plain
from runbooks_app.documents.unreadable import Unreadable

FINDING = "application/vnd.runbook.finding+json"
PROPOSAL = "application/vnd.runbook.proposal+json"
KEEP = "application/vnd.runbook.keep+json"
CHECK = "application/vnd.runbook.check+json"
WITHHELD = "application/vnd.runbook.withheld+json"
"""`{"reason": str}`: put by the worker in the place of an output that redaction would not let through."""

MIMES = (WITHHELD, FINDING, PROPOSAL, CHECK, KEEP)

_MOST_ROWS = 200
_MOST_COLUMNS = 60
_LONGEST = 2_000
_SEVERITIES = ("critical", "warning", "info")


def read(mime: str, value: Any, index: int, lines: int = LINES, characters: int = CHARACTERS) -> Piece:
    """The piece for one bundle; `Unreadable` says what is wrong with it."""
    if not isinstance(value, Mapping):
        raise Unreadable("it is not an object")
    if mime == FINDING:
        if value.get("severity") not in _SEVERITIES:
            raise Unreadable("its severity is none of critical, warning, info")
        found = value.get("evidence")
        return Found(
            index,
            severity=value["severity"],
            summary=_text(value, "summary"),
            evidence=None if found is None else evidence(found, index, lines, characters),
        )
    if mime == PROPOSAL:
        return Suggested(
            index,
            gate=_text(value, "gate"),
            inputs=_values(value, "inputs"),
            reason=_text(value, "reason", ""),
        )
    if mime == CHECK:
        ok, seconds = value.get("ok"), value.get("seconds", 0)
        if not isinstance(ok, bool) or isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise Unreadable("its verdict is malformed")
        return Checked(
            index, name=_text(value, "name"), ok=ok, seconds=float(seconds), detail=_text(value, "detail", "")
        )
    if mime == KEEP:
        return Kept(index, values=_values(value, "values"))
    if mime == WITHHELD:
        return Withheld(index, reason=_text(value, "reason", ""))
    raise Unreadable("it is none of ours")


def evidence(value: Any, index: int = 0, lines: int = LINES, characters: int = CHARACTERS) -> Piece:
    """The piece for a finding's evidence: a table, a text or a JSON value; `Unreadable` if it is malformed."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "text":
        return text_piece(index, _text(value, "text", limit=None), lines, characters)
    if kind == "json" and "value" in value:
        return json_piece(index, value["value"], lines, characters)
    if kind == "table":
        return _table(value, index)
    raise Unreadable("its evidence is malformed")


def shown(value: Any) -> str:
    """A JSON value as one line of text."""
    if isinstance(value, str):
        return plain(value[:_LONGEST]) + ("…" if len(value) > _LONGEST else "")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown(json_piece(0, value).head)


def _table(value: Mapping[str, Any], index: int) -> Table:
    columns, rows, omitted = value.get("columns"), value.get("rows"), value.get("omitted", 0)
    if not isinstance(columns, list) or not isinstance(rows, list) or not 0 < len(columns) <= _MOST_COLUMNS:
        raise Unreadable("its table is malformed")
    if isinstance(omitted, bool) or not isinstance(omitted, int) or omitted < 0:
        raise Unreadable("its table is malformed")
    heads = tuple(Column(_text(column, "name"), _text(column, "type", "text")) for column in columns)
    if not all(isinstance(row, list) and len(row) == len(heads) for row in rows):
        raise Unreadable("its table has rows of other lengths")
    return Table(
        index,
        columns=heads,
        rows=tuple(tuple(shown(cell) for cell in row) for row in rows[:_MOST_ROWS]),
        omitted=omitted + max(len(rows) - _MOST_ROWS, 0),
    )


def _text(value: Any, name: str, default: str | None = None, limit: int | None = _LONGEST) -> str:
    text = value.get(name, default) if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        raise Unreadable(f"its {name} is not a text")
    return plain(text if limit is None or len(text) <= limit else text[:limit] + "…") if limit else text


def _values(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    values = value.get(name)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise Unreadable(f"its {name} are malformed")
    json_piece(0, values)  # raises where they are not JSON
    return values

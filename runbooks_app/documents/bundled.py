"""The service's own MIME bundles as pieces.

What a bundle may hold is decided once, in `runbooks_app.core.bundles`; here it only becomes something to show.
"""

from __future__ import annotations

from typing import Any

from runbooks_app.core import bundles
from runbooks_app.core.errors import Problem
from runbooks_app.documents.pieces import (
    Checked,
    Column,
    Found,
    Kept,
    Piece,
    Suggested,
    Table,
    json_piece,
    text_piece,
)
from runbooks_app.documents.text import CHARACTERS, LINES, plain
from runbooks_app.documents.unreadable import Unreadable

MIMES = (bundles.FINDING, bundles.PROPOSAL, bundles.CHECK, bundles.KEEP)

_LONGEST = 2_000
"""Characters of one value that are shown in a line or a table."""


def read(mime: str, value: Any, index: int, lines: int = LINES, characters: int = CHARACTERS) -> Piece:
    """The piece for one bundle; `Unreadable` says what is wrong with it."""
    match bundles.parse(mime, value):
        case bundles.Finding(severity, summary, found):
            shown_evidence = None if found is None else _evidence(found, index, lines, characters)
            return Found(index, severity=severity, summary=summary, evidence=shown_evidence)
        case bundles.Proposed(gate, inputs, reason):
            return Suggested(index, gate=gate, inputs=inputs, reason=reason)
        case bundles.Checked(name, ok, seconds, detail):
            return Checked(index, name=name, ok=ok, seconds=seconds, detail=detail)
        case bundles.Kept(values):
            return Kept(index, values=values)
        case Problem() as problem:
            raise Unreadable(f"the {problem.where} {problem.message.rstrip('.')}")


def evidence(value: Any, index: int = 0, lines: int = LINES, characters: int = CHARACTERS) -> Piece:
    """The piece for a finding's stored evidence: a table, a text or a JSON value; malformed, it is told as text."""
    found = bundles.parse(bundles.FINDING, {"severity": "info", "summary": "evidence", "evidence": value})
    if not isinstance(found, bundles.Finding) or found.evidence is None:
        raise Unreadable("there is none")
    return _evidence(found.evidence, index, lines, characters)


def shown(value: Any) -> str:
    """A JSON value as one line of text."""
    if isinstance(value, str):
        return plain(value[:_LONGEST]) + ("…" if len(value) > _LONGEST else "")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown(json_piece(0, value).head)


def _evidence(value: dict[str, Any], index: int, lines: int, characters: int) -> Piece:
    if value["kind"] == "text":
        return text_piece(index, value["text"], lines, characters)
    if value["kind"] == "json":
        return json_piece(index, value["value"], lines, characters)
    return Table(
        index,
        columns=tuple(Column(plain(column["name"]), column["type"]) for column in value["columns"]),
        rows=tuple(tuple(shown(cell) for cell in row) for row in value["rows"]),
        omitted=value["omitted"],
    )

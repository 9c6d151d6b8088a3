"""Blocks as GitHub-flavoured Markdown: for wikis, tickets, and the text cells of the notebook.

Images are left out with a note: wikis and trackers drop `data:` addresses, and anything else would be an address
that somebody must serve. They are in the HTML and the notebook.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runbooks_app.core.run import CellState
from runbooks_app.documents import escaping, markdown, pieces
from runbooks_app.documents.blocks import (
    Block,
    Entries,
    Executed,
    Grid,
    Heading,
    Line,
    Paragraph,
    Proof,
    Prose,
    Quote,
    Span,
    Verbatim,
)
from runbooks_app.documents.bundled import shown
from runbooks_app.documents.outputs import pieces as read_outputs
from runbooks_app.documents.text import fold, readable, revealed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runbooks_app.core.incident import AuditRef

SHORT = 12
"""Hex digits of a hash that are shown beside a claim; the whole hash stands at the end."""

_OUTPUT_LINES = 60


def write(blocks: Iterable[Block]) -> str:
    """The blocks as one Markdown text."""
    return "\n\n".join(written for block in blocks if (written := block_text(block))) + "\n"


def block_text(block: Block) -> str:
    """One block."""
    match block:
        case Heading(level, line):
            return f"{'#' * level} {line_text(line)}"
        case Paragraph(line):
            return line_text(line)
        case Grid():
            return _grid(block)
        case Quote(text):
            return escaping.quote(text)
        case Verbatim(text, language, omitted, characters):
            return _with_rest(escaping.block(text, language), omitted, characters)
        case Prose(cell):
            return _prose(cell.source)
        case Entries(entries):
            rows = [f"| {entry.seq} | `{entry.hash}` |" for entry in entries]
            return "\n".join(["| Entry | SHA-256 |", "| ---: | --- |", *rows])
        case Executed():
            return "\n\n".join(_executed(block))


def line_text(line: Line) -> str:
    """A line; a proof is set off by a blank."""
    return "".join(_span(span) for span in line).strip()


def proof_text(entry: AuditRef | None) -> str:
    """The words for a claim's entry, the same in every form."""
    return f"(entry {entry.seq} · {entry.hash[:SHORT]}…)" if entry else "(no entry)"


def rest_text(omitted: int, characters: int = 0) -> str:
    """How much was left out, the same in every form; empty for nothing."""
    if omitted > 1 or (omitted and not characters):
        return f"… {omitted:,} more {'line' if omitted == 1 else 'lines'} left out"
    return f"… {characters:,} more characters left out" if characters else ""


def _span(span: Span | Proof) -> str:
    if isinstance(span, Proof):
        return f" {proof_text(span.entry)}"
    text, style = span.text, span.style
    if not text.strip():
        return " " if text else ""
    lead, tail = " " * text[0].isspace(), " " * text[-1].isspace()
    if style == "code":
        return f"{lead}{escaping.code(text)}{tail}"
    escaped = escaping.escape(text)
    return f"{lead}**{escaped}**{tail}" if style not in ("", "dim") else f"{lead}{escaped}{tail}"


def _grid(grid: Grid) -> str:
    head = [escaping.escape(name) for name in grid.head] or ["", ""]
    rule = ["---:" if n in grid.numbers else "---" for n in range(len(head))]
    rows = [[line_text(cell) for cell in row] for row in grid.rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
    return f"{table}\n\n… {grid.omitted:,} more rows left out" if grid.omitted else table


def _prose(source: str) -> str:
    """An author's own Markdown, quoted so that its headings stay below ours; as plain text where it is not harmless."""
    source = readable(source)
    if not markdown.harmless(source):
        return escaping.quote(fold(source).head)
    return "\n".join(f"> {line}".rstrip() for line in source.split("\n"))


def _with_rest(text: str, omitted: int, characters: int) -> str:
    rest = rest_text(omitted, characters)
    return f"{text}\n\n{rest}" if rest else text


def _executed(block: Executed) -> list[str]:
    source = escaping.block(revealed(block.cell.source), "python")
    parts = [line_text(block.caption), source]
    parts += [_piece(piece) for piece in read_outputs(block.cell.outputs, lines=_OUTPUT_LINES)]
    if not block.cell.outputs and block.cell.state is CellState.OK and block.cell.execution_count is not None:
        parts.append("No output.")
    return parts


def _piece(piece: pieces.Piece) -> str:
    match piece:
        case pieces.Text(trouble=True):
            return escaping.escape(piece.plain)
        case pieces.Text():
            return _with_rest(escaping.block(piece.plain), piece.omitted, piece.omitted_characters)
        case pieces.Failure():
            told = f"**{escaping.escape(piece.name)}**: {escaping.escape(piece.message)}"
            return _with_rest(f"{told}\n\n{escaping.block(piece.plain)}", piece.omitted, 0)
        case pieces.Picture():
            size = f"{piece.image.width} by {piece.image.height} pixels"
            return f"Image ({size}): see the HTML or the notebook."
        case pieces.Chart():
            return f"{piece.library} chart without an image of itself: see the notebook."
        case pieces.Html() | pieces.Written() | pieces.Table():
            return escaping.block(piece.plain) if piece.plain else "Formatted output: see the HTML."
        case pieces.Json():
            return _with_rest(escaping.block(piece.head, "json"), piece.omitted, piece.omitted_characters)
        case pieces.Found():
            return f"Finding, {escaping.escape(piece.severity)}: {escaping.escape(piece.summary)}"
        case pieces.Suggested():
            inputs = ", ".join(f"{name} = {shown(value)}" for name, value in piece.inputs.items())
            why = escaping.escape(piece.reason)
            return f"Proposed {escaping.code(piece.gate)}: {escaping.code(inputs)} {why}".rstrip()
        case pieces.Checked():
            verdict = "holds" if piece.ok else "does not hold"
            detail = f". {escaping.escape(piece.detail)}" if piece.detail else ""
            return f"Check {escaping.code(piece.name)} **{verdict}** after {piece.seconds:.1f} s{detail}"
        case pieces.Kept():
            return f"Kept: {escaping.code(json.dumps(piece.values, ensure_ascii=False))}"
        case pieces.Withheld():
            return f"Output withheld: {escaping.escape(piece.reason)}"
        case _:
            return "An output of a kind that this form does not know."

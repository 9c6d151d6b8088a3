"""Blocks as one HTML file: nothing to fetch, nothing to run, good on paper and in the dark.

Its Content-Security-Policy allows embedded images and the one style sheet inside it (by its hash), so that even a hole
in the escaping would execute nothing. nbconvert's own HTML could not be that strict: it brings scripts, MathJax
from a third host and inline styles.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from runbooks_app.core.run import CellState
from runbooks_app.documents import markdown, pieces
from runbooks_app.documents.as_markdown import proof_text, rest_text
from runbooks_app.documents.blocks import (
    BAD,
    GOOD,
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
    text,
)
from runbooks_app.documents.bundled import shown
from runbooks_app.documents.outputs import pieces as read_outputs
from runbooks_app.documents.source import highlight
from runbooks_app.documents.text import readable, safe

if TYPE_CHECKING:
    from collections.abc import Iterable

_CSS = files("runbooks_app.documents").joinpath("postmortem.css").read_text(encoding="utf-8")
_CSS_HASH = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
POLICY = f"default-src 'none'; img-src data:; style-src 'sha256-{_CSS_HASH}'; base-uri 'none'; form-action 'none'"
"""The document's Content-Security-Policy; a route that serves it sends the same as a header, with `sandbox`."""

_PAGE = Markup(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
    "<title>{title}</title>\n<style>{css}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
)


def write(title: str, blocks: Iterable[Block]) -> str:
    """The blocks as a whole document."""
    body = Markup("\n").join(_block(block) for block in blocks)
    return str(_PAGE.format(policy=safe(POLICY), title=readable(title), css=safe(_CSS), body=body))


def _block(block: Block) -> Markup:
    match block:
        case Heading(level, line):
            return Markup("<h{0}>{1}</h{0}>").format(level, _line(line))
        case Paragraph(line):
            return Markup("<p>{}</p>").format(_line(line))
        case Grid():
            return _grid(block)
        case Quote(text):
            return Markup("<blockquote>{}</blockquote>").format(readable(text))
        case Verbatim(text, language, omitted, characters):
            shown_text = highlight(text) if language == "python" else escape(readable(text))
            return Markup("<pre>{}</pre>{}").format(shown_text, _rest(omitted, characters))
        case Prose(cell):
            return Markup('<div class="prose">{}</div>').format(markdown.render(cell.source, deeper=3))
        case Entries(entries):
            rows = Markup("\n").join(
                Markup('<tr id="entry-{0}"><td class="number">{0}</td><td><code>{1}</code></td></tr>').format(
                    e.seq, e.hash
                )
                for e in entries
            )
            head = Markup('<tr><th class="number">Entry</th><th>SHA-256</th></tr>')
            return _scrolled(Markup("<thead>{}</thead><tbody>{}</tbody>").format(head, rows))
        case Executed():
            return _executed(block)


def _line(line: Line) -> Markup:
    return Markup().join(_span(span) for span in line)


def _span(span: Span | Proof) -> Markup:
    if isinstance(span, Proof):
        if span.entry is None:
            return Markup(' <span class="entry">{}</span>').format(proof_text(None))
        return Markup(' <a class="entry" href="#entry-{}">{}</a>').format(span.entry.seq, proof_text(span.entry))
    text, style = readable(span.text), span.style
    if style == "code":
        return Markup("<code>{}</code>").format(text)
    if style == "strong":
        return Markup("<strong>{}</strong>").format(text)
    return Markup('<span class="{}">{}</span>').format(style, text) if style else escape(text)


def _scrolled(inside: Markup, name: str = "") -> Markup:
    """A table that scrolls by itself where it is too wide, and can be reached by keyboard for that."""
    return Markup('<div class="wide" tabindex="0"><table class="{}">{}</table></div>').format(name, inside)


def _grid(grid: Grid) -> Markup:
    def marked(number: int) -> Markup:
        return Markup(' class="number"') if number in grid.numbers else Markup()

    if not grid.head:
        rows = Markup("\n").join(
            Markup('<tr><th scope="row">{}</th><td>{}</td></tr>').format(_line(name), _line(value))
            for name, value in grid.rows
        )
        return _scrolled(Markup("<tbody>{}</tbody>").format(rows), "facts")
    head = Markup().join(Markup("<th{}>{}</th>").format(marked(n), readable(name)) for n, name in enumerate(grid.head))
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup().join(Markup("<td{}>{}</td>").format(marked(n), _line(cell)) for n, cell in enumerate(row))
        )
        for row in grid.rows
    )
    inside = Markup("<thead><tr>{}</tr></thead><tbody>{}</tbody>").format(head, body)
    table = _scrolled(inside, "stacks" if grid.stacks else "")
    return (
        table + Markup('<p class="rest">… {:,} more rows left out</p>').format(grid.omitted) if grid.omitted else table
    )


def _rest(omitted: int, characters: int) -> Markup:
    rest = rest_text(omitted, characters)
    return Markup('<p class="rest">{}</p>').format(rest) if rest else Markup()


def _executed(block: Executed) -> Markup:
    count = block.cell.execution_count
    shown_pieces = [_piece(piece) for piece in read_outputs(block.cell.outputs)]
    if not block.cell.outputs and block.cell.state is CellState.OK and count is not None:
        shown_pieces.append(Markup('<p class="rest">No output.</p>'))
    return Markup(
        '<section class="cell">\n<p class="caption">{}</p>\n<div class="source"><span class="count">[{}]</span>'
        '<pre class="code" tabindex="0">{}</pre></div>\n{}\n</section>'
    ).format(
        _line(block.caption),
        " " if count is None else count,
        highlight(block.cell.source),
        Markup("\n").join(shown_pieces),
    )


def _piece(piece: pieces.Piece) -> Markup:
    match piece:
        case pieces.Text(trouble=True):
            return Markup('<p class="rest">{}</p>').format(piece.plain)
        case pieces.Text():
            kind = "out stderr" if piece.stream == "stderr" else "out"
            return Markup('<pre class="{}" tabindex="0">{}</pre>{}').format(
                kind, piece.head, _rest(piece.omitted, piece.omitted_characters)
            )
        case pieces.Failure():
            return Markup('<p class="bad">{}: {}</p><pre class="out" tabindex="0">{}</pre>{}').format(
                piece.name, piece.message, piece.traceback, _rest(piece.omitted, 0)
            )
        case pieces.Picture():
            return Markup('<p><img src="{}" width="{}" height="{}" alt="{}"></p>').format(
                piece.image.data_uri, piece.image.width, piece.image.height, piece.alternative or "Chart"
            )
        case pieces.Html():
            inside = piece.inline or Markup("<pre>{}</pre>").format(piece.plain or "A drawing: see the notebook.")
            return Markup('<div class="wide rich" tabindex="0">{}</div>').format(inside)
        case pieces.Table():
            rows = tuple(tuple(text(cell) for cell in row) for row in piece.rows)
            numbers = frozenset(n for n, column in enumerate(piece.columns) if column.type == "number")
            return _grid(
                Grid(tuple(column.name for column in piece.columns), rows, piece.omitted + piece.folded, numbers)
            )
        case pieces.Chart():
            return Markup('<p class="rest">{} chart without an image of itself.</p>').format(piece.library)
        case pieces.Written():
            return Markup('<div class="prose">{}</div>').format(piece.html)
        case pieces.Json():
            return Markup('<pre class="out" tabindex="0">{}</pre>{}').format(
                piece.head, _rest(piece.omitted, piece.omitted_characters)
            )
        case pieces.Found():
            return Markup("<p>Finding, {}: {}</p>").format(piece.severity, piece.summary)
        case pieces.Suggested():
            inputs = ", ".join(f"{name} = {shown(value)}" for name, value in piece.inputs.items())
            return Markup("<p>Proposed <code>{}</code>: <code>{}</code> {}</p>").format(
                piece.gate, inputs, piece.reason
            )
        case pieces.Checked():
            verdict = _span(Span("holds", GOOD) if piece.ok else Span("does not hold", BAD))
            detail = f". {piece.detail}" if piece.detail else ""
            return Markup("<p>Check <code>{}</code> {} after {:.1f} s{}</p>").format(
                piece.name, verdict, piece.seconds, detail
            )
        case pieces.Kept():
            return Markup("<p>Kept: <code>{}</code></p>").format(json.dumps(piece.values, ensure_ascii=False))
        case pieces.Withheld():
            return Markup('<p class="warn">Output withheld: {}</p>').format(piece.reason)
        case _:
            return Markup('<p class="rest">An output of a kind that this form does not know.</p>')

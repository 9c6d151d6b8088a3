"""Cells' source as HTML: highlighted, by lines, and the difference between two sources.

Approvers read code here, so characters that show nothing or turn the direction round are named in it
(CVE-2021-42574), and a source that the highlighter cannot take is shown plain, never left out.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache

from markupsafe import Markup, escape
from pygments import lex
from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES, _TokenType

from runbooks_app.documents.text import revealed, safe

_LARGEST = 200_000
_MOST_LINES = 4_000
_SKIPPED_CLASSES = frozenset({"", "w", "n", "p"})


@dataclass(frozen=True)
class Row:
    """A line of a unified difference: `kind` is same, added, removed or gap; line numbers start at 1.

    A gap stands for `old` lines that are the same in both and are left out.
    """

    kind: str
    old: int | None
    new: int | None
    html: Markup


@dataclass(frozen=True)
class Pair:
    """A line of a difference side by side: `kind` is same, changed, added, removed or gap."""

    kind: str
    old: int | None
    old_html: Markup
    new: int | None
    new_html: Markup


@lru_cache(maxsize=512)  # the same few cells are shown again and again, and lexing is most of a page's time
def lines(source: str) -> tuple[Markup, ...]:
    """The source's lines, highlighted with Pygments' short class names; spans never cross a line's end."""
    text = revealed(source)
    if len(text) > _LARGEST:
        return tuple(safe(escape(line)) for line in text.split("\n"))
    done: list[Markup] = []
    line: list[str] = []
    for token, value in lex(text, PythonLexer(stripnl=False, stripall=False, ensurenl=False)):
        name = _class(token)
        for number, part in enumerate(value.split("\n")):
            if number:
                done.append(safe("".join(line)))
                line = []
            if part:
                line.append(f'<span class="{name}">{escape(part)}</span>' if name else str(escape(part)))
    return (*done, safe("".join(line)))


def highlight(source: str) -> Markup:
    """The whole source, highlighted; for a `<pre class="code">`."""
    return Markup("\n").join(lines(source))


def unified(old: str, new: str, context: int = 3) -> tuple[Row, ...]:
    """The difference as one column, with `context` lines around each change; nothing if they are the same."""
    rows: list[Row] = []
    left, right = lines(old), lines(new)
    for kind, i, i_end, j, j_end in _changes(old, new, context):
        if kind == "gap":
            rows.append(Row("gap", i_end - i, None, Markup()))
        elif kind == "same":
            rows += [Row("same", i + n + 1, j + n + 1, right[j + n]) for n in range(i_end - i)]
        else:
            rows += [Row("removed", n + 1, None, left[n]) for n in range(i, i_end)]
            rows += [Row("added", None, n + 1, right[n]) for n in range(j, j_end)]
    return tuple(rows)


def side_by_side(old: str, new: str, context: int = 3) -> tuple[Pair, ...]:
    """The difference as two columns; nothing if they are the same."""
    rows: list[Pair] = []
    left, right = lines(old), lines(new)
    for kind, i, i_end, j, j_end in _changes(old, new, context):
        if kind == "gap":
            rows.append(Pair("gap", i_end - i, Markup(), None, Markup()))
            continue
        for n in range(max(i_end - i, j_end - j)):
            a = i + n if i + n < i_end else None
            b = j + n if j + n < j_end else None
            was = kind if kind == "same" else "added" if a is None else "removed" if b is None else "changed"
            rows.append(
                Pair(
                    was,
                    None if a is None else a + 1,
                    Markup() if a is None else left[a],
                    None if b is None else b + 1,
                    Markup() if b is None else right[b],
                )
            )
    return tuple(rows)


def _changes(old: str, new: str, context: int) -> list[tuple[str, int, int, int, int]]:
    """Stretches of both sources in order: same, gap, or changed."""
    if old == new:
        return []
    a, b = revealed(old).split("\n"), revealed(new).split("\n")
    if len(a) + len(b) > _MOST_LINES:
        # Matching is quadratic; code of this length is read as a whole anyway.
        return [("changed", 0, len(a), 0, len(b))]
    found: list[tuple[str, int, int, int, int]] = []
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for place, (tag, i, i_end, j, j_end) in enumerate(blocks):
        if tag != "equal":
            found.append(("changed", i, i_end, j, j_end))
            continue
        before = context if place else 0
        after = context if place < len(blocks) - 1 else 0
        hidden = i_end - i - before - after
        if hidden <= 1:
            found.append(("same", i, i_end, j, j_end))
            continue
        found += [
            ("same", i, i + before, j, j + before),
            ("gap", i + before, i_end - after, j + before, j_end - after),
            ("same", i_end - after, i_end, j_end - after, j_end),
        ]
    return found


def _class(token: _TokenType) -> str:
    """Pygments' short class for a token; empty where it needs none."""
    kind: _TokenType | None = token
    while kind is not None and kind not in STANDARD_TYPES:
        kind = kind.parent
    name = STANDARD_TYPES[kind] if kind is not None else ""
    return "" if name in _SKIPPED_CLASSES else name

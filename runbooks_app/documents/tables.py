"""The table that pandas wrote as HTML, read cell by cell: what is shown is made anew and keeps nothing of its markup.

Only what pandas' own `to_html` writes is taken: one table of the class `dataframe`, with heads above and index
labels to the left, in at most `LARGEST` characters. Anything else (a form, a comment, text or a second table beside
it) makes the whole unreadable here, and it is shown like any other HTML: cleaned, in a sandboxed frame. Reading it
takes time in proportion to its length, whoever wrote it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from runbooks_app.documents.pieces import Column, Table
from runbooks_app.documents.text import plain
from runbooks_app.documents.unreadable import Unreadable

LARGEST = 100_000
"""Characters of the largest HTML that is read, and of the text of a table whose cells reach over many places."""

MOST_COLUMNS = 200

_LONGEST = 1_000
"""Characters of one cell that are shown."""

_LONGEST_NUMBER = 64
"""Characters of the longest number or time; a column that holds a longer text holds text."""

_ATTRIBUTE = re.compile(r'\s([a-z]{1,20})="([^"<>]{0,200})"')
_PIECE = re.compile(rf"<(/?)([a-z]{{1,8}})(?: scoped)?((?:{_ATTRIBUTE.pattern}){{0,9}})>|([^<]+)")
_PLACES = frozenset({"div", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "style", "p"})
_NUMBER = re.compile(r"[-+\u2212]?(?:\d[\d,_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s?%?\Z")
_NOTHING = frozenset({"", "NaN", "nan", "None", "<NA>", "NaT", "...", "…", "inf", "-inf"})
_DOTS = frozenset({"...", "…"})
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?\Z")
_SIZE = re.compile(r"\s*(\d[\d,]{0,20}) rows? [\u00d7x] \d[\d,]{0,20} columns?\s*\Z", re.ASCII)


def read_table(index: int, written: str, rows: int, beside: str = "") -> Table:
    """The table, at most `rows` rows of it; `Unreadable` where the HTML is not a table of pandas alone.

    What a column holds is told by the rows that are shown.
    """
    if len(written) > LARGEST:
        raise Unreadable(f"it is larger than {LARGEST:,} characters")
    read = _read(written)
    head, body = _squared(read.head), _squared(read.body[:rows])
    width = len((head or body or [[]])[0])
    if not 0 < width <= MOST_COLUMNS or any(len(row) != width for row in (*head, *body)):
        raise Unreadable("it has no columns, too many, or rows of several lengths")
    labels = min(read.labels, width - 1)
    told = [row for row in body if not _DOTS.issuperset(row)]
    counted = sum(not _DOTS.issuperset(cell.text for cell in row) for row in read.body)
    return Table(
        index,
        columns=tuple(
            Column(_name([row[n] for row in head], is_label=n < labels), _type([row[n] for row in told]))
            for n in range(width)
        ),
        rows=tuple(tuple(row) for row in body),
        labels=labels,
        omitted=max(read.size - counted, 0),
        folded=max(len(read.body) - rows, 0),
        plain=beside,
    )


@dataclass
class _Cell:
    """A cell as it is written: its text, and how many rows and columns it reaches over."""

    rows: int
    columns: int
    text: str = ""


@dataclass
class _Written:
    """What pandas wrote: rows of heads and of the body, how many index columns; `size` counts the rows it had."""

    head: list[list[_Cell]] = field(default_factory=list)
    body: list[list[_Cell]] = field(default_factory=list)
    labels: int = 0
    size: int = 0


def _read(written: str) -> _Written:
    """The cells, as far as tags and text stand where pandas writes them; `Unreadable` where one does not."""
    read, place, tables = _Written(), "", 0
    rows, cell = read.head, None
    for tag, attributes, text in _parts(written):
        if text:
            size = _SIZE.match(text) if place == "p" else None
            if cell is not None:
                cell.text = text
            elif size:
                read.size = int(size[1].replace(",", ""))
            elif place != "style" and not text.isspace():
                raise Unreadable("text stands beside it")
            continue
        place, cell = tag, None
        if tag == "table":
            tables += 1
            if tables > 1 or "dataframe" not in attributes.get("class", "").split():
                raise Unreadable("it is not one table of pandas")
        elif tag in ("thead", "tbody", "tfoot"):
            rows = read.head if tag == "thead" else read.body
        elif tag == "tr":
            rows.append([])
        elif tag in ("th", "td"):
            if not rows:
                raise Unreadable("a cell stands in no row")
            cell = _Cell(_span(attributes.get("rowspan")), _span(attributes.get("colspan")))
            rows[-1].append(cell)
            read.labels += tag == "th" and rows is read.body and len(rows) == 1
    for row in (*read.head, *read.body):
        for each in row:
            text = plain(" ".join(html.unescape(each.text).split()))
            each.text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return read


def _parts(written: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Tags (an ending one with its slash) with their attributes, and the texts between them."""
    at = 0
    while at < len(written):
        found = _PIECE.match(written, at)
        if found is None or (found[2] and found[2] not in _PLACES):
            raise Unreadable("it holds what pandas does not write")
        at = found.end()
        yield f"{found[1]}{found[2]}" if found[2] else "", dict(_ATTRIBUTE.findall(found[3] or "")), found[6] or ""


def _span(given: str | None) -> int:
    if given is None:
        return 1
    if not (given.isascii() and given.isdigit() and len(given) < 6 and int(given)):
        raise Unreadable("a cell reaches over too much")
    return int(given)


def _squared(rows: list[list[_Cell]]) -> list[list[str]]:
    """The rows with each cell's text in every place that it reaches over."""
    above: dict[int, tuple[int, str]] = {}  # by column: rows to go, and the text that reaches down into them
    squared, size = [], 0
    for row in rows:
        line: list[str] = []

        def taken(line: list[str] = line) -> bool:
            left, text = above.get(len(line), (0, ""))
            if left:
                above[len(line)] = left - 1, text
                line.append(text)
            return bool(left)

        for cell in row:
            while taken():
                pass
            for _ in range(cell.columns):
                if len(line) > MOST_COLUMNS:
                    raise Unreadable(f"it has more than {MOST_COLUMNS} columns")
                above[len(line)] = cell.rows - 1, cell.text
                line.append(cell.text)
        while taken():
            pass
        squared.append(line)
        size += sum(len(text) + 1 for text in line)
        if size > LARGEST:
            raise Unreadable("its cells reach over too much")
    return squared


def _name(texts: list[str], *, is_label: bool) -> str:
    """One head for a column: of several rows of heads their different texts."""
    kept = [text for n, text in enumerate(texts) if text and (is_label or n == 0 or text != texts[n - 1])]
    return " / ".join(kept)


def _type(texts: list[str]) -> str:
    """What sorts and sets a column: number, time or text, by all that stands in it."""
    said = [text for text in texts if text not in _NOTHING]
    if any(len(text) > _LONGEST_NUMBER for text in said):
        return "text"
    if said and all(_NUMBER.match(text) for text in said):
        return "number"
    return "time" if said and all(_TIME.match(text) for text in said) else "text"

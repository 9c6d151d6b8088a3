"""What a cell's outputs become for a page: frozen pieces, each with a `kind` that templates switch on.

Everything typed `Markup` is safe to print as it is; every `str` is untrusted and escaped by the template.
`index` is the place of the output in the cell's list, for routes that serve one output (`html`, `image`, the rest
of a folded text).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup

from runbooks_app.documents.jsontree import Branch, tree
from runbooks_app.documents.text import CHARACTERS, LINES, ansi, fold, plain, readable

if TYPE_CHECKING:
    from runbooks_app.documents.images import Image

_INDENTED = 200_000
"""Characters up to which JSON is indented; beyond, indenting would take seconds."""


@dataclass(frozen=True)
class Piece:
    """One thing to show."""

    kind: ClassVar[str] = ""
    index: int


@dataclass(frozen=True)
class Text(Piece):
    """Printed or plain text.

    `stream` is `stdout`, `stderr` or empty (a value's text). `head` has colours as classes; `omitted` lines and
    `omitted_characters` were left out of it. `plain` is the head without colours. `trouble` is true where this tells
    of an output that could not be read.
    """

    kind: ClassVar[str] = "text"
    head: Markup = field(default_factory=Markup)
    plain: str = ""
    omitted: int = 0
    omitted_characters: int = 0
    stream: str = ""
    trouble: bool = False


@dataclass(frozen=True)
class Failure(Piece):
    """An exception: its class's name, its message, its traceback (folded like text).

    `line` is the cell's own line, from 1, that raised it; 0 where the traceback does not say.
    """

    kind: ClassVar[str] = "error"
    name: str = ""
    message: str = ""
    traceback: Markup = field(default_factory=Markup)
    plain: str = ""
    omitted: int = 0
    line: int = 0


@dataclass(frozen=True)
class Picture(Piece):
    """A checked raster image; `alternative` is its text, where the cell gave one."""

    kind: ClassVar[str] = "image"
    image: Image = field(kw_only=True)
    alternative: str = ""


@dataclass(frozen=True)
class Html(Piece):
    """Cleaned HTML or SVG: never printed into a page.

    Serve `html_document(fragment)` with `HTML_HEADERS` to an `iframe sandbox=""`. `inline` is the strict form, which
    may stand in a page (empty for a drawing); `plain` the text that the cell gave beside it.
    """

    kind: ClassVar[str] = "html"
    fragment: str = ""
    inline: Markup = field(default_factory=Markup)
    plain: str = ""


@dataclass(frozen=True)
class Written(Piece):
    """Markdown that a cell displayed, as safe HTML."""

    kind: ClassVar[str] = "markdown"
    html: Markup = field(default_factory=Markup)
    plain: str = ""


@dataclass(frozen=True)
class Json(Piece):
    """A JSON value: as a tree, and as text, indented (a very large one is not) and folded like any other."""

    kind: ClassVar[str] = "json"
    tree: Branch = field(kw_only=True)
    head: str = ""
    omitted: int = 0
    omitted_characters: int = 0


@dataclass(frozen=True)
class Column:
    """A column of a table; `type` is text, number, time or bool."""

    name: str
    type: str = "text"


@dataclass(frozen=True)
class Table(Piece):
    """A table: each row a text per column, the first `labels` of which name the row.

    `omitted` rows were left out by the cell; `folded` ones are not shown here, and stand on the output's own page.
    `plain` is the text that the cell gave beside it.
    """

    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    omitted: int = 0
    labels: int = 0
    folded: int = 0
    plain: str = ""


@dataclass(frozen=True)
class Chart(Piece):
    """A chart that only a script could draw, and no script of a cell runs: its library, and what it would draw."""

    kind: ClassVar[str] = "chart"
    library: str = ""
    spec: Json = field(kw_only=True)


@dataclass(frozen=True)
class Found(Piece):
    """A finding: severity is critical, warning or info; evidence is a table, text or JSON piece."""

    kind: ClassVar[str] = "finding"
    severity: str = "info"
    summary: str = ""
    evidence: Piece | None = None


@dataclass(frozen=True)
class Suggested(Piece):
    """A remediation that the diagnosis proposes: the gate's name, its inputs, why."""

    kind: ClassVar[str] = "proposal"
    gate: str = ""
    inputs: dict[str, Any] = field(default_factory=dict, hash=False)
    reason: str = ""


@dataclass(frozen=True)
class Checked(Piece):
    """What a check said: `seconds` is how long it waited."""

    kind: ClassVar[str] = "check"
    name: str = ""
    ok: bool = False
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Kept(Piece):
    """Values that the diagnosis handed over to verification."""

    kind: ClassVar[str] = "keep"
    values: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Withheld(Piece):
    """An output that redaction would not let through; `reason` in words."""

    kind: ClassVar[str] = "withheld"
    reason: str = ""


def trouble(index: int, message: str) -> Text:
    """A piece that tells of an output which could not be read."""
    return Text(index, head=Markup("{}").format(message), plain=message, trouble=True)


def text_piece(index: int, text: str, lines: int = LINES, characters: int = CHARACTERS, stream: str = "") -> Text:
    """Terminal text, folded."""
    folded = fold(text, lines, characters)
    return Text(
        index,
        head=ansi(folded.head),
        plain=plain(folded.head),
        omitted=folded.lines,
        omitted_characters=folded.characters,
        stream=stream,
    )


def json_piece(index: int, value: Any, lines: int = LINES, characters: int = CHARACTERS) -> Json:
    """A JSON value, folded; `ValueError`, `TypeError` or `RecursionError` if it is none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(text) <= _INDENTED:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    folded = fold(text, lines, characters)
    return Json(index, readable(folded.head), folded.lines, folded.characters, tree=tree(value, lines))

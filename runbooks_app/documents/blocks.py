"""A document as values: what is said, apart from how a form writes it.

The three forms of a postmortem are written from one tuple of blocks, so they cannot tell different facts. A
`Line` is made of spans; every text in them is untrusted, and each form escapes it in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbooks_app.core.incident import AuditRef, CellStory

GOOD, BAD, WARN = "good", "bad", "warn"


@dataclass(frozen=True)
class Span:
    """A stretch of text: `style` is empty, strong, code, dim, or a state's colour (good, bad, warn)."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Proof:
    """The audit entry behind a claim: "(entry 41 · 9f3c2a…)"; None is told as "(no entry)"."""

    entry: AuditRef | None


Line = tuple[Span | Proof, ...]
Row = tuple[Line, ...]


@dataclass(frozen=True)
class Heading:
    """A heading; `level` 1 is the document's title."""

    level: int
    line: Line


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    line: Line


@dataclass(frozen=True)
class Grid:
    """A table; without `head` its first column names what the second tells.

    `numbers` are columns set to the right. A table of sentences `stacks` its cells where a screen is narrow.
    """

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    omitted: int = 0
    numbers: frozenset[int] = frozenset()
    stacks: bool = False


@dataclass(frozen=True)
class Quote:
    """What somebody wrote, as plain text of many lines."""

    text: str


@dataclass(frozen=True)
class Verbatim:
    """Text in a fixed-width face; `language` is python, json or empty. Lines left out are counted."""

    text: str
    language: str = ""
    omitted: int = 0
    omitted_characters: int = 0


@dataclass(frozen=True)
class Prose:
    """Markdown of the runbook's author."""

    cell: CellStory


@dataclass(frozen=True)
class Executed:
    """A code cell with its outputs: in a notebook a cell, elsewhere its source and what it showed."""

    cell: CellStory
    caption: Line


@dataclass(frozen=True)
class Entries:
    """The audit entries that the document names, each with its whole hash."""

    entries: tuple[AuditRef, ...]


Block = Heading | Paragraph | Grid | Quote | Verbatim | Prose | Executed | Entries


def text(value: str, style: str = "") -> Line:
    """A line of one span."""
    return (Span(value, style),)


def fact(name: str, value: str, *proof: AuditRef | None, style: str = "") -> Row:
    """A row of facts: a claim has its entries behind it, a mere description has none."""
    return text(name, "strong"), (Span(value, style), *(Proof(entry) for entry in proof))

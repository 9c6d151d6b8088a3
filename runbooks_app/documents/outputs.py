"""A cell's nbformat outputs as pieces for a page.

Of the forms that an output offers, the safest rich one is shown: the service's own bundles, then a raster image,
then Markdown, then HTML (a table of pandas as a table), then a drawing, then JSON, then plain text. A chart that wants
a script (Vega-Lite, Plotly) shows the image or drawing that it brings, else it is told. A form that cannot be read
gives way to the next one, and a piece tells so: nothing here raises, whatever the outputs hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from runbooks_app.documents import bundled, fragments, markdown
from runbooks_app.documents.images import read_image
from runbooks_app.documents.pieces import (
    Chart,
    Failure,
    Html,
    Picture,
    Piece,
    Table,
    Withheld,
    Written,
    json_piece,
    text_piece,
    trouble,
)
from runbooks_app.documents.tables import read_table
from runbooks_app.documents.text import CHARACTERS, LINES, ansi, fold, plain, safe
from runbooks_app.documents.unreadable import Unreadable

MOST_OUTPUTS = 500
"""Outputs of one cell that are shown; the rest is counted."""

_WITHHELD = "[runbooks] The output of this cell is withheld:"
"""How the kernels' room tells it, alone in the cell; a kernel that prints it only hides its own words."""

_CHARTS = (
    ("application/vnd.vegalite.", "Vega-Lite"),
    ("application/vnd.vega.", "Vega"),
    ("application/vnd.plotly.", "Plotly"),
)
"""How the kinds of charts begin that only a script could draw."""

_ITS_OWN_LINE = re.compile(r"^[ \t]*Cell In\[\d{1,9}\], line (\d{1,7})\b", re.MULTILINE)
_ANOTHER = re.compile(r"^(?:During handling of the above|The above exception was the direct cause)", re.MULTILINE)

_REPRESENTED = re.compile(r"<[\w.]+[ :][^<>]*>\s*\Z")
"""What Python says of an object that says nothing of itself (`<Figure size 640x480 with 1 Axes>`): no image's text."""

# What a reader of one malformed form may raise; the next form is tried then.
_TROUBLE = (
    Unreadable,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)


def pieces(outputs: Any, lines: int = LINES, characters: int = CHARACTERS) -> tuple[Piece, ...]:
    """What to show for a cell's outputs; texts are folded after `lines` lines or `characters` characters.

    Stream outputs that follow each other become one piece, with the index of the first.
    """
    if not isinstance(outputs, Sequence) or isinstance(outputs, str | bytes):
        return (trouble(0, "The outputs of this cell are malformed: not a list."),)
    shown: list[Piece] = []
    for index, output in _joined(outputs):
        if len(shown) >= MOST_OUTPUTS:
            shown.append(trouble(index, f"{len(outputs) - index} further outputs are not shown."))
            break
        try:
            shown.extend(_piece(index, output, lines, characters))
        except _TROUBLE as error:
            shown.append(trouble(index, f"Output {index + 1} is malformed and not shown ({type(error).__name__})."))
    return tuple(shown)


def joined_text(value: Any) -> str:
    """A multi-line string as nbformat has it: a text, or a list of texts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "".join(value)
    raise TypeError("not a text")


def _joined(outputs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Outputs with their index; runs of the same stream are one output."""
    at = 0
    while at < len(outputs):
        first, start = outputs[at], at
        at += 1
        if isinstance(first, Mapping) and first.get("output_type") == "stream":
            try:
                texts = [joined_text(first.get("text"))]
                while at < len(outputs) and _same_stream(first, outputs[at]):
                    texts.append(joined_text(outputs[at].get("text")))
                    at += 1
            except TypeError:
                yield start, first
                at = start + 1
                continue
            yield start, {**first, "text": "".join(texts)}
        else:
            yield start, first


def _same_stream(first: Mapping[str, Any], other: Any) -> bool:
    return (
        isinstance(other, Mapping) and other.get("output_type") == "stream" and other.get("name") == first.get("name")
    )


def _piece(index: int, output: Any, lines: int, characters: int) -> list[Piece]:
    kind = output["output_type"]
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        text = joined_text(output["text"])
        if name == "stderr" and text.startswith(_WITHHELD):
            return [Withheld(index, reason=plain(fold(text, 1, 1_000).head).removeprefix(_WITHHELD).strip())]
        return [text_piece(index, text, lines, characters, name)]
    if kind == "error":
        return [_failure(index, output, lines, characters)]
    if kind in ("display_data", "execute_result"):
        return _shown(index, output["data"], lines, characters)
    raise Unreadable("unknown kind of output")


def _failure(index: int, output: Mapping[str, Any], lines: int, characters: int) -> Failure:
    traceback = output.get("traceback", [])
    text = traceback if isinstance(traceback, str) else "\n".join(joined_text(line) for line in traceback)
    folded = fold(text, lines, characters)
    return Failure(
        index,
        name=plain(joined_text(output.get("ename", "")))[:200],
        message=plain(joined_text(output.get("evalue", "")))[:4000],
        traceback=ansi(folded.head),
        plain=plain(folded.head),
        omitted=folded.lines,
        line=_failing_line(text),
    )


def _failing_line(traceback: str) -> int:
    """The cell's own line in IPython's traceback: the outermost frame of the exception that was raised last."""
    last = _ANOTHER.split(plain(traceback))[-1]
    found = _ITS_OWN_LINE.search(last)
    return int(found[1]) if found else 0


def _shown(index: int, data: Mapping[str, Any], lines: int, characters: int) -> list[Piece]:
    """The best form that can be read, after a word on each better one that could not."""
    aside: list[Piece] = []
    for mime, reader in _forms(index, data, lines, characters):
        if mime not in data:
            continue
        try:
            return [*aside, reader(data[mime])]
        except _TROUBLE as error:
            why = f": {error}" if isinstance(error, Unreadable) else ""
            aside.append(trouble(index, f"The {mime} form of output {index + 1} cannot be shown{why}."))
    if not aside:
        offered = ", ".join(plain(str(mime))[:80] for mime in list(data)[:5]) or "nothing"
        aside.append(trouble(index, f"Output {index + 1} has no form that can be shown here (it offers {offered})."))
    return aside


def _forms(
    index: int, data: Mapping[str, Any], lines: int, characters: int
) -> Iterator[tuple[str, Callable[[Any], Piece]]]:
    """Forms that can be shown, best first, each with its reader."""
    for mime in bundled.MIMES:
        yield mime, partial(bundled.read, mime, index=index, lines=lines, characters=characters)
    for mime in ("image/png", "image/jpeg"):
        yield mime, partial(_picture, index, mime, _beside(data))
    drawing = "image/svg+xml", partial(_drawing, index, _beside(data))
    for mime in data:
        library = next((name for start, name in _CHARTS if str(mime).startswith(start)), "")
        if library:
            yield drawing
            yield mime, partial(_chart, index, library, lines, characters)
    yield "text/markdown", partial(_written, index)
    yield "text/html", partial(_html, index, _beside(data), lines)
    yield drawing
    yield "application/json", partial(json_piece, index, lines=lines, characters=characters)
    yield "text/plain", lambda value: text_piece(index, joined_text(value), lines, characters)


def _picture(index: int, mime: str, beside: str, value: Any) -> Picture:
    alternative = "" if _REPRESENTED.match(beside) else beside
    return Picture(index, image=read_image(mime, value), alternative=alternative)


def _drawing(index: int, beside: str, value: Any) -> Html:
    return Html(index, fragment=fragments.sanitise_svg(joined_text(value)), plain=beside)


def _chart(index: int, library: str, lines: int, characters: int, value: Any) -> Chart:
    return Chart(index, library=library, spec=json_piece(index, value, lines, characters))


def _written(index: int, value: Any) -> Written:
    folded = fold(joined_text(value), 10_000, 100_000)
    return Written(index, html=markdown.render(folded.head, deeper=3), plain=plain(folded.head))


def _html(index: int, beside: str, lines: int, value: Any) -> Html | Table:
    html = joined_text(value)
    with suppress(Unreadable):
        return read_table(index, html, lines, beside)
    return Html(
        index,
        fragment=fragments.sanitise(html),
        inline=safe(fragments.inline(html)),
        plain=beside,
    )


def _beside(data: Mapping[str, Any]) -> str:
    """The plain text that stands beside a rich form."""
    try:
        return plain(fold(joined_text(data.get("text/plain", "")), 200, 20_000).head)
    except TypeError:
        return ""

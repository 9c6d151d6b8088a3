"""A cell's nbformat outputs as pieces for a page.

Of the forms that an output offers, the safest rich one is shown: the service's own bundles, then a raster image,
then Markdown, then HTML, then a drawing, then JSON, then plain text. A form that cannot be read gives way to the
next one, and a piece tells so: nothing here raises, whatever the outputs hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runbooks_app.documents import bundled, fragments, markdown
from runbooks_app.documents.images import read_image
from runbooks_app.documents.pieces import (
    Failure,
    Html,
    Picture,
    Piece,
    Withheld,
    Written,
    json_piece,
    text_piece,
    trouble,
)
from runbooks_app.documents.text import CHARACTERS, LINES, ansi, fold, plain, safe
from runbooks_app.documents.unreadable import Unreadable

MOST_OUTPUTS = 500
"""Outputs of one cell that are shown; the rest is counted."""

_WITHHELD = "[runbooks] The output of this cell is withheld:"
"""How the kernels' room tells it, alone in the cell; a kernel that prints it only hides its own words."""

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
    )


def _shown(index: int, data: Mapping[str, Any], lines: int, characters: int) -> list[Piece]:
    """The best form that can be read, after a word on each better one that could not."""
    aside: list[Piece] = []
    forms: list[tuple[str, Callable[[Any], Piece]]] = [
        *(
            (mime, lambda value, mime=mime: bundled.read(mime, value, index, lines, characters))
            for mime in bundled.MIMES
        ),
        *(
            (
                mime,
                lambda value, mime=mime: Picture(index, image=read_image(mime, value), alternative=_beside(data)),
            )
            for mime in ("image/png", "image/jpeg")
        ),
        ("text/markdown", lambda value: _written(index, joined_text(value))),
        ("text/html", lambda value: _html(index, joined_text(value), _beside(data))),
        (
            "image/svg+xml",
            lambda value: Html(index, fragment=fragments.sanitise_svg(joined_text(value)), plain=_beside(data)),
        ),
        ("application/json", lambda value: json_piece(index, value, lines, characters)),
        ("text/plain", lambda value: text_piece(index, joined_text(value), lines, characters)),
    ]
    for mime, reader in forms:
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


def _written(index: int, text: str) -> Written:
    folded = fold(text, 10_000, 100_000)
    return Written(index, html=markdown.render(folded.head, deeper=3), plain=plain(folded.head))


def _html(index: int, html: str, beside: str) -> Html:
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

"""Terminal text as HTML: folded, its colours as classes, its control characters gone.

A kernel's text may hold anything: escape sequences that move a cursor, hide text or make links (OSC 8), characters
that turn the reading direction round (CVE-2021-42574). What is left of it here is text and colour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

LINES = 200
"""Lines shown before the rest is folded."""

CHARACTERS = 40_000
"""Characters shown before the rest is folded, for text without line ends."""

_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_FLAGS = {
    1: "ansi-bold",
    2: "ansi-dim",
    3: "ansi-italic",
    4: "ansi-underline",
    7: "ansi-inverse",
    9: "ansi-strike",
}
_OFF = {
    22: ("ansi-bold", "ansi-dim"),
    23: ("ansi-italic",),
    24: ("ansi-underline",),
    27: ("ansi-inverse",),
    29: ("ansi-strike",),
}

# A string sequence (OSC, DCS, SOS, PM, APC) ends at BEL, ST, or the end of its line: an unended one must not
# swallow what follows. A CSI sequence is as ECMA-48 5.4 has it.
_SGR = re.compile(r"\x1b\[([0-9;:]{0,64})m")
_ESCAPES = re.compile(
    r"\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\|(?=\n)|$|(?=\x1b))"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_SEQUENCES = re.compile(_SGR.pattern + "|" + _ESCAPES.pattern)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNSEEN = re.compile(
    "[\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Folded:
    """The beginning of a text, and how much of it was left out."""

    head: str
    lines: int = 0
    characters: int = 0


def safe(html: str) -> Markup:
    """HTML whose every part was escaped or cleaned by the caller: the one place where that is declared."""
    return Markup(html)  # noqa: S704 - what this function is for


def fold(text: str, lines: int = LINES, characters: int = CHARACTERS) -> Folded:
    """The first `lines` lines, at most `characters` characters; a line that was cut counts as left out."""
    end = -1
    for _ in range(lines):
        end = text.find("\n", end + 1)
        if end < 0 or end > characters:
            break
    head = (
        text if 0 <= len(text) <= characters and end < 0 else text[: end + 1 if 0 <= end <= characters else characters]
    )
    rest = len(text) - len(head)
    left_out = text.count("\n", len(head)) + (not text.endswith("\n")) if rest else 0
    return Folded(head, left_out, rest)


def readable(text: str) -> str:
    """The text without control characters (tab and line end stay) and with direction marks made visible."""
    return _DIRECTIONS.sub(_named, _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text)))


def revealed(text: str) -> str:
    """The text with every character named that shows nothing, moves a cursor or turns the direction round.

    For code that people approve. A lone carriage return ends a line for Python and not for the reader's eye.
    """
    text = _SURROGATES.sub("\ufffd", text.replace("\r\n", "\n"))
    return _UNSEEN.sub(_named, _CONTROLS.sub(_named, text))


def plain(text: str) -> str:
    """The text without any escape sequence, each line as a terminal would have left it."""
    return readable(_ESCAPES.sub("", _overwritten(text)))


def coloured(text: str) -> str:
    """The text with colours alone: every escape sequence but SGR is gone. For notebooks, which show colours."""
    kept = _SEQUENCES.sub(lambda m: m[0] if m[1] is not None else "", _overwritten(text))
    return "\x1b[".join(readable(part) for part in kept.split("\x1b["))


def ansi(text: str) -> Markup:
    """The text as HTML: colours and weights as `<span class="ansi-red-fg ansi-bold">`, the rest escaped.

    256 and 24-bit colours become the nearest of the sixteen, so that no style attribute is needed and themes decide.
    """
    out: list[str] = []
    now: dict[str, str] = {}
    at = 0
    text = _overwritten(text)
    for match in _SEQUENCES.finditer(text):
        _emit(out, text[at : match.start()], now)
        at = match.end()
        if match[1] is not None:
            now = _graphics(now, match[1])
    _emit(out, text[at:], now)
    return safe("".join(out))


def _named(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match[0]):04X}⟩"


def _overwritten(text: str) -> str:
    """Lines that a progress bar wrote over and over with carriage returns, as last written."""
    if "\r" not in text:
        return text
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _emit(out: list[str], text: str, now: dict[str, str]) -> None:
    if not (text := readable(text)):
        return
    classes = " ".join(sorted(now.values()))
    out.append(f'<span class="{classes}">{escape(text)}</span>' if classes else str(escape(text)))


def _graphics(now: dict[str, str], sequence: str) -> dict[str, str]:
    """The classes after one SGR sequence (ECMA-48 8.3.117); codes that we do not know change nothing."""
    codes = [int(code[:5] or 0) for code in sequence.replace(":", ";").split(";")]
    now = dict(now)
    while codes:
        code = codes.pop(0)
        if code == 0:
            now = {}
        elif code in _FLAGS:
            now[_FLAGS[code]] = _FLAGS[code]
        elif code in _OFF:
            for name in _OFF[code]:
                now.pop(name, None)
        elif code in (38, 48):
            if (colour := _extended(codes)) is not None:
                _paint(now, "fg" if code == 38 else "bg", colour)
        elif code in (39, 49):
            now.pop("fg" if code == 39 else "bg", None)
        else:
            for start, side, bright in ((30, "fg", 0), (40, "bg", 0), (90, "fg", 8), (100, "bg", 8)):
                if start <= code < start + 8:
                    _paint(now, side, code - start + bright)
    return now


def _paint(now: dict[str, str], side: str, colour: int) -> None:
    now[side] = f"ansi-{'bright-' if colour >= 8 else ''}{_COLOURS[colour % 8]}-{side}"


def _extended(codes: list[int]) -> int | None:
    """The nearest of the sixteen colours for `5;n` or `2;r;g;b`, taken off the front of `codes`."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        number = codes.pop(0)
        if number < 16:
            return number
        if number < 232:
            cube = number - 16
            return _nearest(*(level * 51 for level in (cube // 36, cube // 6 % 6, cube % 6)))
        return _nearest(*[min(8 + (number - 232) * 10, 255)] * 3) if number < 256 else None
    if kind == 2 and len(codes) >= 3:
        red, green, blue = codes[:3]
        del codes[:3]
        return _nearest(red, green, blue)
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    top = max(red, green, blue)
    if top < 48:
        return 0
    bits = sum(bit for bit, level in ((1, red), (2, green), (4, blue)) if level * 2 > top)
    if bits == 7 and top < 170:
        return 8
    return bits + (8 if top > 200 and bits != 7 else 0) if bits != 7 else (15 if top > 230 else 7)

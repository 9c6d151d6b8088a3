"""Untrusted text made safe for Slack, and cut to length.

Slack reads `<…>` as links, mentions and `@channel`, turns bare addresses into links and `:name:` into
pictures, and `*`, `_`, `~` and backquotes into formatting. In a text that came from a notebook, a database or
a person all of these are taken away: `&<>` are escaped as Slack asks, and a zero-width space goes where a
mention, an address, a picture or a formatting mark would begin. Control and invisible characters (such as
those that turn the writing direction) are dropped.

Lengths count UTF-16 units: Slack does not say what it counts, and that is the strictest reading.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime

BREAK = "\u200b"
"""A zero-width space: Slack sees two words where a reader sees one."""

_MENTION = re.compile(r"@(?=\w)")
_SHOUT = re.compile(r"@(?=(?:channel|here|everyone)\b)", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<=\w)(?=://)|\b(?:www(?=\.)|mailto(?=:)|tel(?=:))", re.IGNORECASE)
_PICTURE = re.compile(r":(?=[\w+'-]*[a-z][\w+'-]*:)", re.IGNORECASE)
_MARK = re.compile(r"(?<![\w])([*_~`])(?=\S)")
_QUOTE = re.compile(r"^(?=>)", re.MULTILINE)
_PERCENT = {char: f"%{ord(char):02X}" for char in '<>|"` \t\r\n'}
_CUT_ENTITY = re.compile(r"&[a-z]{0,3}$")


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF)


def clip(text: str, limit: int) -> str:
    """The text within `limit` units; a cut one ends in "…" and never inside an escaped character."""
    if units(text) <= limit:
        return text
    kept, room = [], limit - 1
    for char in text:
        room -= 2 if ord(char) > 0xFFFF else 1
        if room < 0:
            break
        kept.append(char)
    return _CUT_ENTITY.sub("", "".join(kept)).rstrip() + "…" if limit > 0 else ""


def plain(text: object, limit: int, *, lines: bool = False) -> str:
    """Untrusted text for a `plain_text` object: no markup is read there, so only what cannot be seen goes.

    Line ends become spaces, unless `lines`.
    """
    seen = _visible(str(text)[: limit * 4 + 100])
    return clip(seen.strip() if lines else " ".join(seen.split()), limit)


def safe(text: object, limit: int) -> str:
    """Untrusted text as one line of mrkdwn."""
    return clip(_escaped(_MARK.sub(rf"\1{BREAK}", _neutral(plain(text, limit)))), limit)


def harmless(text: object, limit: int) -> str:
    """Untrusted text as one line for chats that read other markup: nobody is called, nothing is a link or a picture."""
    return clip(_MARK.sub(rf"\1{BREAK}", _neutral(plain(text, limit))), limit)


def inline_code(text: object, limit: int = 600) -> str:
    """Untrusted text as code within a line, ready to be copied: only shouting is broken up.

    A backquote would end the code, so it becomes an apostrophe. No text, no code.
    """
    shown = _SHOUT.sub(f"@{BREAK}", plain(text, limit).replace("`", "'"))
    return f"`{_escaped(shown)}`" if shown else ""


def code(text: object, limit: int) -> str:
    """Untrusted text as a block of code that it cannot close; within `limit` units, fences included."""
    inner = _visible(str(text)[: limit * 4 + 100]).strip("\n")
    inner = _escaped(_neutral(inner).replace("`", f"`{BREAK}"))
    return f"```\n{clip(inner, limit - 8) or ' '}\n```"


def link(url: str, label: object, limit: int = 200) -> str:
    """A link to one of our own pages, with an untrusted label; the label alone where there is no address."""
    text = safe(label, limit) or "open"
    address = _escaped("".join(_PERCENT.get(char, char) for char in _visible(url[:1000])))
    if not url.startswith(("https://", "http://")) or max(units(address), len(url)) > 600:
        return text
    return f"<{address}|{text.replace('|', '¦')}>"


def moment(at: datetime) -> str:
    """A time of day that Slack shows in each reader's own zone, with UTC where it cannot."""
    told = at.astimezone(UTC)
    return f"<!date^{int(told.timestamp())}^{{time}}|{told:%H:%M} UTC>"


def day_and_moment(at: datetime) -> str:
    """A time with its day, for what may be read days later: "today at 03:12" as Slack tells it to each reader."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} at {{time}}|{at_day(at)}>"


def at_day(at: datetime) -> str:
    """A time with its day in UTC, where nobody tells it by the reader's own zone."""
    told = at.astimezone(UTC)
    return f"{told.day} {told:%b, %H:%M} UTC"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "0.4 s", "38 s", "2 min 5 s", "1 h 4 min"."""
    if not math.isfinite(seconds) or seconds < 0:
        return "an unknown time"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def count(number: int, noun: str, many: str = "") -> str:
    """Say how many: "1 finding", "3 findings"."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def _visible(text: str) -> str:
    return "".join(
        char for char in text.replace("\r\n", "\n").replace("\t", "    ")
        if char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    )  # fmt: skip


def _neutral(text: str) -> str:
    text = _MENTION.sub(f"@{BREAK}", text)
    text = _ADDRESS.sub(lambda match: match.group() + BREAK, text)
    text = _PICTURE.sub(f":{BREAK}", text)
    return _QUOTE.sub(BREAK, text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

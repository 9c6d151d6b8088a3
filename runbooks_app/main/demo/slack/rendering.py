"""Block Kit and mrkdwn as HTML: the subset that is sent, all of it escaped, nothing loaded from elsewhere."""

from __future__ import annotations

import html
import re
import struct
from datetime import UTC, datetime

from markupsafe import Markup, escape

_FENCE = re.compile(r"```\n?(.*?)```", re.DOTALL)
_PIECES = re.compile(r"`(?P<code>[^`\n]+)`|<(?P<angle>[^<>\n\ue000]+)>")
_STYLES = (
    (re.compile(r"(?<![\w*])\*(?![\s\u200b])([^*\n]+?)(?<!\s)\*(?![\w*])"), "strong"),
    (re.compile(r"(?<![\w_])_(?![\s\u200b])([^_\n]+?)(?<!\s)_(?![\w_])"), "em"),
    (re.compile(r"(?<![\w~])~(?![\s\u200b])([^~\n]+?)(?<!\s)~(?![\w~])"), "del"),
)
_QUOTED = re.compile(r"^&gt; ?(.*)$", re.MULTILINE)
_HELD = re.compile("\ue000(\\d+)\ue001")

# Not every machine has a font with these pictures, so they are drawn (slack.css), each with its own shape.
SYMBOLS = {
    "🛑": ("stop", "!"),
    "🚨": ("stop", "?"),
    "❌": ("bad", "\u00d7"),
    "⚠️": ("warn", "!"),
    "❗": ("warn", "!"),
    "\u2139\ufe0f": ("info", "i"),
    "🔎": ("look", "⌕"),
    "⏳": ("wait", "…"),
    "⌛": ("late", "…"),
    "✋": ("hand", "?"),
    "👍": ("ok", "✓"),
    "✅": ("ok", "✓"),
    "☑️": ("done", "✓"),
    "🚫": ("off", "\u2013"),
    "♻️": ("off", "↻"),
    "🔒": ("lock", "■"),
    "📌": ("pin", "•"),
}
_SYMBOL = re.compile("|".join(re.escape(symbol) for symbol in sorted(SYMBOLS, key=len, reverse=True)))


def mrkdwn(text: str, people: dict[str, str], channels: dict[str, str]) -> Markup:
    """Slack's markup as HTML."""
    held: list[str] = []

    def hold(piece: str) -> str:
        held.append(piece)
        return f"\ue000{len(held) - 1}\ue001"

    def fence(match: re.Match[str]) -> str:
        return hold(f"<pre><code>{_text(match.group(1).rstrip())}</code></pre>")

    def piece(match: re.Match[str]) -> str:
        if match.group("code") is not None:
            return hold(f"<code>{_text(match.group('code'))}</code>")
        return hold(_angle(match.group("angle"), people, channels))

    text = text.replace("\ue000", "").replace("\ue001", "")
    text = _PIECES.sub(piece, _FENCE.sub(fence, text))
    # What is left may hold &lt; &gt; &amp; and nothing else that means anything to HTML but quotes.
    text = str(_text(text))
    for pattern, tag in _STYLES:
        text = pattern.sub(rf"<{tag}>\1</{tag}>", text)
    text = _QUOTED.sub(r"<blockquote>\1</blockquote>", text)
    text = _symbols(text).replace("\n", "<br>")
    while _HELD.search(text):
        text = _HELD.sub(lambda match: held[int(match.group(1))], text)
    # Blocks bring their own line ends.
    text = re.sub(r"<br>(?=<pre>)|(?<=</pre>)<br>|(?<=</blockquote>)<br>", "", text)
    return Markup(text)  # noqa: S704 (every piece was escaped above)


def plain(text: str) -> Markup:
    """A `plain_text` object, or a person's own words before Slack's escapes are taken off."""
    return Markup(_symbols(str(escape(text))))  # noqa: S704 (escaped right here)


def flat(blocks: list[dict[str, object]], text: str) -> str:
    """All that a message says as one plain text, for tests to look into."""
    said = [part for block in blocks for part in _strings(block)]
    return html.unescape("\n".join(said) if said else text).replace("\u200b", "")


def clock(ts: str) -> tuple[str, str]:
    """A message's time for people and for machines."""
    at = datetime.fromtimestamp(float(ts), UTC)
    return f"{at:%H:%M} UTC", at.isoformat(timespec="seconds")


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels, so that the page does not jump when it loads; else zeros."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return 0, 0
    width, height = struct.unpack(">II", content[16:24])
    return int(width), int(height)


def _text(text: str) -> Markup:
    return escape(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def _angle(inside: str, people: dict[str, str], channels: dict[str, str]) -> str:
    """A link, a mention or a date, as it stands between angle brackets."""
    address, _, label = inside.partition("|")
    if address.startswith("@"):
        return f'<span class="mention">@{escape(people.get(address[1:], label or address[1:]))}</span>'
    if address.startswith("#"):
        return f'<span class="mention">#{escape(channels.get(address[1:], label or address[1:]))}</span>'
    if address.startswith("!date^"):
        return _date(address, label)
    if address.startswith("!"):
        return f'<span class="mention shout">@{escape(address[1:].partition("^")[0])}</span>'
    if address.startswith(("https://", "http://", "mailto:")):
        shown = _text(label or address)
        return f'<a href="{_text(address)}" target="_blank" rel="noopener noreferrer">{shown}</a>'
    return str(_text(f"<{inside}>"))


def _date(address: str, fallback: str) -> str:
    seconds, _, form = address.removeprefix("!date^").partition("^")
    if not seconds.isdigit() or len(seconds) > 10:
        return str(_text(fallback))
    at = datetime.fromtimestamp(int(seconds), UTC)
    shown = form.replace("{time}", f"{at:%H:%M} UTC").replace("{date_num}", f"{at:%Y-%m-%d}")
    shown = shown.replace("{date_short_pretty}", f"{at.day} {at:%b %Y}")
    return f'<time datetime="{at.isoformat()}">{_text(shown)}</time>'


def _symbols(text: str) -> str:
    def drawn(match: re.Match[str]) -> str:
        kind, glyph = SYMBOLS[match.group()]
        # The word beside it says the same, so a screen reader need not.
        return f'<span class="symbol {kind}" aria-hidden="true">{glyph}</span>'

    return _SYMBOL.sub(drawn, text)


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [str(value["text"])] if isinstance(value.get("text"), str) else []
        own += [str(value["alt_text"])] if "alt_text" in value else []
        return own + [part for item in value.values() for part in _strings(item) if not isinstance(item, str)]
    return [part for item in value for part in _strings(item)] if isinstance(value, list) else []

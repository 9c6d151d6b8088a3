r"""Text put into Markdown so that it stays text, in every renderer that a postmortem may be pasted into.

CommonMark's own punctuation is escaped. What renderers add on top of it (bare addresses become links, `@name` calls
somebody, `#12` and `!12` link to issues, `$…$` and `\(…\)` are handed to MathJax) cannot be escaped everywhere, since
it is looked for in the text that remains; words that hold such things become code, which all of them leave alone.
"""

from __future__ import annotations

import re

from runbooks_app.documents.text import readable

_SPECIAL = re.compile(r"[*_~\[\]{}#!]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;"}
_ENTITY = re.compile(r"[&<>|`]")
_LIVELY = re.compile(
    r"://|www\.|@|[$\\]|[#!&~%^]\d|\b(?:mailto|xmpp|data|javascript|vbscript|file|tel|gh)[:-]"
    r"|\w\.(?:[a-z]{2,})(?:/|\b)",
    re.IGNORECASE,
)
_AT_START = re.compile(r"^(\s*)([-+](?=\s|$|[-+])|=+(?=\s*$)|\d{1,9}[.)](?=\s|$))")


def escape(text: str) -> str:
    """One line of Markdown that shows exactly this text; line ends become spaces."""
    words = re.split(r"(\s+)", readable(text).strip())
    line = "".join(" " if word.isspace() else _word(word) for word in words)
    return _AT_START.sub(_quoted_start, line)


def code(text: str) -> str:
    """The text as a code span; empty text gives nothing. Pipes and backticks in it stand outside of the code."""
    words = "".join(" " if part.isspace() else part for part in re.split(r"(\s+)", readable(text).strip()))
    return "".join(_span(part) if part not in _ENTITIES else _ENTITIES[part] for part in _cut(words))


def block(text: str, language: str = "") -> str:
    """The text in a fence that it cannot close."""
    text = readable(text).rstrip("\n")
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def quote(text: str) -> str:
    """Lines of plain text as a block quote, a paragraph for each."""
    lines = [escape(line) for line in text.splitlines() if line.strip()]
    return "\n>\n".join(f"> {line}" for line in lines)


def _word(word: str) -> str:
    parts = re.split(r"([|`])", word)
    return "".join(
        _ENTITIES[part]
        if part in _ENTITIES
        else _span(part)
        if _LIVELY.search(part)
        else _SPECIAL.sub(r"\\\g<0>", _ENTITY.sub(lambda m: _ENTITIES[m[0]], part))
        for part in parts
        if part
    )


def _cut(text: str) -> list[str]:
    return [part for part in re.split(r"([|`])", text) if part]


def _span(text: str) -> str:
    """A code span of a text without backticks; blanks at its ends stand outside, where renderers keep them.

    One character alone is set off by blanks, which renderers take away: JupyterLab would read `$` as the start of math.
    """
    inner = text.strip()
    if not inner:
        return text
    lead, tail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{lead}` {inner} `{tail}" if len(inner) == 1 else f"{lead}`{inner}`{tail}"


def _quoted_start(match: re.Match[str]) -> str:
    """What would begin a list or underline a heading, with its last sign escaped."""
    sign = match[2]
    return f"{match[1]}{sign[:-1]}\\{sign[-1]}"

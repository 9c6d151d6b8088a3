"""No known secret leaves in an output, in any usual spelling.

An Aho-Corasick automaton finds every form of every secret in one pass, literally: no secret is ever part of a regular
expression (Rundeck, 2025: one with `+++` broke the masking, and the error printed it). Then tokens of well-known
formats are taken out, whoever's they are; there are no entropy rules, for they flag harmless text. A sieve in front
of both tells of most texts that neither has anything to find there.

Images cannot be redacted, nor can a secret that a cell disguises on purpose. What keeps a secret safe is that it is
short-lived and narrow; this keeps it from lying around by mistake.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import string
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any
from urllib.parse import quote, quote_plus

import ahocorasick

from runbooks_app.kernels.sieve import Sieve

SHORTEST = 8
"""Characters; anything shorter would blot out harmless text."""

MARK = "[redacted]"

TOKENS = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}"  # GitHub
    r"|github_pat_[A-Za-z0-9_]{20,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xox[abeprs]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS access key ids
    r"|hv[sbr]\.[A-Za-z0-9_-]{20,255})"  # Vault
)
WEB_TOKENS = re.compile(
    # Of all places in a run of its characters where a token may begin only the first is tried (an atomic group): where
    # that is none, no other is, and a text that tries to begin again and again took a time that grew by its square.
    r"(?<![A-Za-z0-9_-])(?>[A-Za-z0-9_-]*?\b(?=eyJ))"
    r"(eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+)"
)
"""JSON web tokens."""
TOKEN_STARTS = (
    *(f"gh{kind}_" for kind in "pousr"),
    "github_pat_",
    "glpat-",
    *(f"xox{kind}-" for kind in "abeprs"),
    "AKIA",
    "ASIA",
    *(f"hv{kind}." for kind in "sbr"),
    "eyJ",
)
_TOKEN_START = re.compile(r"(?<![A-Za-z0-9_])(?:" + "|".join(map(re.escape, TOKEN_STARTS)) + ")")
_TOKEN_CHARACTERS = string.ascii_letters + string.digits + "_.-"
_TOKEN_LONGEST = 4100
"""Characters of a token that is still growing, about: one that is longer is shown from there on."""

_STARTS_BEGUN = frozenset(start[:length] for start in TOKEN_STARTS for length in range(1, len(start)))

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_ANSI_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?)?\Z")
_ANSI_LONGEST = 1000
"""Characters of an escape sequence that a piece of text may end within; a longer one is taken for text."""

_SPACES = bytes((*range(33), 127))
NULL = "\N{SYMBOL FOR NULL}"
"""What stands for a NUL in outputs, as between the letters of UTF-16."""

_WIDE_SPACES = re.compile(
    "[\x80-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    f"{NULL}\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""What the second pass looks through, beside ANSI sequences: white space, control characters, what has no width."""

_OF_NUMBERS = re.compile(r"[0-9.e+-]+")
"""What may stand in a number: where no form is made of that, hundreds of thousands of them need not be looked at."""

_SMALL = 512
"""Characters up to which a text is searched at once; the sieve takes as long as that."""


class Redactor:
    """Knows every form of `secrets`. Holds secrets, so it is never logged; its repr shows none."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these from here on, and no others."""
        forms = {form for secret in secrets for form in forms_of(secret)}
        self._forms = forms
        self._plain = _automaton(forms)
        self._squeezed_forms = {squeeze(form) for form in forms}
        self._squeezed = _automaton(self._squeezed_forms)
        self._longest = max(map(len, forms), default=0)
        self._first = frozenset(form[0] for form in forms)
        self._in_numbers = any(map(_OF_NUMBERS.fullmatch, forms))
        for sieve in ("_sieve", "_squeezed_sieve"):
            vars(self).pop(sieve, None)

    # Made for the first long text: most runs have none, and their kernels would wait 2 ms for them.

    @cached_property
    def _sieve(self) -> Sieve:
        return Sieve(self._forms, TOKEN_STARTS)

    @cached_property
    def _squeezed_sieve(self) -> Sieve:
        return Sieve(self._squeezed_forms)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where secrets and tokens stand in `text`, in order, merged where they overlap."""
        if len(text) < SHORTEST:
            return []
        forms, tokens = self._may_hold(text)
        found = [match.span() for match in TOKENS.finditer(text)] if tokens else []
        if tokens and "eyJ" in text:
            found += [match.span(1) for match in WEB_TOKENS.finditer(text)]
        if forms and self._plain is not None:
            found += [(end + 1 - length, end + 1) for end, length in self._plain.iter(text)]
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _may_hold(self, text: str) -> tuple[bool, bool]:
        """Whether a form, and whether a token, may begin in `text`; not in its last few characters."""
        return (True, True) if len(text) <= _SMALL else self._sieve.may_hold(text)

    def text(self, text: str) -> tuple[str, int]:
        """`text` without secrets, and how many places were taken out."""
        spans = self.spans(text)
        return cut(text, spans), len(spans)

    def value(self, value: Any) -> tuple[Any, int]:
        """A JSON value, keys and numbers included, and how many places were taken out."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            items = [self.value(item) for item in value]
            return [item for item, _ in items], sum(count for _, count in items)
        if isinstance(value, dict):
            pairs = [(self.text(str(key)), self.value(item)) for key, item in value.items()]
            return {key[0]: item[0] for key, item in pairs}, sum(key[1] + item[1] for key, item in pairs)
        if self._in_numbers and isinstance(value, (int, float)) and not isinstance(value, bool):
            clean, count = self.text(str(value))
            return (clean, count) if count else (value, 0)
        return value, 0

    def held(self, text: str, spans: list[tuple[int, int]]) -> int:
        """Where in a text that is still growing the part begins that may yet become a secret.

        It is the longest end of the text that begins a known form. Holding back a fixed length instead would keep
        a cell dark for as long as the longest key is.
        """
        start = len(text)
        if self._plain is not None:
            tail = max(0, len(text) - self._longest + 1)
            if not self._may_hold(text[tail:])[0]:
                tail = max(tail, len(text) - SHORTEST + 1)  # what the sieve has not looked at
            for at in range(tail, len(text)):
                if text[at] in self._first and self._plain.match(text[at:]):
                    start = at
                    break
        start = min(start, _token_begun(text, tokens=self._may_hold(text[-_TOKEN_LONGEST:])[1]))
        # What was found may be the beginning of a longer form: it waits with it.
        for begin, end in reversed(spans):
            if end <= start:
                break
            start = min(start, begin)
        return start

    def short(self, text: str, limit: int = 2000) -> str:
        """At most `limit` characters of a text, for one line: no secret, no part of one, none spread out."""
        if len(text) > limit:
            # The cut may go through a secret: what could be the beginning of one goes too.
            head = text[:limit]
            text = head[: self.held(head, self.spans(head))] + "…"
        clean = self.text(text)[0]
        return "(withheld: it holds a secret, spread out)" if self.smuggled(clean) else clean

    def smuggled(self, text: str) -> bool:
        """Whether a secret stands in `text` once white space and ANSI codes are left out."""
        return self.in_squeezed(squeeze(text))

    def in_squeezed(self, squeezed: str) -> bool:
        """The same of a text that is squeezed already."""
        if self._squeezed is None or (len(squeezed) > _SMALL and not self._squeezed_sieve.may_hold(squeezed)[0]):
            return False
        return next(iter(self._squeezed.iter(squeezed)), None) is not None

    @property
    def longest(self) -> int:
        """Characters of the longest form."""
        return self._longest


class Stream:
    """Redacts text that comes in pieces: a secret may be cut anywhere between two of them."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self.places = 0  # that were redacted

    def feed(self, text: str) -> str:
        """What can be shown of all that came so far and was not shown yet."""
        text = self._held + text
        spans = self._redactor.spans(text)
        start = self._redactor.held(text, spans)
        self._held = text[start:]
        spans = [span for span in spans if span[1] <= start]
        self.places += len(spans)
        return cut(text[:start], spans)

    def finish(self) -> str:
        """The rest."""
        rest, self._held = self._held, ""
        shown, places = self._redactor.text(rest)
        self.places += places
        return shown


class Spread:
    """The second pass over text that comes in pieces: a secret may be spread over any number of them.

    Of what was there before, as many characters are kept as the longest form has, white space and ANSI codes not
    counted, so that it sees what the pass over the whole text would. What it does not see: a secret that goes on
    after an escape sequence of more than `_ANSI_LONGEST` characters which is cut between two pieces.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._squeezed = self._begun = ""
        self.found = False

    def feed(self, text: str) -> None:
        """Go on; `found` tells."""
        text = self._begun + text
        begun = _ANSI_BEGUN.search(text, max(0, len(text) - _ANSI_LONGEST)) if "\x1b" in text else None
        end = begun.start() if begun else len(text)
        self._begun = text[end:]
        squeezed = self._squeezed + squeeze(text[:end])
        self.found = self.found or self._redactor.in_squeezed(squeezed)
        self._squeezed = squeezed[max(0, len(squeezed) - self._redactor.longest) :]


def cut(text: str, spans: list[tuple[int, int]]) -> str:
    """`text` with the mark instead of each span."""
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], MARK]
        at = end
    return "".join([*pieces, text[at:]])


def squeeze(text: str) -> str:
    """`text` without white space, control characters and ANSI sequences."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    raw = text.encode(errors="replace").translate(None, _SPACES)
    return raw.decode() if raw.isascii() else _WIDE_SPACES.sub("", raw.decode())


def _token_begun(text: str, *, tokens: bool) -> int:
    """Where a token begins that the text ends within, or the beginning of one; `tokens`: whether there may be any."""
    tail = text[-(_TOKEN_LONGEST if tokens else 2 * SHORTEST) :]
    begun = _TOKEN_START.search(text, len(text) - len(tail) + len(tail.rstrip(_TOKEN_CHARACTERS)))
    if begun:
        return begun.start()
    for length in range(min(len(text), max(map(len, TOKEN_STARTS))), 0, -1):
        if text[-length:] in _STARTS_BEGUN and not _word(text[-length - 1 : -length]):
            return len(text) - length
    return len(text)


def _word(character: str) -> bool:
    """Whether a token cannot begin behind it."""
    return character == "_" or character.isalnum()


@lru_cache(maxsize=32)
def forms_of(secret: str) -> frozenset[str]:
    """Every spelling in which a secret is looked for: as a whole, and line by line (keys in PEM form)."""
    lines = [line.strip() for line in secret.splitlines()]
    # A PEM header is no secret, and stands in harmless text.
    wholes = {secret, secret.strip(), *(line for line in lines if not line.startswith("-----"))}
    spelt = chain.from_iterable(_spellings(whole) for whole in wholes if len(whole) >= SHORTEST)
    return frozenset(form for form in spelt if len(squeeze(form)) >= SHORTEST)


def _spellings(secret: str) -> Iterator[str]:
    raw = secret.encode(errors="replace")
    yield secret
    yield secret[::-1]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # Bytes in front shift the six-bit groups: only whole groups of the secret's own are looked for.
            encoded = encode(b"\0" * before + raw).decode()
            yield encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
    for hexadecimal in (raw.hex(), raw.hex(":"), raw[::-1].hex()):
        yield from (hexadecimal, hexadecimal.upper())
    yield "".join(f"\\x{byte:02x}" for byte in raw)
    for percent in (
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        "".join(f"%{byte:02X}" for byte in raw),
    ):
        yield from (percent, re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), percent))
    for ascii_only in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield from (escaped, escaped.replace("/", "\\/"), json.dumps(escaped, ensure_ascii=ascii_only)[1:-1])
    for shown in (
        repr(secret),
        ascii(secret),
        repr(raw)[1:],
        repr(secret + "'")[:-2] + '"',
        repr(secret + '"')[:-2] + "'",
    ):
        yield shown[1:-1]
        yield repr(shown[1:-1])[1:-1]
    entities = html.escape(secret)
    yield from (
        entities,
        html.escape(secret, quote=False),
        entities.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        entities.replace("&#x27;", "'"),
    )
    yield shlex.quote(secret).removeprefix("'").removesuffix("'")


def _automaton(forms: set[str]) -> Any:
    if not forms:
        return None
    automaton = ahocorasick.Automaton()
    for form in forms:
        automaton.add_word(form, len(form))
    automaton.make_automaton()
    return automaton

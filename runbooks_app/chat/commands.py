"""What a person typed after `/runbook`, as a value; and the way back, for corrected commands.

    (nothing) · list            what can be run here
    help [TOPIC]                how this works
    status [RUN]                what goes on in this channel
    cancel [RUN]                stop a run
    incident [TITLE]            open one; without a title, which are open here
    attach #12 | RUN            work an incident here too; make a run part of this channel's
    note [#12] TEXT             a line for the incident's timeline
    close [#12] [CAUSE]         close it; without a cause, a form
    postmortem                  the incident's document
    NAME [key=value] ?          a form for the runbook's parameters
    NAME key=value key="a b"    run it

Parsing is pure and total: any text at all gives a `Command` or raises `InvalidInput` with the mend. Whether
the runbook and its parameters exist is not known here. Values stay texts; `core.parameters` gives them types.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from runbooks_app.core.errors import InvalidInput, Problem

MAX_LENGTH = 4000
"""Characters of a command that are read; Slack's own box ends sooner."""

_QUOTES = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"') | dict.fromkeys("\u2018\u2019\u201a\u201b", "'")
)
"""What phones and word processors make of straight quotes."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_LINK = re.compile(r"<(?:https?://|mailto:)[^<>|]*(?:\|[^<>]*)?>")
_NAMED = re.compile(r"<([@#])[A-Z0-9]+\|([^<>|]+)>")
_INCIDENT = re.compile(r"#([0-9]{1,9})(?:\s+|$)", re.ASCII)
_RUN_PAGE = re.compile(r"/runs/([a-z2-7]{16})\b")
_PLAIN = re.compile(r"[^\s\"'=]+")


class Verb(StrEnum):
    """What is asked for."""

    LIST = "list"
    HELP = "help"
    STATUS = "status"
    CANCEL = "cancel"
    NOTE = "note"
    INCIDENT = "incident"
    ATTACH = "attach"
    CLOSE = "close"
    POSTMORTEM = "postmortem"
    FORM = "form"
    RUN = "run"


WORDS = {str(verb): verb for verb in Verb if verb not in {Verb.FORM, Verb.RUN}}
"""Commands that begin with a word of their own."""


@dataclass(frozen=True)
class Command:
    """A command: `runbook` and `arguments` for RUN and FORM, `text` for the others (a note, a run's id).

    `incident` is the number that was given; None for none.
    """

    verb: Verb
    runbook: str = ""
    arguments: tuple[tuple[str, str], ...] = ()
    text: str = ""
    incident: int | None = None

    @property
    def given(self) -> dict[str, str]:
        """The arguments as a mapping; no name occurs twice."""
        return dict(self.arguments)


def parse(text: str) -> Command:
    """Read the text of a slash command; raise `InvalidInput` saying how to write it."""
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"The command is longer than {MAX_LENGTH:,} characters. Use the form: `/runbook NAME ?`")
    text = as_typed(text)
    bad = next((c for c in text if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\t\n\r"), None)
    if bad:
        raise InvalidInput(f"The command holds a control character (U+{ord(bad):04X}). Type it afresh.")
    head, _, rest = text.strip().partition(" ") if "\n" not in text else _first_word(text)
    word, rest = head.lower(), rest.strip()
    if not word:
        return Command(Verb.LIST)
    if word in {"?", "-h", "--help"}:
        return Command(Verb.HELP, text=rest)
    if word in WORDS:
        return _plain_command(WORDS[word], rest)
    if not _NAME.fullmatch(word):
        raise InvalidInput(
            "The first word is the name of a runbook, such as db-latency. `/runbook list` shows what can be run here."
        )
    return _run_command(word, rest)


def tell(command: Command) -> str:
    """The text that `parse` reads as this command, for "did you mean" and for the log."""
    if command.verb in {Verb.RUN, Verb.FORM}:
        mark = ["?"] if command.verb is Verb.FORM else []
        return " ".join([command.runbook, *mark, *(f"{key}={_quoted(value)}" for key, value in command.arguments)])
    number = "" if command.incident is None else f"#{command.incident}"
    return " ".join(part for part in (command.verb, number, command.text) if part)


def _first_word(text: str) -> tuple[str, str, str]:
    parts = text.split(None, 1)
    return (parts[0] if parts else ""), " ", (parts[1] if len(parts) > 1 else "")


def as_typed(text: str) -> str:
    """Undo what Slack and phones do to a text: links and names in angle brackets, escaped `&<>`, odd spaces."""

    def unlinked(match: re.Match[str]) -> str:
        address, _, label = match.group()[1:-1].partition("|")
        return label or address.removeprefix("mailto:") if address.startswith("mailto:") else address

    text = _NAMED.sub(r"\1\2", _LINK.sub(unlinked, text))
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def _plain_command(verb: Verb, rest: str) -> Command:
    if verb is Verb.ATTACH:
        return _attach_command(rest)
    number = None
    if verb in {Verb.NOTE, Verb.CLOSE}:
        number, rest = _number(rest)
    if verb in {Verb.NOTE, Verb.CLOSE, Verb.INCIDENT}:
        rest = _unquoted(rest)
        if verb is Verb.NOTE and not rest:
            raise InvalidInput("A note needs its text: `/runbook note blocked deploys until 04:00`")
        return Command(verb, text=rest, incident=number)
    if rest and verb in {Verb.LIST, Verb.POSTMORTEM}:
        raise InvalidInput(f"`/runbook {verb}` takes nothing after it. To run a runbook: `/runbook NAME key=value`")
    if len(rest.split()) > 1:
        raise InvalidInput(f"`/runbook {verb}` takes at most one word after it.")
    return Command(verb, text=rest)


def _attach_command(rest: str) -> Command:
    """`#12`, a run's id or the address of its page, or one of each."""
    numbers, ids = [], []
    for word in rest.split():
        number, other = _number(word)
        if number is not None:
            numbers.append(number)
        else:
            page = _RUN_PAGE.search(other)
            ids.append(page[1] if page else other)
    if not rest or len(numbers) > 1 or len(ids) > 1:
        raise InvalidInput(
            "Say what is attached: `/runbook attach #12` works incident 12 here too, `/runbook attach RUN` makes a run"
            " part of this channel's incident."
        )
    return Command(Verb.ATTACH, text=next(iter(ids), ""), incident=next(iter(numbers), None))


def _number(text: str) -> tuple[int | None, str]:
    """An incident's number that a text begins with (`#12`), and the rest of it."""
    found = _INCIDENT.match(text)
    return (int(found[1]), text[found.end() :]) if found else (None, text)


def _unquoted(text: str) -> str:
    """A text without the quotes that stand around all of it."""
    plain = text.translate(_QUOTES)
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'" and plain.count(plain[0]) == 2:
        return text[1:-1].strip()
    return text


def _run_command(name: str, rest: str) -> Command:
    given = words(rest)
    arguments: dict[str, str] = {}
    problems: list[Problem] = []
    for word in given:
        if word == "?":
            continue
        key, equals, value = word.partition("=")
        shown = word if len(word) <= 60 else word[:59] + "…"
        if not equals or not _KEY.fullmatch(key):
            fix = 'Write name=value; put quotes around a value that holds spaces: note="two words".'
            problems.append(Problem(shown, "is not a parameter.", fix))
        elif key in arguments:
            problems.append(Problem(key, "is given twice.", "Give it once."))
        else:
            arguments[key] = value
    if problems:
        raise InvalidInput(
            f"The command for {name} could not be read. `/runbook {name} ?` opens a form.",
            problems=tuple(problems[:10]),
        )
    verb = Verb.FORM if "?" in given else Verb.RUN
    return Command(verb, runbook=name, arguments=tuple(arguments.items()))


def words(text: str) -> list[str]:
    r"""Split at spaces outside quotes.

    A quote opens at the start of a word or right after its `=`, and closes before a space or the end, so the
    apostrophe in `note=don't` is an ordinary character. In double quotes `\"` is a
    quote and `\\` a backslash.
    """
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        start = at
        while at < len(text) and not text[at].isspace() and text[at] != "=":
            if at == start and text[at].translate(_QUOTES) in "\"'":
                break
            at += 1
        prefix = text[start:at]
        if at < len(text) and text[at] == "=":
            prefix, at = prefix + "=", at + 1
        if at < len(text) and text[at].translate(_QUOTES) in "\"'":
            value, at = _closed(text, at)
        else:
            begin = at
            while at < len(text) and not text[at].isspace():
                at += 1
            value = text[begin:at]
        found.append(prefix + value)
    return found


def _closed(text: str, at: int) -> tuple[str, int]:
    """The content of the quote that opens at `at`, and where the text goes on after it."""
    mark = text[at].translate(_QUOTES)
    content: list[str] = []
    opened, at = at, at + 1
    while at < len(text):
        char = text[at]
        if mark == '"' and char == "\\" and text[at + 1 : at + 2].translate(_QUOTES) in {'"', "\\"}:
            content.append(text[at + 1])
            at += 2
            continue
        if char.translate(_QUOTES) == mark and (at + 1 == len(text) or text[at + 1].isspace()):
            return "".join(content), at + 1
        content.append(char)
        at += 1
    raise InvalidInput(f"The quote at character {opened + 1} of the parameters is never closed: add {mark}.")


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value.translate(_QUOTES)) and "\\" not in value:
        return value
    # A curly quote in a value would close it as well, so it is escaped like a straight one.
    escaped = "".join("\\" + c if c == "\\" or c.translate(_QUOTES) == '"' else c for c in value)
    return f'"{escaped}"'

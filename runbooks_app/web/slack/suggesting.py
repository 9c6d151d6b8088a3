"""What may have been meant by a command that cannot be done: the whole command, corrected, ready to be sent again."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from runbooks_app.actions.running import usable_connections
from runbooks_app.chat.commands import WORDS, Command, Verb, as_typed, parse, tell, words
from runbooks_app.core.errors import InvalidInput

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.core.people import Person
    from runbooks_app.core.runbook import Parameter


def corrected(service: Service, person: Person, text: str) -> str:
    """The command with another name for what is not known, other parameters and values; empty if nothing is close."""
    text, known = as_typed(text), service.library.runbooks()
    head, _, rest = " ".join(text.split()).partition(" ")
    name = next(iter([head] if head in known else _close(head.lower(), [*known, *WORDS])), "")
    if not name:
        return ""
    if name not in known:
        fixed = f"{name} {rest}".strip()
        return fixed if fixed != text.strip() and _reads(fixed) else ""
    choices = {p.name: _choices(p, usable_connections(service, person)) for p in known[name].parameters}
    try:
        given = words(rest)
    except InvalidInput:
        return ""
    found: dict[str, str] = {}
    for word in given:
        if word == "?":
            continue
        key, value = _argument(word, choices, found)
        if not key or key in found:
            return ""
        found[key] = value
    verb = Verb.FORM if "?" in given else Verb.RUN
    meant = Command(verb, runbook=name, arguments=tuple(found.items()))
    return "" if _reads(text) == meant else tell(meant)


def _argument(word: str, choices: Mapping[str, tuple[str, ...]], found: Mapping[str, str]) -> tuple[str, str]:
    """The parameter and value that a word means; one without a name is a value that only one parameter takes."""
    name, equals, value = word.partition("=")
    if not equals:
        fits = [key for key, offered in choices.items() if key not in found and word in offered]
        return (fits[0], word) if len(fits) == 1 else ("", "")
    key = next(iter([name] if name in choices else _close(name, choices)), "")
    offered = choices.get(key, ())
    return key, value if value in offered else next(iter(_close(value, offered)), value)


def _choices(parameter: Parameter, usable: Mapping[str, str]) -> tuple[str, ...]:
    if parameter.type.kind == "connection":
        return tuple(name for name, kind in usable.items() if kind == parameter.type.connection)
    return tuple(choice for choice in parameter.type.choices if isinstance(choice, str))


def _reads(text: str) -> Command | None:
    try:
        return parse(text)
    except InvalidInput:
        return None


def _close(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word[:60], list(known), n=1)

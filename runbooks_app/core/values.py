"""Types of parameters and inputs: read from annotations, and the JSON values that fit them.

An annotation becomes a `Type` and a literal default becomes a JSON value, both from the AST: nothing is
executed. What people, chats and kernels send is coerced to the type (chats and forms send text), and held
to limits. A value stays a value from here to the kernel: it is never spliced into code.

    str          text without NUL, at most 10,000 characters unless the limits say otherwise
    int          a whole number whose size is below 2**53, so that JSON keeps it
    float        a number whose size is below 2**53: the database writes larger ones as whole numbers,
                 which canonical JSON refuses
    bool         true/yes/on/1 and false/no/off/0 as text
    date         ISO 8601 text
    datetime     ISO 8601 text with an offset; read as UTC where none is given
    literal      one of the choices, of the choices' own type
    list         a JSON list; as text `a, b` or JSON
    connection   name of a connection of that kind
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from runbooks_app.core.runbook import Type
from runbooks_app.core.wording import did_you_mean, quoted, show

MAX_TEXT = 10_000
"""Characters of a text whose limits name no `maxLength`."""

MAX_TEXT_EVER = 100_000
"""The largest `maxLength` that limits may name, and the longest text that is looked at."""

MAX_ITEMS = 1_000
MAX_INTEGER = 2**53 - 1
CONNECTION_KINDS = ("postgres", "http")

TypedValue = dict[str, Any]
"""`{"type": "int", "value": 5}`; lists `{"type": "list", "item": "date", "value": [...]}`."""

_SCALARS = {
    **{name: name for name in ("str", "int", "float", "bool", "date", "datetime")},
    **{f"{module}.{name}": name for module in ("datetime", "dt") for name in ("date", "datetime")},
}
_LITERAL = frozenset({"Literal", "typing.Literal", "t.Literal"})
_CONNECTION = frozenset({"Connection", "kit.Connection"})
_UTC = frozenset({"UTC", "timezone.utc", "datetime.UTC", "datetime.timezone.utc", "dt.UTC", "dt.timezone.utc"})
_TYPES = (
    'Use str, int, float, bool, date, datetime, Literal["a", "b"], a list of one of these, or Connection["postgres"].'
)
CONNECTION_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,16}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


class Unfit(Exception):
    """A type, default, limit or value cannot be used: what is wrong, and how to mend it.

    It never leaves core: whoever knows the object's name tells it as a `Problem`.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        self.message = message
        self.fix = fix
        super().__init__(message)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names, empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def type_of(node: ast.expr) -> Type:
    """The type that an annotation names; raises `Unfit` for any other."""
    name = dotted(node)
    if name in _SCALARS:
        return Type(_SCALARS[name])
    if isinstance(node, ast.Subscript):
        head = dotted(node.value)
        if head in _LITERAL:
            return Type("literal", choices=_choices(node.slice))
        if head == "list":
            item = type_of(node.slice)
            if item.kind not in {"list", "connection"}:
                return Type("list", item=item)
        if head in _CONNECTION and isinstance(node.slice, ast.Constant) and node.slice.value in CONNECTION_KINDS:
            return Type("connection", connection=str(node.slice.value))
    raise Unfit(f"{show(ast.unparse(node))} is no type that can be filled in.", _TYPES)


def _choices(node: ast.expr) -> tuple[Any, ...]:
    """Choices of a `Literal[...]`: texts, whole numbers or booleans, all of one type and each once."""
    found = _literal(node)
    choices = found if isinstance(found, tuple) else (found,)
    kinds = {type(choice) for choice in choices}
    if len(kinds) != 1 or not kinds <= {str, int, bool} or len(set(choices)) < len(choices):
        raise Unfit("A Literal lists texts, whole numbers or booleans, all of one type and each once.")
    for choice in choices:
        coerce(Type(kinds.copy().pop().__name__), choice)
    return choices


def default_of(kind: Type, node: ast.expr) -> Any:
    """The JSON value of a literal default; raises `Unfit` unless it is a literal of exactly this type."""
    if kind.item is not None:
        if not isinstance(node, ast.List):
            raise Unfit(f"The default must be a {kind}.", "Write it as [a, b].")
        return coerce(kind, [default_of(kind.item, element) for element in node.elts])
    if kind.kind in {"date", "datetime"}:
        return _moment(kind.kind, node)
    value = _literal(node)
    wanted = {"int": (int,), "float": (int, float), "bool": (bool,)}.get(kind.kind, (str,))
    if kind.kind == "literal":
        wanted = (type(kind.choices[0]),)
    if type(value) not in wanted:
        raise Unfit(f"The default {quoted(value)} is not {kind}.", "Change the annotation or the default.")
    if kind.kind == "connection" and value == "":
        return value
    return coerce(kind, value)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        shown = show(ast.unparse(node))
        raise Unfit(f"{shown} is no literal.", "Write the value itself: it is read, never computed.") from None


def _moment(kind: str, node: ast.expr) -> str:
    """ISO 8601 text of `date(2026, 1, 2)`, `datetime(2026, 1, 2, tzinfo=UTC)` or `….fromisoformat("…")`."""
    made: type[date] = date if kind == "date" else datetime
    example = 'date(2026, 1, 2) or date.fromisoformat("2026-01-02")'
    if kind == "datetime":
        example = 'datetime(2026, 1, 2, 3, 4, tzinfo=UTC) or datetime.fromisoformat("2026-01-02T03:04+00:00")'
    try:
        moment = _constructed(made, kind, node)
    except (ValueError, TypeError, OverflowError, Unfit):
        raise Unfit(f"{show(ast.unparse(node))} is no literal {kind}.", f"Write {example}.") from None
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise Unfit("The default names no time zone.", f"Write {example}.")
    return moment.isoformat()


def _constructed(made: type[date], kind: str, node: ast.expr) -> date:
    if not isinstance(node, ast.Call):
        raise TypeError
    called = dotted(node.func)
    name = called.removesuffix(".fromisoformat")
    if _SCALARS.get(name) != kind:
        raise TypeError
    arguments = [_zone_or_literal(argument) for argument in node.args]
    named = {str(keyword.arg): _zone_or_literal(keyword.value) for keyword in node.keywords}
    return made(*arguments, **named) if called == name else made.fromisoformat(*arguments, **named)


def _zone_or_literal(node: ast.expr) -> Any:
    return UTC if dotted(node) in _UTC else _literal(node)


def coerce(kind: Type, value: Any, connections: Mapping[str, str] | None = None) -> Any:
    """The JSON value of this type that was meant; raises `Unfit` for what cannot be meant.

    `connections` maps the names that may be used to their kinds; None where that is not to be decided here.
    """
    if kind.item is not None:
        return [_item(kind.item, place, item) for place, item in enumerate(_items(kind, value), 1)]
    if kind.kind == "literal":
        return _choice(kind, value)
    if kind.kind == "connection":
        return _connection(kind, value, connections)
    return _COERCIONS[kind.kind](value)


def storable(text: str) -> bool:
    """Whether databases and UTF-8 can hold the text: no NUL, no lone surrogate."""
    return "\0" not in text and (text.isascii() or not _SURROGATE.search(text))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(f"must be text, not {quoted(value)}.")
    if len(value) > MAX_TEXT_EVER:
        raise Unfit(f"is too long: {len(value):,} characters.", "Shorten it.")
    if not storable(value):
        raise Unfit("holds a NUL or half a character.", "Remove it.")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit(f"must be a whole number, not {quoted(value)}.")
    if abs(value) > MAX_INTEGER:
        raise Unfit("is too large: whole numbers go to 2^53 - 1.")
    return value


def _float(value: Any) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit(f"must be a number, not {quoted(value)}.")
    if not abs(value) <= MAX_INTEGER:  # true of NaN as well
        raise Unfit("must be a number between -2^53 and 2^53.")
    return float(value) + 0.0  # makes -0.0 plain 0.0: canonical JSON knows one zero


def _boolean(value: Any) -> bool:
    found = _BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise Unfit(f"must be true or false, not {quoted(value)}.")
    return found


def _date(value: Any) -> str:
    try:
        return date.fromisoformat(_text(value).strip()).isoformat()
    except (ValueError, Unfit):
        raise Unfit(f"must be a date like 2026-01-31, not {quoted(value)}.") from None


def _datetime(value: Any) -> str:
    try:
        moment = datetime.fromisoformat(_text(value).strip())
    except (ValueError, Unfit):
        raise Unfit(f"must be a time like 2026-01-31T03:12+00:00, not {quoted(value)}.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


_COERCIONS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _integer,
    "float": _float,
    "bool": _boolean,
    "date": _date,
    "datetime": _datetime,
}


def _choice(kind: Type, value: Any) -> Any:
    plain = type(kind.choices[0]).__name__
    try:
        wanted = _COERCIONS[plain](value)
    except Unfit:
        wanted = None
    for choice in kind.choices:
        if choice == wanted and type(choice) is type(wanted):
            return choice
    shown = [show(choice) for choice in kind.choices]
    raise Unfit(f"must be one of {', '.join(shown)}, not {quoted(value)}.", did_you_mean(show(value), shown))


def _connection(kind: Type, value: Any, connections: Mapping[str, str] | None) -> str:
    name = _text(value).strip()
    fitting = sorted(name for name, found in (connections or {}).items() if found == kind.connection)
    choices = f"Choose one of {', '.join(fitting)}." if fitting else f"You may use no {kind}; ask for one."
    if connections is None:
        choices = "Names are lower-case letters, digits and dashes."
    if not name:
        raise Unfit(f"must name a {kind}.", choices)
    if not CONNECTION_NAME.fullmatch(name) or (connections is not None and name not in connections):
        raise Unfit(f"{quoted(name)} is no connection that can be used here.", choices)
    if connections is not None and name not in fitting:
        raise Unfit(f"{quoted(name)} is a {connections[name]} connection; a {kind} is needed.", choices)
    return name


def _items(kind: Type, value: Any) -> list[Any]:
    """The items of a list, also of one written as text."""
    if isinstance(value, str):
        text = _text(value).strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                raise Unfit("is not a list in JSON.", 'Write it as ["a", "b"] or as a, b.') from None
        else:
            value = [part.strip() for part in text.split(",")] if text else []
    if not isinstance(value, list):
        raise Unfit(f"must be a {kind}, not {quoted(value)}.")
    if len(value) > MAX_ITEMS:
        raise Unfit(f"has too many items: {len(value):,}; {MAX_ITEMS:,} are allowed.")
    return value


def _item(kind: Type, place: int, value: Any) -> Any:
    try:
        return coerce(kind, value)
    except Unfit as unfit:
        raise Unfit(f"item {place} {unfit.message}", unfit.fix) from None


def typed(kind: Type, value: Any) -> TypedValue:
    """The value with its type, as a kernel takes it: there it becomes a date, a float, a list of these."""
    if kind.item is not None:
        return {"type": "list", "item": _plain(kind.item), "value": value}
    return {"type": _plain(kind), "value": value}


def _plain(kind: Type) -> str:
    """Name of the Python type that values of this type have in a kernel."""
    if kind.kind == "literal":
        return type(kind.choices[0]).__name__
    return "str" if kind.kind == "connection" else kind.kind

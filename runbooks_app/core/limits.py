"""Limits of parameters as JSON Schema, and the schema that tells clients what a parameter takes.

An author narrows a parameter under `metadata.runbook.parameters.<name>` with a JSON Schema fragment
(draft 2020-12). Only keywords that bind values of the parameter's type are known; any other is refused,
since a misspelt limit would be no limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend

from runbooks_app.core.runbook import Type
from runbooks_app.core.values import MAX_INTEGER, MAX_ITEMS, MAX_TEXT, MAX_TEXT_EVER, Unfit
from runbooks_app.core.wording import did_you_mean, show

_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_KEYWORDS: dict[str, frozenset[str]] = {
    "str": frozenset({"pattern", "minLength", "maxLength"}),
    "int": _NUMBERS,
    "float": _NUMBERS,
    "list": frozenset({"minItems", "maxItems", "uniqueItems", "items"}),
}
_TELL = {
    "pattern": "does not match the pattern {limit}",
    "minLength": "must have at least {limit} characters",
    "maxLength": "may have at most {limit} characters",
    "minimum": "must be at least {limit}",
    "maximum": "may be at most {limit}",
    "exclusiveMinimum": "must be more than {limit}",
    "exclusiveMaximum": "must be less than {limit}",
    "multipleOf": "must be a multiple of {limit}",
    "minItems": "must have at least {limit} items",
    "maxItems": "may have at most {limit} items",
    "uniqueItems": "may hold each item only once",
}
_END = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", re.DOTALL)


def ecma(pattern: str) -> str:
    r"""The pattern with `$` as JSON Schema means it: the end, where Python's also matches before a last `\n`."""
    return _END.sub(lambda found: r"\Z" if found[0] == "$" else found[0], pattern)


def _pattern(_: Any, pattern: str, value: str, __: Any) -> Iterator[ValidationError]:
    if not re.search(ecma(pattern), value):
        yield ValidationError("does not match")


_Validator = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def check(kind: Type, limits: Mapping[str, Any]) -> None:
    """Raise `Unfit` unless the limits are a fragment that binds values of this type."""
    known = _KEYWORDS.get(kind.kind, frozenset())
    for keyword in limits:
        if keyword not in known:
            raise Unfit(f"The limit {keyword!r} does not fit {kind}.", did_you_mean(str(keyword), known))
    try:
        Draft202012Validator.check_schema(dict(limits))
        re.compile(ecma(str(limits.get("pattern", ""))))
    except SchemaError as error:
        raise Unfit(f"The limit {show(list(error.absolute_path))} is malformed: {show(error.message)}.") from None
    except (re.error, OverflowError, RecursionError) as error:
        raise Unfit(f"The pattern cannot be used: {show(str(error))}.") from None
    for keyword, limit in limits.items():
        most = {"maxLength": MAX_TEXT_EVER, "maxItems": MAX_ITEMS}.get(keyword, MAX_INTEGER)
        if isinstance(limit, int | float) and not abs(limit) <= most:
            raise Unfit(f"The limit {keyword} may be at most {most:,}.")
    if kind.item is not None and "items" in limits:
        if not isinstance(limits["items"], Mapping):
            raise Unfit("The limit 'items' must be an object with the limits of one item.")
        check(kind.item, limits["items"])


def schema(kind: Type, limits: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON Schema of the values of this type under these limits."""
    limits = dict(limits or {})
    if kind.item is not None:
        items = schema(kind.item, limits.pop("items", {}))
        return {"type": "array", "maxItems": MAX_ITEMS, **limits, "items": items}
    if kind.kind == "literal":
        return {"enum": list(kind.choices)}
    if kind.kind == "connection":
        return {"type": "string", "x-connection": kind.connection}
    return {**_PLAIN[kind.kind], **limits}


_PLAIN: dict[str, dict[str, Any]] = {
    "str": {"type": "string", "maxLength": MAX_TEXT},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
}


def within(kind: Type, limits: Mapping[str, Any], value: Any) -> None:
    """Raise `Unfit` where a value of this type breaks its limits."""
    for error in _Validator(schema(kind, limits)).iter_errors(value):
        place = f"item {int(error.absolute_path[0]) + 1} " if error.absolute_path else ""
        told = _TELL[str(error.validator)].format(limit=error.validator_value)
        raise Unfit(f"{place}{told}.")

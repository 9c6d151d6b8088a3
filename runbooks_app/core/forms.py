"""Forms made from what a runbook declares: parameters of a run, inputs of a remediation.

A field is described once, for the pages and for the chat: how it is filled in, with what, and what can be checked
before the service checks it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runbooks_app.core.errors import Problem
from runbooks_app.core.runbook import Input, Parameter

_CONTROLS = {"int": "number", "float": "number", "bool": "checkbox", "date": "date"}
_EXAMPLES = {"datetime": "2026-01-31T03:12:00+00:00", "list": "one, another"}


@dataclass(frozen=True)
class Field:
    """One field: `control` is text, number, checkbox, date or select.

    `value` is what it holds at first, as text; `options` are all that a select offers. A number is `whole` or not,
    from `least` to `most`; a text has at most `longest` characters. None where the runbook names no limit. `error` is
    what is wrong with what was filled in.
    """

    name: str
    label: str
    help: str
    control: str
    value: str = ""
    checked: bool = False
    required: bool = False
    options: tuple[str, ...] = ()
    whole: bool = False
    least: float | None = None
    most: float | None = None
    longest: int | None = None
    example: str = ""
    error: str = ""


def fields(
    declared: Iterable[Parameter | Input],
    connections: Mapping[str, str],
    values: Mapping[str, Any],
    problems: Iterable[Problem] = (),
) -> list[Field]:
    """The fields in order, with these values (of the form, or the defaults) and problems beside them.

    `connections` maps the names that this person may choose to their kinds.
    """
    wrong: dict[str, str] = {}
    for problem in problems:
        # Not `capitalize`, which would put names and values into lower case.
        told = [sentence[:1].upper() + sentence[1:] for sentence in (problem.message, problem.fix)]
        wrong.setdefault(problem.where, " ".join(told).strip())
    return [_field(item, connections, values, wrong.get(item.name, "")) for item in declared]


def _field(item: Parameter | Input, connections: Mapping[str, str], values: Mapping[str, Any], error: str) -> Field:
    default = item.default if isinstance(item, Parameter) else None
    value = values.get(item.name, default)
    limits = item.limits if isinstance(item, Parameter) else {}
    control = _CONTROLS.get(item.type.kind, "text")
    options: tuple[str, ...] = ()
    if item.type.kind == "literal":
        control, options = "select", tuple(_text(choice) for choice in item.type.choices)
    elif item.type.kind == "connection":
        control = "select"
        options = tuple(sorted(name for name, kind in connections.items() if kind == item.type.connection))
        if value in ("", None) and len(options) == 1:
            value = options[0]
    return Field(
        name=item.name,
        label=item.name.replace("_", " "),
        help=item.help,
        control=control,
        value=_text(value),
        checked=value is True or str(value).lower() in {"true", "on", "yes", "1"},
        required=isinstance(item, Input) or item.required,
        options=options,
        whole=item.type.kind == "int",
        least=limits.get("minimum") if control == "number" else None,
        most=limits.get("maximum") if control == "number" else None,
        longest=limits.get("maxLength") if item.type.kind == "str" else None,
        example=_EXAMPLES.get(item.type.kind, ""),
        error=error,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

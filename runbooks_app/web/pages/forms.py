"""Forms made from what a runbook declares: parameters of a run, inputs of a remediation.

A field's name in the form is `p.` and the declared name, so that no parameter can pass for the form's own fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.core.errors import Problem
from runbooks_app.core.runbook import Input, Parameter, Type

PREFIX = "p."

_CONTROLS = {"int": "number", "float": "number", "bool": "checkbox", "date": "date"}


@dataclass(frozen=True)
class Field:
    """One field: `control` is text, number, checkbox, date or select; `attributes` narrow it in the browser."""

    name: str
    label: str
    help: str
    control: str
    value: str = ""
    checked: bool = False
    required: bool = False
    options: tuple[tuple[str, str], ...] = ()
    attributes: dict[str, str] = field(default_factory=dict, hash=False)
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


def given(declared: Iterable[Parameter | Input], form: Mapping[str, str]) -> dict[str, Any]:
    """What the person filled in, by declared name; an unchecked box is false, what is not in the form is left out."""
    found: dict[str, Any] = {}
    for item in declared:
        name = PREFIX + item.name
        if item.type.kind == "bool":
            found[item.name] = form.get(name, "") not in {"", "false", "no", "0"}
        elif name in form:
            found[item.name] = form[name].replace("\r\n", "\n")
    return found


def asked(declared: Iterable[Parameter | Input], query: Mapping[str, str]) -> dict[str, Any]:
    """Values that a link brings along, by declared name."""
    return {item.name: query[item.name] for item in declared if item.name in query}


def _field(item: Parameter | Input, connections: Mapping[str, str], values: Mapping[str, Any], error: str) -> Field:
    default = item.default if isinstance(item, Parameter) else None
    value = values.get(item.name, default)
    limits = item.limits if isinstance(item, Parameter) else {}
    control = _CONTROLS.get(item.type.kind, "text")
    options: tuple[tuple[str, str], ...] = ()
    if item.type.kind == "literal":
        control, options = "select", tuple((str(choice), str(choice)) for choice in item.type.choices)
    elif item.type.kind == "connection":
        control = "select"
        names = sorted(name for name, kind in connections.items() if kind == item.type.connection)
        options = tuple((name, name) for name in names)
        if value in ("", None) and len(names) == 1:
            value = names[0]
    return Field(
        name=PREFIX + item.name,
        label=item.name.replace("_", " "),
        help=item.help,
        control=control,
        value=_text(value),
        checked=value is True or str(value).lower() in {"true", "on", "yes", "1"},
        required=isinstance(item, Input) or item.required,
        options=options,
        attributes=_attributes(item.type, limits),
        error=error,
    )


def _attributes(kind: Type, limits: Mapping[str, Any]) -> dict[str, str]:
    """What the browser can check beforehand. The service checks again: this is only sooner."""
    found: dict[str, str] = {}
    if kind.kind in {"int", "float"}:
        found["step"] = "1" if kind.kind == "int" else "any"
        found |= {html: str(limits[ours]) for ours, html in (("minimum", "min"), ("maximum", "max")) if ours in limits}
        found["inputmode"] = "numeric" if kind.kind == "int" else "decimal"
    if kind.kind == "str" and "maxLength" in limits:
        found["maxlength"] = str(limits["maxLength"])
    if kind.kind == "datetime":
        found["placeholder"] = "2026-01-31T03:12:00+00:00"
    if kind.kind == "list":
        found["placeholder"] = "one, another"
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""Parameters of a runbook: read from the one cell tagged `parameters`, and values validated against them.

    service: Literal["orders", "billing"] = "orders"   # Whose database is slow
    database: Connection["postgres"] = ""              # Which database

The cell is read from its AST and never executed. The comment behind a declaration is its help. Types and
values are in `runbooks_app.core.values`, limits in `runbooks_app.core.limits`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from runbooks_app.core import limits as bounds
from runbooks_app.core import values
from runbooks_app.core.errors import BrokenRunbook, InvalidInput, Problem
from runbooks_app.core.names import INJECTED, tree
from runbooks_app.core.runbook import Input, Parameter
from runbooks_app.core.values import TypedValue, Unfit
from runbooks_app.core.wording import did_you_mean, one_line, show

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""What parameters and inputs may be called: names that can be typed in a chat."""

Declared = TypeVar("Declared", Parameter, Input)

_TAKEN = INJECTED | {"kit"}
_MEND = "Write each parameter as `name: type = default  # help`, for example `limit: int = 10  # rows shown`."


def parse(python: str, limits: Mapping[str, Any], where: str = "parameters") -> tuple[Parameter, ...]:
    """The parameters that the cell declares, in order; raises `BrokenRunbook` with every problem.

    `python` is the cell after IPython's transformation, `limits` the JSON Schema fragments by name, `where`
    names the cell in problems.
    """
    problems: list[Problem] = []
    found: dict[str, Parameter] = {}
    module = tree(python, where)
    helps = comments(python)
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        try:
            parameter = _parameter(node, limits, helps, found)
            found[parameter.name] = parameter
        except Unfit as unfit:
            problems.append(Problem(f"{where}, line {node.lineno}", unfit.message, unfit.fix))
    if not problems:
        problems = [
            Problem(f"limits of {one_line(str(name))}", "no such parameter.", did_you_mean(str(name), found))
            for name in limits
            if name not in found
        ]
    if problems:
        raise BrokenRunbook("The parameters cannot be read.", problems=tuple(problems))
    return tuple(found.values())


def _parameter(
    node: ast.stmt, limits: Mapping[str, Any], helps: Mapping[int, str], taken: Mapping[str, Parameter]
) -> Parameter:
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
        raise Unfit(f"{show(ast.unparse(node))} declares no parameter.", _MEND)
    name = check_name(node.target.id)
    if name in taken:
        raise Unfit(f"{name} is declared twice.", "Keep one of them.")
    kind = values.type_of(node.annotation)
    fragment = limits.get(name, {})
    if not isinstance(fragment, Mapping):
        raise Unfit(f"The limits of {name} must be a JSON Schema object.")
    bounds.check(kind, fragment)
    default = values.default_of(kind, node.value)
    try:
        bounds.within(kind, fragment, default)
    except Unfit as unfit:
        raise Unfit(f"The default of {name} {unfit.message}", "Change the default or the limits.") from None
    return Parameter(name, kind, default, help=help_of(node, helps), limits=dict(fragment))


def check_name(name: str) -> str:
    """The name, if a parameter or an input may have it; else raises `Unfit`."""
    if not NAME.fullmatch(name) or name in _TAKEN:
        raise Unfit(
            f"{show(name)} cannot be the name of a parameter or an input.",
            "Use up to 64 letters, digits and underscores, a letter first; kit and IPython's names are taken.",
        )
    return name


def comments(python: str) -> dict[int, str]:
    """Comments by line number (from 1), without their `#`."""
    tokens = tokenize.generate_tokens(io.StringIO(python, newline=None).readline)
    return {token.start[0]: token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT}


def help_of(node: ast.stmt, helps: Mapping[int, str]) -> str:
    """The comment behind a declaration: on its last line, else on its first."""
    return helps.get(node.end_lineno or node.lineno) or helps.get(node.lineno, "")


def validate(
    parameters: Iterable[Parameter], given: Mapping[str, Any], connections: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """JSON values of all parameters: what was given, coerced and held to the limits, else the defaults.

    `connections` maps the connections that the person may diagnose to their kinds; None means that there
    are none. Raises `InvalidInput` with one problem for each parameter at fault.
    """
    declared = tuple(parameters)
    allowed = connections or {}

    def value_of(parameter: Parameter) -> Any:
        value = values.coerce(parameter.type, given.get(parameter.name, parameter.default), allowed)
        bounds.within(parameter.type, parameter.limits, value)
        return value

    return fill(declared, given, value_of, "parameter")


def fill(
    declared: tuple[Declared, ...], given: Mapping[str, Any], value_of: Callable[[Declared], Any], noun: str
) -> dict[str, Any]:
    """The values of everything declared, by name; raises `InvalidInput` with a problem for each one at fault.

    `value_of` gives one value or raises `Unfit`. What was given and is not declared is a problem too.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput(f"The {noun}s must be an object of names and values, not {show(given)}.")
    names = [item.name for item in declared]
    problems = [
        Problem(show(name), f"no such {noun}.", did_you_mean(str(name), names)) for name in given if name not in names
    ]
    found: dict[str, Any] = {}
    for item in declared:
        try:
            found[item.name] = value_of(item)
        except Unfit as unfit:
            problems.append(Problem(item.name, unfit.message, unfit.fix))
    if problems:
        raise InvalidInput(f"The {noun}s cannot be used.", problems=tuple(problems))
    return found


def typed(declared: Iterable[Parameter | Input], given: Mapping[str, Any]) -> dict[str, TypedValue]:
    """The validated values with their types, as a kernel takes them."""
    return {item.name: values.typed(item.type, given[item.name]) for item in declared}


def json_schema(parameters: Iterable[Parameter]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the values that a run takes, for forms, API clients and agents."""
    declared = tuple(parameters)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            parameter.name: {
                **bounds.schema(parameter.type, parameter.limits),
                **({"description": parameter.help} if parameter.help else {}),
                **({} if parameter.required else {"default": parameter.default}),
            }
            for parameter in declared
        },
        "required": [parameter.name for parameter in declared if parameter.required],
        "additionalProperties": False,
    }

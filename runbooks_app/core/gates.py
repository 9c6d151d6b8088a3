"""Gates of remediation cells: read from the AST, never executed.

    pid: int                       # session to end
    backend_start: datetime        # when it began
    kit.gate("terminate-session", "End session {pid} on {database}", risk="high", target="{database}")
    db.execute(...)

The inputs are annotated names without value and come before the one `kit.gate(...)`, which stands at the
top level with literal arguments. Before it there is nothing else but imports: outside the service the gate
raises, so that a "Run All" changes nothing. Titles and targets are templates over inputs and parameters,
with plain `{name}` and nothing more.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from runbooks_app.core import durations, values
from runbooks_app.core import limits as bounds
from runbooks_app.core.errors import BrokenRunbook, InvalidInput, Problem
from runbooks_app.core.names import tree
from runbooks_app.core.parameters import check_name, comments, fill, help_of
from runbooks_app.core.policy import Risk
from runbooks_app.core.runbook import Gate, Input, Parameter, Section
from runbooks_app.core.values import Unfit
from runbooks_app.core.wording import did_you_mean, one_line, show

NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
"""What a gate may be called."""

GROUP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What a group of approvers may be called."""

MAX_TITLE = 200
MAX_APPROVALS = 10

_EXAMPLE = 'kit.gate("terminate-session", "End session {pid} on {database}", risk="high", target="{database}")'


def parse(
    python: str, parameters: Iterable[Parameter] = (), where: str = "remediation"
) -> tuple[tuple[Input, ...], Gate]:
    """Inputs and gate of a remediation cell; raises `BrokenRunbook` with every problem.

    `python` is the cell after IPython's transformation; `parameters` are those of the runbook, which the
    templates may use beside the inputs.
    """
    problems: list[Problem] = []
    inputs: dict[str, Input] = {}
    gates: list[Gate] = []
    module = tree(python, where)
    helps = comments(python)
    known = {parameter.name for parameter in parameters}
    calls = [node for node in ast.walk(module) if is_gate(node)]
    if len(calls) != 1:
        problem = "calls kit.gate more than once." if calls else "calls no kit.gate."
        problems.append(Problem(where, problem, f"Write one, for example: {_EXAMPLE}"))
    for node in module.body if calls else ():
        try:
            _take(node, inputs, gates, known, helps)
        except Unfit as unfit:
            problems.append(Problem(f"{where}, line {node.lineno}", unfit.message, unfit.fix))
    if problems:
        raise BrokenRunbook("The remediation cell cannot be read.", problems=tuple(problems))
    return tuple(inputs.values()), gates[0]


def _take(
    node: ast.stmt, inputs: dict[str, Input], gates: list[Gate], parameters: set[str], helps: Mapping[int, str]
) -> None:
    """Read one statement of the cell into the inputs or the gates; raises `Unfit`."""
    if isinstance(node, ast.AnnAssign) and node.value is None:
        if gates:
            raise Unfit("An input stands below the gate.", "Move it above kit.gate(...).")
        found = _input(node, parameters | set(inputs), helps)
        inputs[found.name] = found
    elif isinstance(node, ast.Expr) and is_gate(node.value):
        gates.append(_gate(node.value, parameters | set(inputs), set(inputs)))
    elif not gates and not isinstance(node, ast.Import | ast.ImportFrom):
        if any(is_gate(part) for part in ast.walk(node)):
            raise Unfit("The gate stands inside another statement.", "Put kit.gate(...) at the top level.")
        raise Unfit("Code stands above the gate.", "Put inputs first, then kit.gate(...), then the code.")


def is_gate(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether this is a call of `kit.gate`."""
    return isinstance(node, ast.Call) and values.dotted(node.func) == "kit.gate"


def _input(node: ast.AnnAssign, taken: set[str], helps: Mapping[int, str]) -> Input:
    if not isinstance(node.target, ast.Name):
        raise Unfit(f"{show(ast.unparse(node))} declares no input.", "Write `name: type  # help`.")
    name = check_name(node.target.id)
    if name == "reason":
        raise Unfit("reason is what kit.propose takes to say why.", "Give the input another name.")
    if name in taken:
        raise Unfit(f"{name} is a parameter or an input already.", "Give the input another name.")
    return Input(name, values.type_of(node.annotation), help=help_of(node, helps))


def _gate(call: ast.Call, known: set[str], inputs: set[str]) -> Gate:
    """The gate of this call, whose templates may use the `known` names."""
    given: dict[str, Any] = {}
    if len(call.args) > 2:
        raise Unfit("kit.gate takes a name and a title; the rest by keyword.", f"For example: {_EXAMPLE}")
    arguments = [*zip(("name", "title"), call.args, strict=False), *((k.arg or "**", k.value) for k in call.keywords)]
    for keyword, node in arguments:
        if keyword not in _ARGUMENTS:
            raise Unfit(f"kit.gate has no argument {keyword}.", did_you_mean(keyword, _ARGUMENTS))
        if keyword in given:
            raise Unfit(f"kit.gate is given {keyword} twice.", "Keep one of them.")
        try:
            given[keyword] = _ARGUMENTS[keyword](ast.literal_eval(node))
        except Unfit as unfit:
            raise Unfit(f"{keyword} of kit.gate {unfit.message}", unfit.fix) from None
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise Unfit(f"{keyword} of kit.gate is no literal.", "Write the value itself.") from None
    for keyword in ("name", "title"):
        if keyword not in given:
            raise Unfit(f"kit.gate lacks its {keyword}.", f"For example: {_EXAMPLE}")
    for keyword in ("title", "target"):
        for name in placeholders(given.get(keyword, "")):
            if name not in known:
                raise Unfit(
                    f"{keyword} of kit.gate uses {{{name}}}, which is no input above it and no parameter.",
                    did_you_mean(name, known),
                )
    for name in given.get("informative", ()):
        if name not in inputs:
            raise Unfit(f"informative of kit.gate names {name}, which is no input.", did_you_mean(name, inputs))
    return Gate(**given)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise Unfit(f"is {show(value)}.", "Use lower-case letters, digits and dashes, a letter first.")
    return value


def _template(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TITLE or not value.isprintable():
        raise Unfit("must be text.", f"Write one line of at most {MAX_TITLE} characters.")
    placeholders(value)
    return value


def _title(value: Any) -> str:
    if value == "":
        raise Unfit("is empty.", "Say in one sentence what it will do.")
    return _template(value)


def _risk(value: Any) -> Risk:
    if value not in list(Risk):
        raise Unfit(f"is {show(value)}.", "Write low, medium or high.")
    return Risk(value)


def _approvals(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_APPROVALS:
        raise Unfit(f"is {show(value)}.", f"Write a whole number from 1 to {MAX_APPROVALS}.")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise Unfit(f"is {show(value)}.", 'Write a list of texts, such as ["database"].')
    return tuple(dict.fromkeys(value))


def _groups(value: Any) -> tuple[str, ...]:
    groups = tuple(sorted(_texts(value)))
    if not groups or not all(GROUP.fullmatch(group) for group in groups):
        raise Unfit(f"is {show(list(groups))}.", 'Write the groups whose approvers may decide, such as ["database"].')
    return groups


def _expires(value: Any) -> int:
    if not isinstance(value, str):
        raise Unfit(f"is {show(value)}.", 'Write a duration, such as "30m".')
    try:
        return durations.parse(value)
    except InvalidInput as error:
        raise Unfit(f"is no duration: {error.message}", 'Write one such as "30m".') from None


def _recheck(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"is {show(value)}.", "Write True or False.")
    return value


_ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "title": _title,
    "risk": _risk,
    "target": _template,
    "approvals": _approvals,
    "approvers": _groups,
    "expires": _expires,
    "informative": _texts,
    "recheck": _recheck,
}


def placeholders(template: str) -> tuple[str, ...]:
    """Names in a template, in order; raises `Unfit` for anything but plain `{name}`."""
    return tuple(name for _, name in _pieces(template) if name)


def _pieces(template: str) -> list[tuple[str, str]]:
    """The template as texts, each with the name that follows it (empty at the end)."""
    mend = "Write {name} alone: no attributes, indexes or formats; {{ and }} stand for braces."
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise Unfit(f"is no template: {error}.", mend) from None
    for _, name, form, conversion in parsed:
        if name is not None and (not name.isidentifier() or form or conversion):
            raise Unfit(f"uses {{{one_line(name)}}} in a way that is not read.", mend)
    return [(text, name or "") for text, name, _, _ in parsed]


def render(template: str, given: Mapping[str, Any]) -> str:
    """The template with values shown short and on one line; raises `InvalidInput` where one is missing."""
    missing = [name for name in placeholders(template) if name not in given]
    if missing:
        problems = tuple(Problem(name, f"has no value for {template!r}.") for name in missing)
        raise InvalidInput("The text cannot be filled in.", problems=problems)
    return "".join(text + (show(given[name]) if name else "") for text, name in _pieces(template))


def validate_inputs(
    section: Section, given: Mapping[str, Any], connections: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """JSON values of a proposal's inputs, all of them given; `InvalidInput` has a problem for each at fault.

    `connections` maps the connections that may be named to their kinds; None where that is decided elsewhere.
    """

    def value_of(declared: Input) -> Any:
        if declared.name not in given:
            raise Unfit("is missing.", f"Give it: {declared.help or declared.type}.")
        value = values.coerce(declared.type, given[declared.name], connections)
        bounds.within(declared.type, {}, value)
        return value

    return fill(section.inputs, given, value_of, "input")

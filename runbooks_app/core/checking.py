"""What is unwise in a runbook that can be read: `runbooks check`, without running anything.

An error fails the check: the runbook would break when it is needed, or it gives away a secret. A warning
says what a colleague would say in a review. What makes a notebook no runbook at all is found by
`runbooks_app.core.reading`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runbooks_app.core import kernel_limits, names
from runbooks_app.core.errors import Problem
from runbooks_app.core.reading import TAGGED, kit_calls
from runbooks_app.core.runbook import Cell, Input, Parameter, Runbook, Section, Stage
from runbooks_app.core.values import dotted
from runbooks_app.core.wording import did_you_mean

SECRETS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an AWS secret key": re.compile(r"(?i)aws_?secret_?(?:access_?)?key['\"]?\s*[=:]\s*['\"][0-9A-Za-z/+=]{40}['\"]"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{36,255}|github_pat_[0-9A-Za-z_]{22,255})\b"),
    "a GitLab token": re.compile(r"\bglpat-[0-9A-Za-z_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}|\bxapp-[0-9]-[0-9A-Za-z-]{10,}"),
    "a Slack webhook": re.compile(r"https://hooks\.slack\.com/(?:services|workflows)/[0-9A-Za-z/_-]{20,}"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"),
    "a JSON Web Token": re.compile(r"\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}"),
    "a password in a URL": re.compile(
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"]{0,100}:(?![{$<%*]|\.\.\.)[^\s/@'\"]{3,200}@"
    ),
}
"""Tokens that have a form of their own; a message names the form and never the token."""

INSTALLS = re.compile(
    r"^(?!\s*#).*?(?:\b(?:pip3?|conda|mamba|uv\s+pip)\s+install\b|['\"]pip3?['\"]\s*,\s*['\"]install['\"])",
    re.MULTILINE,
)
HIDDEN = ("postgres", "http", "gate", "propose", "keep", "kept")
"""Parts of the kit that are read from the source, where they must be called through `kit`."""


@dataclass(frozen=True)
class Report:
    """What the check says of one runbook."""

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not self.errors


def check(runbook: Runbook, notebook: Mapping[str, Any]) -> Report:
    """Everything to say of a runbook and of the notebook, with its outputs, that it was read from."""
    errors = [
        *_metadata(runbook, notebook),
        *_tags(runbook),
        *_outputs(notebook),
        *_sources(runbook),
        *_connections(runbook),
        *_names(runbook),
        *_kept(runbook),
        *_proposals(runbook),
    ]
    return Report(tuple(dict.fromkeys(errors)), tuple(_warnings(runbook)))


def _at(cell: Cell) -> str:
    return f"cell {cell.id}"


def _code(runbook: Runbook) -> Iterator[tuple[Cell, ast.Module]]:
    for cell in runbook.cells:
        if cell.stage is not Stage.TEXT:
            yield cell, names.tree(cell.python, _at(cell))


def _metadata(runbook: Runbook, notebook: Mapping[str, Any]) -> Iterator[Problem]:
    metadata = notebook["metadata"]["runbook"]
    where = "metadata.runbook"
    for key, mend in (
        ("title", "Say in a few words what it looks into."),
        ("owner", "Name the team that keeps it."),
    ):
        if not metadata.get(key):
            yield Problem(f"{where}.{key}", "is missing.", mend)
    for key, example in (("cell", "60s"), ("run", "10m")):
        if key not in metadata.get("timeouts", {}):
            yield Problem(f"{where}.timeouts.{key}", "is missing.", f'Say how long it may take, such as "{example}".')
    times = kernel_limits.settled(runbook.limits, {}, {})
    for cell in runbook.cells:
        if (cell.timeout or 0) > times["run"]:
            yield Problem(_at(cell), "may take longer than the whole run.", "Raise timeouts.run, or lower its own.")
    if times["cell"] > times["run"]:
        yield Problem(f"{where}.timeouts", "lets a cell take longer than the whole run.", "Raise run, or lower cell.")
    if not runbook.diagnosis:
        yield Problem("notebook", "has no diagnostic cell above the first remediation.", "Add one that looks first.")


def _tags(runbook: Runbook) -> Iterator[Problem]:
    stages = [stage.value for stage in TAGGED]
    for cell in runbook.cells:
        for tag in cell.tags:
            hint = did_you_mean(tag, stages)
            if tag not in stages and hint.startswith("Did you mean"):
                yield Problem(_at(cell), f"has the unknown tag {tag}, so it counts as {cell.stage}.", hint)


def _outputs(notebook: Mapping[str, Any]) -> Iterator[Problem]:
    for cell in notebook["cells"]:
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield Problem(
                f"cell {cell['id']}",
                "holds outputs of an execution.",
                "Clear all outputs before you commit: they may hold data and secrets.",
            )


def _sources(runbook: Runbook) -> Iterator[Problem]:
    for cell in runbook.cells:
        for form, pattern in SECRETS.items():
            if pattern.search(cell.source):
                yield Problem(
                    _at(cell), f"holds {form}.", "Revoke it, and reach the system through a connection instead."
                )
        if cell.stage is not Stage.TEXT and INSTALLS.search(cell.source):
            yield Problem(_at(cell), "installs packages when it runs.", "Add them to the kernel's environment.")
    for cell, module in _code(runbook):
        for node in ast.walk(module):
            if isinstance(node, ast.Import | ast.ImportFrom) and _hides_kit(node):
                yield Problem(
                    f"{_at(cell)}, line {node.lineno}",
                    "imports the kit in a way that hides what the cell opens or changes.",
                    "Write `from runbook_library import kit`, then kit.postgres(...), kit.gate(...).",
                )


def _hides_kit(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.startswith("runbook_library") for alias in node.names)
    if node.module == "runbook_library":
        return any(alias.name == "kit" and alias.asname not in {None, "kit"} for alias in node.names)
    return (node.module or "").startswith("runbook_library.kit") and any(alias.name in HIDDEN for alias in node.names)


def _connections(runbook: Runbook) -> Iterator[Problem]:
    for cell in runbook.cells:
        section = next((section for section in runbook.sections if section.cell is cell), None)
        named: list[Parameter | Input] = [*runbook.parameters, *(section.inputs if section else ())]
        kinds = {item.name: item.type.connection for item in named}
        for opened in cell.opens:
            declared = runbook.connections.get(opened.name) or kinds.get(opened.variable, "")
            shown = opened.name or opened.variable
            if opened.name and not declared:
                yield Problem(
                    _at(cell),
                    f"opens {shown}, which is not declared.",
                    f'Add "{shown}": "{opened.kind}" under metadata.runbook.connections.',
                )
            elif declared and declared != opened.kind:
                yield Problem(
                    _at(cell), f"opens {shown} by kit.{opened.kind}.", f"Use kit.{declared}: that is its kind."
                )
        reached = {*runbook.connections.values(), *(parameter.type.connection for parameter in runbook.parameters)}
        for item in section.inputs if section else ():
            if item.type.connection and item.type.connection not in reached:
                yield Problem(
                    _at(cell),
                    f"takes a {item.type} as {item.name}, and the runbook reaches none: nothing could be chosen.",
                    "Add one under metadata.runbook.connections, or make it a parameter.",
                )
        if section is not None and not cell.opens:
            yield Problem(
                _at(cell),
                "opens no connection, so it is given no credential and nobody could approve it.",
                "Call kit.postgres(...) or kit.http(...) in the cell itself.",
            )


def _names(runbook: Runbook) -> Iterator[Problem]:
    """Names that no cell before, in the same kernel, has bound: every kernel starts with parameters and setup."""
    first = (runbook.parameters_cell,) if runbook.parameters_cell else ()
    ready = {parameter.name for parameter in runbook.parameters}
    given = set[str]()
    for cell in (*first, *runbook.setup):
        yield from _unbound(runbook, cell, given, "the cells that run before it define")
        given |= cell.defines | ready
    diagnosed = set(given)
    for cell in runbook.diagnosis:
        yield from _unbound(runbook, cell, diagnosed, "parameters, setup and the cells above define")
        diagnosed |= cell.defines
    for section in runbook.sections:
        held = given | {item.name for item in section.inputs}
        yield from _unbound(runbook, section.cell, held, "parameters, setup and inputs define")
        for cell in section.verification:
            yield from _unbound(runbook, cell, held, "parameters, setup, inputs and the verification above define")
            held |= cell.defines


def _unbound(runbook: Runbook, cell: Cell, known: set[str], what: str) -> Iterator[Problem]:
    for name in sorted(cell.needs - known):
        source = next((other for other in runbook.cells if name in other.defines and other is not cell), None)
        mend = (
            did_you_mean(name, known)
            if source is None
            else (
                f"{_at(source).capitalize()} defines it, and does not run before this one in its kernel: "
                "move it to a setup cell, make it an input, or hand it over with kit.keep."
            )
        )
        yield Problem(_at(cell), f"uses {name}, which none of what {what} is.", mend)


def _kept(runbook: Runbook) -> Iterator[Problem]:
    kept = set[str]()
    anything = False
    for _, module in _code(runbook):
        for call in kit_calls(module, "keep"):
            kept |= {keyword.arg for keyword in call.keywords if keyword.arg}
            anything = anything or any(keyword.arg is None for keyword in call.keywords)
    for cell, module in _code(runbook):
        used = {name for node in ast.walk(module) if isinstance(node, ast.Attribute) and (name := _kept_name(node))}
        if used and cell.stage is Stage.REMEDIATION:
            yield Problem(
                _at(cell), "uses kept values, which nobody approves.", "Make them inputs: these are frozen and shown."
            )
        elif not anything:
            for name in sorted(used - kept):
                yield Problem(_at(cell), f"uses kit.kept.{name}, which no cell keeps.", did_you_mean(name, kept))


def _kept_name(node: ast.Attribute) -> str:
    return node.attr if dotted(node.value) == "kit.kept" else ""


def _proposals(runbook: Runbook) -> Iterator[Problem]:
    gates = [section.gate.name for section in runbook.sections]
    for cell, module in _code(runbook):
        for call in kit_calls(module, "propose"):
            if not call.args or not isinstance(call.args[0], ast.Constant):
                continue
            name = str(call.args[0].value)
            section = runbook.section(name)
            where = f"{_at(cell)}, line {call.lineno}"
            if section is None:
                yield Problem(where, f"proposes {name}, which no gate is called.", did_you_mean(name, gates))
                continue
            yield from _proposed_inputs(where, call, section)


def _proposed_inputs(where: str, call: ast.Call, section: Section) -> Iterator[Problem]:
    declared = {item.name for item in section.inputs}
    given = {keyword.arg for keyword in call.keywords if keyword.arg} - {"reason"}
    for name in sorted(given - declared):
        yield Problem(where, f"gives {section.gate.name} an input {name}.", did_you_mean(name, declared))
    if all(keyword.arg for keyword in call.keywords):
        for name in sorted(declared - given):
            yield Problem(where, f"proposes {section.gate.name} without its input {name}.", "Give it.")


def _warnings(runbook: Runbook) -> Iterator[Problem]:
    if not runbook.description:
        yield Problem("metadata.runbook.description", "is missing.", "Say when to use it.")
    for parameter in runbook.parameters:
        if not parameter.help:
            yield Problem(parameter.name, "has no help.", "Put a comment behind its declaration.")
    for cell in runbook.cells:
        if cell.stage is not Stage.TEXT and not {stage.value for stage in TAGGED} & set(cell.tags):
            yield Problem(_at(cell), "has no tag, so it counts as diagnostic.", "Tag it with what it is for.")
        yield from _untold(runbook, cell)
    seen = False
    for cell in runbook.cells:
        seen = seen or cell.stage is Stage.REMEDIATION
        if seen and cell.stage in {Stage.SETUP, Stage.PARAMETERS}:
            yield Problem(_at(cell), "stands below a remediation and runs before everything.", "Move it to the top.")
    for section in runbook.sections:
        if not any(_verifies(cell) for cell in section.verification):
            yield Problem(
                _at(section.cell),
                "is verified by nothing.",
                "Add a cell below it with kit.check(...) or kit.wait(...).",
            )
    for name in _unopened(runbook):
        yield Problem("metadata.runbook.connections", f"declares {name}, which no cell opens.", "Remove it.")


def _untold(runbook: Runbook, cell: Cell) -> Iterator[Problem]:
    choosable = {item.name for item in runbook.parameters if item.type.kind == "connection"}
    if cell.stage is not Stage.REMEDIATION:
        for opened in cell.opens:
            if not opened.name and opened.variable not in choosable:
                yield Problem(
                    _at(cell),
                    f"opens a {opened.kind} connection whose name cannot be told.",
                    "Name it literally, or by a parameter of the type Connection.",
                )


def _verifies(cell: Cell) -> bool:
    return next(kit_calls(names.tree(cell.python, _at(cell)), "check", "wait"), None) is not None


def _unopened(runbook: Runbook) -> Iterable[str]:
    opened = {found.name for cell in runbook.cells for found in cell.opens}
    return sorted(set(runbook.connections) - opened)

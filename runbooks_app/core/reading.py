"""Reads a notebook as a runbook, without running it.

A notebook that does not hold together is a `BrokenRunbook` with every problem found. What is sound but
unwise is told by `runbooks_app.core.checking`. The notebook comes as the dict that its JSON is; IPython's
transformation of the cells comes with it, since core knows no IPython.
"""

from __future__ import annotations

import ast
import re
import shlex
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

from runbooks_app.core import digests, gates, kernel_limits, names, parameters, values
from runbooks_app.core.errors import BrokenRunbook, Problem
from runbooks_app.core.kernel_limits import Limit
from runbooks_app.core.runbook import Cell, Input, Opened, Parameter, Runbook, Section, Stage
from runbooks_app.core.wording import did_you_mean, show

CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TAGGED = (Stage.PARAMETERS, Stage.SETUP, Stage.DIAGNOSTIC, Stage.REMEDIATION)
"""Stages that a tag names."""

KEYS = frozenset({"id", "title", "owner", "description", "connections", "timeouts", "limits", "parameters"})
"""What `metadata.runbook` may hold."""

MAGICS = {"sql": "postgres", "promql": "http"}
"""The kit's cell magics, each with the kind of the connection that its line names."""

MAX_CELLS = 2_000
MAX_DEPTH = 100
"""Levels of lists and objects in a notebook."""

MAX_TEXT = 5_000
"""Characters of a text in the metadata."""

_Read = TypeVar("_Read")


def read(
    name: str, notebook: Mapping[str, Any], python: Mapping[str, str], *, modules: str = "", environment: str = ""
) -> Runbook:
    """The runbook in this notebook; raises `BrokenRunbook`.

    `python` maps ids of code cells to their text after IPython's transformation. `modules` and
    `environment` are digests of what the runbook can import and runs in; they go into its own.
    """
    return _Reader(name, notebook, python).read(modules, environment)


def within(runbook: Runbook, ceilings: Mapping[str, int]) -> Runbook:
    """The runbook as it is; raises `BrokenRunbook` where it asks for more than this installation gives."""
    asked = [(f"metadata.runbook, {name}", {name: value}) for name, value in runbook.limits.items()]
    asked += [(f"cell {cell.id}", {"cell": cell.timeout}) for cell in runbook.cells if cell.timeout]
    problems = tuple(
        Problem(
            where,
            f"asks for {given}; this installation allows {most} at most.",
            "Lower it, or have RUNBOOKS_CEILINGS raised.",
        )
        for where, limits in asked
        for _, given, most in kernel_limits.above(limits, ceilings)
    )
    if problems:
        raise BrokenRunbook(f"{runbook.name}.ipynb asks for more than it can have here.", problems=problems)
    return runbook


def storable(notebook: Any) -> bool:
    """Whether a database can keep this JSON value: whole characters, no NUL, not too deep."""
    waiting = [(notebook, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH or (isinstance(value, str) and not values.storable(value)):
            return False
        if isinstance(value, Mapping):
            waiting.extend((child, depth + 1) for pair in value.items() for child in pair)
        elif isinstance(value, list):
            waiting.extend((child, depth + 1) for child in value)
    return True


def text_of(source: Any) -> str | None:
    """A cell's source, which notebooks keep as text or as a list of lines; None if it is neither."""
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None


def code_of(notebook: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Id and source of each code cell that has both."""
    cells = notebook.get("cells")
    for cell in cells if isinstance(cells, list) else ():
        if isinstance(cell, Mapping) and cell.get("cell_type") == "code":
            cell_id, source = cell.get("id"), text_of(cell.get("source"))
            if isinstance(cell_id, str) and source is not None:
                yield cell_id, source


def without_outputs(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook with no cell executed: a new dict, whose cells are new as well."""
    cells = notebook.get("cells")
    plain = dict(notebook)
    if isinstance(cells, list):
        plain["cells"] = [
            {**cell, "outputs": [], "execution_count": None}
            if isinstance(cell, Mapping) and cell.get("cell_type") == "code"
            else cell
            for cell in cells
        ]
    return plain


def kit_calls(module: ast.AST, *called: str) -> Iterator[ast.Call]:
    """Calls of these functions of the kit, such as `kit.postgres(...)`."""
    wanted = {f"kit.{name}" for name in called}
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and values.dotted(node.func) in wanted:
            yield node


class _Reader:
    """One reading: gathers problems, so that an author sees all of them at once."""

    def __init__(self, name: str, notebook: Mapping[str, Any], python: Mapping[str, str]) -> None:
        self.name = name
        self.notebook = notebook
        self.python = python
        self.problems: list[Problem] = []

    def problem(self, where: str, message: str, fix: str = "") -> None:
        self.problems.append(Problem(where, message, fix))

    def attempt(self, where: str, step: Callable[[], _Read], otherwise: _Read) -> _Read:
        """What the step gives; where it finds the runbook broken, its problems are kept."""
        try:
            return step()
        except BrokenRunbook as broken:
            self.problems.extend(broken.problems)
        except RecursionError:  # such as a sum of a thousand terms, which is a tree a thousand levels deep
            self.problem(where, "is nested too deep to be read.", "Split its longest expression.")
        return otherwise

    def read(self, modules: str, environment: str) -> Runbook:
        if not storable(self.notebook):
            self.problem("notebook", "holds a NUL, half a character, or is nested too deep.", "Remove it.")
        metadata = self.metadata()
        cells = self.cells()
        declared = self.parameters(cells, metadata)
        sections = self.sections(cells, declared)
        first = next((place for place, cell in enumerate(cells) if cell.stage is Stage.REMEDIATION), len(cells))
        runbook = Runbook(
            id=self.identity(metadata),
            name=self.name,
            title=self.text(metadata, "title") or self.name,
            description=self.text(metadata, "description"),
            owner=self.text(metadata, "owner"),
            cells=cells,
            parameters=declared,
            setup=tuple(cell for cell in cells if cell.stage is Stage.SETUP),
            diagnosis=tuple(cell for cell in cells[:first] if cell.stage is Stage.DIAGNOSTIC),
            sections=sections,
            connections=self.connections(metadata),
            limits={
                **self.limits(metadata, "timeouts", kernel_limits.TIMES),
                **self.limits(metadata, "limits", kernel_limits.AMOUNTS),
            },
        )
        if not self.problems:
            return replace(runbook, digest=digests.runbook_digest(runbook, modules, environment))
        raise BrokenRunbook(
            f"{self.name}.ipynb cannot serve as a runbook.", problems=tuple(dict.fromkeys(self.problems))
        )

    def metadata(self) -> Mapping[str, Any]:
        version = (self.notebook.get("nbformat"), self.notebook.get("nbformat_minor"))
        if version[0] != 4 or not isinstance(version[1], int) or version[1] < 5:
            self.problem("notebook", "is not of the format 4.5.", "Save it with a current Jupyter: cells need ids.")
        whole = self.notebook.get("metadata")
        found = whole.get("runbook") if isinstance(whole, Mapping) else None
        if not isinstance(found, Mapping):
            self.problem("metadata", "has no object 'runbook'.", "Start from `runbooks new NAME`.")
            return {}
        self.known("metadata.runbook", found, KEYS)
        return found

    def known(self, where: str, found: Mapping[str, Any], keys: frozenset[str]) -> None:
        for key in found:
            if key not in keys:
                self.problem(where, f"has no key {show(key)}.", did_you_mean(str(key), keys))

    def mapping(self, metadata: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        found = metadata.get(key, {})
        if isinstance(found, Mapping):
            return found
        self.problem(f"metadata.runbook.{key}", "is not an object.")
        return {}

    def text(self, metadata: Mapping[str, Any], key: str) -> str:
        found = metadata.get(key, "")
        if isinstance(found, str) and len(found) <= MAX_TEXT and values.storable(found):
            return found
        self.problem(f"metadata.runbook.{key}", f"is not text of at most {MAX_TEXT:,} characters.")
        return ""

    def identity(self, metadata: Mapping[str, Any]) -> str:
        found = metadata.get("id")
        try:
            return str(uuid.UUID(found if isinstance(found, str) else ""))
        except ValueError:
            self.problem(
                "metadata.runbook.id", f"is {show(found)}, not a UUID.", "Make one with `uuidgen`; keep it for good."
            )
            return ""

    def limits(self, metadata: Mapping[str, Any], key: str, known: Mapping[str, Limit]) -> dict[str, int]:
        """What the metadata asks for under `timeouts` or `limits`."""
        found, wrong = kernel_limits.parse(self.mapping(metadata, key), known)
        for name, what in wrong:
            self.problem(f"metadata.runbook.{key}.{show(name)}", what)
        return found

    def timeout(self, where: str, own: Mapping[str, Any]) -> int | None:
        """A cell's own time limit."""
        found, wrong = kernel_limits.parse({"cell": own["timeout"]} if "timeout" in own else {})
        for _, what in wrong:
            self.problem(where, what)
        return found.get("cell")

    def connections(self, metadata: Mapping[str, Any]) -> dict[str, str]:
        declared = self.mapping(metadata, "connections")
        for name, kind in declared.items():
            if not values.CONNECTION_NAME.fullmatch(str(name)) or kind not in values.CONNECTION_KINDS:
                self.problem(
                    "metadata.runbook.connections",
                    f"has {show(name)}: {show(kind)}.",
                    f"Give a name in lower case and a kind: {' or '.join(values.CONNECTION_KINDS)}.",
                )
        return {str(name): str(kind) for name, kind in declared.items()}

    def cells(self) -> tuple[Cell, ...]:
        found = self.notebook.get("cells")
        if not isinstance(found, list) or len(found) > MAX_CELLS:
            self.problem("notebook", f"has no list of at most {MAX_CELLS:,} cells.")
            return ()
        cells = tuple(self.cell(place, cell) for place, cell in enumerate(found, 1))
        ids = [cell.id for cell in cells]
        for repeated in sorted({cell_id for cell_id in ids if ids.count(cell_id) > 1} - {""}):
            self.problem(f"cell {repeated}", "shares its id with another cell.", "Give one of them another id.")
        marked = [cell for cell in cells if cell.stage is Stage.PARAMETERS]
        for cell in marked[1:]:
            self.problem(f"cell {cell.id}", "is a second cell tagged parameters.", "Move its lines into the first.")
        return cells

    def cell(self, place: int, found: Any) -> Cell:
        """One cell, which with a problem is empty of what could not be read."""
        found = found if isinstance(found, Mapping) else {}
        cell_id = found.get("id")
        where = f"cell {place}"
        if isinstance(cell_id, str) and CELL_ID.fullmatch(cell_id):
            where = f"cell {cell_id}"
        else:
            self.problem(where, "has no id, or one that is none.", "Save the notebook with a current Jupyter.")
            cell_id = ""
        source = text_of(found.get("source"))
        if source is None or not values.storable(source):
            self.problem(where, "has no source that is text without NUL and half characters.")
            source = ""
        metadata = found.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        tags = metadata.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            self.problem(where, "has tags that are no list of texts.")
            tags = []
        cell = Cell(cell_id, self.stage(where, found.get("cell_type"), tags), source, tags=tuple(tags))
        if cell.stage is Stage.TEXT:
            return cell
        own = self.mapping(metadata, "runbook")
        self.known(f"{where}, metadata.runbook", own, frozenset({"timeout"}))
        cell = replace(cell, python=self.python.get(cell_id, source), timeout=self.timeout(where, own))
        return self.attempt(where, lambda: understood(cell, where), cell)

    def stage(self, where: str, cell_type: Any, tags: list[str]) -> Stage:
        if cell_type in ("markdown", "raw"):
            return Stage.TEXT
        if cell_type != "code":
            self.problem(where, f"has the type {show(cell_type)}.", "Use code, markdown or raw.")
        named = [stage for stage in TAGGED if stage.value in tags]
        if len(named) > 1:
            self.problem(where, f"is tagged {' and '.join(named)}.", "Keep the one tag that says what it is for.")
        return named[0] if named else Stage.DIAGNOSTIC

    def parameters(self, cells: tuple[Cell, ...], metadata: Mapping[str, Any]) -> tuple[Parameter, ...]:
        limits = self.mapping(metadata, "parameters")
        cell = next((cell for cell in cells if cell.stage is Stage.PARAMETERS), None)
        where = f"cell {cell.id}" if cell else "metadata.runbook.parameters"
        python = cell.python if cell else ""
        return self.attempt(where, lambda: parameters.parse(python, limits, where), ())

    def sections(self, cells: tuple[Cell, ...], declared: tuple[Parameter, ...]) -> tuple[Section, ...]:
        sections: list[Section] = []
        for place, cell in enumerate(cells):
            where = f"cell {cell.id}"
            if cell.stage is Stage.REMEDIATION:
                read = self.attempt(where, partial(gates.parse, cell.python, declared, where), None)
                if read is None:
                    continue
                inputs, gate = read
                self.opened(where, cell, [*declared, *inputs])
                if any(section.gate.name == gate.name for section in sections):
                    self.problem(where, f"has the gate {gate.name}, as another cell has.", "Give it another name.")
                below = takewhile(lambda cell: cell.stage is not Stage.REMEDIATION, cells[place + 1 :])
                verification = tuple(cell for cell in below if cell.stage is Stage.DIAGNOSTIC)
                sections.append(Section(cell, gate, inputs, verification))
        return tuple(sections)

    def opened(self, where: str, cell: Cell, declared: list[Parameter | Input]) -> None:
        """A remediation holds write credentials for what its own cell opens, so that must be told from the text."""
        choosable = {item.name for item in declared if item.type.kind == "connection"}
        for opened in cell.opens:
            if not opened.name and opened.variable not in choosable:
                self.problem(
                    where,
                    f"opens a {opened.kind} connection whose name cannot be told.",
                    f'Write kit.{opened.kind}("name"), or name a parameter or an input of the type Connection.',
                )


def understood(cell: Cell, where: str) -> Cell:
    """The code cell with its names and connections; raises `BrokenRunbook` where its code cannot be read."""
    module = names.tree(cell.python, where)
    found = names.names_of(module, cell.python, where)
    calls = list(kit_calls(module, "gate", *values.CONNECTION_KINDS))
    if cell.stage is not Stage.REMEDIATION and any(gates.is_gate(call) for call in calls):
        problem = Problem(where, "calls kit.gate and is not tagged remediation.", "Tag it, or remove the gate.")
        raise BrokenRunbook("A gate stands in a read-only cell.", problems=(problem,))
    opens = dict.fromkeys([*(_opened(call) for call in calls if not gates.is_gate(call)), *_by_magic(module)])
    return replace(cell, defines=found.defines, needs=found.needs, opens=tuple(opens))


def _by_magic(module: ast.Module) -> Iterator[Opened]:
    """Connections that the kit's magics open: `%%sql orders-db`, or by a name in braces, `%%sql {database}`."""
    for node in ast.walk(module):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="run_cell_magic"),
                args=[ast.Constant(value=str(magic)), ast.Constant(value=str(line)), *_],
            ) if magic in MAGICS and (name := _connection(line)):
                variable = name[1:-1] if name[0] == "{" and name[-1] == "}" else ""
                yield Opened(MAGICS[magic], variable=variable) if variable else Opened(MAGICS[magic], name=name)


def _connection(line: str) -> str:
    """The connection in a magic's line, as the kit reads it: each of its options takes a value. Empty for none."""
    try:
        words = iter(shlex.split(line))
    except ValueError:  # an open quote, which the kit refuses as well
        return ""
    for word in words:
        if not word.startswith("--"):
            return word
        if "=" not in word:
            next(words, "")
    return ""


def _opened(call: ast.Call) -> Opened:
    kind = values.dotted(call.func).removeprefix("kit.")
    argument = next(iter([*call.args, *(keyword.value for keyword in call.keywords)]), None)
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return Opened(kind, name=argument.value)
    return Opened(kind, variable=argument.id if isinstance(argument, ast.Name) else "")

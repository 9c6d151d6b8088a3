"""Names that a cell binds and names that it needs, from its AST; nothing is executed.

A cell *needs* a name that it may read before it has bound it itself, and that Python and IPython do not
bring along. It *defines* the names that it leaves bound at module level. The reading follows the order of
execution, so `total = total + 1` both needs and defines `total`. Of two branches either may have bound a
name; a loop's body is read once. Bodies of functions, and of lambdas that are given a name, run later: they
need what nothing in the cell binds anywhere. Other lambdas are arguments of calls that mostly run them at once.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from runbooks_app.core.errors import BrokenRunbook, Problem
from runbooks_app.core.wording import show

INJECTED = frozenset(
    {"get_ipython", "display", "In", "Out", "exit", "quit", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh"}
)
"""Names that IPython puts beside the builtins."""

_GIVEN = INJECTED | frozenset(dir(builtins))
_NUMBERED = re.compile(r"_i?[0-9]+")


@dataclass(frozen=True)
class Names:
    """Module-level names that a cell leaves bound, and those that it needs from others."""

    defines: frozenset[str]
    needs: frozenset[str]


def tree(python: str, where: str) -> ast.Module:
    """The cell's AST; raises `BrokenRunbook` where it is no Python, naming the line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an unknown escape in a text: the author's, not ours
            module = ast.parse(python)
            compile(module, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        problem = Problem(f"{where}{line}", f"{error.msg}.", "Mend the syntax.")
    except (ValueError, RecursionError, MemoryError) as error:
        problem = Problem(where, f"cannot be read as Python: {show(str(error))}.", "Make it plainer.")
    else:
        return module
    raise BrokenRunbook("The cell is no Python.", problems=(problem,))


def analyse(python: str, where: str = "cell") -> Names:
    """Names of a cell, given after IPython's transformation; raises `BrokenRunbook` for what cannot be read."""
    return names_of(tree(python, where), python, where)


def names_of(module: ast.Module, python: str, where: str) -> Names:
    """Names of a cell whose AST is at hand. A star import hides what it binds and is refused."""
    walk = _Walk()
    walk.visit(module)
    if walk.stars:
        problems = tuple(
            Problem(
                f"{where}, line {node.lineno}",
                f"'from {node.module or '.'} import *' hides which names it brings.",
                "Import the names that are used.",
            )
            for node in walk.stars
        )
        raise BrokenRunbook("The cell's names cannot be told.", problems=problems)
    reads, binds = _later(python, where)
    needs = walk.needs | (reads - walk.ever - binds)
    return Names(_ours(walk.bound | binds), _ours(needs - _GIVEN))


def _ours(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if name not in INJECTED and not _NUMBERED.fullmatch(name))


def _later(python: str, where: str) -> tuple[set[str], set[str]]:
    """Module-level names that the cell's functions read, and those that they bind by `global`."""
    reads: set[str] = set()
    binds: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tables = symtable.symtable(python, where, "exec").get_children()
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                reads.add(symbol.get_name())
            if symbol.is_declared_global() and symbol.is_assigned():
                binds.add(symbol.get_name())
    return reads, binds


class _Walk(ast.NodeVisitor):
    """Goes through a module in the order in which Python runs it."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.ever: set[str] = set()
        self.needs: set[str] = set()
        self.stars: list[ast.ImportFrom] = []
        self._classes: list[set[str]] = []
        self._hidden: list[set[str]] = []
        self._in_lambda = 0

    def _bind(self, name: str) -> None:
        if self._classes:
            self._classes[-1].add(name)
        else:
            self.bound.add(name)
            self.ever.add(name)

    def _read(self, name: str) -> None:
        if not any(name in names for names in (*self._hidden, *self._classes, self.bound)):
            self.needs.add(name)

    @contextmanager
    def _hiding(self, names: Iterable[str] = ()) -> Iterator[None]:
        """Names of an inner scope, such as a comprehension's, that the module does not see."""
        self._hidden.append(set(names))
        yield
        self._hidden.pop()

    def _each(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _branches(self, *branches: Iterable[ast.AST | None]) -> None:
        """Ways that may be taken from here: afterwards either may have bound its names."""
        before = self.bound
        after = set[str]()
        for branch in branches:
            self.bound = set(before)
            self._each(branch)
            after |= self.bound
        self.bound = after

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id)
        elif isinstance(node.ctx, ast.Del):
            self._read(node.id)
            (self._classes[-1] if self._classes else self.bound).discard(node.id)
        elif self._hidden:
            self._hidden[-1].add(node.id)
        else:
            self._bind(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Lambda):
            self._defaults(node.value.args)
        else:
            self.visit(node.value)
        self._each(node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
        self._each([node.value, node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._each([node.annotation, node.value])
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        if self._in_lambda:
            self._hidden[-1].add(node.target.id)
        else:
            self._bind(node.target.id)  # also out of a comprehension (PEP 572)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._bind(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(node)
            self._bind(alias.asname or alias.name)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches(node.body, node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._branches(node.body, [])
        self._each(node.orelse)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._branches([node.target, *node.body], [])
        self._each(node.orelse)

    visit_AsyncFor = visit_For  # noqa: N815 - ast.NodeVisitor calls methods by the nodes' names

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.bound)
        self._each(node.body)
        done = set(self.bound)
        self._each(node.orelse)
        after = set(self.bound)
        for handler in node.handlers:
            self.bound = before | done  # the body may have come any way
            self.visit(handler)
            after |= self.bound
        self.bound = after
        self._each(node.finalbody)

    visit_TryStar = visit_Try  # noqa: N815 - ast.NodeVisitor calls methods by the nodes' names

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._each([node.type])
        if node.name:
            self._bind(node.name)
        self._each(node.body)
        if node.name:  # Python unbinds it where the handler ends
            (self._classes[-1] if self._classes else self.bound).discard(node.name)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        self._branches(*([case.pattern, case.guard, *case.body] for case in node.cases), [])

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._each([node.pattern])
        if node.name:
            self._bind(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._each([*node.keys, *node.patterns])
        if node.rest:
            self._bind(node.rest)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._each(node.decorator_list)
        with self._hiding(_type_parameters(node)):
            self._defaults(node.args)
            self._each(argument.annotation for argument in _arguments(node.args))
            self._each([node.returns])
        self._bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast.NodeVisitor calls methods by the nodes' names

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._defaults(node.args)
        self._in_lambda += 1
        with self._hiding(argument.arg for argument in _arguments(node.args)):
            self.visit(node.body)
        self._in_lambda -= 1

    def _defaults(self, arguments: ast.arguments) -> None:
        self._each([*arguments.defaults, *arguments.kw_defaults])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._each(node.decorator_list)
        self._classes.append(_type_parameters(node))
        self._each([*node.bases, *node.keywords, *node.body])
        self._classes.pop()
        self._bind(node.name)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self._comprehension(node.generators, node.elt)

    visit_SetComp = visit_GeneratorExp = visit_ListComp  # noqa: N815 - ast.NodeVisitor calls methods by the nodes' names

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, node.key, node.value)

    def _comprehension(self, generators: Sequence[ast.comprehension], *results: ast.expr) -> None:
        self.visit(generators[0].iter)  # the first source belongs to the scope around
        with self._hiding():
            for place, generator in enumerate(generators):
                self._each([generator.iter if place else None, generator.target, *generator.ifs])
            self._each(results)


def _arguments(given: ast.arguments) -> list[ast.arg]:
    both = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [argument for argument in both if argument is not None]


def _type_parameters(node: ast.AST) -> set[str]:
    """Names of PEP 695 type parameters, which Python 3.12 brought."""
    return {parameter.name for parameter in getattr(node, "type_params", [])}

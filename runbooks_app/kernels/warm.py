"""The library's own modules, imported before the fork, and used in a kernel as long as they are what lies on disk.

What was approved is what lies on disk when a run begins, and the process that kernels are forked from may be older. To
import the kit anew in each kernel took 7 ms of the 30 that six short cells take in all.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

PACKAGE = "runbook_library"

Mark = tuple[int, int, int]
"""Of a file: inode, time of its last change in nanoseconds, size. Python trusts the same two of its own caches."""


@dataclass
class Warm:
    """Modules, each with the file that it was read from and that file's mark before it was read."""

    origin: str = ""
    modules: dict[str, ModuleType] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)

    @classmethod
    def imported(cls, *names: str) -> Warm:
        """Import these and take them, with whatever of the library they import, out of sight again."""
        before = marks_of(origin := _origin())
        for name in names:
            importlib.import_module(name)
        warm = cls(origin)
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            module = sys.modules.pop(name)
            warm.modules[name] = module
            path = getattr(module, "__file__", None)
            if path is not None:
                # A file that nobody saw before it was read fits no mark, so that all of them are read again.
                warm.marks[path] = before.get(path, (0, 0, 0))
        return warm

    def put_back(self) -> None:
        """In a kernel: have them as if just imported, if every file is as it was; else they are imported anew."""
        if _origin() == self.origin and all(_mark(path) == mark for path, mark in self.marks.items()):
            sys.modules.update(self.modules)


def marks_of(origin: str) -> dict[str, Mark]:
    """The marks of all modules in the folder that this file, a package's own, lies in."""
    found = {str(path): _mark(path) for path in Path(origin).parent.rglob("*.py")} if origin else {}
    return {path: mark for path, mark in found.items() if mark is not None}


def _origin() -> str:
    """Where the library would be imported from now."""
    spec = PathFinder.find_spec(PACKAGE)
    return (spec.origin or "") if spec else ""


def _mark(path: str | Path) -> Mark | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

"""The library: the folder of notebooks that serve as runbooks, read and kept up to date.

`db-latency.ipynb` in the folder is the runbook `db-latency`. Whenever somebody asks, files that changed are
read again; a broken one is listed with its problems and never takes the others down. The `.py` files in the
folder (the kit and helpers) are what runbooks can import: their digest is part of each runbook's.

The rules are in `runbooks_app.core.reading` and `checking`. Here are files, nbformat's schema and IPython's
transformation of cells (magics become calls). Nothing of a notebook is executed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager
from nbformat.validator import iter_validate

from runbooks_app.core import checking, digests, kernel_limits, reading
from runbooks_app.core.checking import Report
from runbooks_app.core.errors import BrokenRunbook, Misconfigured, NotFound, Problem, Unavailable
from runbooks_app.core.runbook import Runbook
from runbooks_app.core.wording import did_you_mean, one_line, show

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""What a runbook may be called."""

MAX_FILE = 5_000_000
"""Bytes of a notebook; a larger one is refused unread."""

MAX_SCHEMA_PROBLEMS = 5

_FRESH = 100_000_000
"""Nanoseconds within which a second change may leave a file's time and size as they are: it is read again."""

_Mark = tuple[int, int, int]
"""Inode, time of change in nanoseconds, size: what tells whether a file is still the one that was read."""


_MAX_RECENT = 200
_recent: dict[tuple[str, str], Runbook] = {}
_recent_lock = threading.Lock()


@dataclass(frozen=True)
class _Sound:
    """A runbook, the notebook that it was read from (without outputs), and what `runbooks check` says of it."""

    runbook: Runbook
    notebook: dict[str, Any]
    report: Report


@dataclass(frozen=True)
class _View:
    """What the library holds at one moment: notebooks by the stem of their file's name."""

    modules: str
    notebooks: dict[str, _Sound | BrokenRunbook]


class Library:
    """The runbooks in a folder. Safe to use from many threads."""

    def __init__(self, folder: Path, ceilings: Mapping[str, int] = kernel_limits.CEILINGS) -> None:
        self.folder = folder.resolve()
        self._ceilings = ceilings
        if not self.folder.is_dir():
            raise Misconfigured(f"The library {self.folder} is no folder. Name the folder that holds the notebooks.")
        self._lock = threading.Lock()
        self._read: dict[str, tuple[_Mark | None, _Sound | BrokenRunbook]] = {}
        self._modules: dict[str, tuple[_Mark | None, bytes]] = {}
        self._view = _View("", {})
        self._revisions: dict[tuple[str, str], Runbook] = {}

    def runbooks(self) -> dict[str, Runbook]:
        """All sound runbooks by name, in the order of their names."""
        return {name: found.runbook for name, found in self._now().notebooks.items() if isinstance(found, _Sound)}

    def broken(self) -> dict[str, BrokenRunbook]:
        """Notebooks that cannot serve as runbooks, by the stem of their file's name."""
        return {name: found for name, found in self._now().notebooks.items() if isinstance(found, BrokenRunbook)}

    def get(self, name: str) -> Runbook:
        """The runbook of this name; raises `NotFound` with what may have been meant, or `BrokenRunbook`."""
        return self._find(name).runbook

    def notebook(self, name: str) -> dict[str, Any]:
        """The notebook of a sound runbook without outputs: what is stored as its revision."""
        return copy.deepcopy(self._find(name).notebook)

    def revision(self, name: str) -> tuple[Runbook, dict[str, Any]]:
        """Runbook and notebook of one and the same moment: what is stored under the runbook's digest."""
        found = self._find(name)
        return found.runbook, copy.deepcopy(found.notebook)

    def reports(self) -> dict[str, Report]:
        """What `runbooks check` says of every notebook; the problems of a broken one are errors."""
        return {
            name: found.report if isinstance(found, _Sound) else Report(errors=found.problems)
            for name, found in self._now().notebooks.items()
        }

    def read_revision(self, name: str, notebook: Mapping[str, Any]) -> Runbook:
        """A stored notebook as a runbook, with the digest that it has under today's modules and environment.

        Where this is not the digest that the revision was stored by, something that it imports or runs in
        has changed since.
        """
        runbook = reading.within(_read(name, notebook), self._ceilings)
        return replace(runbook, digest=digests.runbook_digest(runbook, self.modules_digest, self.environment_digest))

    def stored_revision(self, digest: str, fetch: Callable[[], tuple[str, Mapping[str, Any]]]) -> Runbook:
        """The revision stored under `digest`, as `read_revision` has it; fetched by name and notebook when it is new.

        What is stored under a digest never changes, so it is read once for the modules of each moment.
        """
        key = digest, self.modules_digest
        with self._lock:
            known = self._revisions.get(key)
        if known is None:
            known = self.read_revision(*fetch())
            with self._lock:
                if len(self._revisions) >= _MAX_RECENT:
                    self._revisions.pop(next(iter(self._revisions)))
                self._revisions[key] = known
        return known

    @property
    def modules_digest(self) -> str:
        """Digest of the modules in the folder as they are now."""
        return self._now().modules

    @property
    def environment_digest(self) -> str:
        """Digest of the environment that kernels run in."""
        return environment_digest()

    def _find(self, name: str) -> _Sound:
        notebooks = self._now().notebooks
        found = notebooks.get(name)
        if found is None:
            sound = [known for known, other in notebooks.items() if isinstance(other, _Sound)]
            raise NotFound(f"There is no runbook {show(name)}. {did_you_mean(name, sound)}")
        if isinstance(found, BrokenRunbook):
            raise BrokenRunbook(found.message, problems=found.problems)  # a fresh one: each raise adds its traceback
        return found

    def _now(self) -> _View:
        """The folder as it is; what has not changed is kept from before."""
        with self._lock:
            try:
                modules = self._modules_now()
                read = {path.stem: self._file(path) for path in sorted(self._files())}
            except OSError as error:
                raise Unavailable(f"The library {self.folder} cannot be read: {error.strerror}.") from error
            same = read.keys() == self._read.keys() and all(read[name][1] is self._read[name][1] for name in read)
            if not same or modules != self._view.modules:
                self._view = _View(modules, _settled({name: found for name, (_, found) in read.items()}, modules))
            self._read = read
            return self._view

    def _files(self) -> Iterator[Path]:
        """Notebooks right in the folder; hidden ones are editors' own."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".ipynb") and not entry.name.startswith("."):
                    yield Path(entry.path)

    def _file(self, path: Path) -> tuple[_Mark | None, _Sound | BrokenRunbook]:
        """One notebook, read unless it is as it was."""
        known = self._read.get(path.stem)
        try:
            if known and known[0] and known[0] == _mark(path.stat()):
                return known
            mark, content = self._content(path)
        except BrokenRunbook as broken:
            return None, broken
        except OSError as error:
            return None, _broken(path.stem, f"cannot be read: {error.strerror}.", "Mend its place or permissions.")
        try:
            sound = _sound(path.stem, content)
            reading.within(sound.runbook, self._ceilings)
        except BrokenRunbook as broken:
            return mark, broken
        return mark, sound

    def _content(self, path: Path) -> tuple[_Mark | None, bytes]:
        """The bytes of a notebook; raises `BrokenRunbook` for names, places and sizes that are refused."""
        if not NAME.fullmatch(path.stem):
            raise _broken(path.stem, "has a name that cannot be typed.", "Use lower-case letters, digits and dashes.")
        real = Path(os.path.realpath(path, strict=True))
        if not real.is_relative_to(self.folder):
            raise _broken(path.stem, "is a link out of the library.", "Put the notebook itself here.")
        with open(real, "rb", opener=_without_following) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise _broken(path.stem, "is no file.", "Put a notebook here.")
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise _broken(path.stem, f"is larger than {MAX_FILE:,} bytes.", "Clear its outputs; split it.")
        return _mark(found), content

    def _modules_now(self) -> str:
        """Digest of every `.py` file in the folder; contents are kept as long as the files are."""
        found: dict[str, tuple[_Mark | None, bytes]] = {}
        been = set[str]()
        for place, folders, files in os.walk(self.folder, followlinks=True):  # Python imports through links too
            been.add(os.path.realpath(place))
            folders[:] = [
                name
                for name in folders
                if name != "__pycache__"
                and not name.startswith(".")
                and os.path.realpath(Path(place, name)) not in been
            ]
            for path in (Path(place, name) for name in files if name.endswith(".py") and not name.startswith(".")):
                name = str(path.relative_to(self.folder))
                try:
                    mark, known = _mark(path.stat()), self._modules.get(name)
                    found[name] = known if known and mark and known[0] == mark else (mark, path.read_bytes())
                except FileNotFoundError:
                    continue  # just deleted, or a link to nowhere: nothing can import it
        if found != self._modules or not self._view.modules:
            self._modules = found
            return digests.modules_digest({name: content for name, (_, content) in found.items()})
        return self._view.modules


def read_revision(name: str, notebook: Mapping[str, Any], digest: str) -> Runbook:
    """A stored notebook as a runbook, under the digest that it was stored by."""
    return replace(_read(name, notebook), digest=digest)


@cache
def environment_digest() -> str:
    """Digest of Python's version and of everything installed beside this code; computed once."""
    installed = {
        (found.metadata["Name"].lower().replace("_", "-"), found.version) for found in metadata.distributions()
    }
    return digests.environment_digest(platform.python_version(), installed)


def _mark(found: os.stat_result) -> _Mark | None:
    """The file's mark; None while a further change could go unseen."""
    if abs(time.time_ns() - found.st_mtime_ns) < _FRESH:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _without_following(path: str, flags: int) -> int:
    """Opens what is there itself: no link put in its place meanwhile, no waiting for a pipe's other end."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _broken(stem: str, message: str, fix: str) -> BrokenRunbook:
    name = one_line(stem)
    problem = Problem(f"{name}.ipynb", message, fix)
    return BrokenRunbook(f"{name}.ipynb cannot serve as a runbook.", problems=(problem,))


def _sound(name: str, content: bytes) -> _Sound:
    """The runbook in these bytes; raises `BrokenRunbook`."""
    try:
        notebook = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _broken(name, f"is no JSON: {show(str(error))}.", "Save it from Jupyter again.") from None
    if not isinstance(notebook, dict):
        raise _broken(name, "is no notebook: its JSON is no object.", "Save it from Jupyter again.")
    if not reading.storable(notebook):  # before anything walks it by recursion
        raise _broken(name, "holds a NUL, half a character, or is nested too deep.", "Clear its outputs.")
    plain = reading.without_outputs(notebook)
    runbook = _read(name, plain)
    return _Sound(runbook, plain, checking.check(runbook, notebook))


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _read(name: str, notebook: Mapping[str, Any]) -> Runbook:
    """The notebook as a runbook, still without a digest; one that was read lately is not read again."""
    key = name, hashlib.sha256(json.dumps(notebook, sort_keys=True).encode()).hexdigest()
    with _recent_lock:
        known = _recent.get(key)
    if known is not None:
        return known
    runbook = _understood(name, notebook)
    with _recent_lock:
        if len(_recent) >= _MAX_RECENT:
            _recent.pop(next(iter(_recent)))  # the one that has been known for longest
        _recent[key] = runbook
    return runbook


def _understood(name: str, notebook: Mapping[str, Any]) -> Runbook:
    """The notebook as a runbook: our own rules first, since they say best what to mend; then nbformat's schema."""
    runbook = reading.read(name, notebook, _transformed(notebook))
    if errors := list(islice(iter_validate(notebook), MAX_SCHEMA_PROBLEMS)):  # type: ignore[no-untyped-call]
        raise BrokenRunbook(
            f"{name}.ipynb cannot serve as a runbook.",
            problems=tuple(
                Problem(
                    "/".join(str(step) for step in error.absolute_path) or "notebook",
                    f"does not fit nbformat's schema: {one_line(error.message, 200)}.",
                )
                for error in errors
            ),
        )
    return runbook


def _transformed(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Text of each code cell after IPython's transformation, by id; where it fails, the cell stays as it is."""
    manager = TransformerManager()  # type: ignore[no-untyped-call]
    found: dict[str, str] = {}
    for cell_id, source in reading.code_of(notebook):
        try:
            found[cell_id] = manager.transform_cell(source)
        except Exception:  # noqa: BLE001 - seen: IndexError for `=%\\`; the reading tells the cell and its line
            found[cell_id] = source
    return found


def _settled(read: dict[str, _Sound | BrokenRunbook], modules: str) -> dict[str, _Sound | BrokenRunbook]:
    """The notebooks with their digests; those that share an id are broken, since nobody can say whose it is."""
    by_id: dict[str, list[str]] = {}
    for name, found in read.items():
        if isinstance(found, _Sound):
            by_id.setdefault(found.runbook.id, []).append(name)
    settled = dict(read)
    for name, found in read.items():
        if isinstance(found, _Sound):
            twins = [f"{twin}.ipynb" for twin in by_id[found.runbook.id] if twin != name]
            digest = digests.runbook_digest(found.runbook, modules, environment_digest())
            settled[name] = replace(found, runbook=replace(found.runbook, digest=digest))
            if twins:
                settled[name] = _broken(name, f"has the id of {', '.join(twins)}.", "Give the copy an id of its own.")
    return settled

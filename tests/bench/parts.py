"""A bench is made of parts, each of which owes figures: measuring them, and telling what was found.

A part that fails is told by figures that do not hold, and the others go on.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import Figure, missing, table, write
from rich.console import Console

from runbooks_app.main.embedded import remove

Part = Callable[[Any], Iterator[Figure]]
Owed = Mapping[str, tuple[tuple[str, str, str], ...]]
"""The figures that each part owes: (figure, peer, goal). One that it could not give does not hold."""

_console = Console(stderr=True)


def say(what: str) -> None:
    """Tell whoever waits."""
    _console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {what}")


@dataclass
class Bench:
    """What is measured, and what was."""

    title: str
    result: Path
    owed: Owed
    figures: list[Figure] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def measure(self, parts: Mapping[str, Part], opened: Callable[[Path], AbstractContextManager[Any]]) -> None:
        """The figures of these parts, all of them on one subject, which is opened in a folder of its own."""
        if not parts:
            return
        try:
            with _folder() as folder, opened(folder) as subject:
                for name, part in parts.items():
                    self._part(name, part, subject)
        except Exception as error:  # noqa: BLE001  its servers did not start, or not stop
            traceback.print_exc()
            for name in parts:
                self._lacking(name, self.figures, error)

    def tell(self) -> None:
        """Write them, and show them."""
        write(self.figures, self.result)
        Console(width=max(_console.width, 150)).print(table(self.title, self.figures))
        missed = [figure.figure for figure in self.figures if figure.holds is False]
        took = time.monotonic() - self.began
        say(f"{len(self.figures)} figures in {took:.0f} s, in {self.result}; {len(missed)} goals are missed")

    def _part(self, name: str, part: Part, subject: Any) -> None:
        say(name)
        given: list[Figure] = []
        why: Exception | None = None
        try:
            given.extend(part(subject))
        except Exception as error:  # noqa: BLE001  told by the figures that are missing; the others go on
            traceback.print_exc()
            why = error
        self.figures += given
        self._lacking(name, given, why)

    def _lacking(self, name: str, given: Sequence[Figure], error: Exception | None) -> None:
        why = f"{type(error).__name__}: {error}"[:300] if error else "It was not measured."
        there = {(figure.figure, figure.peer) for figure in given}
        for figure, peer, goal in self.owed[name]:
            if (figure, peer) not in there:
                self.figures.append(missing(figure, peer, goal, why))


def chosen(parts: Mapping[str, Part]) -> dict[str, Part]:
    """Those whose name holds one of the words of the command line; all of them without words."""
    words = sys.argv[1:]
    return {name: part for name, part in parts.items() if not words or any(word in name for word in words)}


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the servers' account can pass through, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="runbooks-bench-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        remove(folder)

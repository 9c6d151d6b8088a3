"""`make bench-kernels`: how fast and how small kernels are, as a table and as `build/bench/kernels.json`.

    PYTHONPATH=tests python -m bench.kernels            everything, in about seven minutes on two idle cores
    PYTHONPATH=tests python -m bench.kernels crowd      only parts whose name holds this word

Peers come from `.venv-bench` (tests/bench/requirements.lock). Ours is the real worker's path: claimed, sandboxed,
behind a gateway, redacted, published to Redis and stored in PostgreSQL. Whoever else works on the machine is measured
along, so leave it alone meanwhile. A part that fails is told by figures that do not hold, and the others go on.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import inside, samples, whole
from bench.figures import Figure, missing, table, write
from bench.house import house
from rich.console import Console

from runbooks_app.main.embedded import remove

RESULT = Path("build/bench/kernels.json")

Part = Callable[[Any], Iterator[Figure]]

OWED: dict[str, tuple[tuple[str, str, str], ...]] = {
    "peers": (
        *(
            (inside.FIRST_OUTPUT.format(title), peer, f"≥ {goal} times")
            for title in samples.TITLES.values()
            for peer, goal in inside.FIRST_GOALS.items()
        ),
        *(
            (inside.WHOLE_RUN.format(samples.TITLES[name]), peer, f"≥ {goal} times")
            for (name, peer), goal in inside.WHOLE_GOALS.items()
        ),
    ),
    "crowd of kernels": ((inside.ENGINE_ALONE, "", "≥ 50 runs/s"),),
    "crowd of runs": ((inside.STORED, "", "≥ 30 runs/s"), (inside.CROWDED_FIRST, "", "≤ 1 s")),
    "idle kernel": ((inside.IDLE, "", "≤ 8 MB"),),
    "waiting proposals": ((inside.NO_KERNEL, "", "≤ 0 kernels"),),
    "redaction": ((inside.REDACTION, "", "≥ 20 MB/s"),),
    "self-test": ((inside.SELF_TEST, "", ""),),
    "commands": ((whole.COMMAND + ", p50", "", "≤ 80 ms"), (whole.COMMAND + ", p99", "", "≤ 250 ms")),
    "decisions": ((whole.DECISION, "", "≤ 100 ms"),),
    "flood": ((whole.FLOODED, "", "≤ 20 MB"), (whole.USABLE, "", "≤ 500 ms"), (whole.EVERY_BYTE, "", "every byte")),
}
"""The figures that each part owes: (figure, peer, goal). One that it could not give does not hold."""

INSIDE: dict[str, Part] = {
    "peers": lambda ours: inside.against_peers(ours[0], ours[1], _say),
    "crowd of kernels": lambda ours: inside.crowd_of_kernels(ours[0]),
    "crowd of runs": lambda ours: inside.crowd_of_runs(ours[0]),
    "idle kernel": lambda ours: inside.idle_kernel(ours[0]),
    "waiting proposals": lambda ours: inside.waiting_proposals(ours[0]),
    "redaction": lambda _: inside.redacting(),
    "self-test": lambda ours: inside.self_test(ours[0]),
}
WHOLE: dict[str, Part] = {
    "commands": whole.commands,
    "decisions": whole.decisions,
    "flood": whole.flood,
}

_console = Console(stderr=True)


def _say(what: str) -> None:
    _console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {what}")


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the servers' account can pass through, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="runbooks-bench-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        remove(folder)


def measure(parts: dict[str, Part], subject: Any) -> list[Figure]:
    """The figures of these parts; one that fails has a figure that says so."""
    found: list[Figure] = []
    for name, part in parts.items():
        _say(name)
        given: list[Figure] = []
        why = "It was not measured."
        try:
            given.extend(part(subject))
        except Exception as error:  # noqa: BLE001  told by the figures that are missing; the others go on
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}"[:300]
        found += [*given, *lacking(name, given, why)]
    return found


def lacking(name: str, given: Sequence[Figure], why: str) -> list[Figure]:
    """Figures that this part owes and has not given."""
    there = {(figure.figure, figure.peer) for figure in given}
    return [missing(figure, peer, goal, why) for figure, peer, goal in OWED[name] if (figure, peer) not in there]


def chosen(parts: dict[str, Part], words: Sequence[str]) -> dict[str, Part]:
    """Those whose name holds one of the words; all of them without words."""
    return {name: part for name, part in parts.items() if not words or any(word in name for word in words)}


def main(words: Sequence[str]) -> None:
    """Measure, write, show."""
    logging.basicConfig(level=logging.ERROR)
    began = time.monotonic()
    figures: list[Figure] = []
    for parts, opened in ((WHOLE, _whole), (INSIDE, _inside)):
        wanted = chosen(parts, words)
        if not wanted:
            continue
        try:
            with _folder() as folder, opened(folder) as subject:
                figures += measure(wanted, subject)
        except Exception as error:  # noqa: BLE001  its servers did not start, or not stop
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}"[:300]
            figures += [figure for name in wanted for figure in lacking(name, figures, why)]
    write(figures, RESULT)
    Console(width=max(_console.width, 150)).print(table(figures))
    missed = [figure.figure for figure in figures if figure.holds is False]
    _say(f"{len(figures)} figures in {time.monotonic() - began:.0f} s, in {RESULT}; {len(missed)} goals are missed")


@contextmanager
def _inside(folder: Path) -> Iterator[Any]:
    with house(folder) as ours:
        yield ours, folder


@contextmanager
def _whole(folder: Path) -> Iterator[Any]:
    with whole.whole(folder) as everything:
        yield everything


if __name__ == "__main__":
    main(sys.argv[1:])

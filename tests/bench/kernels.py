"""`make bench-kernels`: how fast and how small kernels are, as a table and as `build/bench/kernels.json`.

    PYTHONPATH=tests python -m bench.kernels            everything, in about seven minutes on two idle cores
    PYTHONPATH=tests python -m bench.kernels crowd      only parts whose name holds this word

Peers come from `.venv-bench` (tests/bench/requirements.lock). Ours is the real worker's path: claimed, sandboxed,
behind a gateway, redacted, published to Redis and stored in PostgreSQL. Whoever else works on the machine is measured
along, so leave it alone meanwhile. A part that fails is told by figures that do not hold, and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import inside, samples, whole
from bench.house import house
from bench.parts import Bench, Owed, Part, chosen, say

RESULT = Path("build/bench/kernels.json")

OWED: Owed = {
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

INSIDE: dict[str, Part] = {
    "peers": lambda ours: inside.against_peers(ours[0], ours[1], say),
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


def main() -> None:
    """Measure, write, show."""
    logging.basicConfig(level=logging.ERROR)
    bench = Bench("Kernels", RESULT, OWED)
    bench.measure(chosen(WHOLE), whole.whole)
    bench.measure(chosen(INSIDE), _inside)
    bench.tell()


@contextmanager
def _inside(folder: Path) -> Iterator[Any]:
    with house(folder) as ours:
        yield ours, folder


if __name__ == "__main__":
    main()

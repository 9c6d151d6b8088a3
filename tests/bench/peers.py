"""What the same notebooks are given to besides our engine, in an environment of its own (`.venv-bench`)."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    pass

CHECKOUT = Path(__file__).parents[2]
PYTHON = CHECKOUT / ".venv-bench" / "bin" / "python"

NAMES = (
    "papermill (command)",
    "papermill (Python API, warm)",
    "jupyter execute",
    "ploomber-engine (command)",
    "ploomber-engine (Python API, warm)",
    "nbclient, cold kernel",
)
"""Commands as people type them, and Python APIs called in a process that has imported everything long ago."""

PROCESSLESS = "ploomber-engine (Python API, warm)"
"""Runs cells in the calling process itself: there is no kernel that could be sealed, stopped or limited."""


@dataclass(frozen=True)
class Took:
    """Milliseconds from the call to the first output, and to the end."""

    first: float
    whole: float


class PeerError(Exception):
    """A peer could not run a notebook."""


class Peers:
    """Runs notebooks with peers, one after the other."""

    def __init__(self, folder: Path) -> None:
        if not PYTHON.exists():
            raise PeerError(
                "There is no .venv-bench; `make bench-kernels` makes it from tests/bench/requirements.lock."
            )
        self._log: IO[bytes] = (folder / "peers.log").open("wb")
        self._process = subprocess.Popen(
            [str(PYTHON), "-I", str(Path(__file__).with_name("peer_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # Whatever kernel specs and settings a person has, these peers find their own.
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def run(self, peer: str, notebook: Path) -> Took:
        """Run it once; PeerError with the reason where that fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"peer": peer, "notebook": str(notebook)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"The process of the peers ended at {peer}; build/bench/peers.log says why.")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{peer}: {answer['error']}")
        return Took((answer["first"] - answer["began"]) / 1e6, (answer["ended"] - answer["began"]) / 1e6)

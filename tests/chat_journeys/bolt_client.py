"""Slack's own framework for JavaScript, from npm: a client that signs and asks Bolt, and an app that takes deliveries.

`bolt/signer.mjs` and `bolt/app.mjs` say what each can do.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import lacking

FOLDER = Path(__file__).parent / "bolt"


@dataclass(frozen=True)
class Node:
    """A node process that is told lines of JSON and tells lines of JSON."""

    process: subprocess.Popen[str]

    def tell(self, what: dict[str, Any]) -> None:
        """Write a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, Any]:
        """Read a line; it waits until there is one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"node ended with {self.process.wait(10)}"
        said: dict[str, Any] = json.loads(line)
        return said

    def ask(self, what: dict[str, Any]) -> dict[str, Any]:
        """Write a line and read its answer."""
        self.tell(what)
        return self.told()


@contextmanager
def running(script: str, *arguments: str) -> Iterator[Node]:
    """A script of `bolt/`; it ends when its standard input is closed, with this process at the latest."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        lacking("Bolt for JavaScript is not installed; `make node` does it.")
        raise AssertionError
    process = subprocess.Popen(
        [node, script, *arguments], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Node(process)
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait(10)

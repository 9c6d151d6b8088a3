"""The same cells in stock nbclient with a stock ipykernel, in a process of its own: it leaves sockets behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(cells: dict[str, str], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Outputs of each cell."""
    told = folder / "outputs.json"
    # The kernel repeats on its own stdout whatever is printed below Python.
    subprocess.run(
        [sys.executable, __file__, folder, told],
        input=json.dumps(list(cells.values())),
        capture_output=True,
        # In a test, ipykernel does not look at what is printed below Python.
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        text=True,
        check=True,
        timeout=240,
    )
    return dict(zip(cells, json.loads(told.read_text()), strict=True))


def main(folder: str, told: str) -> None:
    """Sources on stdin; outputs go into the file `told`."""
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    class Manager(AsyncKernelManager):
        """Starts this very Python's ipykernel, whatever kernelspecs there are."""

        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            del extra_arguments
            return [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file]

    notebook = new_notebook(cells=[new_code_cell(source) for source in json.load(sys.stdin)])
    resources = {"metadata": {"path": folder}}
    client = NotebookClient(notebook, km=Manager(), allow_errors=True, timeout=60, resources=resources)
    client.execute()
    Path(told).write_text(json.dumps([cell.outputs for cell in notebook.cells]))


if __name__ == "__main__":
    main(*sys.argv[1:])

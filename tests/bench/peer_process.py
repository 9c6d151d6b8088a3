"""Runs in the peers' own environment: takes a notebook and a peer's name, runs it, says when it began and ended.

    → {"peer": "papermill", "notebook": path}
    ← {"began": ns, "first": ns, "ended": ns}    or    {"error": why}

Commands are started as a person would; Python APIs are called in this process, where all imports have been done and
one notebook has been run before: that is the best that a service around them could make of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOMENT = re.compile(r"first output at (\d+)")
PROGRAMS = Path(sys.executable).parent
QUIET = {
    "PATH": f"{PROGRAMS}:/usr/local/bin:/usr/bin:/bin",
    "HOME": os.environ["HOME"],
    "LANG": "C.UTF-8",
    # What the peers tell their makers about each use.
    "PLOOMBER_STATS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
COMMANDS = {
    "papermill (command)": ("papermill", "--no-progress-bar", "{notebook}", "{result}"),
    "jupyter execute": ("jupyter", "execute", "{notebook}", "--output={result}"),
    "ploomber-engine (command)": ("ploomber-engine", "--no-progress-bar", "{notebook}", "{result}"),
}


def command(name: str, notebook: Path, result: Path) -> None:
    """Run a peer's command."""
    program, *arguments = (part.format(notebook=notebook, result=result) for part in COMMANDS[name])
    done = subprocess.run(
        [str(PROGRAMS / program), *arguments],
        env=QUIET,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr[-500:]}")


def papermill_api(notebook: Path, result: Path) -> None:
    """Run it with papermill, from Python."""
    import papermill

    papermill.execute_notebook(str(notebook), str(result), progress_bar=False)


def ploomber_api(notebook: Path, result: Path) -> None:
    """Run it in this very process: no kernel, and nothing between two runs."""
    from ploomber_engine import execute_notebook

    execute_notebook(str(notebook), str(result), progress_bar=False)


def nbclient_cold(notebook: Path, result: Path) -> None:
    """Start a kernel and run it with nbclient."""
    import nbformat
    from nbclient import NotebookClient

    read = nbformat.read(notebook, as_version=4)
    NotebookClient(read, kernel_name="python3").execute()
    nbformat.write(read, result)


CALLS = {
    "papermill (Python API, warm)": papermill_api,
    "ploomber-engine (Python API, warm)": ploomber_api,
    "nbclient, cold kernel": nbclient_cold,
}


def run(peer: str, notebook: Path) -> dict[str, object]:
    """Run it once."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.ipynb"
        began = time.monotonic_ns()
        if peer in COMMANDS:
            command(peer, notebook, result)
        else:
            CALLS[peer](notebook, result)
        ended = time.monotonic_ns()
        executed = json.loads(result.read_text())
    cells = executed["cells"]
    failed = [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    if failed:
        return {"error": f"a cell failed: {failed[0].get('evalue')}"}
    printed = "".join("".join(output.get("text", "")) for output in cells[0]["outputs"])
    found = MOMENT.search(printed)
    if found is None:
        return {"error": f"the first cell printed {printed[:80]!r}"}
    return {"began": began, "first": int(found[1]), "ended": ended}


def main() -> None:
    """Serve until the standard input ends."""
    os.environ.update(QUIET)
    asyncio.set_event_loop(asyncio.new_event_loop())
    # Whatever a peer prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = run(asked["peer"], Path(asked["notebook"]))
        except Exception as error:  # noqa: BLE001  told to whoever asked
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

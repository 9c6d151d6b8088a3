"""Waiting where somebody may be looking: for a run's end, for a sign-in."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import typer

from runbooks_app.main.client import printing
from runbooks_app.main.client.api import Api
from runbooks_app.main.client.failures import Unreachable

PAUSE = 0.5
"""Seconds between two looks at a run that is waited for."""
PATIENCE = 60.0
"""Seconds for which a run is waited for while the service cannot be reached: it may be starting anew."""


def ended(api: Api, run_id: str) -> dict[str, Any]:
    """The run, once it has ended. Whoever stops waiting (Ctrl-C) does not stop the run."""
    reached = time.monotonic()
    try:
        with shown(f"Run {run_id}") as tell:
            while True:
                try:
                    found = api.get("runs", run_id)
                    reached = time.monotonic()
                except Unreachable:
                    if time.monotonic() - reached > PATIENCE:
                        raise
                else:
                    tell(_progress(found))
                    if found["ended_at"]:
                        return found
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        print(f"The run goes on. See: runbooks show {run_id}   Stop it: runbooks cancel {run_id}", file=sys.stderr)
        raise typer.Exit(130) from None


def _progress(found: dict[str, Any]) -> str:
    cells = [cell for attempt in found["attempts"] for cell in attempt["cells"] if cell["stage"] == "diagnostic"]
    done = sum(cell["state"] not in {"waiting", "running"} for cell in cells)
    waits = f", number {found['waiting']['place']} in line" if found["waiting"] else ""
    return f"{found['runbook']} {found['state']}{waits}" + (f", {done} of {len(cells)} cells" if cells else "")


def shown(text: str) -> AbstractContextManager[Callable[[str], None]]:
    """Show on a terminal that something is waited for; it goes to stderr, so that output stays clean."""
    return _spinning(text) if sys.stderr.isatty() else contextlib.nullcontext(lambda _: None)


@contextlib.contextmanager
def _spinning(text: str) -> Iterator[Callable[[str], None]]:
    from rich.markup import escape  # noqa: PLC0415

    with printing.console(stderr=True).status(escape(text)) as status:
        yield lambda said: status.update(escape(printing.plain(said)))

"""Verdicts of verification cells: `check` at once, `wait` within a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from runbook_library.kit.messages import verdict
from runbook_library.kit.values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE = 0.1
"""Seconds between the first two tries of `wait`; then twice as long each time, up to `every`."""


def check(name: str, ok: Any, detail: str = "") -> bool:
    """Say whether what should hold does; returns it. `name` states it: "nobody is blocked".

    A check that does not hold raises nothing: the cells below still show how things are.
    """
    holds = bool(ok)
    verdict(name, ok=holds, seconds=0.0, detail=str(detail))
    return holds


def wait(
    name: str,
    condition: Callable[[], Any],
    timeout: float | str = 300,
    *,
    every: float = 2.0,
    detail: str | Callable[[], str] = "",
) -> bool:
    """Try `condition` until it holds or `timeout` (seconds, or "5m") is over; say and return which.

    It is tried at least once, and soon again at first. An error of a connection counts as "not yet", any
    other error is the author's and is raised. `detail` is text, or a function that gives it at the end.
    """
    started = time.monotonic()
    deadline = started + seconds(timeout)
    pause = min(FIRST_PAUSE, every)
    while True:
        holds, trouble = _try(condition)
        now = time.monotonic()
        if holds or now >= deadline:
            break
        time.sleep(min(pause, max(0.0, deadline - now)))
        pause = min(pause * 2, every)
    told = detail() if callable(detail) else str(detail)
    if trouble:
        told = f"{told} ({trouble})" if told else trouble
    verdict(name, ok=holds, seconds=now - started, detail=told)
    return holds


def _try(condition: Callable[[], Any]) -> tuple[bool, str]:
    """Whether the condition holds, and the trouble with a connection where it could not be told."""
    try:
        return bool(condition()), ""
    except Exception as error:
        # Told by module, because neither package need be imported: psycopg's and httpx's own errors.
        origins = {origin.__module__.split(".")[0] for origin in type(error).__mro__}
        if isinstance(error, OSError) or origins & {"psycopg", "httpx"}:
            return False, f"{type(error).__name__}: {error}".strip()
        raise

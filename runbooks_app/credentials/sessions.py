"""Sessions at diagnosed databases, kept for a moment between two uses: a stage mints, ends and sweeps within seconds.

To log in takes 10 ms of each stage that people wait for, and as much of the database. One session by minter is kept,
whoever needs more at the same time opens another; one that was not needed for `KEPT` is closed by the next to come.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

Session = psycopg.Connection[tuple[Any, ...]]

KEPT = 30.0
"""Seconds for which a session is kept that nobody needs."""

_guard = threading.Lock()
_idle: dict[Hashable, tuple[float, Session]] = {}


@contextmanager
def session(key: Hashable, log_in: Callable[[], Session]) -> Iterator[Session]:
    """The session that was kept under this key, or a new one; kept afterwards, unless something went wrong in it.

    The key names all that makes it what it is, a password's fingerprint too.
    """
    used = _take(key) or log_in()
    try:
        yield used
        used.execute("SELECT pg_advisory_unlock_all()")
    except BaseException:
        used.close()
        raise
    _keep(key, used)


@atexit.register
def close() -> None:
    """Close those that are kept."""
    with _guard:
        closing = [kept for _, kept in _idle.values()]
        _idle.clear()
    for kept in closing:
        kept.close()


def _take(key: Hashable) -> Session | None:
    """The kept one, if its database still answers in it."""
    now = time.monotonic()
    with _guard:
        late = [other for other, (since, _) in _idle.items() if now - since > KEPT]
        closing = [_idle.pop(other)[1] for other in late]
        _, kept = _idle.pop(key, (0.0, None))
    for old in closing:
        old.close()
    if kept is None:
        return None
    try:
        kept.execute("SELECT 1")
    except psycopg.Error:
        kept.close()
        return None
    return kept


def _keep(key: Hashable, used: Session) -> None:
    with _guard:
        others, _idle[key] = _idle.get(key), (time.monotonic(), used)
    if others is not None:
        others[1].close()

"""What many viewers of one thing look at, read once for all of them.

Two hundred people who watch one run would each read it at every change: a moment's news would take minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from runbooks_app.core.errors import NotFound, RunbooksError, Unavailable

Value = TypeVar("Value")


class Looks(Generic[Value]):
    """The looks at one thing. `read` is given the look before, None at first; a look is good for `keeps` seconds."""

    def __init__(self, read: Callable[[Value | None], Value], keeps: float = 0.0) -> None:
        self._read = read
        self._keeps = keeps
        self._lock = threading.Lock()
        self._began = float("-inf")
        self._value: Value | None = None
        self._failed: RunbooksError | None = None

    def now(self, *, afresh: bool = False) -> Value:
        """A look that began after it was asked for, or no longer than it keeps before: by this caller or by another.

        `afresh`: not before it was asked for, as for who has just changed something.
        Raises what reading raises; whoever waited meanwhile is told the same, and does not try in turn.
        """
        asked = time.monotonic() - (0.0 if afresh else self._keeps)
        with self._lock:
            if self._began < asked:
                began = time.monotonic()
                self._failed = None
                try:
                    self._value = self._read(self._value)
                except (Unavailable, NotFound) as error:
                    self._failed = error
                self._began = began
            if self._failed is not None:
                raise self._failed.with_traceback(None)
            assert self._value is not None  # noqa: S101 -- read just now, or by whom we waited for
            return self._value

"""A segment under way, as a job's own thread sees it: what the segment may reach is granted, then its events come.

Its kernel is being made from the beginning, also while credentials are still being minted for it. Until they are
granted the kernel knows nothing and executes nothing.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.kernels.events import Event, Pause
from runbooks_app.kernels.gateway import Route

LOOK = 0.1
"""Seconds between two looks at whether a run has been cancelled."""


@dataclass(frozen=True)
class Grant:
    """What a segment may reach: `connections` and `routes` as a `Segment` has them."""

    connections: Mapping[str, Mapping[str, object]] = field(repr=False)
    routes: Mapping[str, Route]


@dataclass
class Course:
    """For one thread, which grants, iterates to the end or not, and closes.

    Setting `cancelled` ends the run. With `pauses`, silence of so many seconds after an event is told as well, once.
    """

    loop: asyncio.AbstractEventLoop
    cancelled: threading.Event | None
    pauses: float | None
    events: queue.SimpleQueue[Event | None] = field(default_factory=queue.SimpleQueue)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    granted: asyncio.Future[Grant | None] = field(init=False)
    conducted: Future[None] = field(init=False)

    def __post_init__(self) -> None:
        self.granted = asyncio.Future(loop=self.loop)

    def begin(self, conducted: Future[None]) -> None:
        """Follow this one, which puts its events into `events`."""
        self.conducted = conducted
        # Put by whoever finishes last, and so after every event.
        conducted.add_done_callback(lambda _: self.events.put(None))

    def grant(self, connections: Mapping[str, Mapping[str, object]], routes: Mapping[str, Route]) -> None:
        """Let the kernel have its connections and go on."""
        self.loop.call_soon_threadsafe(self._settle, Grant(connections, routes))

    @property
    def waits(self) -> bool:
        """Whether a further event has come already."""
        return not self.events.empty()

    def __iter__(self) -> Generator[Event, None, None]:
        """Events as they happen, `SegmentEnded` last."""
        paused = True
        while True:
            if self.cancelled is not None and self.cancelled.is_set():
                self.loop.call_soon_threadsafe(self.stop.set)
            try:
                event = self.events.get(timeout=LOOK if paused or self.pauses is None else self.pauses)
            except queue.Empty:
                if not paused and self.pauses is not None:
                    paused = True
                    yield Pause()
                continue
            if event is None:
                return
            paused = False
            yield event

    def close(self) -> None:
        """Return when the kernel is gone, whether the segment came to its end or not. Doing so twice is harmless."""
        if not self.conducted.done():
            self.loop.call_soon_threadsafe(self._settle, None)
            self.loop.call_soon_threadsafe(self.stop.set)
        self.conducted.result()

    def _settle(self, grant: Grant | None) -> Any:
        if not self.granted.done():
            self.granted.set_result(grant)

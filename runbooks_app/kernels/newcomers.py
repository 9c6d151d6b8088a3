"""Runs that have nothing to show yet go first: whoever looks at a run sees something, however many began with it.

The system shares the processors out among kernels (`priority`). What it does not see is the worker's own work for each
cell, and for what comes after it: a run that has shown something gives no further cell to its kernel while others still
wait for their first output, for a little while. Of a hundred runs at once half show something after 0.9 s instead of
1.6, and all of them together take a twentieth longer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

PATIENCE = 1.0
"""Seconds that one run waits for others in all."""

LONGEST = 0.1
"""Seconds after its kernel was ready for which others wait for a run; its first cell may well print nothing."""


@dataclass
class Newcomers:
    """Those of one engine; used in its event loop alone."""

    count: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Newcomer:
    """One run: new from when it `arrives`, which is once it has all that it needs, until it has `settled`."""

    others: Newcomers
    new: bool = False
    over: bool = False
    patience: float = PATIENCE
    timer: asyncio.TimerHandle | None = None

    def arrives(self) -> None:
        """It waits for nothing but its turn: whoever still waits for credentials holds nobody up."""
        if not self.over:
            self.new = True
            self.others.count += 1
            self.others.gone.clear()

    def is_ready(self) -> None:
        """Its kernel is: others wait a moment longer for what it prints."""
        self.timer = asyncio.get_running_loop().call_later(LONGEST, self.settled)

    def settled(self) -> None:
        """It has shown something, or will not soon. Told once or more often."""
        if self.timer is not None:
            self.timer.cancel()
        if self.new:
            self.others.count -= 1
            if not self.others.count:
                self.others.gone.set()
        self.new, self.over = False, True

    async def give_way(self, stopping: asyncio.Task[bool]) -> None:
        """Wait until nobody is new, unless this one is itself; not once its run is `stopping`."""
        if self.new or not self.others.count or self.patience <= 0:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        gone = loop.create_task(self.others.gone.wait())
        await asyncio.wait({gone, stopping}, timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        self.patience -= loop.time() - began

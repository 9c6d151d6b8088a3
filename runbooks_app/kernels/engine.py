"""What the worker calls. One engine owns the zygote and one asyncio loop, in one thread, for all its kernels.

engine = Engine.start()                      # first thing in a worker, before it loads a secret
for event in engine.run(segment, cancelled): # in each job's own thread
    ...
engine.close()
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Coroutine, Generator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.kernels.channel import Channel
from runbooks_app.kernels.conduct import GRACE, Conduct
from runbooks_app.kernels.course import Course
from runbooks_app.kernels.events import Event
from runbooks_app.kernels.folders import remove
from runbooks_app.kernels.launcher import Zygote
from runbooks_app.kernels.newcomers import Newcomer, Newcomers
from runbooks_app.kernels.sandbox.selftest import prove, require_system
from runbooks_app.kernels.segment import Segment
from runbooks_app.kernels.uids import Uids

log = logging.getLogger(__name__)
T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
"""Where `runbooks_app` and `runbook_library` lie."""

PATIENCE = 10.0
"""Seconds in which runs must have ended once their kernels are gone."""

STARTING = 8
"""Kernels that are being made at once; the zygote makes them one by one."""


class Engine:
    """Kernels for one worker."""

    def __init__(
        self, folder: Path, roots: Sequence[Path], grace: float, *, sandbox: bool, uids: Sequence[int]
    ) -> None:
        self._folder = folder
        self._sandbox = sandbox
        self._losses = 0  # with zygotes that are no more
        self.probes = 0  # how many answered rightly, of the zygote that there is
        # Only root may become somebody else.
        self._uids = Uids(uids if sandbox and os.geteuid() == 0 else ())
        self._roots = (*roots, ROOT)
        self._grace = grace
        self._numbers = count()
        self._newcomers = Newcomers()
        self._zygote: Zygote | None = None
        self._closed = False
        self._stops: set[asyncio.Event] = set()
        self._loop = asyncio.new_event_loop()
        self._one = asyncio.Lock()
        self._starting = asyncio.Semaphore(STARTING)
        self._restart: asyncio.Task[None] | None = None
        # A daemon: a worker that ends without close() is not held up, and the warden sees it go.
        self._thread = threading.Thread(target=self._turn, name="kernels", daemon=True)

    @classmethod
    def start(
        cls,
        folder: Path | None = None,
        *,
        roots: Sequence[Path] = (),
        grace: float = GRACE,
        sandbox: bool = True,
        uids: Sequence[int] = (),
    ) -> Engine:
        """An engine whose zygote is ready; Unavailable where it does not start, Misconfigured where its sandbox fails.

        Runs' folders are made in `folder` (default: the system's temporary one). Kernels import from `roots`, then
        from where the service lies. `grace`: seconds that an interrupted cell has to stop. Where we are root, each
        kernel runs under one of `uids`; with none, or where that is not possible, as root without capabilities.
        """
        if sandbox:
            require_system()
        parent = folder or Path(tempfile.gettempdir())
        made = Path(tempfile.mkdtemp(prefix="runbooks-kernels-", dir=parent))
        made.chmod(0o711)  # kernels pass through it
        engine = cls(made, roots, grace, sandbox=sandbox, uids=uids)
        engine._thread.start()
        try:
            engine._do(engine._ready())
        except BaseException:
            engine.close()
            raise
        return engine

    @property
    def losses(self) -> int:
        """How often all kernels were lost with the process that they are forked from."""
        return self._losses + (self._zygote.losses if self._zygote else 0)

    @property
    def as_whom(self) -> str:
        """Who kernels are, in words."""
        if self._uids.example is not None:
            return "each under a user of its own"
        return "as root, without its powers" if os.geteuid() == 0 else "as the worker's user"

    def begin(
        self, segment: Segment, cancelled: threading.Event | None = None, *, pauses: float | None = None
    ) -> Course:
        """Begin a segment: its kernel is being made when this returns, and waits for what is granted to it.

        InvalidInput where the segment is malformed. For a job's own thread, which closes what it gets.
        """
        segment.check()
        if self._closed:
            raise Unavailable("The engine is closed; start another one.")
        course = Course(self._loop, cancelled, pauses)
        course.begin(asyncio.run_coroutine_threadsafe(self._conduct(segment, course), self._loop))
        return course

    def run(
        self, segment: Segment, cancelled: threading.Event | None = None, *, pauses: float | None = None
    ) -> Generator[Event, None, None]:
        """Execute a segment that has all that it may reach; tells events as they happen, `SegmentEnded` last.

        Setting `cancelled` ends the run, and so does closing the iterator, which returns when the kernel is gone.
        """
        with closing(self.begin(segment, cancelled, pauses=pauses)) as course:
            course.grant(segment.connections, segment.routes)
            yield from course

    def close(self) -> None:
        """End all runs, then the zygote. Nothing is left behind: no process, no folder."""
        if self._closed:
            return
        self._closed = True
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        remove(self._folder)

    # ---- in the engine's thread

    def _turn(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _conduct(self, segment: Segment, course: Course) -> None:
        stop = course.stop
        self._stops.add(stop)
        uid: int | None = None
        newcomer = None if segment.urgent else Newcomer(self._newcomers)
        if newcomer is not None:
            course.granted.add_done_callback(lambda _: newcomer.arrives())
        conduct = Conduct(segment, course.events.put, stop, course.granted, self._grace, newcomer)
        try:
            async with self._starting:
                await conduct.connect()
                uid = self._uids.take()
                channel = await self._fork(conduct, uid)
        except (Unavailable, Misconfigured) as error:
            conduct.refuse(str(error))
        else:
            await conduct.run(channel)
        finally:
            await conduct.disconnect()
            self._stops.discard(stop)
            self._uids.give_back(uid)

    async def _fork(self, conduct: Conduct, uid: int | None) -> Channel:
        """A kernel that has been started, or could not be, which is then told by its `started`."""
        while True:
            zygote = await self._ready()
            channel = conduct.fork(zygote, zygote.folder / f"segment-{next(self._numbers)}", uid)
            await asyncio.wait({channel.process.started})
            if not channel.process.lost or channel.process.started.exception() is None:
                return channel
            # The zygote died while this kernel waited to be made. It has run nothing: another one is made.
            channel.close()
            remove(conduct.folder)

    async def _ready(self) -> Zygote:
        """The zygote, started anew where the last one was lost."""
        async with self._one:
            if self._zygote is not None and self._zygote.lost:
                await self._zygote.gone
                self._losses += self._zygote.losses
                self._zygote = None
            if self._zygote is None:
                if self._closed:
                    raise Unavailable("The engine was closed.")
                self._zygote = await self._start_zygote()
                self._zygote.gone.add_done_callback(self._on_gone)
            return self._zygote

    async def _start_zygote(self) -> Zygote:
        """A zygote whose sandbox holds."""
        zygote = await Zygote.start(
            self._folder / f"zygote-{next(self._numbers)}",
            self._roots,
            sandbox=self._sandbox,
            uid=self._uids.example,
        )
        if zygote.stays:
            log.warning("kernels run as root, without capabilities: %s", zygote.stays)
            self._uids.close()
        if self._sandbox:
            uids = [self._uids.take(), self._uids.take()]
            try:
                self.probes = await prove(zygote, uids)
            except BaseException:
                await zygote.close()
                raise
            for uid in uids:
                self._uids.give_back(uid)
        return zygote

    def _on_gone(self, _: asyncio.Future[None]) -> None:
        """Have the next zygote ready before a run asks for it."""
        if not self._closed:
            log.error("the kernels' zygote was lost with all kernels; starting another one")
            self._restart = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        try:
            await self._ready()
        except (Unavailable, Misconfigured):
            log.exception("no kernels can be had; the next run tries again")

    async def _end(self) -> None:
        for stop in self._stops:
            stop.set()
        await self._idle(self._grace + 1)
        async with self._one:
            if self._zygote is not None:
                await self._zygote.close()
        await self._idle(PATIENCE)

    async def _idle(self, seconds: float) -> None:
        """Wait until no run is left, but no longer than that."""
        deadline = self._loop.time() + seconds
        while self._stops and self._loop.time() < deadline:  # noqa: ASYNC110  runs end each in its own time
            await asyncio.sleep(0.01)

"""The course of one segment: a kernel is made, its cells run one after the other, each told as what it was.

ok         ran to its end
failed     raised
timed_out  was over its time or the segment's; interrupted, and killed with its kernel where it did not stop
cancelled  ran, or was the next to run, when the run was cancelled
died       the kernel ended under it
skipped    needs a name that a cell before should have defined and did not
never_ran  the segment ended before its turn
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runbooks_app.core.errors import Unavailable
from runbooks_app.core.run import CellState
from runbooks_app.kernels.cell import Cell, now
from runbooks_app.kernels.cells import Cells
from runbooks_app.kernels.channel import Channel, Gone
from runbooks_app.kernels.course import Grant
from runbooks_app.kernels.displays import Displays
from runbooks_app.kernels.ends import cause_of_death, oom_kills
from runbooks_app.kernels.events import CellEnded, Event, GatewayRefused, SegmentEnded
from runbooks_app.kernels.folders import remove
from runbooks_app.kernels.gateway import Gateway, Refusal
from runbooks_app.kernels.launcher import Zygote, environment, make_folder
from runbooks_app.kernels.newcomers import Newcomer
from runbooks_app.kernels.outputs import clean
from runbooks_app.kernels.redaction import Redactor
from runbooks_app.kernels.sandbox.spec import Spec
from runbooks_app.kernels.segment import Code, Segment

log = logging.getLogger(__name__)

READY_TIMEOUT = 60.0
"""Seconds in which a kernel must take its connections; with a hundred at once the last one waits."""

GRACE = 2.0
"""Seconds that an interrupted cell has to stop: enough for psycopg to cancel a query."""

SPARE = 64
"""Processes and threads that the system lets a kernel have beyond its limit: who is over it is found, killed and told,
and who multiplies does not get far until then."""

INHERITED = 80_000_000
"""Bytes of data that the system counts for every kernel though its parent shares them: its limit lies beyond them. A
kernel meets that, by a MemoryError, a little before the watch would end it."""


@dataclass
class Conduct:
    """Runs one segment; `emit` takes its events, `stop` is set when the run is cancelled.

    `granted` tells what the segment may reach; None: that nobody wants it any more. Who is no `newcomer` waits for no
    others.
    """

    segment: Segment
    emit: Callable[[Event], None]
    stop: asyncio.Event
    granted: asyncio.Future[Grant | None]
    grace: float = GRACE
    newcomer: Newcomer | None = None

    def __post_init__(self) -> None:
        self.redactor = Redactor(())  # until a kernel is being made, which knows no secret before
        self.over = ""  # why no further cell runs
        self.lost: dict[str, str] = {}  # name → the cell that should have defined it
        self.displays = Displays()
        self.left = self.segment.limits.output_total  # bytes of output that can still be kept
        self.deadline = 0.0
        self.kills = oom_kills()
        self.gateway: Gateway | None = None
        self.cell: Cell | None = None  # the one that runs
        self.shown = False
        self.stopping: asyncio.Task[bool]  # while cells run; done once the run is cancelled

    async def connect(self) -> None:
        """Open the run's gateway, whose ports its kernel is let through to. Unavailable where that fails."""
        if self.segment.reaches:
            self.gateway = await Gateway.open(self.segment.reaches, self.refused, self.learned)

    async def take_grant(self) -> bool:
        """Wait for what the segment may reach, and lead its connections through the gateway; False if nobody grants."""
        grant = await self.granted
        if grant is None:
            return False
        segment, connections = self.segment, grant.connections
        if self.gateway is not None:
            self.gateway.serve(grant.routes)
            connections = self.gateway.lead(connections)
        self.segment = replace(segment, connections=connections, routes=grant.routes)
        self.redactor = Redactor(self.segment.known_secrets)
        self.deadline = time.monotonic() + segment.timeout
        return True

    async def disconnect(self) -> None:
        """Close the gateway, and hold nobody up; doing so twice is harmless."""
        if self.newcomer is not None:
            self.newcomer.settled()
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            await gateway.close()

    def learned(self) -> None:
        """A credential was renewed: the new one must not be seen either."""
        self.redactor.learn(self.segment.known_secrets)

    def refused(self, refusal: Refusal) -> None:
        """Tell what the gateway did not let through: in the cell that runs, and to the worker."""
        told = (refusal.reason, refusal.method, refusal.path)
        reason, method, path = (self.redactor.short(clean(text), 500) for text in told)
        if self.cell is not None:
            self.cell.take({"msg_type": "stream", "content": {"name": "stderr", "text": f"[runbooks] {reason}\n"}})
        cell_id = self.cell.code.cell_id if self.cell else ""
        self.emit(GatewayRefused(cell_id, refusal.connection, method, path, reason, now(), refusal.more))

    def fork(self, zygote: Zygote, folder: Path, uid: int | None) -> Channel:
        """Have a kernel made, which is to live in `folder`, as `uid`; Unavailable where that cannot be made."""
        self.folder = folder
        try:
            make_folder(folder, uid)
        except OSError as error:
            raise Unavailable(f"The folder of the run could not be made: {error.strerror}.") from error
        limits = self.segment.limits
        spec = Spec(
            str(folder),
            self.ports,
            uid,
            limits.open_files,
            limits.processes + SPARE,
            memory=limits.memory + INHERITED,
            file_size=limits.disk,
        )
        return Channel(zygote, spec if zygote.sandbox else None, frame_limit=4 * limits.output + (1 << 20))

    @property
    def ports(self) -> tuple[int, ...]:
        """Where the kernel may connect to."""
        return tuple(sorted({*self.segment.ports, *(self.gateway.ports.values() if self.gateway else ())}))

    async def run(self, channel: Channel) -> None:
        """All of it. When this returns, the kernel and everything that it started is gone."""
        try:
            if await self.take_grant():
                await self.activate(channel)
                self.stopping = asyncio.create_task(self.stop.wait())
                try:
                    await self.run_cells(channel)
                finally:
                    self.stopping.cancel()
        finally:
            channel.process.kill()
            await channel.process.ended
            channel.close()
            await self.disconnect()
            if not await asyncio.to_thread(remove, self.folder):
                log.warning("the folder of a run could not be removed; remove it by hand: %s", self.folder)
        self.emit(SegmentEnded(self.over))

    def has_shown(self, channel: Channel) -> None:
        """Somebody has something to read now: newcomers' first outputs go before the rest of this run."""
        if not self.shown and self.newcomer is not None:
            self.newcomer.settled()
            channel.process.give_way()
        self.shown = True

    def refuse(self, reason: str) -> None:
        """Tell that no kernel could be had."""
        self.over = reason
        for code in (*self.segment.preparation, *self.segment.cells):
            self.not_run(code, CellState.NEVER_RAN, reason)
        self.emit(SegmentEnded(reason))

    def given(self) -> dict[str, Any]:
        """What the kernel needs; the connections travel here and nowhere else."""
        connections = {name: dict(given) for name, given in self.segment.connections.items()}
        kit = {"stage": self.segment.stage, "connections": connections, "kept": dict(self.segment.kept)}
        return {"folder": str(self.folder / "work"), "environment": environment(self.folder), "kit": kit}

    async def activate(self, channel: Channel) -> None:
        """Have the kernel ready for its first cell, and watched."""
        try:
            await channel.process.started
            activation = channel.begin("activate", self.given())
            channel.process.watch(self.folder, self.segment.limits)
            reply = await channel.answer(activation, READY_TIMEOUT)
        except Unavailable as error:
            self.over = str(error)
        except Gone:
            said = "".join(message["content"].get("text", "") for message in channel.rest())
            why = f"{self.cause_of_death(channel)} That was before its first cell. {said}"
            self.over = self.redactor.short(clean(why.strip()))
        except TimeoutError:
            self.over = f"The kernel was not ready within {READY_TIMEOUT:.0f} s."
        else:
            if self.newcomer is not None:
                self.newcomer.is_ready()
            if reply.get("status") != "ok":
                why = self.redactor.short(clean(str(reply.get("reason"))))
                self.over = f"The kernel could not take its connections: {why}"

    async def run_cells(self, channel: Channel) -> None:
        """Parameters, values, setup, inputs, cells."""
        cells = Cells(channel)
        preparing = len(self.segment.preparation)
        codes = (*self.segment.preparation, *self.segment.cells)
        for position, code in enumerate(codes):
            if position == bool(self.segment.parameters):
                await self.assign(channel, self.segment.values)
            if position == preparing:
                await self.assign(channel, self.segment.inputs)
            if self.over:
                self.not_run(code, CellState.NEVER_RAN, self.over)
            elif self.stop.is_set():
                self.over = "The run was cancelled."
                self.not_run(code, CellState.CANCELLED, "The run was cancelled before this cell began.")
            elif missing := sorted(code.needs & self.lost.keys()):
                names = ", ".join(f"{name} (cell {self.lost[name]})" for name in missing)
                self.lose(code)
                self.not_run(code, CellState.SKIPPED, f"It needs what cells before it did not define: {names}.")
            else:
                if self.newcomer is not None:
                    await self.newcomer.give_way(self.stopping)
                state = await Cell(self, code, cells, channel).run()
                self.judge(code, state, prepares=position < preparing)

    async def assign(self, channel: Channel, values: Any) -> None:
        """Set variables in the kernel."""
        if values and not self.over:
            try:
                await channel.ask("assign", {name: dict(typed) for name, typed in values.items()}, READY_TIMEOUT)
            except Gone:
                self.over = f"{self.cause_of_death(channel)} That was before it had taken its values."
            except TimeoutError:
                self.over = f"The kernel did not take its values within {READY_TIMEOUT:.0f} s."

    def judge(self, code: Code, state: CellState, *, prepares: bool) -> None:
        """What a cell's end means for those after it."""
        if state is CellState.OK:
            for name in code.defines:
                self.lost.pop(name, None)
            return
        self.lose(code)
        if not self.over and (prepares or self.segment.stage == "remediate"):
            self.over = f"Cell {code.cell_id} {state.replace('_', ' ')}, and what follows stands on it."

    def lose(self, code: Code) -> None:
        """What this cell would have defined cannot be relied upon."""
        self.lost |= dict.fromkeys(code.defines, code.cell_id)

    def cause_of_death(self, channel: Channel) -> str:
        """Why the kernel ended, as far as it can be known."""
        if channel.process.over:
            return self.segment.limits.breach(channel.process.over)
        return cause_of_death(channel.process.ended.result().status, self.kills)

    def not_run(self, code: Code, state: CellState, reason: str) -> None:
        """Tell of a cell that the kernel was never given."""
        self.emit(CellEnded(code.cell_id, state, (), None, None, now(), reason))

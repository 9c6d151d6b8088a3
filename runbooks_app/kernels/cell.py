"""One cell while it runs: it is started, waited for, ended where it must be ended, and told as what it became."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nbclient.exceptions import DeadKernelError

from runbooks_app.core.run import CellState
from runbooks_app.kernels.cells import Cells
from runbooks_app.kernels.channel import Channel, Message
from runbooks_app.kernels.events import CellEnded, CellStarted, CellUpdated, Printed
from runbooks_app.kernels.outputs import Outputs, clean, count_of
from runbooks_app.kernels.segment import Code
from runbooks_app.kernels.spool import Spool

if TYPE_CHECKING:
    from runbooks_app.kernels.conduct import Conduct

COALESCE = 0.05
"""Seconds between two looks at what a cell printed; the first is shown at once."""

UPDATE = 1.0
"""Seconds between two updates of what ended cells show, each of which is stored."""


@dataclass
class Cell:
    """One cell while it runs."""

    conduct: Conduct
    code: Code
    cells: Cells
    channel: Channel

    def __post_init__(self) -> None:
        conduct = self.conduct
        limit = min(conduct.segment.limits.output, conduct.left)
        self.outputs = Outputs(conduct.redactor, limit, self.spool, conduct.displays)
        self.timer: asyncio.TimerHandle | None = None
        self.shown_at = 0.0
        self.updated_at = 0.0
        self.idle = self.channel.loop.create_future()
        self.printed = time.monotonic()

    async def run(self) -> CellState:
        """Start it, wait, end it where it must be ended, tell what became of it."""
        conduct, code = self.conduct, self.code
        started = now()
        conduct.emit(CellStarted(code.cell_id, started))
        conduct.cell = self
        left = max(0.0, conduct.deadline - time.monotonic())
        limit = min(code.timeout, left)
        task = asyncio.create_task(self.cells.run(code.source, self.take))
        self.channel.process.on_still = self.on_still
        await asyncio.wait({task, conduct.stopping, self.idle}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        state, reason = CellState.OK, ""
        if not task.done():
            if conduct.stop.is_set():
                state, reason = CellState.CANCELLED, "The run was cancelled."
            elif self.idle.done():
                state = CellState.TIMED_OUT
                reason = f"The cell neither printed nor computed for {conduct.segment.limits.idle:g} s, its limit."
            elif limit < code.timeout:
                state, reason = (
                    CellState.TIMED_OUT,
                    f"The run's limit of {conduct.segment.timeout:g} s was reached.",
                )
            else:
                state, reason = CellState.TIMED_OUT, f"The cell's limit of {code.timeout:g} s was reached."
            if state is CellState.CANCELLED or (limit < code.timeout and not self.idle.done()):
                conduct.over = reason
            reason += await self.end(task)
        reply = await self.result(task)
        if state is CellState.OK:
            state, reason = self.judge(reply)
        if reply is None:
            conduct.over = conduct.over or f"{reason} It was running cell {code.cell_id}."
        self.finish(state, reason, started, reply)
        return state

    async def end(self, task: asyncio.Task[Message]) -> str:
        """Interrupt; kill where that was not enough. What is to be added to the reason."""
        process = self.channel.process
        process.interrupt()
        await asyncio.wait({task}, timeout=self.conduct.grace)
        if task.done():
            return ""
        process.kill()
        await asyncio.wait({task})
        return f" It did not stop within {self.conduct.grace:g} s of being interrupted, so its kernel was killed."

    async def result(self, task: asyncio.Task[Message]) -> Message | None:
        """The cell's reply; None where the kernel died, whose last words are taken then."""
        try:
            return await task
        except DeadKernelError:
            for message in self.channel.rest():
                self.outputs.take(message)
            return None

    def judge(self, reply: Message | None) -> tuple[CellState, str]:
        """Of a cell that nobody ended: its state and the reason."""
        if reply is None:
            return CellState.DIED, self.conduct.cause_of_death(self.channel)
        if reply.get("status") == "ok":
            return CellState.OK, ""
        raised = clean(f"{reply.get('ename')}: {reply.get('evalue')}".strip().removesuffix(":"))
        if not self.outputs.failed_visibly:
            error = {"ename": reply.get("ename"), "evalue": reply.get("evalue"), "traceback": [raised]}
            self.outputs.take({"msg_type": "error", "content": error})
        hint = self.conduct.segment.limits.hint(str(reply.get("ename")), str(reply.get("evalue")))
        return CellState.FAILED, self.conduct.redactor.short(raised) + hint

    def on_still(self, seconds: float) -> None:
        """It has not computed for so long; whether it printed is known here."""
        limit = self.conduct.segment.limits.idle
        if limit is not None and not self.idle.done() and min(seconds, time.monotonic() - self.printed) >= limit:
            self.idle.set_result(None)

    # ---- outputs

    def take(self, message: Message) -> None:
        """Of each message of the cell: shown at once, or together with others a little later."""
        self.printed = time.monotonic()
        self.outputs.take(message)
        if self.timer is None:
            wait = max(0.0, self.shown_at + COALESCE - time.monotonic())
            self.timer = self.channel.loop.call_later(wait, self.show)

    def spool(self) -> Spool:
        """Where text goes that the run itself has no room for: a file that no kernel can reach."""
        return Spool(self.conduct.redactor, self.conduct.folder.parent, self.conduct.left)

    def show(self, *, last: bool = False) -> None:
        """Tell what is new."""
        self.timer = None
        self.shown_at = time.monotonic()
        clears = self.outputs.cleared()
        for output, display_id in self.outputs.live(last=last):
            self.conduct.emit(Printed(self.code.cell_id, output, display_id, clears))
            self.conduct.has_shown(self.channel)
            clears = False
        if clears:
            nothing = {"output_type": "stream", "name": "stdout", "text": ""}
            self.conduct.emit(Printed(self.code.cell_id, nothing, None, clears))
        if last or self.shown_at - self.updated_at >= UPDATE:
            self.updated_at = self.shown_at
            for cell in self.conduct.displays.changed():
                self.conduct.emit(CellUpdated(cell.cell_id, tuple(cell.outputs), cell.redacted))

    def finish(self, state: CellState, reason: str, started: datetime, reply: Message | None) -> None:
        """Tell the end."""
        self.conduct.cell = None
        if self.timer is not None:
            self.timer.cancel()
        self.show(last=True)
        outputs, redacted = self.outputs.final()
        self.outputs.settle(self.code.cell_id, outputs)
        self.conduct.left -= self.outputs.kept
        rest = self.outputs.rest
        count = count_of(reply.get("execution_count")) if reply else None
        self.conduct.emit(CellEnded(self.code.cell_id, state, outputs, count, started, now(), reason, redacted, rest))


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)

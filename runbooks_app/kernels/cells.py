"""nbclient, made to drive a kernel of ours one cell at a time.

What of it is not used, and why (nbclient 0.11):
- `execute` and `setup_kernel`: they take over SIGINT and SIGTERM of the whole process, wait 200 ms for silence,
  and poll for the kernel's end by 0.1 s;
- its time limits: timing out fires no hook, an interrupt can be swallowed by the cell, and after one the whole limit
  starts again; `conduct` keeps the deadlines;
- its outputs: no cap, every one validated against a JSON schema, lost without a word when they come late;
  `outputs` takes them;
- cancelling its task: it tells that as a dead kernel, and leaves the kernel alive;
- `on_cell_complete`: it fires when a cell is submitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode

from runbooks_app.kernels.channel import Channel, Message

NEVER = 10**9
"""Seconds. Replies and outputs come over one socket, in order: there is nothing to be late."""


class Cells(NotebookClient):
    """Executes sources on one kernel; `take` gets every message of the cell that runs."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(
            NotebookNode(cells=[], metadata={}),  # type: ignore[no-untyped-call]
            km=cast("Any", channel.process),
            allow_errors=True,  # a failed cell is an outcome, not an exception
            skip_cells_with_tag="",
            record_timing=False,
            store_widget_state=False,
            iopub_timeout=NEVER,
            raise_on_iopub_timeout=True,
            on_cell_executed=self.keep_reply,
        )
        self.kc = cast("Any", channel)
        self.channel = channel
        self.take: Callable[[Message], None] = lambda _: None
        self.reply: Message | None = None

    async def run(self, source: str, take: Callable[[Message], None]) -> Message:
        """Execute one cell; its reply's content. DeadKernelError where the kernel ends first."""
        self.take, self.reply = take, None
        # Not nbformat's new_code_cell: it validates against a JSON schema, which takes longer than a short cell.
        cell = NotebookNode(cell_type="code", source=source, metadata={}, outputs=[])  # type: ignore[no-untyped-call]
        self.nb.cells.append(cell)
        await self.async_execute_cell(cell, len(self.nb.cells) - 1)
        # Nothing to execute, nothing answered: an empty cell is a good one.
        return self.reply or {"status": "ok", "execution_count": None}

    def keep_reply(self, execute_reply: Message, **_: Any) -> None:
        """The hook that fires when a cell has really been executed."""
        self.reply = execute_reply["content"]

    def process_message(self, msg: Message, cell: NotebookNode, cell_index: int) -> None:  # noqa: ARG002
        """Our own taking of outputs. It must not raise: nbclient would notice only after the cell's reply."""
        if msg["msg_type"] == "status":
            if msg["content"].get("execution_state") == "idle":
                raise CellExecutionComplete
            return
        self.take(msg)

    async def _async_poll_kernel_alive(self) -> None:
        """Wait for the kernel's end, instead of looking once a second."""
        await asyncio.shield(self.channel.process.ended)
        waiting: asyncio.Future[Any] | None = self.task_poll_for_reply
        # A kernel that answered and then died has executed this cell.
        if waiting is not None and self.channel.executing:
            waiting.cancel()

    def _get_timeout(self, cell: NotebookNode | None) -> None:
        """No time limit here."""

"""Waking the queue's workers: one connection listens, and looks by itself, for all queues of a process.

Left alone, each of Procrastinate's workers listens on a connection of its own and fetches at every turn of its polling
interval, each time with a transaction that writes. Here one cheap look serves them all, so it can be had ten times a
second: that finds what no notification tells of, as jobs that are due later or again. Nor is a notification lost that
comes in while its worker fetches: the worker would forget it together with the fetch that missed it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable

import psycopg
from procrastinate.connector import BaseConnector
from procrastinate.jobs import Job, Notification
from procrastinate.manager import JobManager, NotificationCallback, get_channel_for_queues
from psycopg import sql

LOOK = 0.1
"""Seconds between two looks."""

_DUE = """SELECT queue FROM unnest({}::text[]) AS queue WHERE EXISTS (
    SELECT FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = queue
    AND (scheduled_at IS NULL OR scheduled_at <= now()))"""


class Bell(JobManager):
    """Procrastinate's job manager, for workers of one queue each, whose wake-ups all come from `ring`."""

    def __init__(self, connector: BaseConnector, conninfo: str) -> None:
        super().__init__(connector)
        self._conninfo = conninfo
        self._workers: dict[str, NotificationCallback] = {}
        self._rung: Counter[str] = Counter()

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Wake this worker as long as it listens."""
        (queue,) = queues or ()
        self._workers[queue] = on_notification
        try:
            await asyncio.Event().wait()
        finally:
            del self._workers[queue]

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """The next job of the worker's queue; looked for again if the bell rang meanwhile."""
        (queue,) = queues or ()
        while True:
            rung = self._rung[queue]
            job = await super().fetch_job(queues=[queue], worker_id=worker_id)
            if job is not None or self._rung[queue] == rung:
                return job

    async def ring(self, queues: list[str]) -> None:
        """Listen and look, until cancelled. Raises psycopg's `OperationalError` when the database goes away."""
        channels = dict(zip(get_channel_for_queues(queues), queues, strict=True))
        async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            for channel in channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            look = sql.SQL(_DUE).format(sql.Literal(queues)).as_bytes(connection)  # the same each time: adapted once
            while True:
                due = await (await connection.execute(look)).fetchall()
                for (queue,) in due:
                    await self._wake(queue, {"type": "job_inserted", "job_id": 0})
                async for told in connection.notifies(timeout=LOOK):
                    await self._wake(channels[told.channel], json.loads(told.payload))

    async def _wake(self, queue: str, notification: Notification) -> None:
        self._rung[queue] += 1
        if queue in self._workers:
            await self._workers[queue](channel=queue, notification=notification)

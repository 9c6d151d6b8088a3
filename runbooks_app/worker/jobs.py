"""The queue's tasks, and the loop that works on them.

Tasks are sync functions that Procrastinate runs in threads. Delivery is at least once: a job whose worker
died is handed out again, and its claim finds out what is left to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind
from procrastinate import App, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ConnectorException
from psycopg_pool import PoolTimeout

from runbooks_app.actions import alerting, refusals, sweeping
from runbooks_app.actions.signatures import KeysAway
from runbooks_app.actions.starting import TargetBusy, wait_for_keys
from runbooks_app.core.errors import Unavailable
from runbooks_app.store import idempotency
from runbooks_app.store.database import QUEUES, transaction
from runbooks_app.worker import answering, telling, waking_people, work
from runbooks_app.worker.context import Worker
from runbooks_app.worker.elsewhere import tell_elsewhere
from runbooks_app.worker.holding import sweep as sweep_credentials
from runbooks_app.worker.identity import Keeper
from runbooks_app.worker.measuring import watch_the_connections, watch_the_kernels, watch_the_line
from runbooks_app.worker.proving import prove_next
from runbooks_app.worker.waking import Bell

log = logging.getLogger(__name__)

AGAIN = 2
"""Seconds until a worker whose database went away looks again."""

GRACE = 10
"""Seconds that jobs have to end when the worker is told to stop."""

APPROVED = 4
"""Remediations and verifications that one worker does at a time."""

TELLING = 4
"""Messages that one worker sends at a time."""

FORMS = 4
"""Forms that one worker opens at a time. They have places of their own: a form is opened within three seconds or never,
and may not wait behind a message that hangs."""

WAKING = 2
"""People whom one worker wakes at a time: schedules and pages are waited for."""

UPKEEP = 4
"""Sweeps that one worker does at a time: of states, of credentials, of counted refusals; and a test of a connection."""

BUSY = 5
"""Seconds until a proposal whose target is busy, or whose signatures cannot be checked, is looked at again."""

_TRACER = trace.get_tracer("runbooks.worker")
_METER = metrics.get_meter("runbooks.worker")
_DURATION = _METER.create_histogram("messaging.process.duration", unit="s", description="Time that a job took.")

_STORE_AWAY = RetryStrategy(max_attempts=50, wait=2, retry_exceptions={Unavailable})
_PAGERS_AWAY = RetryStrategy(max_attempts=10, wait=5, retry_exceptions={Unavailable})
_ANSWERED = RetryStrategy(max_attempts=60, linear_wait=2, retry_exceptions={Unavailable})


@dataclass(frozen=True)
class Queue:
    """The queue with our tasks on it: those that people wait for, and those that the clock asks for.

    Each of Procrastinate's workers sees to all that the clock asks for of its app: so that has an app of its own.
    """

    jobs: App
    upkeep: App
    bell: Bell


def queue_app(conninfo: str, worker: Worker) -> Queue:
    """The queue; `conninfo` is libpq's, with the password."""
    app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=1, max_size=8, timeout=10))

    def task(name: str, call: Callable[..., None], retry: RetryStrategy) -> None:
        app.task(name=name, queue=QUEUES[name], retry=retry)(_measured(name, QUEUES[name], call))

    task("diagnose", partial(work.diagnose, worker), _STORE_AWAY)
    task("verify", partial(work.verify, worker), _STORE_AWAY)
    task("remediate", partial(_remediate, worker), _STORE_AWAY)
    task("tell", partial(telling.tell_due, worker), _STORE_AWAY)
    task("tell_run", partial(telling.tell_run, worker), _STORE_AWAY)
    for name in ("tell_proposal", "tell_break_glass"):
        task(name, partial(telling.tell_proposal, worker), _STORE_AWAY)
    task("answer", partial(answering.answer, worker), _ANSWERED)
    task("open_form", partial(answering.open_form, worker), _STORE_AWAY)
    task("wake", partial(waking_people.wake, worker), _STORE_AWAY)
    task("page", partial(waking_people.page, worker), _PAGERS_AWAY)

    upkeep = App(connector=app.connector)
    app.job_manager = upkeep.job_manager = bell = Bell(app.connector, conninfo)
    _add_upkeep(upkeep, worker)
    return Queue(app, upkeep, bell)


def _add_upkeep(app: App, worker: Worker) -> None:
    line: dict[str, str] = {}

    @app.periodic(cron="* * * * * */3")
    @app.task(name="sweep", queue="upkeep", queueing_lock="sweep")
    async def sweep(timestamp: int) -> None:  # noqa: ARG001 -- what Procrastinate passes
        nonlocal line
        await asyncio.to_thread(_sweep, worker)
        line = await asyncio.to_thread(sweeping.look_at_the_line, worker.service, line)
        # Jobs whose worker no longer beats are handed out again: each finds out by its claim what is left to do.
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=worker.service.settings.lease):
            if job.id is not None:
                await app.job_manager.retry_job_by_id_async(job.id, retry_at=datetime.now(UTC))

    sweeping_credentials = threading.Lock()

    @app.periodic(cron="* * * * * */3")
    @app.task(name="sweep_credentials", queue="upkeep", queueing_lock="sweep_credentials")
    def credentials(timestamp: int) -> None:  # noqa: ARG001
        # Databases that do not answer make this slow: it must hold up neither the sweep of states nor itself.
        if sweeping_credentials.acquire(blocking=False):
            try:
                sweep_credentials(worker)
            finally:
                sweeping_credentials.release()

    proving = threading.Lock()

    @app.periodic(cron="* * * * * */10")
    @app.task(name="test_connection", queue="upkeep", queueing_lock="test_connection", priority=-1)
    def prove(timestamp: int) -> None:  # noqa: ARG001
        # One each time: so systems are asked one after the other, and a worker that stops waits for one at most.
        if proving.acquire(blocking=False):
            try:
                prove_next(worker.service, worker.name, worker.issuer)
            finally:
                proving.release()

    telling_elsewhere = threading.Lock()

    @app.periodic(cron="* * * * * */2")
    @app.task(name="tell_elsewhere", queue="upkeep", queueing_lock="tell_elsewhere")
    def elsewhere(timestamp: int) -> None:  # noqa: ARG001
        # A chat that hangs takes one of this worker's places, and no more of them each time.
        if telling_elsewhere.acquire(blocking=False):
            try:
                tell_elsewhere(worker)
            finally:
                telling_elsewhere.release()

    @app.periodic(cron="* * * * *")
    @app.task(name="count_refusals", queue="upkeep", queueing_lock="count_refusals")
    def count_refusals(timestamp: int) -> None:  # noqa: ARG001
        refusals.enter_counted(worker.service)
        sweeping.requeue_forgotten(worker.service)
        _forget_old_deliveries(worker)


async def run_worker(queue: Queue, worker: Worker) -> None:
    """Work until SIGTERM or SIGINT. What still runs after a grace is abandoned: its lease lapses, others take over."""
    places = {
        QUEUES["diagnose"]: worker.service.settings.concurrency,
        QUEUES["remediate"]: APPROVED,
        QUEUES["tell"]: TELLING,
        QUEUES["open_form"]: FORMS,
        QUEUES["wake"]: WAKING,
        "upkeep": UPKEEP,
    }
    loop = asyncio.get_running_loop()
    # The loop's own executor has a handful of threads; each job wants one, also while it waits for a kernel.
    loop.set_default_executor(ThreadPoolExecutor(sum(places.values()) + 4, thread_name_prefix="job"))

    def working(name: str, concurrency: int) -> asyncio.Task[None]:
        app = queue.upkeep if name == "upkeep" else queue.jobs
        return loop.create_task(
            app.run_worker_async(
                queues=[name],
                name=f"{worker.name}-{name}",
                concurrency=concurrency,
                delete_jobs="successful",
                shutdown_graceful_timeout=GRACE,
                install_signal_handlers=False,
                update_heartbeat_interval=2,
                stalled_worker_timeout=worker.service.settings.lease,
            )
        )

    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    watch_the_line(worker.service, _METER)
    watch_the_kernels(worker.engine, _METER)
    watch_the_connections(worker.service, _METER)
    keeper = Keeper(worker)
    await asyncio.to_thread(keeper.start)
    worker.leases.start()
    try:
        while not stopping.is_set():
            try:
                async with queue.jobs.open_async():
                    workers = [working(name, most) for name, most in places.items()]
                    await _until(stopping, [loop.create_task(queue.bell.ring(list(places))), *workers])
            except (ConnectorException, PoolTimeout, psycopg.OperationalError):
                log.warning("The queue's database is away; the worker tries again every %d s.", AGAIN)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), AGAIN)
    finally:
        worker.leases.abandon_all()
        worker.leases.stop()
        keeper.stop()


async def _until(stopping: asyncio.Event, working: list[asyncio.Task[None]]) -> None:
    """Let them work until told to stop; raises what ended one of them."""
    told = asyncio.create_task(stopping.wait())
    try:
        ended, _ = await asyncio.wait([told, *working], return_when=asyncio.FIRST_COMPLETED)
        for task in ended - {told}:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
    finally:
        for task in (told, *working):
            task.cancel()
        await asyncio.wait([told, *working])


def _measured(name: str, queue: str, call: Callable[..., None]) -> Callable[..., None]:
    """A span and a duration for each job, named by OpenTelemetry's messaging conventions."""

    def measured(**arguments: Any) -> None:
        about = {
            "messaging.system": "procrastinate",
            "messaging.destination.name": queue,
            "messaging.operation.name": name,
            "messaging.operation.type": "process",
        }
        # Ids alone: other arguments are what is said to somebody, and addresses and triggers that are worth something.
        ids = {
            f"runbooks.{kind}.id": arguments[f"{kind}_id"] for kind in ("run", "proposal") if f"{kind}_id" in arguments
        }
        began = time.monotonic()
        try:
            with _TRACER.start_as_current_span(f"process {name}", kind=SpanKind.CONSUMER, attributes={**about, **ids}):
                call(**arguments)
        except Exception as error:
            about["error.type"] = type(error).__name__
            raise
        finally:
            _DURATION.record(time.monotonic() - began, about)

    return measured


def _remediate(worker: Worker, proposal_id: str) -> None:
    try:
        work.remediate(worker, proposal_id)
    except TargetBusy:
        log.info("Proposal %s waits: another remediation goes on its target.", proposal_id)
    except KeysAway as away:
        log.warning("Proposal %s waits: %s", proposal_id, away)
        wait_for_keys(worker.service, proposal_id)
    else:
        return
    with transaction(worker.service.engine) as tx:
        tx.defer("remediate", proposal_id=proposal_id, priority=20, after=BUSY)


def _sweep(worker: Worker) -> None:
    sweeping.expire_proposals(worker.service)
    alerting.end_storms(worker.service)
    sweeping.take_over(worker.service)
    if worker.slack is not None:
        sweeping.wake_tellers(worker.service, TELLING)


def _forget_old_deliveries(worker: Worker) -> None:
    with transaction(worker.service.engine) as tx:
        tx.execute("DELETE FROM chat_deliveries WHERE received_at < now() - interval '1 day'")
        idempotency.forget(tx)
        tx.execute("DELETE FROM chat_links WHERE expires_at < now() - interval '1 day'")
        tx.execute("DELETE FROM sessions WHERE expires_at < now() - interval '1 day'")
        tx.execute("DELETE FROM pending_decisions WHERE begun_at < now() - interval '1 day'")
    alerting.forget(worker.service)

"""`runbooks worker`: the zygote first, while the process holds no secret; then everything else."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from dataclasses import replace

from runbooks_app import telemetry
from runbooks_app.actions.signatures import Signatures
from runbooks_app.chat.client import Slack
from runbooks_app.chat.elsewhere import read_places
from runbooks_app.kernels.engine import Engine
from runbooks_app.kernels.processes import PR_SET_DUMPABLE, prctl
from runbooks_app.live.streams import Live
from runbooks_app.main import assemble
from runbooks_app.main.identity import issuer
from runbooks_app.oidc import OpenIDProvider
from runbooks_app.oncall.pagers import secrets_of
from runbooks_app.settings import Settings, uids_of
from runbooks_app.worker.context import Leases, Worker, worker_name
from runbooks_app.worker.jobs import queue_app, run_worker

log = logging.getLogger(__name__)

SESSIONS = 4
"""Sessions at the service's database that jobs share; their transactions take milliseconds. More of them serve nobody:
a hundred jobs took a quarter longer with 16, since their threads wait for Python's lock between two statements."""
SESSION_WITHIN = 30
"""Seconds in which a job gets one of them."""


def work(settings: Settings) -> None:
    """Work on jobs until told to stop."""
    assemble.log_to_stderr(settings)
    engine = start_engine(settings)
    try:
        # From here on this process holds secrets: no neighbour of the same user may read its memory.
        prctl(PR_SET_DUMPABLE, 0)
        worker = assembled(settings, engine)
        telemetry.scrub_logs(worker.secrets)
        telemetry.set_up("worker", settings.environment, settings.metrics_port)
        asyncio.run(run_worker(queue_app(assemble.queue_conninfo(settings), worker), worker))
    finally:
        engine.close()


def start_engine(settings: Settings) -> Engine:
    """The kernels' engine of these settings, in a process whose jobs take turns quickly."""
    # Whoever waited for the database, Redis or a kernel waits for Python's lock afterwards, 5 ms each time by default
    # while another job computes: a login was minted 40 ms later for it.
    sys.setswitchinterval(0.0005)
    if settings.sandbox == "off":
        log.warning("RUNBOOKS_SANDBOX is off: kernels may do what this process may do. Never run it so in production.")
    return Engine.start(
        roots=[settings.path(settings.library)],
        sandbox=settings.sandbox == "on",
        uids=uids_of(settings.kernel_uids),
    )


def assembled(settings: Settings, engine: Engine) -> Worker:
    """A worker of these settings, with all that workers alone have."""
    service = assemble.service(settings, pool_size=SESSIONS, spare=0, patience=SESSION_WITHIN)
    # Leases are renewed whatever jobs are waiting for.
    renewing = replace(service, engine=assemble.database(settings, pool_size=1, spare=0))
    token, redis_password = settings.secret("slack_bot_token_file"), settings.secret("redis_password_file")
    places = read_places(settings.secret("notify_urls_file"))
    others = (*(place.address for place in places), *secrets_of(service.oncall))
    secrets = (token, settings.secret("database_password_file"), redis_password, *others)
    name = worker_name()
    worker = Worker(
        name=name,
        service=service,
        engine=engine,
        live=Live(settings.redis_url, redis_password),
        slack=Slack(token, base_url=settings.slack_api_url) if token else None,
        leases=Leases(renewing, name),
        signatures=Signatures.by_settings(OpenIDProvider(settings.oidc_issuer), settings),
        secrets=tuple(filter(None, secrets)),
        issuer=issuer(settings),
        elsewhere=places,
    )
    # What exists now stays: the collector, which stops every job while it looks, need not look at it again.
    gc.collect()
    gc.freeze()
    return worker

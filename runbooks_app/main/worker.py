"""`runbooks worker`: the zygote first, while the process holds no secret; then everything else."""

from __future__ import annotations

import asyncio

from runbooks_app import telemetry
from runbooks_app.chat.client import Slack
from runbooks_app.kernels.engine import Engine
from runbooks_app.kernels.processes import PR_SET_DUMPABLE, prctl
from runbooks_app.live.streams import Live
from runbooks_app.main import assemble
from runbooks_app.settings import Settings
from runbooks_app.worker.context import Leases, Worker, worker_name
from runbooks_app.worker.jobs import queue_app, run_worker


def work(settings: Settings) -> None:
    """Work on jobs until told to stop."""
    assemble.log_to_stderr(settings)
    engine = Engine.start(roots=[settings.path(settings.library)])
    try:
        # From here on this process holds secrets: no neighbour of the same user may read its memory.
        prctl(PR_SET_DUMPABLE, 0)
        service = assemble.service(settings, pool_size=settings.concurrency + 4)
        token = settings.secret("slack_bot_token_file")
        secrets = (token, settings.secret("database_password_file"), settings.secret("redis_password_file"))
        telemetry.scrub_logs(secrets)
        telemetry.set_up("worker", settings.environment, settings.metrics_port)
        name = worker_name()
        worker = Worker(
            name=name,
            service=service,
            engine=engine,
            live=Live(settings.redis_url, settings.secret("redis_password_file")),
            slack=Slack(token, base_url=settings.slack_api_url) if token else None,
            leases=Leases(service, name),
            secrets=tuple(filter(None, secrets)),
        )
        asyncio.run(run_worker(queue_app(assemble.queue_conninfo(settings), worker), worker))
    finally:
        engine.close()

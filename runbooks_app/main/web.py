"""`runbooks web`: gunicorn with threads, the app put together in each process after the fork."""

from __future__ import annotations

import gc
import logging
from itertools import chain
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from opentelemetry.instrumentation.flask import FlaskInstrumentor

from runbooks_app import telemetry
from runbooks_app.alerting import read_secrets
from runbooks_app.chat.client import Slack
from runbooks_app.kernels.processes import PR_SET_DUMPABLE, prctl
from runbooks_app.main import assemble, doctor_alerts
from runbooks_app.settings import Settings
from runbooks_app.web.app import create_app
from runbooks_app.web.context import EXTENSION
from runbooks_app.web.slack.socket import SocketMode

log = logging.getLogger(__name__)


def app(settings: Settings) -> Flask:
    """The Flask app of these settings."""
    service = assemble.service(settings, pool_size=20)
    made = create_app(
        service,
        secret_key=assemble.web_key(settings),
        oidc_client_secret=settings.secret("oidc_client_secret_file"),
        slack_signing_secret=settings.secret("slack_signing_secret_file"),
        redis_password=settings.secret("redis_password_file"),
        alert_secrets=read_secrets(service.alerting),
    )
    # Spans hold an address as it is, and that of a sign-in's end has the provider's code in it.
    untold = "healthz,readyz,static,login/callback"
    FlaskInstrumentor().instrument_app(made, excluded_urls=untold)  # type: ignore[no-untyped-call]
    return made


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, settings: Settings) -> None:
        self.settings_of_ours = settings
        self.fetching: SocketMode | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = self.settings_of_ours
        options: dict[str, Any] = {
            "bind": settings.bind,
            "workers": settings.web_processes,
            "threads": settings.web_threads,
            "worker_class": "gthread",
            "timeout": 60,
            "graceful_timeout": 5,
            "keepalive": 65,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": settings.log_level.lower(),
            "control_socket_disable": True,
            "worker_exit": self.leave,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        chosen = self.settings_of_ours
        assemble.log_to_stderr(chosen)
        # This process holds secrets from here on: no neighbour of the same user may read its memory.
        prctl(PR_SET_DUMPABLE, 0)
        names = (
            "oidc_client_secret_file",
            "slack_signing_secret_file",
            "slack_app_token_file",
            "database_password_file",
            "redis_password_file",
        )
        of_sources = read_secrets(assemble.alerting(chosen)).values()
        telemetry.scrub_logs([*(chosen.secret(name) for name in names), *chain.from_iterable(of_sources)])
        # One port, so one process: with several, Prometheus scrapes the collector instead.
        telemetry.set_up("web", chosen.environment, chosen.metrics_port if chosen.web_processes == 1 else 0)
        made = app(self.settings_of_ours)
        # The library is read and checked now: of a runbook of a thousand cells that takes a second.
        made.extensions[EXTENSION].service.library.runbooks()
        if chosen.slack_app_token_file is not None:
            slack = Slack(chosen.secret("slack_app_token_file"), base_url=chosen.slack_api_url)
            self.fetching = SocketMode(made.extensions[EXTENSION].service, slack)
            self.fetching.start()
        gc.freeze()
        return made

    def leave(self, _arbiter: object, _worker: object) -> None:
        """A web process ends."""
        if self.fetching is not None:
            self.fetching.stop()


def serve(settings: Settings) -> None:
    """Serve until told to stop. What is misconfigured is told before a port is opened."""
    probe = assemble.service(settings)
    probe.engine.dispose()
    read_secrets(probe.alerting)
    for problem in doctor_alerts.faults(probe.alerting, probe.library, probe.connections):
        # No reason not to serve: a runbook may be mended while the service runs.
        log.warning("The alerts file: %s Until then such alerts run nothing.", problem)
    assemble.web_key(settings)
    # All that is imported by now is shared by the processes and lives as long as they do: the collector need never
    # look at it again, neither in the middle of a request (some 50 ms) nor at the end of the process.
    gc.collect()
    gc.freeze()
    _Server(settings).run()

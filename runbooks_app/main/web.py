"""`runbooks web`: gunicorn with threads, the app put together in each process after the fork."""

from __future__ import annotations

from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from runbooks_app.main import assemble
from runbooks_app.settings import Settings
from runbooks_app.web.app import create_app


def app(settings: Settings) -> Flask:
    """The Flask app of these settings."""
    return create_app(
        assemble.service(settings, pool_size=20),
        secret_key=assemble.web_key(settings),
        oidc_client_secret=settings.secret("oidc_client_secret_file"),
        slack_signing_secret=settings.secret("slack_signing_secret_file"),
        redis_password=settings.secret("redis_password_file"),
    )


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, settings: Settings) -> None:
        self.settings_of_ours = settings
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
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        assemble.log_to_stderr(self.settings_of_ours)
        return app(self.settings_of_ours)


def serve(settings: Settings) -> None:
    """Serve until told to stop. What is misconfigured is told before a port is opened."""
    probe = assemble.service(settings)
    probe.engine.dispose()
    assemble.web_key(settings)
    _Server(settings).run()

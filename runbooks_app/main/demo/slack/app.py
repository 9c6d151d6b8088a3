"""The stand-in put together: `create_slack` makes the Flask app, `serve` runs it on a loopback address."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from runbooks_app.chat.scopes import SCOPES
from runbooks_app.main.demo.slack.api import api, respond_with
from runbooks_app.main.demo.slack.control import control
from runbooks_app.main.demo.slack.delivery import Deliveries
from runbooks_app.main.demo.slack.pages import pages
from runbooks_app.main.demo.slack.rates import Rates
from runbooks_app.main.demo.slack.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from werkzeug.serving import BaseWSGIServer

MAX_BODY = 25_000_000
"""Bytes of a request."""


@dataclass(frozen=True)
class SlackConfig:
    """What the stand-in is told.

    `people` and `channels` map ids to names, the first of each being the default.

    `service_url` is the base URL of the app whose `/slack/commands` and `/slack/interactivity` are called.
    With `state` (a JSON file) messages outlive the process.
    """

    token: str = field(repr=False)
    signing_secret: str = field(repr=False)
    service_url: str
    people: dict[str, str] = field(default_factory=lambda: {"U0ANA": "Ana", "U0BEN": "Ben"})
    channels: dict[str, str] = field(default_factory=lambda: {"C0INCIDENTS": "incidents", "C0ORDERS": "orders"})
    team_id: str = "T0DEMO"
    app_id: str = "A0RUNBOOKS"
    state: Path | None = None
    rates: bool = True
    """Whether Slack's rate limits hold, as they do there."""


def create_slack(config: SlackConfig) -> Flask:
    """Make the app; its `extensions` hold `slack_workspace` and `slack_deliveries`, for tests."""
    app = Flask(__name__, static_url_path="/static")
    app.config.update(
        TOKEN=config.token, TEAM_ID=config.team_id, APP_ID=config.app_id, SCOPES=tuple(SCOPES),
        MAX_CONTENT_LENGTH=MAX_BODY, MAX_FORM_MEMORY_SIZE=MAX_BODY,
    )  # fmt: skip
    workspace = Workspace(config.people, config.channels, config.state)
    app.extensions["slack_workspace"] = workspace
    app.extensions["slack_rates"] = Rates(time.monotonic) if config.rates else None
    app.extensions["slack_deliveries"] = Deliveries(
        workspace, service_url=config.service_url, signing_secret=config.signing_secret,
        team_id=config.team_id, app_id=config.app_id, respond_with=respond_with,
    )  # fmt: skip
    for blueprint in (api, pages, control):
        app.register_blueprint(blueprint)
    return app


class _Quiet(WSGIRequestHandler):
    """No line per request: the demo prints its own."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def connection_dropped(self, error: BaseException, environ: object = None) -> None:
        """Say nothing when a page is closed while it waits."""


@contextmanager
def serve(app: Flask, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in threads of this process; yields the base URL. Port 0 takes a free one."""
    server: BaseWSGIServer = make_server(host, port, app, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="slack stand-in", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

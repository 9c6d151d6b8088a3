"""The stand-in for Slack, served over HTTP, and a service that notes what it is sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import requests
from flask import Flask, Response, request

from runbooks_app.chat.client import Slack
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "xoxb-a-token-that-no-log-may-hold"
SECRET = "the signing secret"


@dataclass
class Received:
    """What the service was sent: raw body and headers of each request, and how it shall answer."""

    requests: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    answer: tuple[Any, int] = ("", 200)
    hold: threading.Event | None = None

    def form(self, index: int = -1) -> dict[str, str]:
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.requests[index][1].decode(), keep_blank_values=True))


@dataclass
class StandIn:
    url: str
    app: Flask
    service: Received

    @property
    def workspace(self) -> Workspace:
        return self.app.extensions["slack_workspace"]

    def control(self, path: str, **body: Any) -> dict[str, Any]:
        told = requests.post(f"{self.url}control/{path}", json=body, timeout=10)
        assert told.status_code == 200, told.text
        return told.json()

    def messages(self, channel: str = "incidents", viewer: str = "") -> list[dict[str, Any]]:
        told = requests.get(f"{self.url}control/messages", params={"channel": channel, "as": viewer}, timeout=10)
        assert told.status_code == 200, told.text
        return told.json()["messages"]


@pytest.fixture(scope="session")
def noting_service() -> Iterator[tuple[str, Received]]:
    """A service that notes what it is sent and answers as told."""
    app = Flask(__name__)
    received = Received()

    @app.post("/slack/<path>")
    def take(path: str) -> Response:
        received.requests.append((path, request.get_data(), dict(request.headers.items())))
        if received.hold is not None:
            received.hold.wait(10)
        body, status = received.answer
        return app.make_response((body, status))

    with serve(app) as url:
        yield url, received


@pytest.fixture
def stand_in(noting_service: tuple[str, Received]) -> Iterator[StandIn]:
    url, received = noting_service
    received.requests.clear()
    received.answer, received.hold = ("", 200), None
    app = create_slack(SlackConfig(TOKEN, SECRET, url, rates=False))
    with serve(app) as own:
        yield StandIn(own, app, received)


@pytest.fixture
def slack(stand_in: StandIn) -> Slack:
    return Slack(TOKEN, base_url=f"{stand_in.url}api/", timeout=5)

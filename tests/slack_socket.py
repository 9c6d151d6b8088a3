"""Slack's side of Socket Mode: a real server with `apps.connections.open` and a WebSocket, and levers for trouble.

https://docs.slack.dev/apis/events-api/using-socket-mode: an address is good for one connection, each begins with
`hello`, an envelope is to be acknowledged within three seconds on the connection that brought it.
"""

from __future__ import annotations

import itertools
import json
import secrets
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import Any

from flask import Flask, Response, jsonify, request
from simple_websocket import ConnectionClosed, Server

from runbooks_app.main.demo.slack.app import serve
from runbooks_app.main.demo.slack.delivery import Delivery

APP_TOKEN = "xapp-a-token-that-no-log-may-hold"


class SocketModeServer:
    """Takes connections of one app.

    `refusals` are answers for the next calls of `apps.connections.open`: Slack's error codes, `429` or `503`;
    `unwelcome` handshakes are turned away; with `mute` nobody is greeted.
    `farewells` are reasons: the next connections are asked to be replaced for them, right behind their greeting.
    """

    def __init__(self) -> None:
        self.url = ""
        self.connections: list[Server] = []
        self.tickets: list[str] = []
        self.opened: list[float] = []
        self.refusals: list[str] = []
        self.unwelcome = 0
        self.mute = False
        self.farewells: list[str] = []
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.handled: set[str] = set()
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)

    def join(self, app: Flask) -> Flask:
        """Take connections under the addresses of this app, such as the stand-in for Slack."""
        app.add_url_rule("/api/apps.connections.open", view_func=self._open, methods=["POST"])
        app.add_url_rule("/link/", view_func=self._link, websocket=True)
        return app

    def carry(self, kind: str, payload: dict[str, Any], retry: int) -> Delivery:
        """Take what the stand-in delivers to the app that is connected; see `Deliveries.carry`."""
        began = time.monotonic()
        told = self.deliver(kind, payload, **({"retry_attempt": retry} if kind == "events_api" else {}))
        answer = json.dumps(told["payload"]) if told and "payload" in told else "" if told else "operation_timeout"
        body = json.dumps(payload).encode()
        return Delivery("socket", body, {}, 200 if told else 0, answer, time.monotonic() - began)

    def deliver(
        self, kind: str, payload: Any, *, patience: float = 3.0, on: Server | None = None, **more: Any
    ) -> dict[str, Any] | None:
        """Send an envelope on one connection, else the newest; give what acknowledged it in time, if anything."""
        envelope_id = more.pop("envelope_id", "") or f"e-{next(self._numbers)}"
        envelope = {
            "envelope_id": envelope_id, "type": kind, "payload": payload,
            "accepts_response_payload": kind != "events_api", **more,
        }  # fmt: skip
        with self._changed:
            self.acknowledged.pop(envelope_id, None)
            self.handled.discard(envelope_id)
        (on or self.newest()).send(json.dumps(envelope))
        return self.acknowledgement(envelope_id, patience)

    def acknowledgement(self, envelope_id: str, patience: float = 3.0) -> dict[str, Any] | None:
        """What acknowledged an envelope, as soon as it is there."""
        with self._changed:
            self._changed.wait_for(lambda: envelope_id in self.acknowledged or envelope_id in self.handled, patience)
            if envelope_id in self.handled:  # what was sent before is on its way at most
                self._changed.wait_for(lambda: envelope_id in self.acknowledged, 0.5)
            return self.acknowledged.get(envelope_id)

    def handle(self, envelope_id: str) -> None:
        """A service at hand is done with an envelope: nobody need wait longer for its acknowledgement."""
        with self._changed:
            self.handled.add(envelope_id)
            self._changed.notify_all()

    def newest(self, count: int = 1, patience: float = 20.0) -> Server:
        """The newest connection, once so many have been made in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.connections) >= count, patience), "nobody connected"
            return self.connections[-1]

    def asked(self, count: int, patience: float = 20.0) -> None:
        """Wait until so many connections have been asked for."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.opened) >= count, patience), "nobody asked"

    def disconnect(self, reason: str) -> None:
        """Ask the newest connection to be replaced, as Slack does every few hours."""
        self.newest().send(json.dumps({"type": "disconnect", "reason": reason, "debug_info": {"host": "double"}}))

    def drop(self) -> None:
        """End the newest connection without a word, as a network does."""
        self.newest().sock.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """End all connections."""
        for connection in self.connections:
            with suppress(ConnectionClosed, OSError):  # the other side may leave at the same moment
                connection.close()

    def left(self, connection: Server, patience: float = 10.0) -> bool:
        """Whether the other side has left a connection."""
        connection.thread.join(patience)
        return not connection.thread.is_alive()

    def _open(self) -> Response:
        with self._changed:
            self.opened.append(time.monotonic())
            self._changed.notify_all()
        if request.headers.get("Authorization") != f"Bearer {APP_TOKEN}":
            return jsonify(ok=False, error="invalid_auth")
        if self.refusals:
            code = self.refusals.pop(0)
            if code == "429":
                return Response("", 429, {"Retry-After": "1"})
            return Response("down", 503) if code == "503" else jsonify(ok=False, error=code)
        self.tickets.append(secrets.token_hex(16))
        return jsonify(
            ok=True, url=f"ws{self.url.removeprefix('http')}link/?ticket={self.tickets[-1]}&app_id=A0RUNBOOKS"
        )

    def _link(self) -> Response:
        ticket = request.args.get("ticket", "")
        if self.unwelcome or ticket not in self.tickets:
            self.unwelcome = max(0, self.unwelcome - 1)
            return Response("no such ticket", 403)
        self.tickets.remove(ticket)
        connection = Server.accept(request.environ)
        if not self.mute:
            connection.send(json.dumps({
                "type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0RUNBOOKS"},
                "debug_info": {"host": "double", "approximate_connection_time": 18060},
            }))  # fmt: skip
        if self.farewells:
            told = {"type": "disconnect", "reason": self.farewells.pop(0), "debug_info": {"host": "double"}}
            connection.send(json.dumps(told))
        with self._changed:
            self.connections.append(connection)
            self._changed.notify_all()
        try:
            while True:
                told = json.loads(connection.receive())
                with self._changed:
                    self.acknowledged[told["envelope_id"]] = told
                    self._changed.notify_all()
        except ConnectionClosed:
            return Response("")


@contextmanager
def serve_socket_mode():
    """A server that runs until the end of the block."""
    server = SocketModeServer()
    with serve(server.join(Flask(__name__))) as url:
        server.url = url
        yield server
        server.leave()

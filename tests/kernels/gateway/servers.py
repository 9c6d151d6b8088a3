"""Systems behind a gateway, each named for how it behaves, and a kernel's end that can send anything."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


@dataclass
class System:
    """A running double: where it is, and what reached it."""

    port: int
    seen: list[Any] = field(default_factory=list)


@contextlib.contextmanager
def http_server(
    handle: Callable[[BaseHTTPRequestHandler, System], None], tls: ssl.SSLContext | None = None
) -> Iterator[System]:
    """A real HTTP/1.1 server; `handle` answers every request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            handle(self, system)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A gateway that hangs up is no news."""

    with Server((HOST, 0), Handler) as server:
        system = System(server.server_port)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield system
        finally:
            server.shutdown()
            thread.join()


def answer(handler: BaseHTTPRequestHandler, body: bytes = b"", status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def body_of(handler: BaseHTTPRequestHandler) -> bytes:
    """The request's body, however long it was said to be."""
    if "chunked" in handler.headers.get("Transfer-Encoding", ""):
        body = b""
        while size := int(handler.rfile.readline(), 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
        return body
    return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))


def echo(handler: BaseHTTPRequestHandler, system: System) -> None:
    """Gives the request back: what a debug page does."""
    body = body_of(handler)
    seen = {
        "method": handler.command,
        "path": handler.path,
        "headers": [list(pair) for pair in handler.headers.items()],
        "body": body[:1000].decode("latin-1"),
        "size": len(body),
    }
    system.seen.append(seen)
    given = {k.lower(): v for k, v in seen["headers"]}
    answer(handler, json.dumps(seen).encode(), X_Echo=given.get("authorization", ""), Set_Cookie="session=stolen")


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket, System], None]) -> Iterator[System]:
    """A TCP server that is only as honest as `talk`; it is given each connection, which is closed when it returns."""
    listening = socket.create_server((HOST, 0))
    system = System(listening.getsockname()[1])
    threads = []

    def serve_one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            talk(connection, system)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threads.append(threading.Thread(target=serve_one, args=(connection,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    try:
        yield system
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for thread in threads:
            thread.join(10)


def saying(data: bytes) -> Callable[[socket.socket, System], None]:
    """Reads a request's head, says this, closes."""

    def talk(connection: socket.socket, system: System) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
            head += piece
        system.seen.append(head)
        connection.sendall(data)

    return talk


def silent(connection: socket.socket, system: System) -> None:
    """Takes everything and never says a word; ends when the other side does."""
    while piece := connection.recv(65536):
        system.seen.append(piece)
    system.seen.append(b"")


def send(port: int, data: bytes, *, leave: bool = False) -> bytes:
    """Send these bytes to a port, and read all that comes until the other side ends; `leave`: close ours first."""
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(data)
        if leave:
            connection.shutdown(socket.SHUT_WR)
        answered = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answered += piece
        return answered

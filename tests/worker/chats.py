"""Chats that stand in for others, over real HTTP; what a run says that is told to them."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import elsewhere

TOKEN = "canary-in-the-address-9f31c6"
ROWS = """
kit.finding("info", "3 rows")
kit.finding("critical", "Session 7 blocks @everyone, see https://evil.example and <@U123>", {"email": "jane@customer"})
kit.propose("act")
"""
ACT = """
kit.gate("act", "Do *it*", risk="medium")
kit.postgres("orders-db").execute("SELECT 1")
"""


@dataclass
class Chat:
    """A service that takes messages; `answers` is its status, `hangs` until it is set."""

    port: int = 0
    answers: int = 200
    hangs: threading.Event | None = None
    asked: threading.Event = field(default_factory=threading.Event)
    got: list[tuple[str, dict]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [body["title"] for _, body in self.got]

    def address(self, path: str = TOKEN) -> str:
        return f"json://127.0.0.1:{self.port}/{path}"


@contextmanager
def served():
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            chat.asked.set()
            if chat.hangs is not None:
                chat.hangs.wait(20)
            if chat.answers == 200:
                chat.got.append((self.path, json.loads(body)))
            self.send_response(chat.answers)
            if chat.answers == 302:
                self.send_header("Location", f"http://127.0.0.1:{chat.port}/elsewhere")
                chat.answers = 200
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield chat
    server.shutdown()
    thread.join()
    server.server_close()


def tell(house) -> None:
    elsewhere.tell_elsewhere(house.worker)


def at_once(house) -> None:
    """Let what has to wait be tried now."""
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE elsewhere_places SET due_at = now()")


def places(house) -> list:
    with reading(house.service.engine) as tx:
        return tx.execute("SELECT * FROM elsewhere_places ORDER BY trouble").all()

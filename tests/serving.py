"""The app on a port of this process, as browsers reach it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from werkzeug.exceptions import NotFound
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Place:
    """Where an app is served: it is put here once its address is known, which is part of what it checks."""

    def __init__(self) -> None:
        self.address = ""
        self.app: WSGIApplication = NotFound()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self.app(environ, start_response)
        try:
            for piece in answer:  # noqa: UP028 -- `yield from` would close it too
                yield piece
        finally:
            # A browser may leave in the middle of an answer, which werkzeug's server does not always close then.
            close = getattr(answer, "close", None)
            if close is not None:
                close()


@contextmanager
def served() -> Iterator[Place]:
    """A place on a free port."""
    place = Place()
    server = make_server("127.0.0.1", 0, place, threaded=True)
    server.daemon_threads = False  # closing it waits for all that it answers: the database is let go of then
    place.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

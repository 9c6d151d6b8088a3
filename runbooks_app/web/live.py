"""Live pages: server-sent events with the parts of a page that changed, and what cells print while they print it.

    event: parts      HTML: elements with ids, each to take the place of the one with its id
    event: output     JSON: HTML to append, and the id of the element that it belongs into
    event: end        nothing more will come

The truth is read from the database whenever the stream of the run says that something changed, and every few
seconds besides; without Redis every second. So a page is never further behind than that, whatever is lost.
A stream ends when its page is at rest, when the session does, or after `LONGEST`: the browser then comes back.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, current_app, get_template_attribute, stream_with_context

from runbooks_app.core.errors import NotFound, RunbooksError, Unavailable
from runbooks_app.documents.outputs import pieces
from runbooks_app.live import Viewer
from runbooks_app.live.viewer import Events
from runbooks_app.store.database import reading
from runbooks_app.web import sessions
from runbooks_app.web.context import service, web

EXTENSION = "runbooks.live"
LONGEST = 600.0
"""Seconds after which a stream ends and the browser connects anew."""
HEARTBEAT = 15.0
"""Seconds between signs of life; with each the session is looked up again."""
POLL_WITHOUT_REDIS = 1.0
POLL = 3.0
"""Seconds between looks into the database when nothing was told."""
CALM = 0.15
"""Seconds in which changes collect into one look. What a cell prints does not wait for it."""
MOST = 500
"""Events taken at once."""
SHARE = 0.75
"""Of the process's threads, how many may serve streams: each stream holds one, and other requests want theirs."""


_PASSING = re.compile(r"(?<=<span data-ago>)[^<]*|(?<=\">)\d+:\d\d(?=</span>)")
"""What moves with the clock alone ("3 min ago", a countdown): the browser moves it, it is no news."""


class TooManyStreams(Unavailable):
    """Too many live pages are open here; this one goes on without."""

    code = "too_many_streams"


@dataclass
class _Streams:
    """What one process holds for its live pages."""

    viewer: Viewer
    places: threading.BoundedSemaphore


_making = threading.Lock()


def _streams(app: Flask) -> _Streams:
    """Made with the first stream: a process that forks its workers has no thread of ours before."""
    with _making:
        if EXTENSION not in app.extensions:
            settings = web().service.settings
            app.extensions[EXTENSION] = _Streams(
                Viewer(settings.redis_url, web().redis_password),
                threading.BoundedSemaphore(max(int(settings.web_threads * SHARE), 1)),
            )
        found: _Streams = app.extensions[EXTENSION]
        return found


class Page:
    """A page that streams: reads itself, gives the parts that changed, says when it is at rest."""

    at_rest = False

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}

    def read(self, tx: Any) -> None:
        """Look at how things stand now."""
        raise NotImplementedError

    def changed(self) -> list[str]:
        """Parts that are not as they were sent last."""
        raise NotImplementedError

    def output(self, event: dict[str, Any]) -> str:
        """What a cell printed, as an event; empty where the page does not show it."""
        del event
        return ""

    def knows(self, event: dict[str, Any]) -> bool:
        """Whether what was printed can be judged; where not, the page looks first."""
        del event
        return True

    def news(self, parts: dict[str, Any]) -> list[str]:
        """Those of these parts that are not as they were sent last; the clock alone makes no news."""
        fresh = []
        for name, html in parts.items():
            mark = hashlib.sha256(_PASSING.sub("", str(html)).encode()).hexdigest()
            if self._sent.get(name) != mark:
                self._sent[name] = mark
                fresh.append(str(html))
        return fresh


def answer(page: Page, run_id: str) -> Response:
    """The stream of a page that was read once already; `run_id` names the run whose events concern it."""
    streams = _streams(current_app)
    if not streams.places.acquire(blocking=False):
        raise TooManyStreams
    response = Response(stream_with_context(_events(page, run_id, streams.viewer)), mimetype="text/event-stream")
    response.call_on_close(streams.places.release)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would collect the stream into pages
    return response


def _events(page: Page, run_id: str, viewer: Viewer, clock: Callable[[], float] = time.monotonic) -> Iterator[str]:
    """What one browser is sent, until its page is at rest."""
    ends, beats, looked = clock() + LONGEST, clock() + HEARTBEAT, clock()
    due = ends
    unknown: list[dict[str, Any]] = []  # printed by cells that the page does not know yet
    yield "retry: 2000\n\n"
    with viewer.subscribe(run_id) as events:
        yield from _parts(page.changed())
        while not page.at_rest and clock() < ends:
            due = min(due, looked + (POLL if viewer.connected else POLL_WITHOUT_REDIS))
            for event in _collect(events, due - clock()):
                if event.get("kind") != "output":
                    due = min(due, clock() + CALM)
                elif page.knows(event):
                    yield page.output(event)
                else:
                    unknown.append(event)
                    due = clock()
            if clock() >= due:
                looked, due = clock(), ends
                try:
                    with reading(service().engine) as tx:
                        page.read(tx)
                except (Unavailable, NotFound):
                    continue  # the page stays as it is; the next look may succeed
                yield from _parts(page.changed())
                yield from (page.output(event) for event in unknown)
                unknown.clear()
            if clock() >= beats:
                beats = clock() + HEARTBEAT
                if _signed_out():
                    return
                yield ": still here\n\n"
    if page.at_rest:
        yield "event: end\ndata:\n\n"


def _signed_out() -> bool:
    """Whether the session has ended in the meantime; a database that is away signs nobody out."""
    try:
        return sessions.current() is None
    except Unavailable:
        return False


def _collect(events: Events, patience: float) -> list[dict[str, Any]]:
    """The next events: all that are there, after waiting for the first."""
    found: list[dict[str, Any]] = []
    with suppress(queue.Empty):
        found.append(events.get(timeout=max(patience, 0)))
        while len(found) < MOST:
            found.append(events.get_nowait())
    return found


def _parts(fresh: list[str]) -> Iterator[str]:
    if fresh:
        yield parts("\n".join(fresh))


def parts(html: str) -> str:
    """Elements that take the place of those with their ids."""
    return _event("parts", html)


def output(into: str, printed: Any, *, display: str = "", clears: bool = False) -> str:
    """One output as escaped HTML, in JSON with the id of the element that it belongs into.

    It takes the place of what is shown there under the same `display`; `clears`: of all that is shown there.
    """
    try:
        shown = pieces([printed])
    except RunbooksError:
        return ""
    live = get_template_attribute("parts/outputs.html", "live")
    html = "".join(str(live(piece)) for piece in shown)
    return _event("output", json.dumps({"into": into, "html": html, "display": display, "clears": clears}))


def _event(name: str, data: str) -> str:
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return f"event: {name}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


def close(app: Flask) -> None:
    """Let go of the reader thread and its connections."""
    streams: _Streams | None = app.extensions.pop(EXTENSION, None)
    if streams is not None:
        streams.viewer.close()

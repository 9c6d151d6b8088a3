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
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

from flask import Flask, Response, current_app, g, get_template_attribute, stream_with_context

from runbooks_app.core.errors import NotFound, RunbooksError, Unavailable
from runbooks_app.documents.outputs import pieces
from runbooks_app.live import Viewer
from runbooks_app.live.viewer import Events
from runbooks_app.web import sessions
from runbooks_app.web.context import web
from runbooks_app.web.looks import Looks

EXTENSION = "runbooks.live"
LONGEST = 600.0
"""Seconds after which a stream ends and the browser connects anew."""
HEARTBEAT = 15.0
"""Seconds between signs of life; with each the session is looked up again."""
POLL_WITHOUT_REDIS = 1.0
POLL = 3.0
"""Seconds between looks into the database when nothing was told."""
KEPT = 1.0
"""Seconds that a look at what many watch is good for: however many they are, it is read no more often than that."""
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
    looks: WeakValueDictionary[str, Looks[Any]] = field(default_factory=WeakValueDictionary)


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


def looks(name: str, read: Callable[[Any], Any], keeps: float = 0.0) -> Looks[Any]:
    """The looks at what has this name, for all in this process who look at it; the rest as `Looks` takes it."""
    streams = _streams(current_app)
    with _making:
        found = streams.looks.get(name)
        if found is None:
            found = streams.looks[name] = Looks(read, keeps)
        return found


class Page:
    """A page that streams: reads itself, gives the parts that changed, says when it is at rest."""

    at_rest = False

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}

    def read(self) -> None:
        """Look at how things stand now."""
        raise NotImplementedError

    def changed(self) -> list[str]:
        """Parts that are not as they were sent last."""
        raise NotImplementedError

    def events(self) -> Iterator[str]:
        """What changed, as events."""
        yield from _parts(self.changed())

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
            mark = _mark(html)
            if self._sent.get(name) != mark:
                self._sent[name] = mark
                fresh.append(str(html))
        return fresh


@lru_cache(maxsize=64)
def _mark(html: str) -> str:
    """What tells a part from another; many viewers are sent the same ones."""
    return hashlib.sha256(_PASSING.sub("", html).encode()).hexdigest()


def answer(page: Page, run_id: str = "") -> Response:
    """The stream of a page that was read once already; `run_id` names the run whose events concern it, if one does."""
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
    with viewer.subscribe(run_id) if run_id else nullcontext(Events()) as events:
        yield from page.events()
        while not (page.at_rest or viewer.closed) and clock() < ends:
            due = min(due, looked + (POLL if viewer.connected or not run_id else POLL_WITHOUT_REDIS))
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
                    page.read()
                except (Unavailable, NotFound):
                    continue  # the page stays as it is; the next look may succeed
                yield from page.events()
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
    """Whether session or token has ended in the meantime; a database that is away signs nobody out."""
    if g.token:
        return bool(g.token.expires <= time.time())
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
    return event("parts", html)


def output(into: str, printed: Any, *, display: str = "", clears: bool = False) -> str:
    """One output as escaped HTML, in JSON with the id of the element that it belongs into.

    It takes the place of what is shown there under the same `display`; `clears`: of all that is shown there.
    """
    html = _shown(json.dumps(printed))
    if html is None:
        return ""
    return event("output", json.dumps({"into": into, "html": html, "display": display, "clears": clears}))


@lru_cache(maxsize=128)
def _shown(printed: str) -> str | None:
    """One output, as JSON, as HTML; None where it cannot be shown. All who watch are sent the same ones."""
    try:
        shown = pieces([json.loads(printed)])
    except RunbooksError:
        return None
    live = get_template_attribute("parts/outputs.html", "live")
    return "".join(str(live(piece)) for piece in shown)


def event(name: str, data: str) -> str:
    """One server-sent event; each line of its data by itself."""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return f"event: {name}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


def close(app: Flask) -> None:
    """Let go of the reader thread and its connections; streams end within a few seconds."""
    streams: _Streams | None = app.extensions.pop(EXTENSION, None)
    if streams is not None:
        streams.viewer.close()

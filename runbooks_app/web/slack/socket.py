"""Slack's requests through Socket Mode: for a service that Slack cannot reach, which opens the connection itself.

Each web process keeps one connection, in threads of its own. The app-level token opens connections and can do nothing
else, so a web process still cannot post. An envelope is acknowledged once what it asks for is committed, with the very
body that HTTP would have answered; one that is not acknowledged is Slack's to deliver again, or to show as failed.

slack_sdk speaks the protocol. Keeping the connection is done here: the SDK swallows what listeners raise, hides a
refused handshake, opens anew without ever waiting longer, and logs tickets.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from slack_sdk.errors import SlackClientNotConnectedError
from slack_sdk.socket_mode.builtin import SocketModeClient
from sqlalchemy.exc import DataError

from runbooks_app.actions.refusals import count_refusal
from runbooks_app.chat.client import Away, RateLimited, Slack
from runbooks_app.core.errors import DatabaseAway, InvalidInput, Refused, RunbooksError
from runbooks_app.web.slack.answering import answer
from runbooks_app.web.slack.asked import Asked, from_command, from_event, from_interaction

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service

log = logging.getLogger(__name__)
_SILENT = logging.getLogger(f"{__name__}.sdk")
_SILENT.setLevel(logging.CRITICAL)

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds before a connection is opened anew: twice as many after each that did not last, since
`apps.connections.open` is of Slack's strictest tier."""
GREETING = 10.0
"""Seconds within which Slack greets a new connection."""
OVERLAP = 10.0
"""Seconds that a connection which Slack wants replaced may still bring requests beside its successor."""
PING = 3.0
"""Seconds between two pings; after four without an answer the connection counts as lost."""

ADVICE = {
    "link_disabled": "Switch Socket Mode on for the app again.",
    "too_many_websockets": "Slack takes ten connections of one app: run fewer web processes.",
}

_READERS: Mapping[str, Callable[..., Asked | None]] = {
    "slash_commands": from_command,
    "interactive": from_interaction,
    "events_api": from_event,
}


def acknowledgement(service: Service, envelope: Mapping[str, Any], *, now: float) -> dict[str, Any] | None:
    """Do what an envelope asks, at `now` (seconds since the epoch), and say what acknowledges it; None for nothing."""
    envelope_id, read = envelope.get("envelope_id"), _READERS.get(str(envelope.get("type")))
    if not isinstance(envelope_id, str) or read is None:
        return None
    try:
        asked = read(envelope.get("payload"), settings=service.settings, copy=envelope_id, at=now)
        body = answer(service, asked).body() if asked is not None else None
    except Refused as error:
        log.warning("A request from Slack was refused: %s", error.message)
        count_refusal(service, f"Socket Mode {envelope['type']}: {error.code}")
        return None
    except (InvalidInput, DataError) as error:
        log.warning("A request from Slack cannot be read (%s); it was not acknowledged.", type(error).__name__)
        return None
    except RunbooksError as error:
        log.warning("A request from Slack was not acknowledged, so Slack may send it again: %s", error.message)
        return None
    if body is None or not envelope.get("accepts_response_payload"):
        return {"envelope_id": envelope_id}
    return {"envelope_id": envelope_id, "payload": body}


class SocketMode:
    """Keeps one connection until told to stop. To be started in each web process, after the fork."""

    def __init__(self, service: Service, slack: Slack) -> None:
        """`slack` holds the app-level token."""
        self._service, self._slack = service, slack
        self._stopping = Event()
        self._connection: _Connection | None = None
        self._thread = Thread(target=self._keep, name="socket mode", daemon=True)

    def start(self) -> None:
        """Connect, and connect again whenever it is needed."""
        self._thread.start()

    def stop(self) -> None:
        """Acknowledge what was taken, and disconnect."""
        self._stopping.set()
        if self._connection is not None:
            self._connection.over.set()
        self._thread.join()

    def _keep(self) -> None:
        pause = SHORTEST
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                connection = self._connect()
            except RunbooksError as error:
                pause = max(pause, error.retry_after if isinstance(error, RateLimited) else 0)
                log.warning("Slack's requests cannot be fetched; trying again in %.0f s. %s", pause, error.message)
            else:
                log.info("Slack's requests are fetched by Socket Mode.")
                if self._stopping.is_set() or (connection.over.wait() and self._stopping.is_set()):
                    connection.leave()
                    return
                # Slack may still use it beside its successor.
                Thread(target=connection.retire, name="socket mode, replaced", daemon=True).start()
                pause = pause if time.monotonic() - began < LONGEST else SHORTEST
                said = " ".join(filter(None, [connection.reason, ADVICE.get(connection.reason, "")]))
                log.info("A connection of Socket Mode is over (%s); opening another in %.0f s.", said or "lost", pause)
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST)

    def _connect(self) -> _Connection:
        self._connection = connection = _Connection(self._slack.socket_address(), self._take)
        try:
            connection.open()
        except Away:
            connection.leave()
            raise
        return connection

    def _take(self, connection: _Connection, envelope: Mapping[str, Any]) -> None:
        """Answer one envelope, in a thread of the connection's."""
        try:
            told = acknowledgement(self._service, envelope, now=time.time())
            if told is not None:
                connection.send_socket_mode_response(told)
        except DatabaseAway:
            log.warning("A refusal could not be entered in the audit trail; it was refused all the same.")
        except SlackClientNotConnectedError:
            log.warning("An acknowledgement did not reach Slack: what it sends again is known, and not done twice.")
        except Exception:
            log.exception("A request from Slack was not acknowledged: this is a mistake of ours.")


class _Connection(SocketModeClient):
    """One connection. Whatever would make the SDK reconnect ends it: `over`, with the `reason` that Slack gave."""

    def __init__(self, address: str, take: Callable[[_Connection, Mapping[str, Any]], None]) -> None:
        self.over, self.reason = Event(), ""
        self._greeted, self._left, self._given = Event(), Event(), take
        self._welcome = False
        super().__init__("", logger=_SILENT, ping_interval=PING, receive_buffer_size=65_536)
        self.on_error_listeners.append(lambda _error: self._end())
        self.wss_uri, self.proxy = address, proxy_for(address)

    def open(self) -> None:
        """Connect, and wait for Slack's greeting. Raises `Away`."""
        self.connect()
        session = self.current_session
        if session is not None and session.sock is not None:
            session.sock = _Ending(session.sock)  # type: ignore[assignment]
        if self.is_connected():
            self._greeted.wait(GREETING)
        # Slack greets a connection, and may want it replaced in the same breath ("warning", "refresh_requested"): it
        # is one all the same, and brings requests until its successor does. What has an advice is a refusal.
        if not self._welcome or self.reason in ADVICE:
            said = " ".join(filter(None, ["Slack takes no connection of Socket Mode.", ADVICE.get(self.reason)]))
            raise Away(said, maybe_done=False)

    def enqueue_message(self, message: str) -> None:
        """Take what arrived, in place of the SDK's queue."""
        told = json.loads(message)
        if told.get("type") == "hello":
            self._welcome = True
            self._greeted.set()
        elif told.get("type") == "disconnect":
            self.reason = str(told.get("reason", ""))[:60]
            self._end()
        else:
            self.message_workers.submit(self._given, self, told)

    def process_messages(self) -> None:
        """Nothing is in the SDK's queue."""
        self._left.wait()

    def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002 (the SDK's signature)
        """The SDK would reconnect: the connection is over."""
        self._end()

    def _end(self) -> None:
        self.over.set()
        self._greeted.set()

    def retire(self) -> None:
        """Leave as soon as Slack has closed it, at the latest after the overlap."""
        end = time.monotonic() + OVERLAP
        while self.is_connected() and time.monotonic() < end:
            time.sleep(0.1)
        self.leave()

    def leave(self) -> None:
        """Acknowledge what was taken, and disconnect."""
        self.message_workers.shutdown()
        # One after the other: the SDK's threads trip over each other when two of them close the socket.
        self.current_session_state.terminated = True
        if self.current_app_monitor.is_alive():
            self.current_app_monitor.shutdown()  # type: ignore[no-untyped-call]
        session = self.current_session
        if session is not None and session.sock is not None:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)  # or who reads would keep it for seconds
        self.current_session_runner.shutdown()  # type: ignore[no-untyped-call]
        self._left.set()
        self.close()


class _Ending:
    """A socket whose end is an error: the SDK takes the empty bytes of an end for a silence, and asks on and on."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        """Receive at most `size` bytes. Raises `ConnectionResetError` at the end."""
        received: bytes = self._sock.recv(size)
        if not received:
            raise ConnectionResetError
        return received


def proxy_for(address: str) -> str | None:
    """The proxy of the environment; the SDK's own look-up ignores NO_PROXY."""
    parts = urlsplit(address)
    if parts.scheme != "wss" or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get("https")

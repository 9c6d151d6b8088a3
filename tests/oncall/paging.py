"""PagerDuty and Opsgenie over real HTTP, as far as the service needs them.

They hold what is sent to their documented limits, check who asks, and keep what is open. `spell` answers in their
place, each time it is not empty.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from kernels.gateway.servers import HOST, answer, body_of, http_server

from runbooks_app.oncall import PagingService

ROUTING_KEY = "r0ut1ngk3y" + "0" * 22
REST_TOKEN = "y_NbAkKc66ryYTWUXYEu"
GENIE_KEY = "eb24a1b4-faa2-4ba2-a551-1a2f565c8890"


@dataclass
class Pages:
    """A running one of either kind. `open` are the alerts that are, by key; `on_call` e-mails by schedule."""

    port: int
    kind: str
    open: dict[str, dict[str, Any]] = field(default_factory=dict)
    on_call: dict[str, list[Any]] = field(default_factory=dict)
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    spell: list[Callable[[Any], None]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def asked(self) -> list[str]:
        """What was asked, in order: the path, or what PagerDuty's event said."""
        return [sent.get("event_action", path) if sent else path for _, path, sent in self.seen]

    def service(self, folder, name: str = "pd", team: str = "") -> PagingService:
        """The service as the on-call file has it, with its secrets in this folder."""
        token, key = folder / f"{name}.token", folder / f"{name}.key"
        if self.kind == "pagerduty":
            token.write_text(REST_TOKEN + "\n")
            key.write_text(ROUTING_KEY + "\n")
            return PagingService(name, self.kind, self.url, self.url, token, key)
        token.write_text(GENIE_KEY + "\n")
        return PagingService(name, self.kind, self.url, token_file=token, team=team)

    def toml(self, folder, name: str = "pd") -> str:
        """The same as it stands in the file."""
        self.service(folder, name)
        events = f'events_url = "{self.url}"\nrouting_key_file = "{name}.key"\n' if self.kind == "pagerduty" else ""
        return f'[service.{name}]\nkind = "{self.kind}"\nurl = "{self.url}"\ntoken_file = "{name}.token"\n{events}\n'

    # ---- what they do

    def respond(self, method: str, url: str, headers: Any, sent: Any) -> tuple[int, Any]:
        parts = urlsplit(url)
        return (self._pagerduty if self.kind == "pagerduty" else self._opsgenie)(
            method, parts.path, parse_qs(parts.query), headers.get("Authorization"), sent
        )

    def _pagerduty(self, method, path, query, authorization, sent):
        if (method, path) == ("GET", "/oncalls"):
            if authorization != f"Token token={REST_TOKEN}":
                return 401, {"error": {"message": "Unauthorized"}}
            assert query["include[]"] == ["users"], "else users come without their addresses"
            people = self.on_call.get(query["schedule_ids[]"][0], [])
            shifts = [{"escalation_level": 1, "user": {"id": "PX", "name": "X", "email": one}} for one in people]
            return 200, {"oncalls": shifts, "limit": 25, "offset": 0, "more": False, "total": None}
        assert (method, path, authorization) == ("POST", "/v2/enqueue", None)
        errors = [] if len(sent.get("routing_key", "")) == 32 else ["Length of 'routing_key' is incorrect"]
        errors += [] if len(sent["dedup_key"]) <= 255 else ["'dedup_key' is too long"]
        if sent["event_action"] == "trigger":
            payload = sent["payload"]
            errors += [] if 0 < len(payload["summary"]) <= 1024 else ["'payload.summary' is too long"]
            errors += [] if payload["severity"] in {"critical", "error", "warning", "info"} else ["'payload.severity'"]
            errors += [] if payload["source"] else ["'payload.source' is missing or blank"]
            errors += [] if all(link["href"] for link in sent["links"]) else ["'links' is invalid"]
        if errors:
            return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
        if sent["routing_key"] == ROUTING_KEY:  # any other is taken as well, and leads nowhere
            if sent["event_action"] == "trigger":
                self.open[sent["dedup_key"]] = sent
            else:
                self.open.pop(sent["dedup_key"], None)
        return 202, {"status": "success", "message": "Event processed", "dedup_key": sent["dedup_key"]}

    def _opsgenie(self, method, path, query, authorization, sent):
        if authorization != f"GenieKey {GENIE_KEY}":
            return 403, {"message": "You are not authorized to take this action.", "took": 0.0, "requestId": "r"}
        taken = {"result": "Request will be processed", "took": 0.1, "requestId": "43a29c5c-3dbf-4fa4-9c26"}
        match [unquote(part) for part in path.split("/")[1:]]:
            case ["v2", "schedules", schedule, "on-calls"] if method == "GET":
                assert query["flat"] == ["true"]
                if schedule not in self.on_call:
                    return 404, {"message": f"Schedule with id [{schedule}] does not exist", "requestId": "r"}
                return 200, {"data": {"onCallRecipients": self.on_call[schedule]}, "took": 0.1, "requestId": "r"}
            case ["v2", "alerts"]:
                if not 0 < len(sent["message"]) <= 130:
                    return 422, {"message": "Message can not be longer than 130 characters", "requestId": "r"}
                assert len(sent["alias"]) <= 512
                assert len(sent["description"]) <= 15_000
                assert len(sent["source"]) <= 100
                assert sent["priority"] in {"P1", "P2", "P3", "P4", "P5"}
                assert all(isinstance(value, str) for value in sent["details"].values())
                self.open[sent["alias"]] = sent
                return 202, taken
            case ["v2", "alerts", alias, "close"]:
                assert query["identifierType"] == ["alias"]
                self.open.pop(alias, None)
                return 202, taken
        return 404, {"message": "no such thing", "requestId": "r"}


@contextlib.contextmanager
def paging(kind: str) -> Iterator[Pages]:
    """One of either kind."""

    def handle(request: Any, system: Any) -> None:
        body = body_of(request)
        sent = json.loads(body) if body else None
        pages.seen.append((request.command, request.path, sent))
        pages.arrived.set()
        if pages.spell:
            pages.spell.pop(0)(request)
            return
        status, said = pages.respond(request.command, request.path, request.headers, sent)
        answer(request, json.dumps(said).encode(), status)

    with http_server(handle) as system:
        pages = Pages(system.port, kind)
        yield pages


def says(status: int, body: bytes = b"{}", **headers: str) -> Callable[[Any], None]:
    """Answer with this."""
    return lambda request: answer(request, body, status, **headers)


def hangs(until: threading.Event) -> Callable[[Any], None]:
    """Say nothing before this is set."""

    def hang(request: Any) -> None:
        until.wait(30)
        request.close_connection = True

    return hang

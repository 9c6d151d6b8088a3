"""Who is in the demo's story, what they do, and how each step of it is told. What happens is in `plot.py`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from runbooks_app.main.demo.stage import Stage
from runbooks_app.main.embedded import Guarded

PATIENCE = 30.0
"""Seconds that any one thing may take."""


class StepFailedError(Exception):
    """A step did not hold: what was seen instead."""


@dataclass
class Browser:
    """One signed-in person, as far as HTTP goes."""

    stage: Stage
    sub: str
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(follow_redirects=True, timeout=PATIENCE, trust_env=False)

    def sign_in(self, place: str = "/") -> httpx.Response:
        """Through the provider's own page."""
        form = self.client.get(f"{self.stage.url}/login", params={"next": place})
        return self.client.post(form.url, data={"sub": self.sub})

    def page(self, path: str) -> str:
        """The text of a page."""
        answer = self.client.get(self.stage.url + path)
        expect(answer.status_code == 200, f"{path} answered {answer.status_code}")
        return answer.text

    def post(self, path: str, page: str, **fields: str) -> httpx.Response:
        """Send a form from a page: its CSRF token, and these fields."""
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)
        fields["csrf"] = csrf.group(1) if csrf else ""
        return self.client.post(self.stage.url + path, data=fields, headers={"Origin": self.stage.url})

    def api(self, path: str) -> Any:
        """Read through the JSON API."""
        answer = self.client.get(f"{self.stage.url}/api/v1{path}")
        expect(answer.status_code == 200, f"{path} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def decide(self, proposal_id: str, verdict: str, reason: str) -> httpx.Response:
        """Decide by the approval page's form, also where it is no longer offered, wherever that leads."""
        return self.sign(self.send_decision(proposal_id, verdict, reason))

    def send_decision(self, proposal_id: str, verdict: str, reason: str) -> httpx.Response:
        """Send the form; high risk leads to the provider's own page."""
        path = f"/proposals/{proposal_id}"
        digest = self.api(path)["digest"]
        return self.post(f"{path}/decision", self.page(path), verdict=verdict, reason=reason, digest=digest)

    def sign(self, answer: httpx.Response) -> httpx.Response:
        """Sign in afresh where an answer led to the provider."""
        at_provider = str(answer.url).startswith(self.stage.issuer)
        return self.client.post(answer.url, data={"sub": self.sub}) if at_provider else answer


@dataclass
class Story:
    """What has been told so far, and the people in it."""

    stage: Stage
    say: Callable[[str], None]
    steps: list[dict[str, Any]] = field(default_factory=list)
    fault: Guarded = field(init=False)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """One step: time it, and say what was checked."""
        began = time.monotonic()
        checked: list[str] = []
        ok = False
        try:
            yield checked
            ok = True
        except Exception as error:
            checked.append(f"{type(error).__name__}: {error}")
            raise
        finally:
            told = {"name": name, "ok": ok, "seconds": round(time.monotonic() - began, 2), "checked": checked}
            self.steps.append(told)
            self.say(f"{'✓' if ok else '✗'} {told['seconds']:6.2f} s  {name}")
            for line in checked:
                self.say(f"             {line}")

    def command(self, user: str, text: str) -> list[dict[str, Any]]:
        """Type a command in the channel, as a signed request to the service; what the person then sees."""
        answer = self.stage.http.post(
            f"{self.stage.slack_url}/control/command",
            json={"channel": "incidents", "user": user, "text": text},
        )
        expect(answer.status_code == 200, f"the command was answered {answer.status_code}: {answer.text[:300]}")
        return self.messages(user)

    def link_for(self, user: str) -> str:
        """The path of the one-time link that ties a chat account to a person: it is offered to that account alone."""

        def offered() -> re.Match[str] | None:
            alone = [seen for seen in self.command(user, "/runbook status") if seen["only_for"] == user]
            return re.search(r"/link/[\w-]+", str(alone[-1:]))

        link: re.Match[str] = until(f"a link for {user}", offered)
        return link.group()

    def messages(self, user: str = "", channel: str = "incidents") -> list[dict[str, Any]]:
        """What stands in a channel."""
        query = {"channel": channel, "as": user}
        answer = self.stage.http.get(f"{self.stage.slack_url}/control/messages", params=query)
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    def blocker(self, application: str = "deploy-migration") -> int | None:
        """Process id of the session that holds the shop up, as PostgreSQL itself tells it."""
        with psycopg.connect(self.stage.shop.server.url(database="orders")) as session:
            row = session.execute(
                """SELECT DISTINCT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid)
                   WHERE a.application_name = %s AND l.granted AND l.locktype = 'relation'
                     AND l.mode IN ('AccessExclusiveLock', 'RowExclusiveLock')""",
                [application],
            ).fetchone()
            return int(row[0]) if row else None


def expect(holds: bool, otherwise: str) -> None:
    """Go on only if it holds."""
    if not holds:
        raise StepFailedError(otherwise)


def until(what: str, look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Look until there is something to see."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.1)
    raise StepFailedError(f"{what}: not within {seconds:.0f} s")

"""The service's JSON API for whoever is signed in. What it refuses is raised with its own words."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote, urlencode

from runbooks_app.core.errors import Problem
from runbooks_app.main.client import signing_in, talking
from runbooks_app.main.client.failures import Failure, Lost, NeedsBrowser, Refusal, Unreachable
from runbooks_app.main.client.keeping import Sessions
from runbooks_app.main.client.printing import plain

_MISUSED = frozenset({400, 404, 405, 413, 415, 422})


class Missing(Failure):
    """There is no such object."""


class Api:
    """The API of the service at `url`; `agent` is what the program calls itself that asks, where one does."""

    def __init__(self, url: str, sessions: Sessions, *, agent: str = "") -> None:
        self.url = url
        self.agent = agent
        self.login = f"{sessions.login} --url {url}"
        self._sessions = sessions

    def send(self, method: str, address: str, body: Any, key: str) -> talking.Answer:
        """Send a request as whoever is signed in; what is sent again under a key counts once."""
        session = self._sessions.load(self.url)
        if session is None:
            raise NeedsBrowser(f"You are not signed in at {self.url}. Sign in: {self.login}")
        session = signing_in.renewed(self._sessions, session)
        answer = talking.ask(method, address, token=session.access_token, body=body, agent=self.agent, key=key)
        if answer.status == 401 and session.refresh_token:
            session = signing_in.renewed(self._sessions, session, rejected=session.access_token)
            answer = talking.ask(method, address, token=session.access_token, body=body, agent=self.agent, key=key)
        return answer

    def get(self, *path: object, **query: object) -> dict[str, Any]:
        """What stands at a path; its parts are quoted."""
        answer = self._ask("GET", path, query=query)
        found = answer.json()
        if not found:
            raise Unreachable(f"{self.url} does not answer as a runbooks service does.")
        return found

    def post(self, *path: object, **body: object) -> dict[str, Any]:
        """What an action answers. Where that is lost on its way it is asked once more; it is done once."""
        return self._ask("POST", path, body=body, key=secrets.token_hex(16)).json()

    def fetch(self, *path: object, **body: object) -> bytes:
        """The document that an action answers."""
        return self._ask("POST", path, body=body).body

    def _ask(
        self,
        method: str,
        path: tuple[object, ...],
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,
        key: str = "",
    ) -> talking.Answer:
        where = "/".join(quote(str(part), safe="") for part in path)
        address = f"{self.url}/api/v1/{where}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = self.send(method, address, body, key)
        except Lost:
            if not key:
                raise
            answer = self.send(method, address, body, key)
        if answer.status >= 300:
            raise self._failure(answer)
        return answer

    def _failure(self, answer: talking.Answer) -> Failure:
        error = answer.json().get("error")
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return Unreachable(f"{self.url} does not answer as a runbooks service does (status {answer.status}).")
        message = plain(error["message"])
        told = [problem for problem in error.get("problems") or () if isinstance(problem, dict)]
        problems = tuple(Problem(*(plain(str(p.get(name, ""))) for name in ("where", "message", "fix"))) for p in told)
        if error.get("code") == "signed_decision_required":
            return NeedsBrowser(message, problems=problems)
        if answer.status == 401:
            return NeedsBrowser(f"{message} Sign in again: {self.login}", problems=problems)
        if answer.status in {403, 409}:
            return Refusal(message, problems=problems)
        if answer.status == 404:
            return Missing(message, problems=problems)
        return (
            Failure(message, problems=problems)
            if answer.status in _MISUSED
            else Unreachable(message, problems=problems)
        )

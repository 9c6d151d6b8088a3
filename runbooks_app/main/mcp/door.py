"""As whom a tool asks the service: always as somebody's agent, never as the person themselves.

Over stdio it is the sign-in that `runbooks login --agent` keeps on this machine. Over HTTP each request brings an
access token of its own, which goes on to the API as it came; nothing of it is kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio.to_thread
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from starlette.authentication import AuthenticationError

from runbooks_app.core.wording import one_line
from runbooks_app.main.client import talking
from runbooks_app.main.client.api import Api
from runbooks_app.main.client.failures import NeedsBrowser, Unreachable
from runbooks_app.main.client.keeping import Sessions

Door = Callable[[Context[Any, Any]], Api]
"""The API as whoever stands behind this very request."""


class Passing(Api):
    """The API by an access token that came with a request."""

    def __init__(self, url: str, token: str, *, agent: str = "") -> None:
        super().__init__(url, Sessions(agent=True), agent=agent)
        self._token = token

    def send(self, method: str, address: str, body: Any, key: str) -> talking.Answer:
        """Send a request with the token, which is not renewed here."""
        return talking.ask(method, address, token=self._token, body=body, agent=self.agent, key=key)


def by_sign_in(url: str, sessions: Sessions) -> Door:
    """By what `runbooks login --agent` keeps. Raises `NeedsBrowser` where there is none, or where it is a person's."""
    api = Api(url, sessions)
    if not api.get("me").get("agent"):
        raise NeedsBrowser(f"What is kept here is a person's sign-in at {url}. An agent needs its own: {api.login}")
    return lambda context: Api(url, sessions, agent=_called(context))


def by_token(url: str) -> Door:
    """By the token of each request; `Agents` has looked at it before."""

    def door(context: Context[Any, Any]) -> Api:
        _, _, token = (context.headers or {}).get("authorization", "").partition(" ")
        return Passing(url, token.strip(), agent=_called(context))

    return door


class Agents:
    """Lets in whose token the service takes for an agent's: it is asked each time."""

    def __init__(self, url: str) -> None:
        self._address = f"{url}/api/v1/me"

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whom the token stands for; None for a person's, and for what the service does not take.

        Raises `AuthenticationError` where the service cannot say, so that nobody is sent to sign in for an outage.
        """
        try:
            answer = await anyio.to_thread.run_sync(lambda: talking.ask("GET", self._address, token=token))
        except Unreachable as error:
            raise AuthenticationError(error.message) from error
        if answer.status in {401, 403}:
            return None
        if answer.status != 200:
            raise AuthenticationError(f"The service answered {answer.status}; try again in a moment.")
        me = answer.json()
        if not me.get("agent"):
            return None
        return AccessToken(token=token, client_id=str(me["agent"]), scopes=[], subject=str(me["subject"]))


def _called(context: Context[Any, Any]) -> str:
    """What the program at the other end calls itself."""
    told = context.session.client_params
    return one_line(told.client_info.name, 100) if told and told.client_info else ""

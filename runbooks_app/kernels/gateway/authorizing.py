"""The credential of one HTTP connection: put on each request, and covered in what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from runbooks_app.core.errors import Misconfigured, RunbooksError, Unavailable
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.kernels.gateway.headers import Headers, with_credential
from runbooks_app.kernels.gateway.masking import Forms
from runbooks_app.kernels.gateway.route import Route


class Authorizing:
    """Asks for one request at a time, in a thread of its own: a credential may have to renew itself by asking afar.

    `learned` is called when it has, and there is more that must not be seen.
    """

    def __init__(self, route: Route, learned: Callable[[], None]) -> None:
        self.route, self.learned = route, learned
        self._known = len(route.secrets)
        self._turn = asyncio.Lock()
        self._failure: RunbooksError | None = None
        self._failed_at = 0.0

    @cached_property
    def forms(self) -> Forms:
        """What must not come back."""
        return Forms(self.route.secrets)

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="authorizing")

    async def headers(self, method: str, target: bytes, headers: Headers, content: bytes) -> Headers:
        """The headers of a request, with the credential in them; raises what the credential raises."""
        if self.route.authorize is None:
            return headers
        told = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        given = await self._ask(Outgoing(method, self.route.origin + target.decode(), told, content))
        if len(self.route.secrets) != self._known:
            self._known = len(self.route.secrets)
            vars(self).pop("forms", None)
            self.learned()
        return with_credential(headers, given)

    def close(self) -> None:
        """Wait for nobody."""
        if "_thread" in vars(self):
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, outgoing: Outgoing) -> Mapping[str, str]:
        assert self.route.authorize is not None  # noqa: S101  asked for where there is one
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._turn:
            # Whoever waited while it failed is told the same: one that hangs must not hold up each in turn.
            if self._failure is not None and asked < self._failed_at:
                raise self._failure
            try:
                return await loop.run_in_executor(self._thread, self.route.authorize, outgoing)
            except (Unavailable, Misconfigured) as error:
                self._failure, self._failed_at = error, loop.time()
                raise

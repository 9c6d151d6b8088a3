"""One HTTP connection of a run: each request is held against the rules, gets the credential, and is passed on.

Nothing is passed through as it came: requests and answers are read whole in their framing and written anew, so that
kernel and system cannot disagree on where one ends. Bodies stream, with back-pressure both ways.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import importlib
import ssl
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

import h11
import httpx

from runbooks_app.core.errors import InvalidInput, Refused, RunbooksError
from runbooks_app.core.http_rules import permits
from runbooks_app.kernels.gateway.authorizing import Authorizing
from runbooks_app.kernels.gateway.headers import back, onwards
from runbooks_app.kernels.gateway.masking import Mask
from runbooks_app.kernels.gateway.peer import Body, Gone, Peer
from runbooks_app.kernels.gateway.refusals import CELLS, Refusal, Refusals, not_allowed
from runbooks_app.kernels.gateway.route import NONCE_HEADER, Route

# httpx would import this with the first request: 0.4 s in the one thread that serves all kernels.
with suppress(ImportError):
    importlib.import_module("anyio._backends._asyncio")

CONNECT = 5.0
"""Seconds to reach a system."""

MOST_SIGNED = 1 << 20
"""Bytes of a request's body that can be signed: it is kept until all of it has come."""

MOST_SHOWN = 200
"""Characters of a path, or of an error, that are told."""


class NotLetThroughError(Exception):
    """This request is refused: with which status, and why, in a sentence."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


@functools.cache
def trust() -> ssl.SSLContext:
    """Certificates that the machine trusts: a company's own authority is installed there."""
    return ssl.create_default_context()


class HttpPort:
    """What listens for one HTTP connection.

    `port` is where; `patience`: seconds in which the system must answer; `learned` is called when the credential was
    renewed, and there is more that must not be seen.
    """

    def __init__(
        self, route: Route, nonce: str, refusals: Refusals, patience: float, learned: Callable[[], None] = lambda: None
    ) -> None:
        self.route, self.nonce, self.refusals, self.patience = route, nonce, refusals, patience
        self.port = 0
        self.credential = Authorizing(route, learned)

    @functools.cached_property
    def transport(self) -> httpx.AsyncHTTPTransport:
        """What requests go out by, made for the first of them; most runs send none.

        Without a client around it: no cookies, no redirects, no proxies of the environment, nothing decoded.
        """
        return httpx.AsyncHTTPTransport(
            verify=self.route.trusted or trust(),
            trust_env=False,
            # Each request has a connection of its own: what a system sends beyond an answer is no part of the next.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a kernel until it ends."""
        peer = Peer(reader, writer)
        with suppress(Gone):
            while await self.exchange(peer):
                pass

    async def close(self) -> None:
        """Let go of connections to the system."""
        self.credential.close()
        if "transport" in vars(self):
            await self.transport.aclose()

    async def exchange(self, peer: Peer) -> bool:
        """One request and its answer; whether another may follow."""
        method, path = "", ""
        try:
            request = await peer.event()
            assert isinstance(request, h11.Request)  # noqa: S101  nothing else begins
            method = request.method.decode()[:MOST_SHOWN]
            path = request.target.decode().partition("?")[0][:MOST_SHOWN]
            self.judge(request)
        except h11.RemoteProtocolError as error:
            # Its words may quote what was sent; the answer goes to the sender alone.
            refused = NotLetThroughError(HTTPStatus(error.error_status_hint), f"this is no request: {error}")
            self.refusals.add(self.refusal(method, path, "what was sent is no HTTP request, and was refused."))
            if peer.h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await peer.tell(refused.status, "refused", f"{self.route.name}: {refused.reason}")
            return False
        except NotLetThroughError as refused:
            self.refusals.add(self.refusal(method, path, refused.reason))
            await peer.tell(refused.status, "refused", refused.reason)
            return peer.again()
        return await self.forward(peer, request)

    def refusal(self, method: str, path: str, reason: str) -> Refusal:
        """One as it is told."""
        return Refusal(self.route.name, method, path, reason)

    def judge(self, request: h11.Request) -> None:
        """Raise `NotLetThroughError` unless this request may be passed on."""
        name = self.route.name
        headers = [(key.decode(), value) for key, value in request.headers]
        given = {key: value for key, value in headers if key == NONCE_HEADER.lower()}
        if not hmac.compare_digest(given.get(NONCE_HEADER.lower(), b""), self.nonce.encode()):
            raise NotLetThroughError(
                HTTPStatus.FORBIDDEN,
                f"a request to {name} did not come from this run's kit and was refused: "
                f"open the connection with kit.http({name!r}).",
            )
        if request.http_version != b"1.1":
            raise NotLetThroughError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"{name} is spoken to by HTTP/1.1 alone.")
        keys = [key for key, _ in headers]
        if request.method == b"CONNECT" or "upgrade" in keys:
            raise NotLetThroughError(
                HTTPStatus.FORBIDDEN,
                f"{CELLS[self.route.stage]} may not make a tunnel of {name}.",
            )
        if "transfer-encoding" in keys and "content-length" in keys:
            raise NotLetThroughError(HTTPStatus.BAD_REQUEST, f"a request to {name} told its length in two ways.")
        target = request.target.decode()
        host = next(value for key, value in headers if key == "host").decode("latin-1")
        if not target.startswith("/") or host not in {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}:
            elsewhere = target if not target.startswith("/") else host
            raise NotLetThroughError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"a request for {elsewhere[:MOST_SHOWN]} was sent to {name}: it leads to that system and to no other.",
            )
        self.judge_path(request.method.decode(), target.partition("?")[0])

    def judge_path(self, method: str, path: str) -> None:
        """Hold it against the stage's rules."""
        shown = path[:MOST_SHOWN]
        try:
            if permits(self.route.rules, method, path):
                return
        except InvalidInput as error:
            raise NotLetThroughError(
                HTTPStatus.FORBIDDEN,
                f"{CELLS[self.route.stage]} must name a path of {self.route.name} plainly: {shown} {error}.",
            ) from None
        raise NotLetThroughError(HTTPStatus.FORBIDDEN, not_allowed(self.route, method, shown))

    # ---- passing on

    async def forward(self, peer: Peer, request: h11.Request) -> bool:
        """Pass a request on, and its answer back; whether another may follow."""
        body = Body(peer)
        try:
            response = await self.ask(peer, await self.onward(request, body), body)
        except NotLetThroughError as refused:
            method, path = request.method.decode(), request.target.decode().partition("?")[0]
            self.refusals.add(self.refusal(method[:MOST_SHOWN], path[:MOST_SHOWN], refused.reason))
            await peer.tell(refused.status, "refused", refused.reason)
            return peer.again()
        except RunbooksError as error:
            await peer.tell(HTTPStatus.BAD_GATEWAY, "unavailable", error.message)
            return peer.again()
        except httpx.TimeoutException:
            await peer.tell(
                HTTPStatus.GATEWAY_TIMEOUT, "timeout", f"{self.place} did not answer within {self.patience:g} s."
            )
            return peer.again()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            # A credential that no header can hold is quoted in the error.
            why = self.credential.forms.cover(str(error).encode()).decode()[:MOST_SHOWN] or type(error).__name__
            await peer.tell(HTTPStatus.BAD_GATEWAY, "unavailable", f"{self.place} could not be reached: {why}.")
            return peer.again()
        except h11.RemoteProtocolError:
            peer.abort()  # the kernel broke its own body off: nobody reads an answer
            return False
        try:
            return await self.pass_back(peer, request, response)
        finally:
            await response.aclose()

    @property
    def place(self) -> str:
        """The system, for people."""
        return f"{self.route.name} ({self.route.origin})"

    async def onward(self, request: h11.Request, body: Body) -> httpx.Request:
        """The request as it goes to the system. Its target is what was judged, byte for byte."""
        headers = onwards(request.headers, self.route)
        empty = await body.begin()
        stream = httpx.ByteStream(b"") if empty else body
        content = b""
        length = next((value for key, value in request.headers if key == b"content-length"), None)
        if self.route.signs_body and not empty:
            whole = await body.whole(MOST_SIGNED)
            if whole is None:
                raise NotLetThroughError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"a request to {self.route.name} is signed with its body, which may have {MOST_SIGNED >> 20} MiB.",
                )
            content = whole
            stream, length = httpx.ByteStream(content), b"%d" % len(content)
        if length is not None:
            headers.append((b"content-length", length))
        elif not empty:
            headers.append((b"transfer-encoding", b"chunked"))
        method, target = request.method.decode(), self.route.base.encode() + request.target
        try:
            headers = await self.credential.headers(method, target, headers, content)
        except Refused as refused:
            raise NotLetThroughError(HTTPStatus.FORBIDDEN, f"{self.route.name}: {refused.message}") from None
        limits = dict.fromkeys(("read", "write", "pool"), self.patience)
        return httpx.Request(
            method,
            self.route.origin,
            headers=headers,
            stream=stream,
            extensions={
                "target": target,
                "timeout": {"connect": min(CONNECT, self.patience), **limits},
            },
        )

    async def ask(self, peer: Peer, request: httpx.Request, body: Body) -> httpx.Response:
        """The head of the answer. A kernel that goes meanwhile ends it; so does a system that takes too long."""
        sending = asyncio.create_task(self.transport.handle_async_request(request))
        reading = asyncio.create_task(body.read.wait())
        leaving: asyncio.Task[None] | None = None
        try:
            await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                leaving = asyncio.create_task(peer.leave())
                await asyncio.wait({sending, leaving}, timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return await sending
            if leaving is not None and leaving.done():
                raise Gone
            raise httpx.ReadTimeout("")
        finally:
            for task in (reading, leaving, sending):
                if task is not None and not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError, httpx.TransportError):
                        await task

    async def pass_back(self, peer: Peer, request: h11.Request, response: httpx.Response) -> bool:
        """The answer, as it comes."""
        status = response.status_code
        encoding = response.headers.get("content-encoding", "identity")
        trouble = ""
        if not 200 <= status <= 599:
            trouble = f"answered with status {status}, which means nothing here"
        elif self.route.authorize and encoding != "identity":
            trouble = f"compressed its answer ({encoding[:20]}) though it was asked not to"
        if trouble:
            await peer.tell(HTTPStatus.BAD_GATEWAY, "unavailable", f"{self.place} {trouble}.")
            return peer.again()
        forms = self.credential.forms
        mask = Mask(forms)
        reason = response.extensions.get("reason_phrase", b"")
        headers = back(response.headers.raw, self.route, forms)
        await peer.send(h11.Response(status_code=status, headers=headers, reason=forms.cover(reason)))
        bodyless = request.method == b"HEAD" or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        try:
            if not bodyless:
                async for chunk in response.stream:  # type: ignore[union-attr]
                    if passed := mask.feed(chunk):
                        await peer.send(h11.Data(data=passed))
                if rest := mask.finish():
                    await peer.send(h11.Data(data=rest))
            await peer.send(h11.EndOfMessage())
        except (httpx.TransportError, h11.LocalProtocolError):
            peer.abort()
            return False
        return peer.again()

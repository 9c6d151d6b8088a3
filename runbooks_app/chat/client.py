"""Messages to Slack: a thin wrapper over `slack_sdk` that raises errors a queued job can act on.

    RateLimited   Slack asks to wait `retry_after` seconds
    Away          Slack cannot be reached or answers with nonsense; try again. `maybe_done` says that the
                  request may have taken effect all the same
    Rejected      Slack says no (`slack_code`); `permanent` where trying again cannot help

Nothing is tried again in here, since a job that waits holds no thread. The token is in no message, no log and
no exception that leaves this module.
"""

from __future__ import annotations

import http.client
import logging
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.webhook import WebhookClient

from runbooks_app.core.errors import InvalidInput, Misconfigured, RunbooksError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runbooks_app.chat.views import FileTold, Message

SLACK = "https://slack.com/api/"
EVENT = "runbook_message"
"""Type of the metadata under which a message's key is kept."""

PASSING = frozenset({
    "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout",
    "team_added_to_org", "accesslimited", "message_limit_exceeded", "update_failed",
})  # fmt: skip
"""Slack's error codes that pass by themselves."""

ADVICE = {
    "channel_not_found": "Invite the app to the channel: `/invite @runbooks`.",
    "not_in_channel": "Invite the app to the channel: `/invite @runbooks`.",
    "is_archived": "The channel is archived; follow the run on its page.",
    "invalid_auth": "Check the bot token in the file that RUNBOOKS_SLACK_BOT_TOKEN_FILE names.",
    "not_authed": "Check the bot token in the file that RUNBOOKS_SLACK_BOT_TOKEN_FILE names.",
    "token_revoked": "Install the app again and put its new bot token in place.",
    "account_inactive": "Install the app again and put its new bot token in place.",
    "missing_scope": "Install the app again with the scopes of deploy/slack-manifest.yaml.",
    "message_not_found": "Somebody deleted the message; a new one has to be posted.",
}

# The SDK logs each failure and, below INFO, whole requests. Each failure is raised here as a typed error that
# its job logs with the run's id, so the SDK stays silent.
_SILENT = logging.getLogger("runbooks_app.chat.slack_sdk")
_SILENT.setLevel(logging.CRITICAL)


class _NoRedirect(HTTPRedirectHandler):
    """A file's bytes go where they were to go, or nowhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect: it becomes an error."""


_DIRECT = build_opener(_NoRedirect)


class RateLimited(Unavailable):
    """Slack asks us to slow down."""

    code = "slack_rate_limited"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"Slack asks to wait {retry_after:g} s before the next message.")


class Away(Unavailable):
    """Slack cannot be reached."""

    code = "slack_away"

    def __init__(self, message: str, *, maybe_done: bool) -> None:
        self.maybe_done = maybe_done
        super().__init__(message)


class Rejected(RunbooksError):
    """Slack refused the request."""

    code = "slack_rejected"

    def __init__(self, what: str, slack_code: str, *, detail: str = "") -> None:
        self.slack_code = slack_code
        self.permanent = slack_code not in PASSING
        advice = ADVICE.get(slack_code, "")
        super().__init__(" ".join(filter(None, [f"Slack refused to {what}: {slack_code}.", detail, advice])))


@dataclass(frozen=True)
class Posted:
    """Where a message stands: `ts` names it within its channel."""

    channel: str
    ts: str


@dataclass(frozen=True)
class Workspace:
    """Whom the token belongs to, what it may do, and Slack's time (seconds since the epoch; None where unsaid)."""

    team_id: str
    team: str
    bot_user_id: str
    bot_id: str
    scopes: frozenset[str]
    at: float | None


class Responder:
    """Answers commands and buttons through their `response_url`; takes no token, so web processes have one."""

    def __init__(self, *, base_url: str = SLACK, timeout: int = 10) -> None:
        """`timeout` is in seconds, for each request. Raises `Misconfigured` without a usable URL."""
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise Misconfigured(f"The Slack base URL {base_url!r} is no http or https URL.")
        self._origin = (parts.scheme, parts.netloc)
        self._timeout = timeout

    def respond(self, response_url: str, message: Message, *, replace: bool = False) -> None:
        """Answer a command or a button through its `response_url` (good for 30 minutes and five answers).

        Only Slack's own hosts, or the server that this client was given, are answered: raises `InvalidInput`.
        """
        self._must_be_slacks("response URL", response_url)
        hook = WebhookClient(response_url, self._timeout, logger=_SILENT, retry_handlers=[])
        hook.proxy = None  # as above
        what = "answer a command"
        try:
            told = hook.send(
                text=message.text, blocks=list(message.blocks) or None,
                response_type="ephemeral", replace_original=replace,
                unfurl_links=False, unfurl_media=False,
            )  # fmt: skip
        except (OSError, http.client.HTTPException, SlackRequestError, ValueError) as error:
            raise _away(what, error) from None
        _raise_for_status(what, told.status_code, told.headers)
        if told.status_code != 200:
            raise Rejected(what, str(told.body).strip()[:60] or f"http_{told.status_code}")

    def _must_be_slacks(self, what: str, url: str) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            raise InvalidInput(f"The {what} cannot be read, so it is not Slack's.") from None
        slack = parts.scheme == "https" and host.endswith((".slack.com", ".slack-gov.com"))
        if not slack and (parts.scheme, parts.netloc) != self._origin:
            raise InvalidInput(f"The {what} leads to {host or 'nowhere'}, which is not Slack.")


class Slack(Responder):
    """Slack's Web API, as far as it is used. One object may serve many threads."""

    def __init__(self, token: str, *, base_url: str = SLACK, timeout: int = 10) -> None:
        """Keep the token; `timeout` is in seconds, for each request.

        Raises `Misconfigured` without a token or a usable URL.
        """
        if not token.strip():
            raise Misconfigured("No Slack bot token is configured. Set RUNBOOKS_SLACK_BOT_TOKEN_FILE.")
        super().__init__(base_url=base_url, timeout=timeout)
        # No retry handlers: the SDK's default posts again after a broken connection, which may post twice.
        self._web = WebClient(token, base_url, timeout, logger=_SILENT, retry_handlers=[])
        # The SDK's own proxy look-up ignores NO_PROXY; left unset, urllib's default does both.
        self._web.proxy = None

    def __repr__(self) -> str:
        return f"Slack({self._web.base_url})"

    def check(self) -> Workspace:
        """Ask whose token this is (`auth.test`): for start-up and `doctor`."""
        told, headers = self._answer("check the token", self._web.auth_test)
        scopes = frozenset(filter(None, (s.strip() for s in headers.get("x-oauth-scopes", "").split(","))))
        date = parsedate_tz(headers.get("date", ""))
        return Workspace(
            str(told.get("team_id", "")),
            str(told.get("team", "")),
            str(told.get("user_id", "")),
            str(told.get("bot_id", "")),
            scopes,
            mktime_tz(date) if date else None,
        )

    def socket_address(self) -> str:
        """Where to connect for Socket Mode, good for one connection. The token is the app-level one.

        Raises `Misconfigured` for an address that slack_sdk would not encrypt: it does so on port 443 alone.
        """
        told = self._call("open a connection", self._web.apps_connections_open, app_token=self._web.token)
        address = str(told.get("url", ""))
        parts = urlsplit(address)
        if self._origin[0] == "https" and (parts.scheme != "wss" or parts.port not in {None, 443}):
            raise Misconfigured("Slack names an address for Socket Mode that is not encrypted; it is not used.")
        return address

    def post(self, channel: str, message: Message, *, thread_ts: str = "", key: str = "") -> Posted:
        """Post a message, in a thread where `thread_ts` is given.

        `key` is kept in the message's metadata, so that `find` can tell later whether it was posted.
        """
        told = self._call(
            "post a message", self._web.chat_postMessage,
            channel=channel, text=message.text, blocks=list(message.blocks) or None,
            thread_ts=thread_ts or None, parse="none", link_names=False, unfurl_links=False, unfurl_media=False,
            metadata={"event_type": EVENT, "event_payload": {"key": key}} if key else None,
        )  # fmt: skip
        return Posted(str(told["channel"]), str(told["ts"]))

    def update(self, posted: Posted, message: Message) -> None:
        """Put a new text and blocks in the place of a message's old ones."""
        self._call(
            "update a message", self._web.chat_update,
            channel=posted.channel, ts=posted.ts, text=message.text, blocks=list(message.blocks),
            parse="none", link_names=False,
        )  # fmt: skip

    def find(self, channel: str, key: str, *, oldest: float, thread_ts: str = "") -> Posted | None:
        """The message that was posted with this key since `oldest` (seconds since the epoch), if it was.

        For a job whose earlier try ended in `Away(maybe_done=True)`: so a run never gets two messages.
        """
        for message in self._messages(channel, oldest, thread_ts):
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == EVENT and metadata.get("event_payload", {}).get("key") == key:
                return Posted(channel, str(message["ts"]))
        return None

    def has_file(self, channel: str, file: str, *, oldest: float, thread_ts: str) -> bool:
        """Whether a file (by its id) stands in this thread: for a job that was to share it and died."""
        messages = self._messages(channel, oldest, thread_ts)
        return any(shared.get("id") == file for message in messages for shared in message.get("files") or ())

    def _messages(self, channel: str, oldest: float, thread_ts: str) -> Iterator[dict[str, Any]]:
        """Messages of a channel or thread since then, page by page; 2,000 at most."""
        method = self._web.conversations_replies if thread_ts else self._web.conversations_history
        asked: dict[str, Any] = {"channel": channel, "oldest": f"{oldest:.6f}", "limit": 200}
        asked |= {"ts": thread_ts} if thread_ts else {}
        for _ in range(10):
            told = self._call("read the channel", method, include_all_metadata=True, **asked)
            yield from told.get("messages", ())
            asked["cursor"] = (told.get("response_metadata") or {}).get("next_cursor")
            if not asked["cursor"]:
                return

    def ephemeral(self, channel: str, user: str, message: Message, *, thread_ts: str = "") -> None:
        """Show a message to one person in a channel."""
        self._call(
            "show a message", self._web.chat_postEphemeral,
            channel=channel, user=user, text=message.text, blocks=list(message.blocks) or None,
            thread_ts=thread_ts or None, parse="none", link_names=False,
        )  # fmt: skip

    def upload(self, file: FileTold) -> str:
        """Send a file to Slack, where nobody sees it until it is shared; its id.

        Its bytes go nowhere but to Slack's own hosts, or the server that this client was given: raises `InvalidInput`.
        """
        what = "upload a file"
        told = self._call(
            what, self._web.files_getUploadURLExternal,
            filename=file.name, length=len(file.data), alt_txt=file.alt[:1000] or None,
        )  # fmt: skip
        url = str(told["upload_url"])
        self._must_be_slacks("upload URL", url)
        request = Request(url, file.data, {"Content-Type": "application/octet-stream"}, method="POST")  # noqa: S310 -- its scheme was looked at
        try:
            with _DIRECT.open(request, timeout=self._timeout):
                pass
        except HTTPError as error:
            status, headers = error.code, dict(error.headers.items())
            error.close()
            _raise_for_status(what, status, headers)
            raise Rejected(what, f"upload_http_{status}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _away(what, error) from None
        return str(told["file_id"])

    def share(self, channel: str, file_id: str, file: FileTold, *, thread_ts: str) -> None:
        """Show an uploaded file in a thread."""
        self._call(
            "share a file", self._web.files_completeUploadExternal,
            files=[{"id": file_id, "title": file.title[:200]}], channel_id=channel, thread_ts=thread_ts,
            initial_comment=file.comment or None,
        )  # fmt: skip

    def open_dm(self, user: str) -> str:
        """The channel of the app's conversation with a person."""
        return str(self._call("open a conversation", self._web.conversations_open, users=[user])["channel"]["id"])

    def open_view(self, trigger_id: str, view: dict[str, Any]) -> None:
        """Open a form over the person's Slack; a trigger is good for three seconds."""
        self._call("open a form", self._web.views_open, trigger_id=trigger_id, view=view)

    def _call(self, what: str, method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        return self._answer(what, method, **arguments)[0]

    def _answer(self, what: str, method: Callable[..., Any], **arguments: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """Call the SDK for what Slack says and its headers, whose names are in small letters.

        `from None` since the SDK's errors carry the request with its Authorization header.
        """
        try:
            response = method(**arguments)
        except SlackApiError as error:
            raise _rejected(what, error.response) from None
        except (OSError, http.client.HTTPException, SlackRequestError, ValueError) as error:
            raise _away(what, error) from None
        if not isinstance(response.data, dict):
            raise Away(f"Slack's answer could not be read (tried to {what}).", maybe_done=True)
        return response.data, {name.lower(): str(value) for name, value in response.headers.items()}


def _rejected(what: str, response: Any) -> RunbooksError:
    """The typed error for an answer that is not ok.

    slack_sdk puts a text of its own where the code should be, if the answer is no JSON.
    """
    if response.status_code == 429 or response.get("error") in {"ratelimited", "rate_limited"}:
        return RateLimited(_seconds(response.headers))
    if response.status_code >= 500:
        return Away(f"Slack answered {response.status_code} (tried to {what}).", maybe_done=True)
    code = str(response.get("error") or "unknown_error")
    if " " in code:
        return Away(f"Slack's answer could not be read (tried to {what}).", maybe_done=True)
    told = (response.get("response_metadata") or {}).get("messages") or ()
    return Rejected(what, code[:60], detail="; ".join(str(line)[:200] for line in told[:3]))


def _raise_for_status(what: str, status: int, headers: Any) -> None:
    if status == 429:
        raise RateLimited(_seconds(headers))
    if status >= 500:
        raise Away(f"Slack answered {status} (tried to {what}).", maybe_done=True)


def _seconds(headers: Any) -> float:
    """`Retry-After` in seconds; a second where Slack names none, and never more than five minutes."""
    given = next((value for name, value in dict(headers).items() if name.lower() == "retry-after"), "1")
    try:
        return min(max(float(given), 0.0), 300.0)
    except (TypeError, ValueError):
        return 1.0


def _away(what: str, error: BaseException) -> Away:
    """A refused or unresolved connection reached nobody; anything later may have."""
    reason = error.reason if isinstance(error, URLError) else error
    never_sent = isinstance(reason, ConnectionRefusedError | OSError) and type(reason).__name__ in {
        "ConnectionRefusedError", "gaierror", "SSLCertVerificationError",
    }  # fmt: skip
    return Away(f"Slack cannot be reached ({type(reason).__name__}; tried to {what}).", maybe_done=not never_sent)

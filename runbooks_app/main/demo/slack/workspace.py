"""What stands in the workspace: people, channels, messages, files. In memory, and in one JSON file if wanted.

Every change gets a number; who shows the channel can wait for the next one. Nothing here knows HTTP.
"""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

APP_NAME = "Runbooks"
BOT_USER = "U0RUNBOOKS"
SLACKBOT = "USLACKBOT"


class SlackError(Exception):
    """An answer that is not ok: the code is Slack's, `told` its further fields."""

    def __init__(self, code: str, **told: Any) -> None:
        self.code = code
        self.told = told
        super().__init__(code)


@dataclass
class Standing:
    """A message as it stands in a channel. `only_for` is set where one person alone sees it."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    thread_ts: str = ""
    broadcast: bool = False
    only_for: str = ""
    edited: bool = False
    files: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Upload:
    """A file: its bytes are there once they were sent, and it is shown once the upload is completed."""

    id: str
    name: str
    length: int
    alt: str = ""
    title: str = ""
    content: bytes | None = None


@dataclass(frozen=True)
class Fault:
    """Trouble for the next calls of one method (or of all, `*`).

    `kind` is `ratelimited` (with `retry_after` seconds), `error` (with Slack's `code`), `unavailable` (503),
    `garbage` (an answer that is no JSON) or `lost_answer` (the call takes effect, the connection breaks).
    """

    method: str
    kind: str
    code: str = ""
    retry_after: int = 1


class Workspace:
    """One workspace. Every method may be called from any thread."""

    def __init__(self, people: dict[str, str], channels: dict[str, str], state: Path | None = None) -> None:
        """`people` and `channels` map ids to names; with `state` the messages outlive the process."""
        self.people = {**people, BOT_USER: APP_NAME, SLACKBOT: "Slackbot"}
        self.humans = dict(people)
        self.channels = dict(channels)
        self.archived: set[str] = set()
        self.direct: dict[str, str] = {}
        self.messages: list[Standing] = []
        self.uploads: dict[str, Upload] = {}
        self.faults: list[Fault] = []
        self.revision = 0
        self._changed = threading.Condition(threading.RLock())
        self._order = itertools.count()
        self._state = state
        if state and state.exists():
            self._load(state)

    def wait(self, revision: int, seconds: float) -> int:
        """The present revision, as soon as it differs from the given one or the seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self.revision != revision, seconds)
            return self.revision

    def channel(self, named: str) -> str:
        """The id of a channel by id, `#name` or name, or of a person's conversation with the app."""
        with self._changed:
            name = named.removeprefix("#")
            for known, known_name in self.channels.items():
                if named == known or name == known_name:
                    if known in self.archived:
                        raise SlackError("is_archived")
                    return known
            if named in self.direct.values():
                return named
        if named in self.humans:
            return self.open_direct(named)
        raise SlackError("channel_not_found")

    def open_direct(self, user: str) -> str:
        """The conversation of the app with one person."""
        if user not in self.humans:
            raise SlackError("user_not_found")
        with self._changed:
            if user not in self.direct:
                self.direct[user] = "D" + user[1:]
                self._save()
            return self.direct[user]

    def name_of(self, channel: str) -> str:
        """A channel's name as Slack gives it to apps."""
        return self.channels.get(channel, "directmessage")

    def post(self, channel: str, user: str, text: str, blocks: list[dict[str, Any]], **more: Any) -> Standing:
        """Add a message; `more` are further fields of `Standing`."""
        with self._changed:
            thread = more.get("thread_ts") or ""
            if thread:
                root = self.message(channel, thread)
                if root is None:
                    raise SlackError("cannot_reply_to_message")
                more["thread_ts"] = root.thread_ts or root.ts
            ts = f"{int(time.time())}.{next(self._order) % 1_000_000:06d}"
            standing = Standing(channel, ts, user, text, self._named(blocks), **more)
            self.messages.append(standing)
            self._save()
            return standing

    def update(self, channel: str, ts: str, text: str | None, blocks: list[dict[str, Any]] | None) -> Standing:
        """Replace a message's text and blocks; a text without blocks drops the old blocks, as Slack does."""
        with self._changed:
            standing = self.message(channel, ts)
            if standing is None or standing.only_for:
                raise SlackError("message_not_found")
            if standing.user != BOT_USER:
                raise SlackError("cant_update_message")
            if text is not None:
                standing.text = text
            if blocks is not None or text is not None:
                standing.blocks = self._named(blocks or [])
            standing.edited = True
            self._save()
            return standing

    def remove(self, channel: str, ts: str) -> None:
        """Take a message away, if it stands."""
        with self._changed:
            self.messages = [m for m in self.messages if (m.channel, m.ts) != (channel, ts)]
            self._save()

    def message(self, channel: str, ts: str) -> Standing | None:
        """The message with this time stamp."""
        with self._changed:
            return next((m for m in self.messages if (m.channel, m.ts) == (channel, ts)), None)

    def seen(self, channel: str, viewer: str = "") -> list[Standing]:
        """All messages of a channel, oldest first, that one person sees; without one, what everybody sees."""
        with self._changed:
            return [m for m in self.messages if m.channel == channel and m.only_for in {"", viewer}]

    def changed(self) -> None:
        """Note a change that was made outside: an archived channel, a file's content."""
        with self._changed:
            self._save()

    def take_fault(self, method: str) -> Fault | None:
        """The next fault waiting for a method, which is used up by this."""
        with self._changed:
            fault = next((f for f in self.faults if f.method in {method, "*"}), None)
            if fault:
                self.faults.remove(fault)
            return fault

    def _named(self, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Blocks with the `block_id` that Slack gives to those without one."""
        return [{"block_id": secrets.token_urlsafe(4), **block} for block in blocks]

    def _save(self) -> None:
        self.revision += 1
        self._changed.notify_all()
        if self._state is None:
            return
        uploads = [
            {**asdict(u), "content": base64.b64encode(u.content).decode() if u.content is not None else None}
            for u in self.uploads.values()
        ]
        kept = {"messages": [asdict(m) for m in self.messages], "uploads": uploads, "direct": self.direct}
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps(kept), encoding="utf-8")
        fresh.replace(self._state)

    def _load(self, state: Path) -> None:
        kept = json.loads(state.read_text(encoding="utf-8"))
        self.messages = [Standing(**m) for m in kept["messages"]]
        self.direct = kept["direct"]
        for u in kept["uploads"]:
            content = base64.b64decode(u["content"]) if u["content"] is not None else None
            self.uploads[u["id"]] = Upload(**{**u, "content": content})
        # Time stamps name messages, so the count goes on where it ended.
        self._order = itertools.count(len(self.messages))

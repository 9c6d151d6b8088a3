"""Bringing one conversation up to date in one channel: its parts in order, each once, until the first that fails.

Who tells holds it by lease and has no transaction open while the chat is called. What was begun is noted before it is
posted: whoever finds it begun looks in the channel whether it stands there already. What fails waits, and the parts
behind it; nothing counts tries to give up. Only where the chat says that it can never be told here it ends, and a
person is told.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from runbooks_app.actions.context import Service
from runbooks_app.actions.telling import untold
from runbooks_app.chat.blocks import headline
from runbooks_app.chat.client import Away, Posted, RateLimited, Rejected, Slack
from runbooks_app.chat.untold import untold_message
from runbooks_app.chat.views import Message, Told
from runbooks_app.core import pacing
from runbooks_app.core.errors import Conflict, InvalidInput, Unavailable
from runbooks_app.store import chat
from runbooks_app.store.database import Transaction, reading, transaction
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

TOKEN_AGAIN = timedelta(seconds=60)
"""Until a chat that no longer knows the app is tried again."""

AWAY_AGAIN = timedelta(seconds=2)
"""Until anything is tried after the chat could not be reached: so what waits does not hang one after the other."""

NO_TOKEN = frozenset({
    "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "org_login_required",
    "ekm_access_denied", "access_denied", "team_access_not_granted", "no_permission", "not_allowed_token_type",
})  # fmt: skip
"""The chat knows the app no more, or not as it was: what somebody mends for the whole workspace."""

GONE = frozenset({
    "channel_not_found", "not_in_channel", "is_archived", "restricted_action", "restricted_action_read_only_channel",
    "restricted_action_thread_only_channel", "restricted_action_non_threadable_channel", "channel_type_not_supported",
    "user_not_found", "user_disabled", "users_not_found", "cannot_dm_bot", "user_not_visible",
})  # fmt: skip
"""Nothing can be told in this channel, whatever it is."""

TOO_MUCH = frozenset({"msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format"})
"""The chat does not take this message; it takes one that says less."""

NO_PARENT = frozenset({"thread_not_found", "cannot_reply_to_message"})
"""Somebody deleted the first message."""

UPLOAD = "files.completeUploadExternal"
"""As what an upload, in all its steps, is held back."""

T = TypeVar("T")
Parts = Callable[[Transaction, Service, str], tuple[Told, ...]]


class _WaitsError(Exception):
    """It goes on then; `turn`: a turn in the channel that it has."""

    def __init__(self, until: datetime, turn: datetime | None = None) -> None:
        self.until = until
        self.turn = turn


def tell_next(worker: Worker, slack: Slack, parts: Parts) -> bool:
    """Bring up to date what is due for longest; whether there was anything."""
    with worker.telling, transaction(worker.service.engine) as tx:
        thread = chat.claim(tx, f"{worker.name}-{secrets.token_hex(4)}")
    if thread is None:
        return False
    try:
        Conversation(worker, slack, thread, parts).tell()
    except Conflict:
        log.info("%s is told by another worker.", thread.about)
    except Unavailable:
        raise  # the service's own database; the lease lapses
    except Exception as error:
        # One that cannot be composed holds up none of the others, and is seen: on pages, in the log.
        log.exception("What is told of %s could not be composed", thread.about)
        with worker.telling, transaction(worker.service.engine) as tx:
            trouble = f"It could not be composed ({type(error).__name__}): a mistake of the service, see its log."
            chat.later(tx, thread, tx.now + pacing.again_after(thread.tries), trouble=trouble)
    return True


class Conversation:
    """One conversation while somebody tells it."""

    def __init__(self, worker: Worker, slack: Slack, thread: chat.Thread, parts: Parts) -> None:
        self._worker, self._slack, self._thread, self._parts = worker, slack, thread, parts
        self._parent = ""  # the first part's message
        self._asks = chat.WORKSPACE  # what is asked just now, as it is held back: a channel or a method
        self._answered: set[str] = set()  # where something was taken
        self._begun = ""  # the part that is noted as begun and was certainly not posted

    def tell(self) -> None:
        """Tell what is to be told now; the rest is told later. Raises `Conflict` where another tells it by now."""
        with self._worker.telling, reading(self._worker.service.engine) as tx:
            parts = self._parts(tx, self._worker.service, self._thread.about)
            lost = chat.untold(tx, self._thread.about)
            self._standing = chat.standing(tx, self._thread)
            self._held, self._gone = chat.held_back(tx)
            self._now = tx.now
        notes = [Told(f"{self._thread.about}:untold:{c}", untold_message(c, why)) for c, why in lost.items()]
        self._first, parts = parts[0], (parts[0], *notes, *parts[1:])
        try:
            self._open()
            for self._part in parts:
                self._show(self._part, first=self._part is parts[0])
        except _WaitsError as waits:
            with self._step() as tx:
                chat.later(tx, self._thread, waits.until, turn=waits.turn)
        except RateLimited as limit:
            self._limited(limit)
        except Away as away:
            self._away(str(away), maybe_done=away.maybe_done)
        except Rejected as rejected:
            self._rejected(rejected)
        except InvalidInput as error:  # Slack asks to send what is told to somebody else
            self._give_up(str(error), gone=False)
        else:
            with self._step() as tx:
                chat.back(tx, *self._answered & self._gone)
                chat.told(tx, self._thread, pacing.progress_from(self._thread.made_at, tx.now))

    def _show(self, part: Told, *, first: bool) -> None:
        known = self._standing.get(part.key)
        if part.message is None:
            if known is None or not known.ts:
                self._upload(part)
            return
        digest = hashlib.sha256(json.dumps([part.message.text, list(part.message.blocks)]).encode()).hexdigest()
        if known is None or not known.ts:
            ts = self._post(part, part.message)
        elif known.digest == digest:
            ts = known.ts
        else:
            ts = self._change(part, part.message, known.ts, first=first)
        if first:
            self._parent = ts
        if known is None or (known.ts, known.digest) != (ts, digest):
            with self._step() as tx:
                chat.stands(tx, self._thread, part.key, ts, digest, first=first)

    def _change(self, part: Told, message: Message, ts: str, *, first: bool) -> str:
        """Put it in the place of what stands there; where somebody deleted that, anew."""
        if first and self._thread.shown_at and self._now < self._thread.shown_at + pacing.LEAST:
            raise _WaitsError(self._thread.shown_at + pacing.LEAST)
        self._ask("chat.update")
        try:
            self._said(lambda said: self._slack.update(Posted(self._thread.where, ts), said), message)
        except Rejected as rejected:
            if rejected.slack_code != "message_not_found":
                raise
            with self._step() as tx:
                chat.forget(tx, self._thread, part.key)
            del self._standing[part.key]
            return self._post(part, message)
        return ts

    def _post(self, part: Told, message: Message) -> str:
        in_thread = "" if part.top else self._parent
        known = self._standing.get(part.key)
        if known is not None:
            self._ask("conversations.replies" if in_thread else "conversations.history")
            oldest = known.begun_at.timestamp() - 60
            found = self._slack.find(self._thread.where, part.key, oldest=oldest, thread_ts=in_thread)
            if found is not None:  # it stands there as it was told then
                return self._change(part, message, found.ts, first=not self._parent)
        self._begin(part)
        where = self._thread.where
        posted = self._said(lambda said: self._slack.post(where, said, thread_ts=in_thread, key=part.key), message)
        self._begun = ""
        self._stands_in(posted.channel)
        return posted.ts

    def _said(self, say: Callable[[Message], T], message: Message) -> T:
        """Say it, or less of it where the chat takes no more."""
        try:
            answer = say(message)
        except Rejected as rejected:
            if rejected.slack_code not in TOO_MUCH:
                raise
            log.error("Slack takes only the headline of %s: %s", self._thread.about, rejected)  # noqa: TRY400 -- it says all
            answer = say(headline(message))
        self._answered |= {self._asks, chat.WORKSPACE}
        return answer

    def _open(self) -> None:
        """A person has a conversation with the app once it is opened."""
        if self._thread.place or not self._thread.channel.startswith(("U", "W")):
            return
        self._ask("conversations.open")
        self._stands_in(self._slack.open_dm(self._thread.channel))

    def _stands_in(self, place: str) -> None:
        if place != self._thread.where:
            with self._step() as tx:
                first = chat.found(tx, self._thread, place)
            if not first:
                raise Conflict(f"{self._thread.about} is told in {place} already, under another name.")
            self._thread = replace(self._thread, place=place)

    def _upload(self, part: Told) -> None:
        """Send the file, note its id, share it: whoever finds an id looks in the thread whether it stands there."""
        assert part.file is not None  # noqa: S101 -- a part has a message or a file
        known = self._standing.get(part.key)
        file, stands = known.file if known else "", False
        if known is not None and file:
            self._ask("conversations.replies")
            oldest = known.begun_at.timestamp() - 60
            stands = self._slack.has_file(self._thread.where, file, oldest=oldest, thread_ts=self._parent)
        if not stands:
            self._ask(UPLOAD)
            self._begin(part)
            self._asks = UPLOAD
            if not file:
                file = self._slack.upload(part.file)
                with self._step() as tx:
                    chat.uploaded(tx, self._thread, part.key, file)
            self._begun = ""
            self._slack.share(self._thread.where, file, part.file, thread_ts=self._parent)
            self._answered |= {UPLOAD, chat.WORKSPACE}
        with self._step() as tx:
            chat.stands(tx, self._thread, part.key, file, "", first=False)

    def _begin(self, part: Told) -> None:
        """Take a turn in the channel and, when it is there, note that this is about to be posted."""
        with self._step() as tx:
            turn = self._thread.turn_at or chat.turn(tx, self._thread.where)
            if its_turn := turn <= tx.now:
                chat.begin(tx, self._thread, part.key)
        if not its_turn:
            raise _WaitsError(turn, turn)
        self._thread = replace(self._thread, turn_at=None)
        self._asks, self._begun = self._thread.where, part.key

    def _ask(self, method: str) -> None:
        """Say what is asked next, if it is still ours to ask. Where that is held back, it goes on later."""
        self._asks = method
        if until := self._held.get(method):
            raise _WaitsError(until)
        with self._step() as tx:
            chat.renew(tx, self._thread)

    def _limited(self, limit: RateLimited) -> None:
        log.info("Slack asks to wait %g s (%s); %s is told then.", limit.retry_after, self._asks, self._thread.about)
        with self._step() as tx:
            self._forget_begun(tx)
            at = chat.hold_back(tx, self._asks, timedelta(seconds=limit.retry_after))
            chat.later(tx, self._thread, at)

    def _away(self, trouble: str, *, maybe_done: bool) -> None:
        log.warning("%s %s is told when that is over.", trouble, self._thread.about)
        with self._step() as tx:
            if not maybe_done:
                self._forget_begun(tx)
            chat.hold_back(tx, chat.WORKSPACE, AWAY_AGAIN)
            chat.later(tx, self._thread, tx.now + pacing.again_after(self._thread.tries), trouble=trouble)

    def _rejected(self, rejected: Rejected) -> None:
        code, why = rejected.slack_code, str(rejected)
        if not rejected.permanent:
            self._away(why, maybe_done=False)
        elif code in NO_TOKEN or code == "missing_scope":
            self._held_back(chat.WORKSPACE if code in NO_TOKEN else self._asks, why)
        elif code in NO_PARENT or code == "file_not_found":  # it is posted, or uploaded, anew
            with self._step() as tx:
                chat.forget(tx, self._thread, self._first.key if code in NO_PARENT else self._part.key)
                chat.later(tx, self._thread, tx.now + pacing.again_after(self._thread.tries), trouble=why)
        else:
            self._give_up(why, gone=code in GONE)

    def _held_back(self, place: str, why: str) -> None:
        """Nothing is given up: it goes on once somebody has mended it."""
        log.error("%s Nothing is lost: what waits is told once that is mended.", why)
        with self._step() as tx:
            self._forget_begun(tx)
            at = chat.hold_back(tx, place, TOKEN_AGAIN, gone=why)
            chat.later(tx, self._thread, at, trouble=why)

    def _give_up(self, why: str, *, gone: bool) -> None:
        with self._step() as tx:
            self._forget_begun(tx)
            if gone:
                chat.hold_back(tx, self._thread.where, timedelta(), gone=why)
            instead = untold(tx, self._worker.service, self._worker.name, self._thread, why)
        log.error("%s is not told in %s any more but %s. %s", self._thread.about, self._thread.channel,
                  f"to {instead}" if instead else "on its page alone", why)  # fmt: skip

    def _forget_begun(self, tx: Transaction) -> None:
        if self._begun:
            chat.forget(tx, self._thread, self._begun)

    @contextmanager
    def _step(self) -> Iterator[Transaction]:
        """A short transaction between two calls; telling holds one session at a time, whatever hangs."""
        with self._worker.telling, transaction(self._worker.service.engine) as tx:
            yield tx

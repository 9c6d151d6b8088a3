"""What is said to a person in the chat, and forms opened over it: only workers hold the chat's token."""

from __future__ import annotations

import logging
import time
from typing import Any

from runbooks_app.actions import people
from runbooks_app.actions.saying import AHEAD, Place
from runbooks_app.chat import replies
from runbooks_app.chat.client import RateLimited, Rejected, Slack
from runbooks_app.chat.views import Message
from runbooks_app.core.errors import InvalidInput, RunbooksError, Unavailable
from runbooks_app.store.database import transaction
from runbooks_app.store.people import first_delivery
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

PATIENCE = 30 * 60
"""Seconds for which an answer is tried; as long as Slack takes one at a `response_url`."""

TRIGGER = 2.5
"""Seconds for which a trigger is tried: Slack takes it for three, and the call takes its time."""


def answer(worker: Worker, place: dict[str, Any], message: dict[str, Any] | None, key: str, asked_at: float) -> None:
    """Answer somebody where they asked; without a message they are unknown, and get a one-time link to sign in by.

    `key` is of what was asked, `asked_at` when (seconds since the epoch). Raises `Unavailable` to be tried again. After
    half an hour it is not: the address has expired, and nobody waits for it any more.
    """
    slack, where = worker.slack, Place(**place)
    if slack is None:
        return
    if time.time() - asked_at > PATIENCE:
        log.warning("Somebody was not answered in the chat, which was away for half an hour. What they asked is done.")
        return
    told = Message(message["text"], tuple(message["blocks"])) if message is not None else _link(worker, where)
    try:
        if where.response_url:
            slack.respond(where.response_url, told)
        elif where.channel and (where.alone or message is None):
            slack.ephemeral(where.channel, where.user, told, thread_ts=where.thread_ts)
        elif where.channel:
            _post_once(worker, slack, where, told, key, asked_at)
    except RateLimited as limit:
        with transaction(worker.service.engine) as tx:
            after = int(limit.retry_after) + 1
            tx.defer("answer", after=after, priority=AHEAD, place=place, message=message, key=key, asked_at=asked_at)
    except (Rejected, InvalidInput) as error:
        if isinstance(error, Rejected) and not error.permanent:
            raise Unavailable(str(error)) from error
        log.warning("Somebody was not answered in the chat: %s", error)


def _post_once(worker: Worker, slack: Slack, where: Place, told: Message, key: str, at: float) -> None:
    """Post in the thread, unless an earlier try did and could not say so."""
    with transaction(worker.service.engine) as tx:
        first = first_delivery(tx, f"{key}:begun")
    if first or slack.find(where.channel, key, oldest=at - 60, thread_ts=where.thread_ts) is None:
        slack.post(where.channel, told, thread_ts=where.thread_ts, key=key)


def open_form(worker: Worker, trigger_id: str, view: dict[str, Any], asked_at: float) -> None:
    """Open a form over somebody's chat while its trigger is good; the answer that they have links the form's page."""
    if worker.slack is None:
        return
    late = time.time() - asked_at
    if late > TRIGGER:
        log.warning("A form was not opened: its trigger was %.1f s old. Its page was linked; add workers.", late)
        return
    try:
        worker.slack.open_view(trigger_id, view)
    except RunbooksError as error:
        log.warning("A form was not opened, its page was linked: %s", error)


def _link(worker: Worker, where: Place) -> Message:
    code = people.offer_chat_link(worker.service, where.team, where.user, where.user_name)
    url = f"{worker.service.settings.public_url}/link/{code}"
    return replies.link_reply(url, minutes=people.LINK_MINUTES)

"""Telling the channel: one message per run, updated in place; details and proposals in its thread.

What a message says is read from the database when it is sent, so a job that comes late, twice or out of
order still tells the present. A lock on the message's key keeps two jobs from posting it twice; its key in
the message's metadata finds a message that was posted by a job that died before it could write that down.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from runbooks_app.chat.break_glass import break_glass_message
from runbooks_app.chat.client import Posted, Rejected
from runbooks_app.chat.details import details_messages
from runbooks_app.chat.messages import proposal_message, run_message
from runbooks_app.chat.views import Message
from runbooks_app.core.run import ENDED
from runbooks_app.store import chat, runs
from runbooks_app.store import proposals as proposal_rows
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import views
from runbooks_app.worker.context import Worker


def tell_run(worker: Worker, run_id: str) -> None:
    """Bring the run's message up to date; once it has ended, its details follow in the thread."""
    with reading(worker.service.engine) as tx:
        run = runs.get(tx, run_id)
        told = views.run_told(tx, worker.service, run)
        details = views.details_told(tx, worker.service, run) if run.state in ENDED else None
    posted = _show(worker, f"run:{run_id}", run.channel, run_message(told), since=run.requested_at)
    if details is None:
        return
    for number, message in enumerate(details_messages(details)):
        _show(
            worker,
            f"run:{run_id}:detail:{number}",
            run.channel,
            message,
            since=run.requested_at,
            thread=posted,
        )
    for number, chart in enumerate(details.charts):
        key = f"run:{run_id}:chart:{number}"
        with transaction(worker.service.engine) as tx:
            chat.lock(tx, key)
            if not chart.restricted and chat.where(tx, key) is None and worker.slack is not None:
                file = worker.slack.upload(posted.channel, chart, thread_ts=posted.ts)
                chat.remember(tx, key, posted.channel, file, "")


def tell_proposal(worker: Worker, proposal_id: str) -> None:
    """Bring the proposal's message in its run's thread up to date."""
    with reading(worker.service.engine) as tx:
        proposal = proposal_rows.get(tx, proposal_id)
        run = runs.get(tx, proposal.run_id)
        message = proposal_message(views.proposal_told(tx, worker.service, proposal, run))
        run_told = run_message(views.run_told(tx, worker.service, run))
    parent = _show(worker, f"run:{run.id}", run.channel, run_told, since=run.requested_at)
    _show(worker, f"proposal:{proposal_id}", run.channel, message, since=run.requested_at, thread=parent)


def tell_break_glass(worker: Worker, proposal_id: str) -> None:
    """Tell of a break-glass in the channel itself, not in a thread; later, of its review in the same place."""
    with reading(worker.service.engine) as tx:
        proposal = proposal_rows.get(tx, proposal_id)
        run = runs.get(tx, proposal.run_id)
        message = break_glass_message(views.break_glass_told(tx, worker.service, proposal))
    _show(worker, f"break-glass:{proposal_id}", run.channel, message, since=run.requested_at)


def _show(
    worker: Worker, key: str, channel: str, message: Message, *, since: datetime, thread: Posted | None = None
) -> Posted:
    """Post the message of this key, or put it in the place of the one that stands there."""
    assert worker.slack is not None  # noqa: S101 -- jobs are only told with a chat
    digest = hashlib.sha256(json.dumps([message.text, list(message.blocks)]).encode()).hexdigest()
    with transaction(worker.service.engine) as tx:
        chat.lock(tx, key)
        known = chat.where(tx, key)
        if known is not None and known.digest == digest:
            return Posted(known.channel, known.ts)
        if known is not None:
            posted = Posted(known.channel, known.ts)
            try:
                worker.slack.update(posted, message)
            except Rejected as rejected:
                if rejected.slack_code != "message_not_found":
                    raise
                posted = worker.slack.post(channel, message, thread_ts=thread.ts if thread else "", key=key)
        else:
            posted = _post_once(worker, key, channel, message, since, thread)
        chat.remember(tx, key, posted.channel, posted.ts, digest)
        return posted


def _post_once(
    worker: Worker,
    key: str,
    channel: str,
    message: Message,
    since: datetime,
    thread: Posted | None,
) -> Posted:
    assert worker.slack is not None  # noqa: S101
    thread_ts = thread.ts if thread else ""
    if chat.begun(worker.service.engine, key):
        # An earlier try may have posted it and died before it could say so.
        found = worker.slack.find(channel, key, oldest=since.timestamp() - 60, thread_ts=thread_ts)
        if found is not None:
            return found
    return worker.slack.post(channel, message, thread_ts=thread_ts, key=key)

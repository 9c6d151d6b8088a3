"""Telling other chats: each place is brought forward along the audit trail, in order, at least once.

A worker that dies between a message and the note that it was sent leaves it to be sent twice: doubled here rather than
lost, since these services cannot be asked what they have. A message that a place does not take stands in the way of
those behind it for as long as it is tried, some hours; then it is passed over, and the log says so.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor

from runbooks_app.chat.elsewhere import (
    Place,
    Said,
    proposal_said,
    run_said,
    send,
    slack_said,
    storm_said,
    untold_said,
)
from runbooks_app.core.audit import Entry, Event
from runbooks_app.core.errors import NotFound
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import ENDED, RunState
from runbooks_app.store import alerts, chat, elsewhere, proposals, runs
from runbooks_app.store.database import Transaction, reading, transaction
from runbooks_app.worker import views
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

MOST_TRIES = 30
"""Of one message: about four hours."""

TOLD = {
    Event.RUN_ENDED,
    Event.RUN_LOST,
    Event.PROPOSAL_MADE,
    Event.PROPOSAL_DENIED,
    Event.PROPOSAL_EXPIRED,
    Event.PROPOSAL_WITHDRAWN,
    Event.PROPOSAL_STALE,
    Event.BREAK_GLASS_USED,
    Event.REMEDIATION_ENDED,
    Event.VERIFICATION_ENDED,
    Event.ALERTS_HELD,
    Event.CHAT_UNTOLD,
}
"""Entries that may be told; what a message then says is how things stand when it is sent."""


def tell_elsewhere(worker: Worker) -> None:
    """Tell each place what it was not told yet. They do not wait for each other."""
    if worker.elsewhere:
        with ThreadPoolExecutor(min(len(worker.elsewhere), 8), thread_name_prefix="elsewhere") as threads:
            list(threads.map(lambda place: _bring_forward(worker, place), worker.elsewhere))


def _bring_forward(worker: Worker, place: Place) -> None:
    with transaction(worker.service.engine) as tx:
        elsewhere.begin(tx, place.key)
        seq = elsewhere.claim(tx, place.key)
    if seq is None:
        return
    with reading(worker.service.engine) as tx:
        found = elsewhere.entries(tx, seq, TOLD)
    for entry in found:
        with reading(worker.service.engine) as tx:
            said = _said(tx, worker, entry)
        trouble = send(place, said) if said else ""
        with transaction(worker.service.engine) as tx:
            if not trouble:
                elsewhere.told(tx, place.key, entry.seq)
            elif elsewhere.failed(tx, place.key, trouble) < MOST_TRIES:
                log.warning("%s could not be told (%s); it is tried again.", place.name, trouble)
                return
            else:
                elsewhere.told(tx, place.key, entry.seq)
                log.error("%s was not told of entry %d (%s): it was tried for hours.", place.name, entry.seq, trouble)
    if _slack_is_told_of(worker, place):
        with transaction(worker.service.engine) as tx:
            elsewhere.release(tx, place.key)


def _slack_is_told_of(worker: Worker, place: Place) -> bool:
    """Tell that Slack takes nothing at all, once each time that it begins; False where that has to be tried again."""
    with reading(worker.service.engine) as tx:
        gone = chat.gone(tx)
        if gone is None or elsewhere.knows(tx, place.key, gone[1]):
            return True
    trouble = send(place, slack_said(gone[0], worker.service.settings.public_url))
    with transaction(worker.service.engine) as tx:
        if trouble:
            elsewhere.failed(tx, place.key, trouble)
            return False
        elsewhere.knows_now(tx, place.key, gone[1])
        return True


def _said(tx: Transaction, worker: Worker, entry: Entry) -> Said | None:
    """What there is to say of an entry; None where another entry says it, or will."""
    about = json.loads(entry.objects)
    try:
        if entry.event in {Event.RUN_ENDED, Event.RUN_LOST}:
            return _run(tx, worker, about["run"], lost=entry.event == Event.RUN_LOST)
        if entry.event == Event.ALERTS_HELD:
            return _storm(tx, worker, about.get("storm"), entry)
        if entry.event == Event.CHAT_UNTOLD:
            return untold_said(json.loads(entry.body), worker.service.settings.public_url)
        return _proposal(tx, worker, about["proposal"], entry.event)
    except NotFound:
        return None


def _run(tx: Transaction, worker: Worker, run_id: str, *, lost: bool) -> Said | None:
    run = runs.get(tx, run_id)
    if run.purpose != "diagnosis" or run.state not in ENDED or lost != (run.state is RunState.LOST):
        return None
    return run_said(views.run_told(tx, worker.service, run))


def _storm(tx: Transaction, worker: Worker, storm_id: int | None, entry: Entry) -> Said | None:
    """Alerts that are held back: once when that begins, and once when it is over, whatever is held in between."""
    if storm_id is None:
        return None  # held by maintenance that somebody planned
    storm = alerts.storm(tx, storm_id)
    over = json.loads(entry.actor)["kind"] == "timer"
    if not over and entry.at[:16] != f"{storm.began_at:%Y-%m-%dT%H:%M}":
        return None
    return storm_said(storm.held, storm.rules, worker.service.settings.public_url, over=over)


def _proposal(tx: Transaction, worker: Worker, proposal_id: str, event: str) -> Said | None:
    proposal = proposals.get(tx, proposal_id)
    if event == Event.PROPOSAL_MADE and proposal.state is not ProposalState.PROPOSED:
        return None
    if event == Event.REMEDIATION_ENDED and (
        proposal.state is ProposalState.APPLIED or proposal.verification is not Verification.PENDING
    ):
        return None  # its verification says it
    return proposal_said(views.proposal_told(tx, worker.service, proposal, runs.get(tx, proposal.run_id)))

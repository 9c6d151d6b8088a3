"""What is told of each thing: its parts in order, read from the database when they are told.

The first part is the one message that stands in the channel; the others follow in its thread. So whoever tells late,
twice or after somebody else tells the present. How they get there is `conversation`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from runbooks_app.actions.context import Service
from runbooks_app.actions.telling import tell
from runbooks_app.chat.break_glass import break_glass_message
from runbooks_app.chat.details import details_files, details_messages
from runbooks_app.chat.messages import proposal_message, run_message
from runbooks_app.chat.views import Told
from runbooks_app.core.run import ENDED
from runbooks_app.store import break_glass, proposals, runs
from runbooks_app.store.database import Transaction, transaction
from runbooks_app.worker import views
from runbooks_app.worker.alerts import told_of_storm
from runbooks_app.worker.context import Worker
from runbooks_app.worker.conversation import tell_next
from runbooks_app.worker.incidents import told_of_incident, told_of_postmortem
from runbooks_app.worker.waking_people import told_of_waking


def told_of_run(tx: Transaction, service: Service, run_id: str) -> tuple[Told, ...]:
    """A run's message; then proposals and, once it has ended, its details. Files come last: they hold up nothing."""
    run = runs.get(tx, run_id)
    told = views.run_told(tx, service, run)
    parts = [Told(f"run:{run_id}", run_message(told))]
    for proposal, seen in zip(proposals.of_run(tx, run_id), told.proposals, strict=True):
        if break_glass.find(tx, proposal.id) is not None:
            glass = break_glass_message(views.break_glass_told(tx, service, proposal))
            parts.append(Told(f"break-glass:{proposal.id}", glass, top=True))
        parts.append(Told(f"proposal:{proposal.id}", proposal_message(seen)))
    if run.state in ENDED:
        details = views.details_told(tx, service, run)
        parts += [Told(f"run:{run_id}:detail:{n}", m) for n, m in enumerate(details_messages(details))]
        parts += [Told(f"run:{run_id}:chart:{n}", None, file) for n, file in enumerate(details_files(details))]
    return tuple(parts)


TURN = 2.0
"""Seconds after which a job that still finds something to tell goes to the end of its queue."""

TELLERS: Mapping[str, Callable[[Transaction, Service, str], tuple[Told, ...]]] = {
    "run": told_of_run,
    "incident": told_of_incident,
    "postmortem": told_of_postmortem,
    "storm": told_of_storm,
    "waking": told_of_waking,
}
"""By the kind of what it is about; the last argument is its id."""


def tell_due(worker: Worker) -> None:
    """The job: tell what is due until nothing is. It was woken for one conversation, and takes the oldest.

    Where there is always more, it gives its place back in between: answers wait in the same queue, and a worker that
    is to stop waits for its jobs.
    """
    until = time.monotonic() + TURN
    while worker.slack is not None and tell_next(worker, worker.slack, _parts):
        if time.monotonic() > until:
            with transaction(worker.service.engine) as tx:
                tx.defer("tell")
            return


def tell_run(worker: Worker, run_id: str) -> None:
    """As the release before this one queued it."""
    with transaction(worker.service.engine) as tx:
        tell(tx, f"run:{run_id}")


def tell_proposal(worker: Worker, proposal_id: str) -> None:
    """As the release before this one queued it, also for a break-glass."""
    with transaction(worker.service.engine) as tx:
        tell(tx, f"run:{proposals.get(tx, proposal_id).run_id}")


def _parts(tx: Transaction, service: Service, about: str) -> tuple[Told, ...]:
    kind, _, name = about.partition(":")
    return TELLERS[kind](tx, service, name)

"""Waking those who may decide on a proposal that waits: each step in one transaction, and each looks at it again.

    step           who                                               how
    on call        those on call who may decide, else all who may    direct message, pages
    everybody      all others who may                                direct message
    break-glass    those who may break the glass                     direct message with the way there

A direct message is told like everything else (`waking:<proposal>` in a person's own channel) and says in the end what
became of it; a page is resolved then. Nobody gets a right by it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.telling import tell
from runbooks_app.core import waking
from runbooks_app.core.audit import Event
from runbooks_app.core.break_glass import Mode
from runbooks_app.core.waking import Step
from runbooks_app.store import proposals, runs
from runbooks_app.store import wakings as rows
from runbooks_app.store.database import Transaction, reading, transaction
from runbooks_app.store.records import Proposal, Run
from runbooks_app.store.wakings import GLASS, Waking

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Due:
    """A page that is to be sent, or resolved where it is `over`; `key` is what the service knows it by."""

    page: Waking
    proposal: Proposal
    run: Run
    over: bool

    @property
    def key(self) -> str:
        """The same for each try, so that nobody is woken twice."""
        return f"runbooks-{self.proposal.id}"


def begin(tx: Transaction, service: Service, proposal_id: str) -> None:
    """Have those woken who may decide on this new proposal, where anything can be approved at all."""
    if service.settings.remediation == "on":
        tx.defer("wake", proposal_id=proposal_id, step=int(Step.ON_CALL))


def goes_on(tx: Transaction, proposal_id: str) -> None:
    """Something became of a proposal: tell those who were woken, and let go of those who need not wake up any more."""
    ways = rows.ways(tx, proposal_id)
    if rows.CHAT in ways:
        tell(tx, f"waking:{proposal_id}")
        tell(tx, f"waking:{proposal_id}{GLASS}")
    if ways - {rows.CHAT}:
        tx.defer("page", proposal_id=proposal_id)


def wanted(service: Service, proposal_id: str) -> tuple[tuple[str, ...], datetime]:
    """The groups whose people on call are wanted for a proposal, and when: none where it does not wait any more."""
    with reading(service.engine) as tx:
        asked = proposals.get(tx, proposal_id).asked
        return (waking.groups(asked.policy) if waking.waits(asked, tx.now) else (), tx.now)


def wake(service: Service, worker: str, proposal_id: str, step: Step, on_call: frozenset[str]) -> None:
    """Take one step, and have the next one follow. `on_call` are e-mail addresses in small letters."""
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id, lock=True)
        asked, settings = proposal.asked, service.settings
        if not waking.waits(asked, tx.now):
            return
        known = rows.reachable(tx, settings.slack_team) if settings.slack_bot_token_file else {}
        before = rows.woken(tx, proposal_id)
        people = waking.whom(
            asked,
            step,
            known,
            on_call=on_call,
            woken=before,
            mode=Mode(settings.break_glass),
            now=tx.now,
        )
        run = runs.get(tx, proposal.run_id)
        objects = {"proposal": proposal_id, "run": run.id, "incident": run.incident_id}
        for person in people:
            if rows.insert(tx, proposal_id, step, rows.CHAT, person.subject, person.name):
                ending = GLASS if step is Step.BREAK_GLASS else ""
                tell(tx, f"waking:{proposal_id}{ending}", channel=known[person])
                about = {"name": person.name, "step": int(step), "way": rows.CHAT}
                tx.audit(worker_actor(worker), Event.APPROVER_WOKEN, {**objects, "person": person.subject}, about)
        pages = service.oncall.pages(waking.groups(asked.policy)) if step is Step.ON_CALL else ()
        for pager in pages:
            rows.insert(tx, proposal_id, step, pager.kind, pager.name, pager.name)
        if pages:
            tx.defer("page", proposal_id=proposal_id)
        if people:
            tell(tx, f"run:{run.id}")
        if not (people or pages or before):
            log.warning(
                "Nobody could be woken for proposal %s: who may decide has linked no chat account, and nothing pages.",
                proposal_id,
            )
        wait = waking.pause(asked, step, settings.escalate_after, tx.now)
        if wait is not None:
            tx.defer("wake", proposal_id=proposal_id, step=step + 1, after=wait)


def due(service: Service, proposal_id: str) -> list[Due]:
    """The pages that are to be sent or resolved now."""
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id)
        run = runs.get(tx, proposal.run_id)
        over = not waking.waits(proposal.asked, tx.now)
        # What is over is resolved also where nobody knows of its being sent: an answer may have been lost.
        pages = [page for page in rows.pages(tx, proposal_id) if over or page.sent_at is None]
        return [Due(page, proposal, run, over) for page in pages]


def sent(service: Service, worker: str, page: Due) -> None:
    """The service has taken the page."""
    with transaction(service.engine) as tx:
        rows.sent(tx, page.page.id)
        tell(tx, f"run:{page.run.id}")
        tx.audit(
            worker_actor(worker),
            Event.APPROVER_WOKEN,
            {"proposal": page.proposal.id, "run": page.run.id, "incident": page.run.incident_id},
            {"service": page.page.whom, "step": page.page.step, "way": page.page.way},
        )


def ended(service: Service, page: Due, trouble: str = "") -> None:
    """The page is over: resolved, or with trouble that does not pass."""
    with transaction(service.engine) as tx:
        rows.ended(tx, page.page.id, trouble)
        tell(tx, f"run:{page.run.id}")


def troubled(service: Service, page: Due, trouble: str) -> None:
    """It did not work this time; it is tried again."""
    with transaction(service.engine) as tx:
        rows.troubled(tx, page.page.id, trouble)
        tell(tx, f"run:{page.run.id}")

"""The jobs `wake` and `page`: who is on call is asked, and pages are sent, with no session at the database open.

What a schedule answers only says whom to tell first. Where it does not answer the rota counts, and where there is none
of both, all who may decide are told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from runbooks_app.actions import waking
from runbooks_app.actions.context import Service
from runbooks_app.actions.waking import Due
from runbooks_app.chat.views import Told
from runbooks_app.chat.waking import offer_message, waking_message
from runbooks_app.core.errors import Misconfigured, RunbooksError, Unavailable
from runbooks_app.core.policy import Risk
from runbooks_app.core.waking import Step
from runbooks_app.oncall import Group, OnCall, PagingService
from runbooks_app.oncall.opsgenie import Opsgenie
from runbooks_app.oncall.pagerduty import PagerDuty
from runbooks_app.oncall.pagers import Page, Pager
from runbooks_app.settings import Settings
from runbooks_app.store import proposals, runs
from runbooks_app.store.database import Transaction
from runbooks_app.store.wakings import GLASS
from runbooks_app.worker import views
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

PAGERS: Mapping[str, Callable[[PagingService], Pager]] = {"pagerduty": PagerDuty, "opsgenie": Opsgenie}


def wake(worker: Worker, proposal_id: str, step: int) -> None:
    """Take one step of waking."""
    groups, now = waking.wanted(worker.service, proposal_id)
    if groups:
        on_call = who_is_on_call(worker.service.oncall, groups, now) if step == Step.ON_CALL else frozenset()
        waking.wake(worker.service, worker.name, proposal_id, Step(step), on_call)


def page(worker: Worker, proposal_id: str) -> None:
    """Send what is to be sent and resolve what is over, until nothing is left or all that is left fails.

    Raises `Unavailable` where something has to be tried again.
    """
    failed: set[int] = set()
    while pages := [due for due in waking.due(worker.service, proposal_id) if due.page.id not in failed]:
        for due in pages:
            try:
                _page(worker, due)
            except Unavailable as away:
                failed.add(due.page.id)
                waking.troubled(worker.service, due, away.message)
            except RunbooksError as error:
                log.error("A page for proposal %s is given up: %s", proposal_id, error)  # noqa: TRY400 -- it says it all
                waking.ended(worker.service, due, error.message)
    if failed:
        raise Unavailable(f"Not all pages for proposal {proposal_id} went out; they are tried again.")


def who_is_on_call(oncall: OnCall, groups: tuple[str, ...], now: datetime) -> frozenset[str]:
    """E-mail addresses, in small letters, of those on call for these groups."""
    found = [_on_call(oncall, oncall.groups[name], now) for name in groups if name in oncall.groups]
    return frozenset[str]().union(*found)


def told_of_waking(tx: Transaction, service: Service, name: str) -> tuple[Told, ...]:
    """The direct message to who is woken; `name` is the proposal's id, with an ending where break-glass is offered."""
    proposal = proposals.get(tx, name.removesuffix(GLASS))
    told = views.proposal_told(tx, service, proposal, runs.get(tx, proposal.run_id))
    return (Told(f"waking:{name}", offer_message(told) if name.endswith(GLASS) else waking_message(told)),)


def page_of(due: Due, settings: Settings) -> Page:
    """What wakes somebody: nothing in it that a restricted connection showed."""
    proposal = due.proposal
    risk = proposal.asked.policy.risk
    return Page(
        summary=f"Waits for approval: {proposal.title} ({risk} risk)",
        details={
            "runbook": due.run.runbook,
            "reaches": ", ".join(held["connection"] for held in proposal.connections),
            "incident": f"{settings.public_url}/incidents/{due.run.incident_id}",
            "expires": f"{proposal.expires_at:%Y-%m-%d %H:%M} UTC",
        },
        link=f"{settings.public_url}/proposals/{proposal.id}",
        source=f"runbooks, {settings.environment}",
        urgent=risk is Risk.HIGH,
    )


def _page(worker: Worker, due: Due) -> None:
    service = worker.service.oncall.services.get(due.page.whom)
    if service is None:
        raise Misconfigured(f"{due.page.whom} is in the on-call file no longer.")
    pager = PAGERS[service.kind](service)
    if due.over:
        pager.resolve(due.key)
        waking.ended(worker.service, due)
    else:
        pager.page(due.key, page_of(due, worker.service.settings))
        waking.sent(worker.service, worker.name, due)


def _on_call(oncall: OnCall, group: Group, now: datetime) -> frozenset[str]:
    if group.schedule:
        service = oncall.services[group.schedule]
        try:
            if found := PAGERS[service.kind](service).who(group.schedule_id):
                return found
        except RunbooksError as error:
            log.warning("Who is on call for %s goes by its rota, if it has one: %s", group.name, error)
    return frozenset({group.rota.who(now)} - {""}) if group.rota else frozenset()

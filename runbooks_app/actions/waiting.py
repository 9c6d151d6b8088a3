"""Diagnoses that wait: whether one may begin, in which place it stands, and waking the next when a place is free.

Deciding is `core.quotas`; here the counts come from rows. A claim looks and begins, and whoever ends a run looks
and wakes, under one lock that is held until commit. So two claims never take the same place; and a run that finds
no place is seen by whoever frees one, or is claimed after that. The sweep looks too: no run is forgotten.

Waiting is nobody's action and has no entry in the audit trail: a run's request and its claim have, with their times.
"""

from __future__ import annotations

from runbooks_app.actions.context import Service
from runbooks_app.core.quotas import Place, Quotas, places, said
from runbooks_app.core.run import RunState
from runbooks_app.store import quotas as quota_rows
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Run

WOKEN = 11
"""Priority of a woken run's job: it was looked at before, so it was asked for before all that still wait for a look."""


def quotas(service: Service) -> Quotas:
    """The quotas as they are set."""
    return Quotas(service.settings.runs_per_person, service.settings.runs_per_runbook)


def line(tx: Transaction, service: Service) -> dict[str, Place]:
    """The place of every queued run, by its id, in the order of asking."""
    return places(quota_rows.unfinished(tx), quotas(service))


def place(tx: Transaction, service: Service, run: Run) -> Place | None:
    """Where this run stands; None unless it is queued."""
    return line(tx, service).get(run.id) if run.state is RunState.QUEUED else None


def told(found: Place | None, run: Run, *, rough: bool = False) -> str:
    """The place in words, as others than its person read it; empty where it only wants a worker and is the next."""
    if found is None or (found.may_begin and found.place == 1):
        return ""
    return said(found, f"{run.requested_by['name']}'s", run.runbook, rough=rough)


def may_begin(tx: Transaction, service: Service, run: Run) -> bool:
    """Whether a queued run may begin in this transaction; those who were asked for before it come first.

    One that may not is held until whoever frees a place wakes it.
    """
    limits = quotas(service)
    if not limits.any:
        return True
    quota_rows.lock_places(tx)
    person = run.requested_by["subject"] if run.requested_by["kind"] in {"person", "agent"} else ""
    if limits.all_fit(person, *quota_rows.count_unfinished(tx, person, run.runbook)):
        return True
    found = places(quota_rows.unfinished(tx, up_to=run, enough_for=limits), limits).get(run.id)
    if found is not None and found.may_begin:
        return True
    quota_rows.hold(tx, run)
    return False


def moved_up(tx: Transaction, service: Service) -> None:
    """A run has ended or left the line: wake whoever may begin for it. Called last: it holds up others until commit."""
    if quotas(service).any:
        quota_rows.lock_places(tx)
        if quota_rows.any_held(tx):
            wake(tx, service)


def wake(tx: Transaction, service: Service, *, failed_too: bool = True) -> int:
    """Queue a job for each run that may begin and has none; how many. One too many does no harm.

    Without `failed_too` those are left alone whose job has just been taken, or has failed.
    """
    quota_rows.lock_places(tx)
    limits = quotas(service)
    found = places(quota_rows.unfinished(tx, enough_for=limits), limits)
    ready = [run_id for run_id, stands in found.items() if stands.may_begin]
    due = quota_rows.with_job(tx, ready, any_state=not failed_too)
    for run_id in ready:
        if run_id not in due:
            tx.defer("diagnose", run_id=run_id, priority=WOKEN)
    return len(ready) - len(due)

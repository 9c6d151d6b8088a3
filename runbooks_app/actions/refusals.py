"""Refusals leave a trace: one entry each for people and runs we know, one line a minute for everybody else."""

from __future__ import annotations

from typing import Any

from runbooks_app.actions.context import TIMER, Service, person_actor, worker_actor
from runbooks_app.actions.diagnosing import Claim
from runbooks_app.core.audit import Event
from runbooks_app.core.people import Person
from runbooks_app.store.database import transaction


def refused(service: Service, person: Person | None, signed_in: dict[str, Any], what: str, reason: str) -> None:
    """Enter that somebody was refused; `what` is the endpoint or command."""
    if person is None:
        count_refusal(service, reason)
        return
    with transaction(service.engine) as tx:
        tx.audit(
            person_actor(person, signed_in),
            Event.ACCESS_REFUSED,
            {"person": person.subject},
            {"what": what[:200], "reason": reason[:500]},
        )


def gateway_refused(
    service: Service, claim: Claim, connection: str, *, cell: str, method: str, path: str, reason: str, more: int = 0
) -> None:
    """Enter what a run's gateway did not let through; `more` counts several of one connection, entered as one."""
    request = {"count": more} if more else {"method": method, "path": path}
    with transaction(service.engine) as tx:
        tx.audit(
            worker_actor(claim.attempt.worker),
            Event.GATEWAY_REFUSED,
            {"run": claim.run.id, "connection": connection}
            | ({"proposal": claim.attempt.proposal_id} if claim.attempt.proposal_id else {}),
            {"cell": cell, "reason": reason, "stage": claim.attempt.stage, **request},
        )


def count_refusal(service: Service, reason: str) -> None:
    """Count a refused request of nobody in particular, so that a flood of them cannot hold the trail."""
    with transaction(service.engine) as tx:
        tx.execute(
            """INSERT INTO refusals (reason, count) VALUES (:reason, 1)
               ON CONFLICT (reason) DO UPDATE SET count = refusals.count + 1""",
            reason=reason[:200],
        )


def enter_counted(service: Service) -> None:
    """Enter the refusals counted so far as one line."""
    with transaction(service.engine) as tx:
        counted = {row.reason: row.count for row in tx.execute("DELETE FROM refusals RETURNING reason, count")}
        if counted:
            tx.audit(TIMER, Event.REFUSALS_COUNTED, {}, {"counts": counted})

"""What time does: proposals expire, and the work of workers that went away is taken from them.

Each step checks the state again under a lock, so a leftover timer never acts twice.
"""

from __future__ import annotations

from runbooks_app.actions import waiting
from runbooks_app.actions.context import TIMER, Service
from runbooks_app.actions.proposing import tell_proposal
from runbooks_app.actions.remediating import end_remediation, end_verification
from runbooks_app.actions.running import tell_run
from runbooks_app.actions.starting import make_stale
from runbooks_app.actions.telling import tell
from runbooks_app.core.audit import Event
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.proposal import move as move_proposal
from runbooks_app.core.quotas import roughly
from runbooks_app.core.run import MAX_ATTEMPTS, CellState, RunState, move
from runbooks_app.store import chat, proposals, runs, wakings
from runbooks_app.store.database import Transaction, transaction
from runbooks_app.store.records import Attempt

GONE = "The worker went away"


def expire_proposals(service: Service) -> int:
    """Expire open proposals that are past their time; how many."""
    with transaction(service.engine) as tx:
        due = proposals.expired(tx)
        for proposal in due:
            proposals.move(
                tx,
                proposal,
                move_proposal(proposal.state, ProposalState.EXPIRED),
                ended_at=tx.now,
                state_reason="Nobody decided in time."
                if proposal.state is ProposalState.PROPOSED
                else "It was approved, but could not start in time.",
            )
            tx.audit(
                TIMER,
                Event.PROPOSAL_EXPIRED,
                {"proposal": proposal.id, "run": proposal.run_id},
                {"was": str(proposal.state)},
            )
            tell_proposal(tx, proposal)
        return len(due)


def take_over(service: Service) -> int:
    """End the attempts whose lease has lapsed, each in a transaction of its own; how many.

    A diagnosis gets a new attempt, up to the limit; a remediation is unknown and never tried again; a
    re-check is begun anew, and so is a verification, up to its limit.
    """
    count = 0
    while True:
        with transaction(service.engine) as tx:
            attempt = runs.lapsed(tx)
            if attempt is None:
                return count
            _take(tx, service, attempt)
            count += 1


def requeue_forgotten(service: Service) -> int:
    """Queue again what waits without a job, as after a job that failed for good; how many. Claims keep it harmless."""
    with transaction(service.engine) as tx:
        rows = tx.execute(
            """
            WITH waiting (task, key, id) AS (
                SELECT 'remediate', 'proposal_id', id FROM proposals
                WHERE state = 'approved' AND expires_at > now() AND decided_at < now() - interval '1 minute'
                UNION ALL
                SELECT 'verify', 'proposal_id', id FROM proposals
                WHERE verification = 'pending' AND ended_at < now() - interval '1 minute'
                UNION
                SELECT 'page', 'proposal_id', p.id FROM wakings w JOIN proposals p ON p.id = w.proposal_id
                WHERE w.way <> 'slack' AND w.ended_at IS NULL AND (w.sent_at IS NULL OR p.state <> 'proposed')
                    AND w.made_at < now() - interval '1 minute'
                    AND greatest(w.made_at, p.decided_at, p.ended_at) > now() - interval '1 day')
            SELECT task, key, id FROM waiting w
            WHERE NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.task_name = w.task
                AND j.status IN ('todo', 'doing') AND j.args ->> w.key = w.id)
            LIMIT 100
            """
        ).all()
        for row in rows:
            tx.defer(row.task, **{row.key: row.id})
        steps = wakings.failed(tx)
        for step in steps:
            tx.defer("wake", proposal_id=step.proposal_id, step=step.step)
        return len(rows) + len(steps) + waiting.wake(tx, service)


def look_at_the_line(service: Service, told: dict[str, str]) -> dict[str, str]:
    """Wake queued runs that may begin and have no job, and tell the channels of those that moved up.

    `told` is what the look before gave back: the rough place of each run that waits. It changes a few times on the way
    to the front, so that a long line is no flood of messages.
    """
    with transaction(service.engine) as tx:
        waiting.wake(tx, service, failed_too=False)
    with transaction(service.engine) as tx:
        line = waiting.line(tx, service)
        now = {run_id: f"{place.waits}: {roughly(place.place)}" for run_id, place in line.items()}
        moved = [run_id for run_id, words in now.items() if words != told.get(run_id)]
        for run_id in moved:
            tell(tx, f"run:{run_id}", progress=True)
    return now


def wake_tellers(service: Service, most: int) -> None:
    """Queue jobs, up to so many, where something is due to be told and none is on its way."""
    with transaction(service.engine) as tx:
        for _ in range(chat.due(tx, most)):
            tx.defer("tell")


def _take(tx: Transaction, service: Service, attempt: Attempt) -> None:
    if attempt.stage == "remediate":
        proposal = proposals.get(tx, str(attempt.proposal_id), lock=True)
        reason = f"{GONE} while it executed; whether it took effect is not known."
        end_remediation(tx, proposal, attempt, ProposalState.UNKNOWN, reason)
    elif attempt.stage == "verify":
        end_verification(tx, attempt, CellState.DIED, f"{GONE} while it verified.")
    else:
        _lost(tx, service, attempt)


def _lost(tx: Transaction, service: Service, attempt: Attempt) -> None:
    runs.close_cells(tx, attempt.id, str(CellState.DIED), f"{GONE}.")
    runs.end_attempt(tx, attempt.id)
    run = runs.get(tx, attempt.run_id, lock=True)
    runs.move(
        tx,
        run,
        move(run.state, RunState.LOST),
        reason=f"{GONE} in attempt {attempt.number}.",
    )
    objects = {"run": run.id, "incident": run.incident_id}
    again = attempt.number < MAX_ATTEMPTS and run.proposal_id is None and run.cancel_requested_at is None
    tx.audit(TIMER, Event.RUN_LOST, objects, {"attempt": attempt.number, "worker": attempt.worker, "again": again})
    if again:
        lost = runs.get(tx, run.id)
        runs.move(tx, lost, move(lost.state, RunState.QUEUED))
    elif run.proposal_id is not None:
        proposal = proposals.get(tx, run.proposal_id, lock=True)
        if proposal.state is ProposalState.APPROVED and run.cancel_requested_at is not None:
            make_stale(tx, proposal, "The re-check was cancelled.", TIMER)
        elif proposal.state is ProposalState.APPROVED:
            tx.defer("remediate", proposal_id=proposal.id, priority=20)
    tell_run(tx, run.id, run.channel)
    # Wakes the run itself too, if it is tried again.
    waiting.wake(tx, service)

"""What people do with a proposal: propose by hand, sponsor, decide, withdraw."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.actions.delivering import Delivery, made, once
from runbooks_app.actions.proposing import make_proposal, revision, tell_proposal
from runbooks_app.core import deciding
from runbooks_app.core.audit import Event
from runbooks_app.core.deciding import Verdict
from runbooks_app.core.digests import batch_nonce, decision_nonce
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound, Problem, Refused
from runbooks_app.core.gates import validate_inputs
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.proposal import OPEN, ProposalState, move
from runbooks_app.core.run import RunState
from runbooks_app.core.writing import LONGEST_REASON, kept, written
from runbooks_app.store import pending, proposals, runs
from runbooks_app.store.database import new_id, transaction
from runbooks_app.store.pending import Pending
from runbooks_app.store.records import Proposal

_EVENTS = {Verdict.APPROVE: Event.PROPOSAL_APPROVED, Verdict.DENY: Event.PROPOSAL_DENIED}


def propose_by_hand(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    run_id: str,
    gate: str,
    given: dict[str, Any],
    reason: str,
    *,
    delivery: Delivery | None = None,
) -> Proposal:
    """Propose a remediation cell with inputs of one's own: marked so, and always high risk.

    A program that no human stands behind borrows none from the run: somebody has to sponsor what it proposes.
    """
    person.require(Permission.PROPOSE)
    reason = written("reason", reason, LONGEST_REASON, why="is what approvers go by: write one.")
    with transaction(service.engine) as tx:
        once(tx, delivery)
        run = runs.get(tx, run_id, lock=True)
        if run.purpose != "diagnosis" or run.state is not RunState.DIAGNOSED:
            raise Conflict(f"Run {run_id} is {run.state}; only a diagnosed run can be proposed from.")
        runbook = revision(tx, service, run.revision)
        section = runbook.section(gate)
        if section is None:
            raise NotFound(f"Runbook {run.runbook} has no gate {gate[:64]!r}.")
        inputs = validate_inputs(section, given, runbook.connections_used(run.parameters))
        proposal_id = make_proposal(
            tx,
            service,
            run,
            section,
            inputs,
            reason=reason,
            actor=person_actor(person, signed_in),
            requesters=sorted({*run.requesters, *person.humans}),
            by_hand=True,
            by_program=not person.humans,
        )
        made(tx, delivery, proposal_id)
        return proposals.get(tx, proposal_id)


def sponsor(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    proposal_id: str,
    *,
    delivery: Delivery | None = None,
) -> Proposal:
    """Answer, as a human, for a proposal that no human asked for; whoever sponsors cannot decide."""
    person.require(Permission.SPONSOR)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        proposal = proposals.get(tx, proposal_id, lock=True)
        closed = deciding.closed_reason(proposal.asked, tx.now)
        if closed:
            raise Conflict(closed)
        if not proposal.asked.needs_sponsor:
            raise Conflict("This proposal needs no sponsor.")
        tx.moved(
            f"Proposal {proposal_id}",
            "UPDATE proposals SET sponsor = :subject WHERE id = :id AND sponsor = ''",
            subject=person.subject,
            id=proposal_id,
        )
        tx.audit(person_actor(person, signed_in), Event.PROPOSAL_SPONSORED, _objects(proposal))
        tell_proposal(tx, proposal)
        return proposals.get(tx, proposal_id)


def decide(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    proposal_id: str,
    verdict: str,
    digest: str,
    reason: str = "",
    *,
    id_token: str = "",
    batch: Sequence[str] = (),
    delivery: Delivery | None = None,
) -> Proposal:
    """Record one person's verdict, and resume in the same transaction when it is the last one needed.

    `digest` is of the proposal as the person was shown it. `id_token` is what the provider signed for this very
    decision, or for those on all proposals with the digests `batch`, and `person` then as it describes them; raises
    `Unsigned` where nothing but it is missing. `delivery` is the chat's key of what asked for it; it counts once.
    """
    if verdict not in list(Verdict):
        raise InvalidInput(
            "A decision is approve or deny.", problems=(Problem("verdict", f"{verdict[:20]!r} is neither."),)
        )
    reason = kept("reason", reason, LONGEST_REASON)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        proposal = proposals.get(tx, proposal_id, lock=True)
        said = Verdict(verdict)
        if said is Verdict.APPROVE and service.settings.remediation == "off":
            raise Refused("This service is diagnose-only (RUNBOOKS_REMEDIATION=off): nothing can be approved.")
        to = deciding.decide(proposal.asked, person, said, digest, tx.now, signed=bool(id_token))
        actor = person_actor(person, signed_in)
        proposals.decided(
            tx,
            {
                "proposal_id": proposal_id,
                "digest": digest,
                "subject": person.subject,
                "name": person.name,
                "verdict": str(said),
                "reason": reason,
                "signed_in": signed_in,
                "id_token": id_token,
                "break_glass": False,
                "batch": list(batch) or None,
            },
        )
        if to is not proposal.state:
            proposals.move(tx, proposal, move(proposal.state, to), decided_at=tx.now)
        if to is ProposalState.APPROVED:
            tx.defer("remediate", proposal_id=proposal_id, priority=20)
        tx.audit(
            actor,
            _EVENTS[said],
            _objects(proposal),
            {
                "digest": digest,
                "reason": reason,
                "state": str(to),
                "approvers": sorted(person.approver_groups),
                "signature": token_digest(id_token),
                **({"signed_together": list(batch)} if batch else {}),
            },
        )
        tell_proposal(tx, proposal)
        return proposals.get(tx, proposal_id)


def begin_signed(service: Service, person: Person, shown: Mapping[str, str], said: str, reason: str) -> tuple[str, str]:
    """Keep what somebody is about to say while they sign in afresh: its reference, and the nonce to sign in with.

    `shown` gives the digest of each proposal by its id; `said` is `approve` or, of one alone, `break-glass`. That the
    person may say it was found out just before.
    """
    ref = new_id()
    with transaction(service.engine) as tx:
        for proposal_id, digest in shown.items():
            pending.keep(tx, Pending(ref, proposal_id, digest, person.subject, said, reason))
    return ref, _nonce(list(shown.values()), said)


def take_signed(service: Service, person: Person, ref: str, nonce: str) -> list[Pending]:
    """What this person was about to say; it is used up by this.

    Raises `Conflict` where there is no such thing, or where it is not what they signed, whose nonce this is.
    """
    with transaction(service.engine) as tx:
        said = pending.take(tx, ref, person.subject)
        if nonce != _nonce([one.digest for one in said], said[0].verdict):
            raise Conflict(
                "What was kept here is not what you signed; nothing was decided. Look again, and begin anew."
            )
        return said


def _nonce(digests: Sequence[str], said: str) -> str:
    return decision_nonce(digests[0], said) if len(digests) == 1 else batch_nonce(digests, said)


def token_digest(id_token: str) -> str | None:
    """What the trail keeps of a signature: its SHA-256, by which a token that is shown later is known again."""
    return hashlib.sha256(id_token.encode()).hexdigest() if id_token else None


def withdraw(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    proposal_id: str,
    *,
    delivery: Delivery | None = None,
) -> Proposal:
    """Take a proposal back: whoever asked for it may, until it starts."""
    with transaction(service.engine) as tx:
        once(tx, delivery)
        proposal = proposals.get(tx, proposal_id, lock=True)
        why_not = deciding.why_not_withdraw(proposal.asked, person)
        if why_not:
            raise Refused(why_not)
        if proposal.state not in OPEN:
            raise Conflict(deciding.closed_reason(proposal.asked, tx.now))
        proposals.move(
            tx,
            proposal,
            move(proposal.state, ProposalState.WITHDRAWN),
            ended_at=tx.now,
            state_reason=f"Withdrawn by {person.name}.",
        )
        tx.audit(person_actor(person, signed_in), Event.PROPOSAL_WITHDRAWN, _objects(proposal))
        tell_proposal(tx, proposal)
        return proposals.get(tx, proposal_id)


def _objects(proposal: Proposal) -> dict[str, Any]:
    return {"proposal": proposal.id, "run": proposal.run_id}

"""Break-glass: one person has a proposal start; it is told at once, and open until somebody else has reviewed it."""

from __future__ import annotations

from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.actions.deciding import token_digest
from runbooks_app.actions.proposing import tell_proposal
from runbooks_app.core import break_glass
from runbooks_app.core.audit import Event
from runbooks_app.core.break_glass import Mode
from runbooks_app.core.deciding import Verdict
from runbooks_app.core.errors import Refused
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState, move
from runbooks_app.store import break_glass as rows
from runbooks_app.store import proposals
from runbooks_app.store.database import transaction
from runbooks_app.store.records import BreakGlass, Proposal


def use(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    proposal_id: str,
    digest: str,
    reason: str,
    *,
    id_token: str = "",
    without_provider: bool = False,
) -> Proposal:
    """Have the proposal start on this one person's word; the channel is told in the same transaction.

    `id_token` is what the provider signed for just this, and `person` then as it describes them; raises `Unsigned`
    where nothing but it is missing. `without_provider` goes by the session instead, where the settings allow it.
    """
    with transaction(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id, lock=True)
        if service.settings.remediation == "off":
            raise Refused("This service is diagnose-only (RUNBOOKS_REMEDIATION=off): nothing can be executed.")
        to = break_glass.use(
            proposal.asked,
            person,
            digest,
            reason,
            Mode(service.settings.break_glass),
            tx.now,
            signed=bool(id_token),
            without_provider=without_provider,
            auth_time=signed_in.get("auth_time"),
        )
        proposals.decided(
            tx,
            {
                "proposal_id": proposal_id,
                "digest": digest,
                "subject": person.subject,
                "name": person.name,
                "verdict": str(Verdict.APPROVE),
                "reason": reason,
                "signed_in": signed_in,
                "id_token": id_token,
                "break_glass": True,
                "batch": None,  # the glass is broken for one proposal at a time
            },
        )
        rows.insert(tx, proposal_id, person.subject, person.name, reason, signed=bool(id_token))
        if proposal.state is not ProposalState.APPROVED:
            proposals.move(tx, proposal, move(proposal.state, to), decided_at=tx.now)
        tx.defer("remediate", proposal_id=proposal_id, priority=20)
        tx.audit(
            person_actor(person, signed_in),
            Event.BREAK_GLASS_USED,
            {"proposal": proposal_id, "run": proposal.run_id},
            {
                "approvals": list(proposal.asked.approvers),
                "digest": digest,
                "policy": proposal.policy,
                "reason": reason,
                "requester": person.subject in proposal.requesters,
                "signature": token_digest(id_token),
            },
        )
        tell_proposal(tx, proposal)
        return proposals.get(tx, proposal_id)


def review(service: Service, person: Person, signed_in: dict[str, Any], proposal_id: str, text: str) -> BreakGlass:
    """Close it with what somebody who had no part in it has to say."""
    with transaction(service.engine) as tx:
        used = rows.get(tx, proposal_id)
        proposal = proposals.get(tx, proposal_id)
        break_glass.review(proposal.asked, person, text, reviewed=used.reviewed_at is not None)
        rows.close(tx, proposal_id, person.subject, person.name, text)
        tx.audit(
            person_actor(person, signed_in),
            Event.BREAK_GLASS_REVIEWED,
            {"proposal": proposal_id, "run": proposal.run_id},
            {"review": text, "used_by": used.subject},
        )
        tell_proposal(tx, proposal)
        return rows.get(tx, proposal_id)

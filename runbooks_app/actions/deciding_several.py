"""One answer to several proposals of an incident: each is judged and recorded by itself, one signature speaks of all.

A glass is never broken for several at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runbooks_app.actions.context import Service
from runbooks_app.actions.deciding import decide
from runbooks_app.core import deciding
from runbooks_app.core.deciding import Unsigned, Verdict
from runbooks_app.core.digests import MOST_TOGETHER
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound, Problem, Refused, RunbooksError
from runbooks_app.core.people import Person
from runbooks_app.core.writing import LONGEST_REASON, kept
from runbooks_app.store import proposals
from runbooks_app.store.database import reading
from runbooks_app.store.pending import Pending


def decide_several(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    verdict: str,
    shown: Mapping[str, str],
    reason: str,
) -> None:
    """Give the same answer to several proposals of one incident; `shown` has the digest of each by its id.

    Nothing is recorded where it may not be said of one of them. Raises `Unsigned` where one of them wants a signature:
    that of all of them is got first.
    """
    if verdict not in list(Verdict):
        raise InvalidInput("A decision is approve or deny.", problems=(Problem("verdict", "is neither."),))
    if not 0 < len(shown) <= MOST_TOGETHER:
        raise InvalidInput(
            f"Choose one to {MOST_TOGETHER} proposals.", problems=(Problem("chosen", f"{len(shown)} are chosen."),)
        )
    reason = kept("reason", reason, LONGEST_REASON)
    if _wants_signature(service, person, incident_id, Verdict(verdict), shown):
        raise Unsigned("Approving these wants a signed decision: the risk of one of them is high.")
    _record(service, person, signed_in, [(proposal_id, verdict, shown[proposal_id], reason) for proposal_id in shown])


def decide_signed(
    service: Service, person: Person, signed_in: dict[str, Any], said: Sequence[Pending], id_token: str
) -> None:
    """Record what somebody said of several proposals, now that the provider has signed it for all of them."""
    answers = [(pending.proposal_id, pending.verdict, pending.digest, pending.reason) for pending in said]
    _record(service, person, signed_in, answers, id_token)


def _wants_signature(
    service: Service, person: Person, incident_id: int, said: Verdict, shown: Mapping[str, str]
) -> bool:
    """Whether what may be said of all of them has to be signed; raises where it may not be said of one."""
    if said is Verdict.APPROVE and service.settings.remediation == "off":
        raise Refused("This service is diagnose-only (RUNBOOKS_REMEDIATION=off): nothing can be approved.")
    signed = False
    with reading(service.engine) as tx:
        found = {proposal.id: proposal for proposal in proposals.of_incident(tx, incident_id)}
        for proposal_id, digest in shown.items():
            if proposal_id not in found:
                raise NotFound(f"Incident {incident_id} has no proposal {proposal_id[:40]!r}; nothing was decided.")
            proposal = found[proposal_id]
            try:
                deciding.decide(proposal.asked, person, said, digest, tx.now, signed=True)
            except (Conflict, Refused) as error:
                raise type(error)(f"{proposal.title}: {error.message} Nothing was decided.") from error
            signed = signed or (said is Verdict.APPROVE and proposal.asked.wants_signatures)
    return signed


def _record(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    answers: Sequence[tuple[str, str, str, str]],
    id_token: str = "",
) -> None:
    """Decide each in a transaction of its own: one that moved on in the meantime holds up none of the others.

    Raises what the first was refused for where all were; else their page shows what became of each.
    """
    batch = [digest for _, _, digest, _ in answers] if id_token and len(answers) > 1 else []
    refused: list[RunbooksError] = []
    for proposal_id, verdict, digest, reason in answers:
        try:
            decide(service, person, signed_in, proposal_id, verdict, digest, reason, id_token=id_token, batch=batch)
        except (Conflict, Refused) as error:
            refused.append(error)
    if len(refused) == len(answers):
        raise refused[0]

"""Decisions between their form and the provider's answer."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks_app.core.errors import Conflict
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Record

MINUTES = 15
"""How long the provider's answer may take."""


@dataclass(frozen=True)
class Pending(Record):
    """What somebody was about to say, `approve` or `break-glass`, when they were sent to sign in afresh.

    One row for each proposal: those that they answer together share `ref`.
    """

    ref: str
    proposal_id: str
    digest: str
    subject: str
    verdict: str
    reason: str


def keep(tx: Transaction, pending: Pending) -> None:
    """Keep it until the provider has answered."""
    tx.execute(
        """INSERT INTO pending_decisions (ref, proposal_id, digest, subject, verdict, reason)
           VALUES (:ref, :proposal_id, :digest, :subject, :verdict, :reason)""",
        ref=pending.ref,
        proposal_id=pending.proposal_id,
        digest=pending.digest,
        subject=pending.subject,
        verdict=pending.verdict,
        reason=pending.reason,
    )


def take(tx: Transaction, ref: str, subject: str) -> list[Pending]:
    """Use it up: it is this person's, and recent; `Conflict` otherwise."""
    rows = tx.execute(
        """DELETE FROM pending_decisions
           WHERE ref = :ref AND subject = :subject AND begun_at > now() - make_interval(mins => :minutes)
           RETURNING *""",
        ref=ref,
        subject=subject,
        minutes=MINUTES,
    ).all()
    if not rows:
        raise Conflict("This decision was made already, or begun too long ago. Decide anew on the proposal's page.")
    return sorted(map(Pending.of, rows), key=lambda pending: pending.proposal_id)

"""Credentials in the trail: entered before they are minted, and when they end. Never their values."""

from __future__ import annotations

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.diagnosing import Claim
from runbooks_app.core.audit import Event
from runbooks_app.store.database import transaction


def credential_issued(
    service: Service, claim: Claim, connection: str, stage: str, role: str, identity: str, lifetime: int
) -> None:
    """Enter a credential that is about to be minted; `identity` is the login role, `lifetime` in seconds.

    Entered first, so that a worker that dies in between leaves a name to revoke and not a role that nobody knows.
    """
    with transaction(service.engine) as tx:
        tx.execute(
            """INSERT INTO credentials (attempt_id, connection, identity, expires_at)
               VALUES (:attempt, :connection, :identity, now() + make_interval(secs => :lifetime))""",
            attempt=claim.attempt.id,
            connection=connection,
            identity=identity,
            lifetime=lifetime,
        )
        tx.audit(
            worker_actor(claim.attempt.worker),
            Event.CREDENTIAL_ISSUED,
            {"run": claim.run.id, "connection": connection}
            | ({"proposal": claim.attempt.proposal_id} if claim.attempt.proposal_id else {}),
            {"identity": identity, "role": role, "stage": stage, "lifetime": lifetime},
        )


def credential_ended(service: Service, worker: str, connection: str, identity: str, how: str) -> None:
    """Enter that a credential is gone: `revoked` at the end of its stage, or `swept` after a crash."""
    with transaction(service.engine) as tx:
        ended = tx.execute(
            "UPDATE credentials SET ended_at = now() WHERE connection = :connection AND identity = :identity AND ended_at IS NULL",
            connection=connection,
            identity=identity,
        )
        if ended.rowcount:
            tx.audit(
                worker_actor(worker),
                Event.CREDENTIAL_ENDED,
                {"connection": connection},
                {"identity": identity, "how": how},
            )


def left_behind(service: Service) -> list[tuple[str, str]]:
    """Connections and identities of credentials whose attempt has ended without them, or that have expired."""
    with transaction(service.engine) as tx:
        rows = tx.execute(
            """SELECT c.connection, c.identity FROM credentials c JOIN attempts a ON a.id = c.attempt_id
               WHERE c.ended_at IS NULL AND (a.ended_at < now() - interval '10 seconds' OR c.expires_at < now())
               ORDER BY c.id LIMIT 100"""
        )
        return [(row.connection, row.identity) for row in rows]

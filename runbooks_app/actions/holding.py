"""Credentials in the trail: entered before a kernel is given them, and when they end. Never their values."""

from __future__ import annotations

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.diagnosing import Claim
from runbooks_app.core.audit import Event
from runbooks_app.store.database import transaction


def credential_issued(
    service: Service, claim: Claim, connection: str, stage: str, role: str, identity: str, lifetime: int
) -> None:
    """Enter a credential before a kernel is given it; `identity` is the login role, `lifetime` in seconds.

    The attempt it belongs to was entered before it was minted. A worker that dies between minting and this
    leaves a role that the provider's own sweep finds.
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
    """Enter that a credential is gone: `revoked` with its stage, `swept` after a crash; a standing one is `let go`."""
    with transaction(service.engine) as tx:
        ended = tx.execute(
            """UPDATE credentials SET ended_at = now()
               WHERE connection = :connection AND identity = :identity AND ended_at IS NULL""",
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


def held_now(service: Service) -> frozenset[str]:
    """Identities of all credentials that are held by going attempts."""
    with transaction(service.engine) as tx:
        return frozenset(row.identity for row in tx.execute("SELECT identity FROM credentials WHERE ended_at IS NULL"))

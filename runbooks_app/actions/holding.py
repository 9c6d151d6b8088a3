"""Credentials in the trail: entered before a kernel is given them, and when they end. Never their values."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.diagnosing import Claim
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import Conflict
from runbooks_app.store.database import transaction


@dataclass(frozen=True)
class Issued:
    """A credential that was minted for a stage; `identity` is its name, and no secret. `lifetime` is in seconds.

    `role` is what the connections file says that it may do, `scope` what the system that gave it said. `cells` are
    digests of the sources of the cells that open the connection.
    """

    connection: str
    provider: str
    stage: str
    role: str
    scope: str
    identity: str
    lifetime: int
    cells: tuple[str, ...]


def credentials_issued(service: Service, claim: Claim, issued: list[Issued]) -> None:
    """Enter a stage's credentials before a kernel is given them.

    The attempt they belong to was entered before they were minted. A worker that dies between minting and this
    leaves what the provider's own sweep finds, or what expires by itself.
    """
    with transaction(service.engine) as tx:
        for one in issued:
            tx.execute(
                """INSERT INTO credentials (attempt_id, connection, provider, scope, identity, expires_at)
                   VALUES (:attempt, :connection, :provider, :scope, :identity,
                           now() + make_interval(secs => :lifetime))""",
                attempt=claim.attempt.id,
                connection=one.connection,
                provider=one.provider,
                scope=one.scope,
                identity=one.identity,
                lifetime=one.lifetime,
            )
            tx.audit(
                worker_actor(claim.attempt.worker),
                Event.CREDENTIAL_ISSUED,
                _objects(one.connection, claim.run.id, claim.attempt.proposal_id),
                {
                    "identity": one.identity,
                    "provider": one.provider,
                    "role": one.role,
                    "scope": one.scope,
                    "stage": one.stage,
                    "lifetime": one.lifetime,
                    "cells": list(one.cells),
                    "attempt": claim.attempt.number,
                },
            )


def credential_renewed(service: Service, claim: Claim, connection: str, identity: str, lifetime: int) -> None:
    """Enter that a credential was given anew, for `lifetime` seconds from now, before it is used.

    Raises `Conflict` where it has ended: its attempt is over, or was given up.
    """
    with transaction(service.engine) as tx:
        going = tx.execute(
            """UPDATE credentials SET expires_at = greatest(expires_at, now() + make_interval(secs => :lifetime))
               WHERE connection = :connection AND identity = :identity AND ended_at IS NULL""",
            connection=connection,
            identity=identity,
            lifetime=lifetime,
        )
        if not going.rowcount:
            raise Conflict(f"The credential {identity} of {connection} has ended; it is not renewed.")
        tx.audit(
            worker_actor(claim.attempt.worker),
            Event.CREDENTIAL_RENEWED,
            _objects(connection, claim.run.id, claim.attempt.proposal_id),
            {"identity": identity, "lifetime": lifetime},
        )


def credential_ended(service: Service, worker: str, connection: str, identity: str, how: str) -> None:
    """Enter that a credential is gone.

    `how`: `revoked` with its stage, `swept` after a crash, `expired` where nobody could end it sooner. One that only
    time ends is `let go` with its stage.
    """
    with transaction(service.engine) as tx:
        ended = tx.execute(
            """UPDATE credentials c SET ended_at = now() FROM attempts a
               WHERE a.id = c.attempt_id AND connection = :connection AND identity = :identity AND c.ended_at IS NULL
               RETURNING a.run_id, a.proposal_id""",
            connection=connection,
            identity=identity,
        ).first()
        if ended:
            tx.audit(
                worker_actor(worker),
                Event.CREDENTIAL_ENDED,
                _objects(connection, ended.run_id, ended.proposal_id),
                {"identity": identity, "how": how},
            )


@dataclass(frozen=True)
class Left:
    """A credential whose attempt has ended without it, or that has `expired`."""

    connection: str
    provider: str
    identity: str
    expired: bool


def left_behind(service: Service) -> list[Left]:
    """Those that a sweep has to end, expired ones first: they may be entered even if nobody can end them."""
    with transaction(service.engine) as tx:
        rows = tx.execute(
            """SELECT c.connection, c.provider, c.identity, c.expires_at < now() AS expired
               FROM credentials c JOIN attempts a ON a.id = c.attempt_id
               WHERE c.ended_at IS NULL AND (a.ended_at < now() - interval '10 seconds' OR c.expires_at < now())
               ORDER BY expired DESC, c.id LIMIT 100"""
        )
        return [Left(row.connection, row.provider, row.identity, row.expired) for row in rows]


def held_now(service: Service) -> frozenset[str]:
    """Identities of all credentials that are held by going attempts."""
    with transaction(service.engine) as tx:
        return frozenset(row.identity for row in tx.execute("SELECT identity FROM credentials WHERE ended_at IS NULL"))


def _objects(connection: str, run: str, proposal: str | None) -> dict[str, str]:
    return {"run": run, "connection": connection} | ({"proposal": proposal} if proposal else {})

"""Credentials in the trail: entered before a kernel is given them, and when they end. Never their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.actions.diagnosing import Claim
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import Conflict
from runbooks_app.store.database import Transaction, transaction

TEST = "connection test"
"""What a credential is for that no run asked for: proving what the connection's diagnoses may do."""


@dataclass(frozen=True)
class Issued:
    """A credential that was minted for a stage; `identity` is its name, and no secret. `lifetime` is in seconds.

    `role` is what the connections file says that it may do, `scope` what the system that gave it said; `note` what is
    unusual about it, if anything. `cells` are digests of the sources of the cells that open the connection.
    """

    connection: str
    provider: str
    stage: str
    role: str
    scope: str
    identity: str
    lifetime: int
    note: str
    cells: tuple[str, ...]


def credentials_issued(service: Service, claim: Claim, issued: list[Issued]) -> None:
    """Enter a stage's credentials before a kernel is given them.

    The attempt they belong to was entered before they were minted. A worker that dies between minting and this
    leaves what the provider's own sweep finds, or what expires by itself.
    """
    with transaction(service.engine) as tx:
        for one in issued:
            about = {"cells": list(one.cells), "attempt": claim.attempt.number}
            objects = _objects(one.connection, claim.run.id, claim.attempt.proposal_id)
            _enter(tx, claim.attempt.worker, one, claim.attempt.id, objects, about)


def credential_issued_to_test(service: Service, worker: str, one: Issued) -> None:
    """Enter a credential with which a connection is tested, before it is used. It belongs to no run."""
    with transaction(service.engine) as tx:
        _enter(tx, worker, one, None, _objects(one.connection), {"purpose": TEST})


def _enter(
    tx: Transaction, worker: str, one: Issued, attempt_id: int | None, objects: dict[str, str], about: dict[str, Any]
) -> None:
    tx.execute(
        """INSERT INTO credentials (attempt_id, connection, provider, scope, identity, expires_at)
           VALUES (:attempt, :connection, :provider, :scope, :identity, now() + make_interval(secs => :lifetime))""",
        attempt=attempt_id,
        connection=one.connection,
        provider=one.provider,
        scope=one.scope,
        identity=one.identity,
        lifetime=one.lifetime,
    )
    told = {name: getattr(one, name) for name in ("identity", "provider", "role", "scope", "stage", "lifetime")}
    if one.note:
        told["note"] = one.note
    tx.audit(worker_actor(worker), Event.CREDENTIAL_ISSUED, objects, {**told, **about})


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
            """UPDATE credentials c SET ended_at = now()
               WHERE connection = :connection AND identity = :identity AND ended_at IS NULL
               RETURNING (SELECT run_id FROM attempts a WHERE a.id = c.attempt_id) AS run_id,
                         (SELECT proposal_id FROM attempts a WHERE a.id = c.attempt_id) AS proposal_id""",
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
    """A credential whose attempt has ended without it, or whose time is up: also one that belongs to none.

    It has `expired` if both are so: while an attempt goes on, what has lapsed may be followed by another.
    """

    connection: str
    provider: str
    identity: str
    expired: bool


def left_behind(service: Service) -> list[Left]:
    """Those that a sweep has to end, expired ones first: they may be entered even if nobody can end them."""
    with transaction(service.engine) as tx:
        rows = tx.execute(
            """SELECT c.connection, c.provider, c.identity,
                      c.expires_at < now() AND (a.id IS NULL OR a.ended_at IS NOT NULL) AS expired
               FROM credentials c LEFT JOIN attempts a ON a.id = c.attempt_id
               WHERE c.ended_at IS NULL AND (a.ended_at < now() - interval '10 seconds' OR c.expires_at < now())
               ORDER BY expired DESC, c.id LIMIT 100"""
        )
        return [Left(row.connection, row.provider, row.identity, row.expired) for row in rows]


def held_now(service: Service) -> frozenset[str]:
    """Identities of all credentials that are held by going attempts and tests."""
    with transaction(service.engine) as tx:
        return frozenset(row.identity for row in tx.execute("SELECT identity FROM credentials WHERE ended_at IS NULL"))


def _objects(connection: str, run: str | None = None, proposal: str | None = None) -> dict[str, str]:
    named = {"run": run, "connection": connection, "proposal": proposal}
    return {name: value for name, value in named.items() if value}

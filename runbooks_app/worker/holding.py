"""Credentials for one stage: minted when it begins, handed to its kernel, revoked when it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runbooks_app.actions.diagnosing import Claim
from runbooks_app.actions.holding import credential_ended, credential_issued, held_now, left_behind
from runbooks_app.core.errors import Misconfigured, RunbooksError
from runbooks_app.credentials import Purpose, provider_for
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

SPARE = 30
"""Seconds that a credential outlives its stage's time limit: for the kernel's start and end."""


@contextmanager
def credentials(
    worker: Worker,
    claim: Claim,
    timeout: float,
    *,
    writing: frozenset[str] = frozenset(),
    approvers: tuple[str, ...] = (),
) -> Iterator[dict[str, dict[str, Any]]]:
    """What the kernel is configured with, by connection; those in `writing` get their remediation role.

    They expire soon after the stage's `timeout` (seconds), should nobody be left to revoke them.

    Raises `Unavailable` or `Misconfigured`, naming the connection, where one cannot be had; what was minted
    by then is revoked.
    """
    granted: dict[str, dict[str, Any]] = {}
    minted: list[tuple[str, str, str]] = []
    try:
        for name, kind in sorted(claim.runbook.connections_used(claim.run.parameters).items()):
            connection = worker.service.connections.get(name)
            if connection is None or connection.kind != kind:
                raise Misconfigured(f"{name} is no {kind} connection any more; add it to the connections file.")
            stage = "remediate" if name in writing else "diagnose"
            source = connection.remediate if stage == "remediate" else connection.diagnose
            if kind == "http":
                granted[name] = {"kind": "http", "url": connection.url}
                continue
            if source is None:
                raise Misconfigured(
                    f"{name} has no credential to {stage}; add [{name}.{stage}] to the connections file."
                )
            lifetime = min(worker.service.settings.credential_lifetime, int(timeout) + SPARE)
            purpose = Purpose(claim.run.id, stage, lifetime, claim.attempt.proposal_id, approvers)
            credential = provider_for(source).mint(connection, purpose)
            minted.append((name, stage, credential.identity))
            role = connection.remediate_role if stage == "remediate" else connection.diagnose_role
            credential_issued(worker.service, claim, name, stage, role, credential.identity, lifetime)
            granted[name] = {
                "kind": "postgres",
                "stage": stage,
                "host": credential.host,
                "port": credential.port,
                "database": credential.database,
                "user": credential.identity,
                "password": credential.secret,
            }
        yield granted
    finally:
        for name, stage, identity in minted:
            _revoke(worker, name, stage, identity, "revoked")


def sweep(worker: Worker) -> None:
    """Revoke what a crash left behind: known ones by name, unknown ones by asking each provider."""
    for name, identity in left_behind(worker.service):
        _revoke(worker, name, "diagnose", identity, "swept")
    live = held_now(worker.service)
    for connection in worker.service.connections.values():
        if connection.diagnose is None:
            continue
        try:
            for identity in provider_for(connection.diagnose).sweep(connection, live):
                log.warning("Role %s on %s was left behind by a crash; it is gone now.", identity, connection.name)
        except RunbooksError as error:
            log.warning("Roles left on %s could not be looked for: %s", connection.name, error)


def _revoke(worker: Worker, name: str, stage: str, identity: str, how: str) -> None:
    connection = worker.service.connections.get(name)
    source = None
    if connection is not None:
        source = connection.remediate if stage == "remediate" else connection.diagnose or connection.remediate
    if connection is None or source is None:
        log.error(
            "Credential %s of %s cannot be revoked: the connection is gone from the connections file.",
            identity,
            name,
        )
        return
    try:
        provider_for(source).revoke(connection, identity)
        credential_ended(worker.service, worker.name, name, identity, how)
    except RunbooksError as error:
        log.error("Credential %s of %s is not revoked yet: %s The sweep tries again.", identity, name, error)  # noqa: TRY400 -- the message says it all

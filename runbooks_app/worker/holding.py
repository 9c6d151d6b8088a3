"""Credentials for one stage: minted when it begins, revoked when it ends.

A kernel is handed the login of a database. The credential of an HTTP connection goes to the run's gateway alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from runbooks_app.actions.diagnosing import Claim
from runbooks_app.actions.holding import credential_ended, credential_issued, held_now, left_behind
from runbooks_app.connections import Connection, CredentialSource
from runbooks_app.core.errors import Misconfigured, RunbooksError
from runbooks_app.credentials import STANDING, Credential, Purpose, provider_for
from runbooks_app.kernels.gateway import Route
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

SPARE = 30
"""Seconds that a credential outlives its stage's time limit: for the kernel's start and end."""


@dataclass(frozen=True)
class Granted:
    """By connection: what the kernel is configured with, and how its gateway reaches the system."""

    connections: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    routes: dict[str, Route] = field(default_factory=dict)


@contextmanager
def credentials(
    worker: Worker,
    claim: Claim,
    timeout: float,
    *,
    writing: frozenset[str] = frozenset(),
    approvers: tuple[str, ...] = (),
    aside: Executor | None = None,
) -> Iterator[Granted]:
    """What the run may reach; the connections in `writing` as their remediation role.

    They expire soon after the stage's `timeout` (seconds), should nobody be left to revoke them. They are revoked at
    the stage's end, by `aside` where something waits for that end.

    Raises `Unavailable` or `Misconfigured`, naming the connection, where one cannot be had; what was minted
    by then is revoked.
    """
    granted = Granted()
    minted: list[tuple[str, CredentialSource, str]] = []
    try:
        for name, kind in sorted(claim.runbook.connections_used(claim.run.parameters).items()):
            connection = worker.service.connections.get(name)
            if connection is None or connection.kind != kind:
                raise Misconfigured(f"{name} is no {kind} connection any more; add it to the connections file.")
            # An HTTP connection that nothing may change is read in a remediation, too.
            writes = name in writing and (kind != "http" or connection.remediates)
            stage = "remediate" if writes else "diagnose"
            source = connection.remediate if writes else connection.diagnose
            if source is None and kind == "http":
                _grant(granted, connection, stage, None)
                continue
            if source is None:
                raise Misconfigured(
                    f"{name} has no credential to {stage}; add [{name}.{stage}] to the connections file."
                )
            lifetime = min(worker.service.settings.credential_lifetime, int(timeout) + SPARE)
            purpose = Purpose(claim.run.id, stage, lifetime, claim.attempt.proposal_id, approvers)
            credential = provider_for(source).mint(connection, purpose)
            minted.append((name, source, credential.identity))
            role = connection.remediate_role if writes else connection.diagnose_role
            credential_issued(worker.service, claim, name, stage, role, credential.identity, lifetime)
            _grant(granted, connection, stage, credential)
        yield granted
    finally:
        for name, source, identity in minted:
            if aside is None:
                _revoke(worker, name, identity, "revoked", source)
            else:
                aside.submit(_revoke, worker, name, identity, "revoked", source)


def _grant(granted: Granted, connection: Connection, stage: str, credential: Credential | None) -> None:
    """Add a connection to what the run may reach. Where it is reached the gateway tells, once it is open."""
    name = connection.name
    if connection.kind == "http":
        parts = urlsplit(connection.url)
        tls = parts.scheme == "https"
        granted.connections[name] = {"kind": "http"}
        granted.routes[name] = Route(
            name,
            "http",
            parts.hostname or "",
            parts.port or (443 if tls else 80),
            stage,
            tls=tls,
            base=parts.path.rstrip("/"),
            headers=credential.headers if credential else {},
            rules=connection.remediate_rules if stage == "remediate" else connection.diagnose_rules,
            secrets=credential.secrets if credential else (),
        )
    elif credential is not None:
        granted.connections[name] = {
            "kind": "postgres",
            "stage": stage,
            "host": credential.host,
            "port": credential.port,
            "database": credential.database,
            "user": credential.identity,
            "password": credential.secret,
        }
        granted.routes[name] = Route(name, "postgres", credential.host, credential.port, stage)


def sweep(worker: Worker) -> None:
    """Revoke what a crash left behind: known ones by name, unknown ones by asking each provider."""
    for name, identity in left_behind(worker.service):
        _revoke(worker, name, identity, "swept")
    for connection in worker.service.connections.values():
        for source in _makers(connection):
            # Read for each anew: a database that does not answer takes long, and what was minted since then is live.
            live = held_now(worker.service)
            try:
                for identity in provider_for(source).sweep(connection, live):
                    log.warning("Role %s on %s was left behind by a crash; it is gone now.", identity, connection.name)
            except RunbooksError as error:
                log.warning("Roles left on %s could not be looked for: %s", connection.name, error)


def _makers(connection: Connection) -> list[CredentialSource]:
    """The connection's sources, one for each that makes credentials as somebody else: each finds its own alone."""
    sources = [source for source in (connection.diagnose, connection.remediate) if source is not None]
    return list({(source.provider, source.options.get("minter")): source for source in reversed(sources)}.values())[
        ::-1
    ]


def _revoke(worker: Worker, name: str, identity: str, how: str, source: CredentialSource | None = None) -> None:
    """Have `source` revoke it, or whichever of the connection's can, where it is not known who made it."""
    connection = worker.service.connections.get(name)
    sources = [source] if source else _makers(connection) if connection else []
    if connection is None or not sources:
        log.error(
            "Credential %s of %s cannot be revoked: the connection is gone from the connections file.",
            identity,
            name,
        )
        return
    for maker in sources:
        try:
            provider_for(maker).revoke(connection, identity)
            credential_ended(
                worker.service, worker.name, name, identity, "let go" if maker.provider in STANDING else how
            )
        except RunbooksError as error:
            log.error("Credential %s of %s is not revoked yet: %s The sweep tries again.", identity, name, error)  # noqa: TRY400 -- the message says it all
        else:
            return

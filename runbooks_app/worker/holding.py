"""Credentials for one stage: minted when it begins, revoked when it ends.

A kernel is handed the login of a database. The credential of an HTTP connection goes to the run's gateway alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from runbooks_app.actions.diagnosing import Claim
from runbooks_app.actions.holding import (
    Issued,
    Left,
    credential_ended,
    credential_renewed,
    credentials_issued,
    held_now,
    left_behind,
)
from runbooks_app.connections import Connection, CredentialSource
from runbooks_app.core.digests import parameters_digest, source_digest
from runbooks_app.core.errors import Misconfigured, RunbooksError
from runbooks_app.credentials import STANDING, Credential, Provider, Purpose, provider_for, trust
from runbooks_app.kernels.gateway import Route
from runbooks_app.store.records import Proposal
from runbooks_app.worker.context import Worker

log = logging.getLogger(__name__)

SPARE = 30
"""Seconds that a credential outlives its stage's time limit: for the kernel's start and end."""


@dataclass(frozen=True)
class Granted:
    """By connection: what the kernel is configured with, and how its gateway reaches the system."""

    connections: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    routes: dict[str, Route] = field(default_factory=dict)


@dataclass(frozen=True)
class _Wanted:
    """A connection as one stage of its reaches it; an HTTP connection may do without a credential."""

    connection: Connection
    stage: str
    source: CredentialSource | None


@dataclass(frozen=True)
class _Held:
    """A credential that was minted, for which cells (digests of their sources), and who takes it back."""

    wanted: _Wanted
    provider: Provider
    credential: Credential
    cells: tuple[str, ...]


@contextmanager
def credentials(
    worker: Worker,
    claim: Claim,
    timeout: float,
    *,
    approved: Proposal | None = None,
    approvers: tuple[str, ...] = (),
    aside: Executor | None = None,
) -> Iterator[Granted]:
    """What the run may reach; what an `approved` proposal opens as its remediation role, with its `approvers` told.

    They expire soon after the stage's `timeout` (seconds), should nobody be left to revoke them. They are revoked at
    the stage's end, by `aside` where something waits for that end.

    Raises `Unavailable` or `Misconfigured`, naming the connection, where one cannot be had; what was minted
    by then is revoked.
    """
    wanted = _wanted(worker, claim, approved)
    held: list[_Held] = []
    try:
        _mint(worker, claim, wanted, _purpose(worker, claim, timeout, approvers, approved), held)
        credentials = {one.wanted.connection.name: one.credential for one in held}
        granted = Granted()
        for each in wanted:
            _grant(granted, each, credentials.get(each.connection.name))
        yield granted
    finally:
        for one in held:
            if aside is None:
                _give_back(worker, one)
            else:
                aside.submit(_give_back, worker, one)


def _wanted(worker: Worker, claim: Claim, approved: Proposal | None) -> list[_Wanted]:
    """The connections of the run, each with the credential that this stage has for it."""
    found = []
    writing = {held["connection"] for held in approved.connections} if approved else set()
    for name, kind in sorted(claim.runbook.connections_used(claim.run.parameters).items()):
        connection = worker.service.connections.get(name)
        if connection is None or connection.kind != kind:
            raise Misconfigured(f"{name} is no {kind} connection any more; add it to the connections file.")
        # An HTTP connection that nothing may change is read in a remediation, too.
        writes = name in writing and (kind != "http" or connection.remediates)
        stage = "remediate" if writes else "diagnose"
        source = connection.remediate if writes else connection.diagnose
        if source is None and kind != "http":
            raise Misconfigured(f"{name} has no credential to {stage}; add [{name}.{stage}] to the connections file.")
        found.append(_Wanted(connection, stage, source))
    return found


def _purpose(
    worker: Worker, claim: Claim, timeout: float, approvers: tuple[str, ...], approved: Proposal | None
) -> Purpose:
    """What this attempt's credentials are for, whichever connection they open."""
    settings = worker.service.settings
    return Purpose(
        run_id=claim.run.id,
        stage="diagnose",
        lifetime=min(settings.credential_lifetime, int(timeout) + SPARE),
        proposal_id=claim.attempt.proposal_id,
        approvers=approvers,
        runbook_id=claim.runbook.id,
        runbook_digest=claim.run.revision,
        params_digest=parameters_digest(claim.run.parameters),
        environment=settings.environment,
        requesters=tuple(approved.requesters if approved else claim.run.requesters),
        proposal_digest=approved.digest if approved else "",
    )


def _mint(worker: Worker, claim: Claim, wanted: list[_Wanted], purpose: Purpose, held: list[_Held]) -> None:
    """Mint what is wanted, all at once: a kernel waits for it. Into `held` goes each as soon as it is there."""

    def mint(one: _Wanted, source: CredentialSource) -> None:
        provider = provider_for(source)
        name = one.connection.name
        told = replace(purpose, stage=one.stage, cells=_cells(claim, one.connection))
        its = replace(
            told,
            identity=partial(worker.issuer.token, purpose=told) if worker.issuer else None,
            renewed=partial(credential_renewed, worker.service, claim, name),
        )
        held.append(_Held(one, provider, provider.mint(one.connection, its), its.cells))

    minting = [(one, one.source) for one in wanted if one.source]
    try:
        if len(minting) == 1:
            mint(*minting[0])
        elif minting:
            with ThreadPoolExecutor(len(minting), thread_name_prefix="minting") as threads:
                begun = [threads.submit(mint, *one) for one in minting]
            for one in begun:
                one.result()
    finally:
        # Also those that are given back at once, since another one was refused.
        if held:
            issued = [
                issued_of(one.wanted.connection, one.wanted.stage, one.credential, purpose.lifetime, one.cells)
                for one in held
            ]
            credentials_issued(worker.service, claim, sorted(issued, key=lambda one: one.connection))


def issued_of(
    connection: Connection, stage: str, credential: Credential, lifetime: int, cells: tuple[str, ...] = ()
) -> Issued:
    """A credential as the trail tells of it; it was asked for `lifetime` seconds."""
    remediates = stage == "remediate"
    source = connection.remediate if remediates else connection.diagnose
    # What lapses later than was asked for is told as that; the clocks of two machines may differ.
    left = ceil((credential.expires_at - datetime.now(UTC)).total_seconds()) if credential.expires_at else 0
    return Issued(
        connection=connection.name,
        provider=source.provider if source else "",
        stage=stage,
        role=connection.remediate_role if remediates else connection.diagnose_role,
        scope=credential.scope,
        identity=credential.identity,
        lifetime=max(lifetime, left),
        note=credential.note,
        cells=cells,
    )


def _cells(claim: Claim, connection: Connection) -> tuple[str, ...]:
    """Digests of the cells that open the connection by its name; of all, where a cell cannot be told."""
    opening = [
        cell
        for cell in claim.cells
        if any(opened.resolve(claim.run.parameters) in ("", connection.name) for opened in cell.opens)
    ]
    return tuple(source_digest(cell.source) for cell in opening or claim.cells)


def _grant(granted: Granted, wanted: _Wanted, credential: Credential | None) -> None:
    """Add a connection to what the run may reach. Where it is reached the gateway tells, once it is open."""
    connection, stage = wanted.connection, wanted.stage
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
            authorize=credential.authorize if credential else None,
            signs_body=credential.signs_body if credential else False,
            rules=connection.remediate_rules if stage == "remediate" else connection.diagnose_rules,
            secrets=credential.secrets if credential else (),
            trusted=trust(name, connection.ca_file) if connection.ca_file else None,
        )
    elif credential is not None:
        granted.connections[name] = {
            "kind": "postgres",
            "stage": stage,
            "host": connection.host,
            "port": connection.port,
            "database": connection.database,
            "user": credential.identity,
            "password": credential.secret,
        }
        granted.routes[name] = Route(name, "postgres", connection.host, connection.port, stage)


def sweep(worker: Worker) -> None:
    """Revoke what a crash left behind: known ones by name, unknown ones by asking each provider."""
    for left in left_behind(worker.service):
        _end(worker, left)
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


def _give_back(worker: Worker, held: _Held) -> None:
    """End a credential with its stage; one that nothing ends is let go of."""
    connection, identity = held.wanted.connection, held.credential.identity
    try:
        gone = held.provider.revoke(connection, identity)
    except RunbooksError as error:
        _not_yet(identity, connection.name, error)
    else:
        credential_ended(worker.service, worker.name, connection.name, identity, "revoked" if gone else "let go")


def _end(worker: Worker, left: Left) -> None:
    """End what was left behind, by whichever of the connection's providers can; else once it has expired."""
    connection = worker.service.connections.get(left.connection)
    sources = [
        source for source in (_makers(connection) if connection else []) if left.provider in ("", source.provider)
    ]
    if connection is None or not sources:
        log.error(
            "Credential %s of %s cannot be revoked: its connection or provider is gone from the connections file.",
            left.identity,
            left.connection,
        )
        return
    for source in sources:
        try:
            gone = provider_for(source).revoke(connection, left.identity)
        except RunbooksError as error:
            _not_yet(left.identity, left.connection, error)
            continue
        how = "swept" if gone else "let go" if source.provider in STANDING else "expired" if left.expired else ""
        if how:
            credential_ended(worker.service, worker.name, left.connection, left.identity, how)
            return


def _not_yet(identity: str, connection: str, error: RunbooksError) -> None:
    log.error("Credential %s of %s is not revoked yet: %s The sweep tries again.", identity, connection, error)

"""Testing connections: a credential is minted as for a diagnosis, held against the system, and taken back.

Done by a worker for each connection once an hour, and by `runbooks connections test`. Nothing waits for it: it has a
place of its own among a worker's upkeep, takes one connection every few seconds, and asks it for seconds at most.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from runbooks_app.actions.connections import configured, next_due, record
from runbooks_app.actions.context import Service
from runbooks_app.actions.holding import credential_ended, credential_issued_to_test
from runbooks_app.connections import Connection, CredentialSource
from runbooks_app.core.connection_tests import Outcome, Standing
from runbooks_app.core.digests import parameters_digest
from runbooks_app.core.errors import DatabaseAway, RunbooksError, Unavailable
from runbooks_app.core.wording import one_line
from runbooks_app.credentials import Purpose, provider_for, trust
from runbooks_app.credentials.issuer import Issuer
from runbooks_app.credentials.proof import Held, Proof, prove
from runbooks_app.worker.holding import issued_of

log = logging.getLogger(__name__)

MOST_SAID = 1000
"""Characters of what went wrong."""
LIFETIME = 40
"""Seconds that a credential for a test lives, should nobody be left to revoke it."""
REACHED_WITHIN = 5.0
"""Seconds to reach a system that speaks HTTP."""
NOBODYS = "00000000-0000-0000-0000-000000000000"
"""The runbook that a test's run token names where none uses the connection."""


def prove_next(service: Service, worker: str, issuer: Issuer | None) -> None:
    """Test the connection whose turn it is, if there is one."""
    connection = next_due(service)
    if connection is None:
        return
    outcome = prove_now(service, worker, connection, issuer)
    if outcome.standing is Standing.WRITES:
        log.error("%s: %s", connection.name, outcome.says)
    elif outcome.standing is Standing.AWAY:
        log.warning("%s cannot be diagnosed: %s", connection.name, outcome.says)


def prove_now(service: Service, worker: str, connection: Connection, issuer: Issuer | None) -> Outcome:
    """Test one connection, and keep what came of it."""
    of = configured(connection)
    try:
        proof = _proof(service, worker, connection, issuer)
    except DatabaseAway:
        raise  # the service's own: nothing can be said of the connection
    except RunbooksError as error:
        outcome = Outcome(of, reachable=False, holds=None, says=one_line(str(error), MOST_SAID))
    else:
        outcome = Outcome(of, reachable=True, holds=proof.holds, says=proof.says, tried=proof.tried)
    record(service, worker, connection, outcome)
    return outcome


def _proof(service: Service, worker: str, connection: Connection, issuer: Issuer | None) -> Proof:
    if connection.kind == "http":
        _reach(connection)
    if connection.diagnose is None:
        return prove(connection, None)
    with _held(service, worker, connection, connection.diagnose, issuer) as held:
        return prove(connection, held)


@contextmanager
def _held(
    service: Service, worker: str, connection: Connection, source: CredentialSource, issuer: Issuer | None
) -> Iterator[Held]:
    """A credential as a diagnosis of this connection gets it, entered as such, and ended with the test."""
    purpose = _purpose(service, connection)
    if issuer is not None:
        purpose = replace(purpose, identity=partial(issuer.token, purpose=purpose))
    provider = provider_for(source)
    credential = provider.mint(connection, purpose)
    try:
        credential_issued_to_test(service, worker, issued_of(connection, "diagnose", credential, LIFETIME))
        yield Held(source, provider, credential)
    finally:
        try:
            gone = provider.revoke(connection, credential.identity)
        except RunbooksError as error:
            told = "Credential %s of %s is not revoked yet: %s The sweep tries again."
            log.error(told, credential.identity, connection.name, error)  # noqa: TRY400 -- the message says it all
        else:
            credential_ended(service, worker, connection.name, credential.identity, "revoked" if gone else "let go")


def _purpose(service: Service, connection: Connection) -> Purpose:
    """As of a diagnosis by a runbook that uses this connection: who trusts run tokens may pin runbooks one by one."""
    users = [
        runbook
        for _, runbook in sorted(service.library.runbooks().items())
        if connection.name in runbook.connections
        or any(parameter.type.connection == connection.kind for parameter in runbook.parameters)
    ]
    return Purpose(
        run_id="connection-test",
        stage="diagnose",
        lifetime=LIFETIME,
        runbook_id=users[0].id if users else NOBODYS,
        runbook_digest=users[0].digest if users else configured(connection),
        params_digest=parameters_digest({}),
        environment=service.settings.environment,
    )


def _reach(connection: Connection) -> None:
    """Raise `Unavailable` where nobody answers there, or not as whom the certificate must name."""
    parts = urlsplit(connection.url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    place = f"{connection.name} ({connection.url})"
    try:
        with socket.create_connection((host, parts.port or (443 if tls else 80)), REACHED_WITHIN) as reached:
            if tls:
                trust(place, connection.ca_file).wrap_socket(reached, server_hostname=host).close()
    except OSError as error:  # of TLS as well
        why = getattr(error, "verify_message", "") or error.strerror or str(error)
        mend = "Check that it is up, its address, and its certificate."
        raise Unavailable(f"{place} could not be reached: {why}. {mend}") from None

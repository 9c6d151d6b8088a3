"""The run identity put together: the issuer of a worker, and whether the world sees its keys."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from runbooks_app.asking import Answer, ask
from runbooks_app.connections import Connection
from runbooks_app.core.errors import InvalidInput, Misconfigured, Unavailable
from runbooks_app.core.run_identity import EARLIER, thumbprint
from runbooks_app.credentials.issuer import Issuer
from runbooks_app.credentials.key_folder import KeyFolder
from runbooks_app.kernels.sandbox.lockdown import readable
from runbooks_app.settings import Settings
from runbooks_app.store import identity_keys
from runbooks_app.store.database import connect, reading

WANTED_BY = frozenset({"token-exchange", "vault", "kubernetes", "aws"})
"""Providers that ask for run tokens."""


def issuer(settings: Settings) -> Issuer | None:
    """The issuer of these settings, for workers alone; None where there is no run identity.

    Raises `Misconfigured` for a folder that kernels may read, for then whoever writes a runbook has the keys.
    """
    if settings.identity_keys is None:
        return None
    folder = settings.path(settings.identity_keys).resolve()
    for place in readable([settings.path(settings.library)]):
        if folder.is_relative_to(place.resolve()):
            raise Misconfigured(
                f"RUNBOOKS_IDENTITY_KEYS: {folder} is in {place}, which every kernel may read. Name another folder."
            )
    return Issuer(settings.issuer, KeyFolder(folder), settings.identity_jwks_uri)


def examine(settings: Settings, connections: Mapping[str, Connection]) -> str:
    """Whether the world can verify run tokens, in words. Raises `Misconfigured` or `Unavailable` where it cannot."""
    if settings.identity_keys is None:
        wanting = [name for name, connection in connections.items() if _wants(connection)]
        if wanting:
            raise Misconfigured(
                f"{', '.join(wanting)} want run tokens, and there is no run identity. Name a folder for its keys by "
                "RUNBOOKS_IDENTITY_KEYS, and start a worker."
            )
        return "off: no connection wants run tokens"
    found = issuer(settings)
    if found is not None and found.folder.path.exists():  # on a machine of workers
        with found.folder.locked():
            found.folder.keys()
    published = _published(settings)
    document = _fetched(f"{settings.issuer}/.well-known/openid-configuration").object()
    if document.get("issuer") != settings.issuer or document.get("jwks_uri") != settings.jwks_uri:
        raise Misconfigured(
            f"What is served at {settings.issuer} names issuer {document.get('issuer')!r} and keys at "
            f"{document.get('jwks_uri')!r}. Serve there what `runbooks identity discovery` prints."
        )
    answer = _fetched(settings.jwks_uri)
    served = frozenset(_thumbprints(answer.object().get("keys")))
    if foreign := served - published:
        raise Misconfigured(
            f"{settings.jwks_uri} serves keys that are not ours: {', '.join(sorted(foreign))}. Whoever has them signs "
            "tokens that others believe. Take them away there, and find out who put them there."
        )
    if missing := published - served:
        raise Misconfigured(
            f"{settings.jwks_uri} lacks {', '.join(sorted(missing))}. Put there what `runbooks identity jwks` prints."
        )
    if answer.ahead is not None and abs(answer.ahead) > EARLIER:
        raise Misconfigured(
            f"The clock of {settings.issuer} differs from this machine's by {abs(answer.ahead):.0f} s. Tokens are good "
            "for five minutes by the clock of who verifies them: set all clocks by NTP."
        )
    return f"{len(served)} keys are served at {settings.jwks_uri}"


def _wants(connection: Connection) -> bool:
    sources = (connection.diagnose, connection.remediate)
    return any(source is not None and source.provider in WANTED_BY for source in sources)


def _published(settings: Settings) -> frozenset[str]:
    """Thumbprints of the keys that are published, by the database whose clock must be ours."""
    engine = connect(settings.database_url, settings.secret("database_password_file"), pool_size=1)
    try:
        with reading(engine) as tx:
            apart = abs(tx.now.timestamp() - time.time())
            found = frozenset(key["kid"] for key in identity_keys.served(tx))
    finally:
        engine.dispose()
    if apart > EARLIER:
        raise Misconfigured(f"The database's clock differs from this machine's by {apart:.0f} s: set both by NTP.")
    if not found:
        raise Misconfigured("No key is published yet. Start a worker: it makes the first one.")
    return found


def _fetched(url: str) -> Answer:
    answer = ask("The run identity", "GET", url)
    if answer.status != HTTPStatus.OK:
        raise Unavailable(f"{url} answers {answer.status}: nobody can verify run tokens. Is it led to a web process?")
    return answer


def _thumbprints(keys: object) -> Iterable[str]:
    for key in keys if isinstance(keys, list) else ():
        try:
            yield thumbprint(key)
        except InvalidInput:
            yield "one that is no RSA key"

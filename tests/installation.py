"""An installation with a run identity: the real web app over HTTP, a real database, and workers' issuers.

What verifies a token here knows nothing but the issuer's address, as a cloud would.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from service_database import Database
from werkzeug.serving import make_server

from runbooks_app.actions.context import Service
from runbooks_app.core.audit import Entry
from runbooks_app.core.run_identity import Purpose
from runbooks_app.credentials.issuer import Issuer
from runbooks_app.credentials.key_folder import KeyFolder
from runbooks_app.library import Library
from runbooks_app.main.embedded.ports import free_port
from runbooks_app.settings import Settings
from runbooks_app.store import audit
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.store.database import reading
from runbooks_app.web.app import create_app
from runbooks_app.worker.identity import look_after

RUNBOOK = "7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b57"
DIAGNOSE = Purpose(
    "run-1",
    "diagnose",
    600,
    runbook_id=RUNBOOK,
    runbook_digest="0" * 64,
    params_digest="1" * 64,
    environment="production",
    requesters=("https://idp#ana",),
)
REMEDIATE = Purpose(
    "run-1",
    "remediate",
    600,
    proposal_id="proposal-1",
    approvers=("https://idp#ben",),
    runbook_id=RUNBOOK,
    runbook_digest="0" * 64,
    params_digest="1" * 64,
    environment="production",
    requesters=("https://idp#ana",),
    proposal_digest="2" * 64,
)


WORLD = httpx.Client(trust_env=False)
"""Others, out there. One for all: each client of its own reads all certificates of the machine."""


def discovered(issuer: str) -> list[dict[str, Any]]:
    """The keys of an issuer, as its discovery document leads to them."""
    document = WORLD.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
    assert document["issuer"] == issuer
    keys: list[dict[str, Any]] = WORLD.get(document["jwks_uri"]).raise_for_status().json()["keys"]
    return keys


def verified(token: str, issuer: str) -> dict[str, Any]:
    """The claims of a token whose signature holds by the issuer's keys; what is wrong raises joserfc's errors."""
    keys = KeySet.import_key_set({"keys": discovered(issuer)})
    return dict(jwt.decode(token, keys, algorithms=["RS256"]).claims)


def header(token: str) -> dict[str, Any]:
    """The header of a token, as anybody can read it."""
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))
    return read


def kid(token: str) -> str:
    """The key that signed it."""
    return str(header(token)["kid"])


@dataclass
class Installation:
    """The service at its public URL, and workers that share a folder of keys or have one each."""

    service: Service
    database: Database
    folder: Path
    issuers: dict[str, Issuer] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.service.settings.issuer

    def issuer(self, worker: str = "w1", folder: str = "keys") -> Issuer:
        """That of a worker whose keys are in this folder."""
        if worker not in self.issuers:
            made = Issuer(self.url, KeyFolder(self.folder / folder), self.service.settings.identity_jwks_uri)
            self.issuers[worker] = made
        return self.issuers[worker]

    def turn(self, worker: str = "w1", *, now: datetime | None = None) -> Issuer:
        """Have a worker look after its keys, now or at another time."""
        issuer = self.issuer(worker)
        look_after(self.service, worker, issuer, now=now)
        return issuer

    def files(self, folder: str = "keys") -> set[str]:
        """Thumbprints of the private keys in a folder."""
        return {path.stem for path in (self.folder / folder).glob("*.pem")}

    def kids(self) -> list[str]:
        """Thumbprints of the keys that the world sees."""
        return [key["kid"] for key in discovered(self.url)]

    def verified(self, token: str) -> dict[str, Any]:
        return verified(token, self.url)

    def entries(self, *events: str) -> list[Entry]:
        """The entries of these kinds in the trail."""
        with reading(self.service.engine) as tx:
            return [entry for entry in audit.entries(tx) if entry.event in events]


@contextmanager
def installed(database: Database, folder: Path, **given: Any) -> Iterator[Installation]:
    """An installation whose web process answers at its public URL; `given` are settings."""
    port = free_port()
    (folder / "library").mkdir()
    settings = Settings(
        **{"public_url": f"http://127.0.0.1:{port}", "config_dir": folder, "identity_keys": folder / "keys", **given}
    )
    service = Service(database.engine, Library(folder / "library"), {}, settings, Artifacts("file://artifacts", folder))
    server = make_server("127.0.0.1", port, create_app(service, secret_key=b"x" * 32), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Installation(service, database, folder)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def installation(database: Database, tmp_path: Path) -> Iterator[Installation]:
    with installed(database, tmp_path) as found:
        yield found

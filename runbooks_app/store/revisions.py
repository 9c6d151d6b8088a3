"""Runbooks exactly as they were when they ran."""

from __future__ import annotations

from typing import Any

from runbooks_app.core.errors import NotFound
from runbooks_app.store.database import Transaction


def keep(tx: Transaction, digest: str, runbook_id: str, name: str, notebook: dict[str, Any]) -> None:
    """Store a revision unless it is there already."""
    tx.execute(
        """INSERT INTO revisions (digest, runbook_id, name, notebook)
           VALUES (:digest, :runbook_id, :name, :notebook) ON CONFLICT (digest) DO NOTHING""",
        digest=digest,
        runbook_id=runbook_id,
        name=name,
        notebook=notebook,
    )


def runbook_of(tx: Transaction, digest: str) -> str:
    """The immutable id of a revision's runbook."""
    found: str = tx.execute("SELECT runbook_id FROM revisions WHERE digest = :digest", digest=digest).scalar_one()
    return found


def get(tx: Transaction, digest: str) -> tuple[str, dict[str, Any]]:
    """Name and notebook of a revision, or `NotFound`."""
    row = tx.execute("SELECT name, notebook FROM revisions WHERE digest = :digest", digest=digest).first()
    if row is None:
        raise NotFound(f"There is no revision {digest[:16]}.")
    return row.name, row.notebook

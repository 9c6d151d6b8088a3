"""Which schema this code wants, and whether the database has it. Migrating itself is `store.migrate`'s.

Every process asks at its start, so this does without Alembic, whose import takes longer than all that is asked.
"""

from __future__ import annotations

from pathlib import Path

from runbooks_app.core.errors import Misconfigured
from runbooks_app.store.database import Transaction

VERSIONS = Path(__file__).parent / "migrations" / "versions"
"""One module a version, named by its number: `v0001_initial.py`."""


def latest() -> str:
    """The schema version that this code wants."""
    return max(path.name for path in VERSIONS.glob("v[0-9]*.py"))[1:5]


def require_current(tx: Transaction) -> None:
    """Refuse to start on another schema than this code's."""
    there = tx.execute("SELECT to_regclass('alembic_version')").scalar()
    found = tx.execute("SELECT max(version_num) FROM alembic_version").scalar() if there else None
    if found != latest():
        raise Misconfigured(
            f"The database's schema is {found or 'empty'}, this version wants {latest()}: run `runbooks migrate`."
        )

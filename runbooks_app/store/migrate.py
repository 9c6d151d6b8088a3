"""Bringing the database's schema to this version, as the owner of the database."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.store.database import connect

_ADVISORY_LOCK = 7_226_100_771


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(owner_url: str, password: str, application_role: str, to: str = "head") -> tuple[str, str]:
    """Migrate in one transaction; versions before and after (`empty` where there was no schema).

    Two migrations at once wait for each other. `to` may be an older version or `base`: migrations are
    reversible. The application's role must exist; it is granted what it needs.
    """
    engine = connect(owner_url, password, pool_size=1)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            role = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": application_role})
            if role.first() is None:
                raise Misconfigured(
                    f"The database has no role {application_role!r}. Create it: CREATE ROLE {application_role} LOGIN;"
                )
            before = MigrationContext.configure(connection).get_current_revision()
            config = _config()
            config.attributes["connection"] = connection
            config.attributes["application_role"] = application_role
            if to == "base" or (before is not None and to != "head" and to < before):
                command.downgrade(config, to)
            else:
                command.upgrade(config, to)
            after = MigrationContext.configure(connection).get_current_revision()
            return before or "empty", after or "empty"
    except OperationalError as error:
        raise Unavailable("The service's database cannot be reached as its owner; is it running?") from error
    finally:
        engine.dispose()

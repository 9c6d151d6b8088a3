"""Putting the service together from its settings: what web processes and workers have in common."""

from __future__ import annotations

import logging
import time

from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, make_url

from runbooks_app.actions.context import Service
from runbooks_app.alerting import Alerting, read_alerting
from runbooks_app.connections import read_connections
from runbooks_app.core.errors import DatabaseAway, Misconfigured
from runbooks_app.library import Library
from runbooks_app.oncall import NOBODY, OnCall, read_oncall
from runbooks_app.settings import Settings
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.store.database import LETS_GO, NOTICES, connect, reading
from runbooks_app.store.schema import require_current

log = logging.getLogger(__name__)

DATABASE_PATIENCE = 60
"""Seconds that a process waits for its database at start: both may have been started at the same moment."""


def database(settings: Settings, **pool: int) -> Engine:
    """The service's database; `pool` as `store.database.connect` has it."""
    return connect(settings.database_url, settings.secret("database_password_file"), **pool)


def service(settings: Settings, **pool: int) -> Service:
    """The service, with its database at the right schema. Raises `Misconfigured` or `DatabaseAway` otherwise."""
    engine = database(settings, **pool)
    _await_schema(engine)
    connections = read_connections(settings.path(settings.connections))
    if settings.remediation == "off":
        # Diagnose-only: what could write is not even known here.
        connections = {name: connection.diagnosed_only() for name, connection in connections.items()}
    return Service(
        engine=engine,
        library=Library(settings.path(settings.library), settings.ceilings),
        connections=connections,
        settings=settings,
        artifacts=Artifacts(settings.artifacts, settings.path(settings.config_dir)),
        alerting=alerting(settings),
        oncall=oncall(settings),
    )


def alerting(settings: Settings) -> Alerting:
    """Who sends alerts and what they lead to, with the catalogue. Raises `Misconfigured` with every problem."""
    files = (settings.path(path) if path else None for path in (settings.alerts, settings.catalogue))
    return read_alerting(*files)


def oncall(settings: Settings) -> OnCall:
    """Who is on call, and what pages them. Raises `Misconfigured` with every problem."""
    return read_oncall(settings.path(settings.oncall)) if settings.oncall else NOBODY


def _await_schema(engine: Engine) -> None:
    """Wait for the database, and for a migration that has not come to its end yet."""
    end = time.monotonic() + DATABASE_PATIENCE
    told = False
    while True:
        try:
            with reading(engine) as tx:
                require_current(tx)
        except (DatabaseAway, Misconfigured) as error:
            if time.monotonic() > end:
                raise
            if not told:
                log.warning("%s Waiting up to %d s for it.", error, DATABASE_PATIENCE)
                told = True
            time.sleep(0.2)
        else:
            return


def queue_conninfo(settings: Settings) -> str:
    """The service's database as libpq takes it, for the queue's own connections."""
    url = make_url(settings.database_url)
    given = {**url.query, **url.translate_connect_args(username="user", database="dbname")}
    if password := settings.secret("database_password_file"):
        given["password"] = password
    # By its parts: libpq takes no URL with a space in its password.
    return make_conninfo(**{**given, **NOTICES, "options": LETS_GO})


def web_key(settings: Settings) -> bytes:
    """The key that signs the state of sign-ins."""
    if settings.web_key_file is None:
        raise Misconfigured(
            "RUNBOOKS_WEB_KEY_FILE is not set. Name one with random bytes: head -c 48 /dev/urandom | base64 > web.key"
        )
    return settings.secret("web_key_file").encode()


def log_to_stderr(settings: Settings) -> None:
    """One line a record: time, level, logger, message."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    for chatty in ("procrastinate", "alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)

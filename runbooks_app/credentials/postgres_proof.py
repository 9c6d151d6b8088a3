"""What a login of PostgreSQL could change, asked of the server itself: that a diagnosis cannot write.

What it may do is looked up (`postgres_rights.py`). Where that finds nothing, a few statements that would change
something are tried besides, each expected to be refused.

It leaves no trace and holds nobody up: all of it happens in transactions that are rolled back; statements touch no row
(`WHERE false`), wait 0.1 s for a lock at most, and end within seconds.

Every database that the login may enter is looked at, not the connection's alone: whoever holds the login may name
another. Templates are left out, since a session in one keeps databases from being made of it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import errors, sql

from runbooks_app.core.errors import Unavailable
from runbooks_app.credentials.findings import Found
from runbooks_app.credentials.postgres_rights import HARMLESS, IN_CLUSTER, IN_DATABASE, ON_TABLES, PASSED_ON, WHO, Look
from runbooks_app.credentials.provider import Credential, Endpoint

OLDEST = 160000
CONNECT_WITHIN = 5
"""Seconds to reach a database."""
STATEMENT_WITHIN, LOCK_WITHIN = "5s", "100ms"
ALL_WITHIN = 30.0
"""Seconds for everything; databases that are not reached by then are named as not looked at."""
MOST_DATABASES = 50
MOST_ROLES = 20
"""Roles that a login may become and that are looked through, each with all its rights."""
MOST_NAMED = 20
"""Findings of one kind in one database that are named."""
TRIED_TABLES = 5

SUPERUSER = "it is a superuser"

Session = psycopg.Connection[tuple[Any, ...]]


TRIES = (
    "CREATE SCHEMA runbooks_proof",
    "CREATE TABLE public.runbooks_proof ()",
    "CREATE ROLE runbooks_proof",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
)
"""Statements that an ordinary role is refused, and that a rollback undoes should it not be."""


def examine(connection: Endpoint, credential: Credential) -> Found:
    """Look at all that this login could change; raises `Unavailable` where it cannot log in or be answered."""
    found = Found()
    ends = time.monotonic() + ALL_WITHIN
    with _session(connection, credential, connection.database) as session:
        if session.info.server_version < OLDEST:
            found.doubtful.append(f"it is PostgreSQL {session.info.server_version // 10000}; 16 and later can be asked")
            return found
        who = _who(session, found)
        _look(session, IN_CLUSTER, who, found)
        if boss := [line for line in found.writes if line.startswith(SUPERUSER)]:
            found.writes, found.doubtful = boss[:1], []  # each query would name each thing that there is
            return found
        _look(session, IN_DATABASE, who, found)
        _ask_what_remains(session, found)
        others = _others(session)
        if not found.writes:
            _try(session, found)
    for database in others[:MOST_DATABASES]:
        _look_into(connection, credential, database, who, found, ends)
    if others[MOST_DATABASES:]:
        found.doubtful.append(f"{len(others) - MOST_DATABASES} more databases that it may enter were not looked at")
    return found


@contextlib.contextmanager
def _session(connection: Endpoint, credential: Credential, database: str) -> Iterator[Session]:
    """A session of the login in a transaction that may write, and is rolled back whatever happens."""
    place = f"{connection.name} ({database} at {connection.host}:{connection.port})"
    try:
        with psycopg.connect(
            host=connection.host,
            port=connection.port,
            dbname=database,
            user=credential.identity,
            password=credential.secret,
            connect_timeout=CONNECT_WITHIN,
            application_name="runbooks connection test",
            autocommit=True,
        ) as session:
            # A standby takes no READ WRITE. Functions of the catalog alone: whoever may write a schema on the path
            # could put others in their place.
            session.execute(f"BEGIN {'READ ONLY' if _is_standby(session) else 'READ WRITE'}")
            session.execute(
                f"SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = '{STATEMENT_WITHIN}'; "
                f"SET LOCAL lock_timeout = '{LOCK_WITHIN}'"
            )
            yield session
            session.execute("ROLLBACK")
    except psycopg.Error as error:
        said = str(error).strip().split("\n")[0]
        raise Unavailable(f"{place}: what a diagnosis may do there could not be asked: {said}.") from None


def _is_standby(session: Session) -> bool:
    return session.info.parameter_status("in_hot_standby") == "on"


def _all(session: Session, query: str, **values: Any) -> list[Any]:
    """The first column of what a query gives."""
    return [row[0] for row in session.execute(query, values or None).fetchall()]


def _who(session: Session, found: Found) -> list[int]:
    """The roles that the login is, or may become by SET ROLE."""
    who = _all(
        session, "SELECT oid::bigint FROM pg_roles WHERE pg_has_role(oid, 'SET') ORDER BY rolname <> session_user"
    )
    if len(who) > MOST_ROLES:
        found.doubtful.append(f"it may become {len(who) - 1} other roles, of which {MOST_ROLES} were looked through")
    found.tried.append(f"{len(who)} {'role' if len(who) == 1 else 'roles'} that it is or may become by SET ROLE")
    return who[:MOST_ROLES]


def _look(session: Session, looks: Iterable[Look], who: list[int], found: Found, where: str = "") -> None:
    on_tables = f"{ON_TABLES}, MAINTAIN" if session.info.server_version >= 170000 else ON_TABLES
    values = {"who": who, "harmless": list(HARMLESS), "on_tables": f"{on_tables}, {PASSED_ON}"}
    for look in looks:
        lines = _all(session, WHO + look.query, **values)
        named = [line + where for line in lines[:MOST_NAMED]]
        if lines[MOST_NAMED:]:
            named.append(f"{len(lines) - MOST_NAMED} more of {look.of}{where}")
        (found.writes if look.proves else found.doubtful).extend(named)
        if not where:
            found.tried.append(look.of)


def _look_into(
    connection: Endpoint, credential: Credential, database: str, who: list[int], found: Found, ends: float
) -> None:
    """Look at another database of the cluster, if there is time and it can be entered."""
    if time.monotonic() > ends:
        found.doubtful.append(f"database {database} was not looked at for lack of time")
        return
    try:
        with _session(connection, credential, database) as session:
            _look(session, IN_DATABASE, who, found, f" (database {database})")
    except Unavailable as error:
        found.doubtful.append(f"database {database} could not be looked at ({error.message.rpartition(': ')[2]})")
    else:
        found.tried.append(f"the same in database {database}")


def _others(session: Session) -> list[str]:
    """Databases besides this one that the login may enter."""
    return _all(
        session,
        """SELECT datname FROM pg_database
           WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT')
             AND datname <> current_database() ORDER BY datname""",
    )


def _ask_what_remains(session: Session, found: Found) -> None:
    """What every login may do unless it is revoked from PUBLIC; NOTIFY and advisory locks cannot be."""
    temporary, large = session.execute(
        "SELECT has_database_privilege(current_database(), 'TEMP'), has_function_privilege('lo_create(oid)', 'EXECUTE')"
    ).fetchone() or (True, True)
    found.remains += ["temporary tables"] * temporary + ["large objects of its own"] * large
    found.remains += ["NOTIFY", "advisory locks"]


def _try(session: Session, found: Found) -> None:
    """Try a few statements for real, each undone at once; what is not refused is a hole that no grant tells of."""
    if _is_standby(session):
        found.tried.append("no statement was tried: this is a standby")
        return
    refused = 0
    for statement in _statements(session):
        said = _refusal(session, statement)
        if said is None:
            found.writes.append(f"{statement.as_string(session)} was not refused, though no grant allows it")
        elif said == errors.InsufficientPrivilege.sqlstate:
            refused += 1
    found.tried.append(f"{refused} statements that would change something, tried and refused")


def _statements(session: Session) -> Iterator[sql.SQL | sql.Composed]:
    """Those of every database; writes to the largest tables that it reads, of no row; and becoming their owners."""
    yield from map(sql.SQL, TRIES)
    tables = session.execute(
        """SELECT n.nspname, c.relname, a.attname, o.rolname
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner,
                LATERAL (SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                           AND attidentity = '' AND attgenerated = '' ORDER BY attnum LIMIT 1) a
           WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema$)'
             AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
           ORDER BY c.relpages DESC, c.oid LIMIT %s""",
        [TRIED_TABLES],
    ).fetchall()
    for schema, name, column, _ in tables:
        table, of = sql.Identifier(schema, name), sql.Identifier(column)
        yield sql.SQL("UPDATE {} SET {} = NULL WHERE false").format(table, of)
        yield sql.SQL("INSERT INTO {} ({}) SELECT NULL WHERE false").format(table, of)
        yield sql.SQL("DELETE FROM {} WHERE false").format(table)
    for owner in sorted({row[3] for row in tables}):
        yield sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner))


def _refusal(session: Session, statement: sql.SQL | sql.Composed) -> str | None:
    """The state with which a statement is refused; None where it is not."""
    session.execute("SAVEPOINT tried")
    try:
        session.execute(statement)
    except psycopg.Error as error:
        if session.closed:
            raise
        return error.sqlstate or ""
    else:
        return None
    finally:
        if not session.closed:
            session.execute("ROLLBACK TO SAVEPOINT tried; RELEASE SAVEPOINT tried")

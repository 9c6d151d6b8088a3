"""`postgres-role`: a login role for each stage of each run, member of the stage's role, gone at its end.

What the database must have beforehand stands in `deploy/postgres/minter.sql`, with reasons. Facts that this
rests on, all seen on 18.4:

- Passwords go over the wire as SCRAM verifiers: plain ones reach the server's log under `log_statement=ddl`.
- `VALID UNTIL` stops logins and ends no session: the end of a stage ends them.
- CREATE ROLE waits for a synchronous standby that is away; `synchronous_commit=local` does not.
- Whoever makes a role may administer it and does not inherit from it, so could neither end its sessions nor
  drop what it owns: `createrole_self_grant` gives that.
- A role that owns a large object, in whichever database, cannot be dropped until that is.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import errors, sql

from runbooks_app.core.errors import InvalidInput, Misconfigured, RunbooksError, Unavailable
from runbooks_app.credentials import sessions
from runbooks_app.credentials.provider import Credential, Endpoint, Purpose
from runbooks_app.credentials.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

LETTERS = {"diagnose": "d", "remediate": "r"}
IDENTITY = re.compile(r"runbook_[dr]_[0-9a-f]{16}")
OLDEST = 160000
"""PostgreSQL 16: before it, CREATEROLE may grant every role that is no superuser."""
CONNECT_WITHIN = 5
"""Seconds to reach the database."""
STATEMENT_WITHIN = "10s"
SESSION = f"""
SET createrole_self_grant = 'set, inherit';
SET synchronous_commit = local;
SET statement_timeout = '{STATEMENT_WITHIN}';
SET idle_in_transaction_session_timeout = '5s';
SET idle_session_timeout = '45s'
"""
"""Whoever stops in the middle, frozen or cut off, loses the session with its locks: of a login that is half made the
role that it is given, for which every other worker waits; of one that is half ended the login. A session idles longer
than it is kept (`sessions.KEPT`)."""
ENDED_WITHIN = 10.0
"""Seconds that a role's sessions may take to end."""
SWEEP_AFTER = 20
"""Seconds before a role that is not known to live is swept: it may have been minted this moment."""
CONNECTION_LIMIT = 5
LIMITS = {
    "diagnose": {
        "default_transaction_read_only": "on",
        "statement_timeout": "15s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "30s",
    },
    "remediate": {
        "default_transaction_read_only": "off",
        "statement_timeout": "60s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "30s",
    },
}
"""Settings of the minted role. They guard against accidents: a session may change its own. What a role may
not do is by its grants alone."""

MINE = """
    SELECT r.rolname, r.rolvaliduntil <= now() AS expired,
           extract(epoch FROM now()) - substring(c.told FROM 'minted=(\\d+)')::bigint < %s AS fresh
    FROM pg_roles r JOIN pg_auth_members m ON m.roleid = r.oid,
         shobj_description(r.oid, 'pg_authid') AS c (told)
    WHERE r.rolname ~ '^runbook_[dr]_[0-9a-f]{16}$' AND m.admin_option
      AND m.member = (SELECT oid FROM pg_roles WHERE rolname = current_user)
    ORDER BY r.rolname
"""
"""Roles of the pattern that the current user made: making one gives the maker its ADMIN OPTION."""


@dataclass(frozen=True)
class PostgresRole:
    """Mints members of `role`, as the role `minter` whose password is in `password_file`."""

    role: str
    minter: str
    password_file: Path

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Build it from the options of the connections file."""
        return cls(options["role"], options["minter"], Path(options["password_file"]))

    def mint(self, connection: Endpoint, purpose: Purpose) -> Credential:
        """Make a login role with a password of its own; in one transaction, so all of it or nothing."""
        if purpose.stage not in LIMITS or purpose.lifetime <= 0:
            raise InvalidInput(
                f"No credential for stage {purpose.stage!r} and {purpose.lifetime} s on {connection.name}."
            )
        identity = f"runbook_{LETTERS[purpose.stage]}_{secrets.token_hex(8)}"
        secret = secrets.token_urlsafe(32)
        with self._session(connection, "make a login role") as session, session.transaction():
            now = _now(session)
            verifier = session.pgconn.encrypt_password(secret.encode(), identity.encode(), b"scram-sha-256")
            # One round trip: a remediation waits for it.
            session.execute(sql.SQL("; ").join(self._statements(identity, verifier.decode(), purpose, now)))
        return Credential(
            identity=identity,
            secret=secret,
            expires_at=now + timedelta(seconds=purpose.lifetime),
        )

    def revoke(self, connection: Endpoint, identity: str) -> bool:
        """End the role's sessions, drop what it owns, drop the role. One that is gone already is fine."""
        if not IDENTITY.fullmatch(identity):
            raise InvalidInput(f"{identity!r} is no role that was minted for {connection.name}; it is left alone.")
        with self._session(connection, f"drop the role {identity}") as session:
            # One at a time: a run's end and a sweep may want the same role.
            session.execute("SELECT pg_advisory_lock(hashtext(%s))", [identity])
            if not _exists(session, identity):
                return True
            session.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(identity)))
            _end_sessions(session, connection, identity)
            self._disown(session, identity)
            for database in _owns_in(session, identity):
                with self._session(connection, f"drop what {identity} owns in {database}", database) as other:
                    self._disown(other, identity)
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(identity)))
            return True

    def sweep(self, connection: Endpoint, live: frozenset[str]) -> list[str]:
        """Revoke roles that this minter made and that have expired or are not in `live`.

        `live` must hold the identities on every connection that shares this minter. A role that cannot be
        dropped is logged and does not keep the others.
        """
        with self._session(connection, "look for roles left behind") as session:
            mine = session.execute(MINE, [SWEEP_AFTER]).fetchall()
        dropped = []
        for identity, expired, fresh in mine:
            if not expired and (identity in live or fresh):
                continue
            try:
                self.revoke(connection, identity)
            except RunbooksError as error:
                log.warning("Role %s on %s stays until the next sweep: %s", identity, connection.name, error)
            else:
                dropped.append(identity)
        return dropped

    def _statements(self, identity: str, verifier: str, purpose: Purpose, now: datetime) -> Iterator[sql.Composed]:
        """What makes the role, step by step; `verifier` is all that the server ever sees of the password."""
        until = (now + timedelta(seconds=purpose.lifetime)).isoformat()
        login = sql.Identifier(identity)
        yield sql.SQL(
            "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT "
            "CONNECTION LIMIT {} PASSWORD {} VALID UNTIL {}"
        ).format(login, sql.Literal(CONNECTION_LIMIT), sql.Literal(verifier), sql.Literal(until))
        # SET lets what a remediation made be handed to its role; a diagnosis makes nothing worth keeping.
        settable = sql.SQL("TRUE" if purpose.stage == "remediate" else "FALSE")
        yield sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET {}, ADMIN FALSE").format(
            sql.Identifier(self.role), login, settable
        )
        settings = {**LIMITS[purpose.stage], "application_name": f"runbook {purpose.run_id}"[:63]}
        for name, value in settings.items():
            yield sql.SQL("ALTER ROLE {} SET {} = {}").format(login, sql.Identifier(name), sql.Literal(value))
        told = f"runbooks minted={int(now.timestamp())} run={purpose.run_id} stage={purpose.stage}"
        if purpose.proposal_id:
            told += f" proposal={purpose.proposal_id} approved_by={','.join(purpose.approvers)}"
        yield sql.SQL("COMMENT ON ROLE {} IS {}").format(login, sql.Literal(told))

    def _disown(self, session: Session, identity: str) -> None:
        """Rid the role of what it owns in this database; the role that it is a member of keeps what was made.

        That is not always `self.role`: a sweep drops what other stages' providers minted, too.
        """
        login = sql.Identifier(identity)
        for heir in _may_become(session, identity):
            session.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(login, sql.Identifier(heir)))
        session.execute(sql.SQL("DROP OWNED BY {}").format(login))

    @contextlib.contextmanager
    def _session(self, connection: Endpoint, doing: str, database: str = "") -> Iterator[Session]:
        """A session of the minter; errors of the database come out as errors of the service."""
        place = f"{connection.name} ({database or connection.database} at {connection.host}:{connection.port})"
        try:
            password = self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                f"{connection.name}: the password of {self.minter} cannot be read from {self.password_file} "
                f"({getattr(error, 'strerror', 'not UTF-8')}). Let the worker's user read that file."
            ) from None
        where: dict[str, Any] = {
            "host": connection.host,
            "port": connection.port,
            "dbname": database or connection.database,
        }
        fingerprint = hashlib.sha256(password.encode()).digest()

        def log_in() -> Session:
            opened = psycopg.connect(
                **where,
                user=self.minter,
                password=password,
                connect_timeout=CONNECT_WITHIN,
                application_name="runbooks minter",
                autocommit=True,
            )
            opened.execute(SESSION)
            return opened

        try:
            with sessions.session((*where.values(), self.minter, fingerprint), log_in) as session:
                if session.info.server_version < OLDEST:
                    raise Misconfigured(
                        f"{place} is PostgreSQL {session.info.server_version // 10000}; minted roles need "
                        "16 or later, since before it a role that makes roles may grant nearly all of them."
                    )
                yield session
        except psycopg.Error as error:
            raise self._told(error, place, doing) from None

    def _told(self, error: psycopg.Error, place: str, doing: str) -> RunbooksError:
        """The service's error for the database's (raised from None: a traceback may hold statements)."""
        said = str(error).strip().split("\n")[0]
        start = f"{place}: could not {doing} as {self.minter}: {said}."
        match error:
            case errors.ReadOnlySqlTransaction():
                return Unavailable(f"{start} This is a standby; point the connection at the primary.")
            case errors.InsufficientPrivilege() | errors.UndefinedObject() | errors.InvalidGrantOperation():
                return Misconfigured(f"{start} Let a DBA run deploy/postgres/minter.sql, adapted to {self.role}.")
            case errors.QueryCanceled():
                return Unavailable(f"{start} The database is too busy; try again.")
            case _ if error.sqlstate is None and "authentication failed" in said:
                return Unavailable(f"{start} Put the role's current password into {self.password_file}.")
            case _ if error.sqlstate is None:
                return Unavailable(f"{start} Check that the database is up, and the connection's host and port.")
            case _:
                return Unavailable(f"{start} Try again; what was begun and not finished is swept later.")


def _now(session: Session) -> datetime:
    """The time by the database's clock, which is what `VALID UNTIL` is held against."""
    row = session.execute("SELECT now()").fetchone()
    if row is None or not isinstance(row[0], datetime):
        raise Unavailable("The database does not tell the time.")
    return row[0].astimezone(UTC)


def _exists(session: Session, identity: str) -> bool:
    return session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [identity]).fetchone() is not None


def _may_become(session: Session, identity: str) -> list[str]:
    """The role whose member a remediation's login is; none for a diagnosis, which may not become its role."""
    found = session.execute(
        """
        SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
        WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = %s) AND m.set_option
        """,
        [identity],
    )
    return [row[0] for row in found]


def _end_sessions(session: Session, connection: Endpoint, identity: str) -> None:
    """Terminate the role's sessions and wait until they are gone, with their locks."""
    end = time.monotonic() + ENDED_WITHIN
    while session.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = %s", [identity]
    ).fetchall():
        if time.monotonic() > end:
            raise Unavailable(
                f"{connection.name}: sessions of {identity} do not end, though it can log in no more. "
                "The next sweep tries again."
            )


def _owns_in(session: Session, identity: str) -> list[str]:
    """Other databases of the cluster in which the role owns something or was granted something."""
    found = session.execute(
        """
        SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
        WHERE s.refclassid = 'pg_authid'::regclass
          AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = %s)
          AND d.datname <> current_database()
        """,
        [identity],
    )
    return [row[0] for row in found]

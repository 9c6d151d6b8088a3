"""People, their sessions and chat accounts. Secrets are stored as SHA-256 alone."""

from __future__ import annotations

import hashlib
from typing import Any

from runbooks_app.core.people import Person
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Session


def hashed(secret: str) -> bytes:
    """What is stored of a random secret (at least 128 bits, so a plain hash is enough)."""
    return hashlib.sha256(secret.encode()).digest()


def remember(tx: Transaction, person: Person) -> None:
    """Store a person as they signed in just now."""
    tx.execute(
        """INSERT INTO people (subject, name, email, roles) VALUES (:subject, :name, :email, :roles)
           ON CONFLICT (subject) DO UPDATE SET name = excluded.name, email = excluded.email,
             roles = excluded.roles, last_seen_at = now()""",
        subject=person.subject,
        name=person.name,
        email=person.email,
        roles=sorted(person.roles),
    )


def remember_as_of(tx: Transaction, person: Person, at: float) -> bool:
    """Store a person as they were at a moment (seconds since the epoch); whether nothing as new was known yet."""
    return bool(
        tx.execute(
            """INSERT INTO people (subject, name, email, roles, last_seen_at)
               VALUES (:subject, :name, :email, :roles, to_timestamp(:at))
               ON CONFLICT (subject) DO UPDATE SET name = excluded.name, email = excluded.email,
                 roles = excluded.roles, last_seen_at = excluded.last_seen_at
               WHERE people.last_seen_at < excluded.last_seen_at""",
            subject=person.subject,
            name=person.name,
            email=person.email,
            roles=sorted(person.roles),
            at=at,
        ).rowcount
    )


def roles_since(tx: Transaction, subject: str, at: float) -> frozenset[str] | None:
    """The roles of a sign-in later than a moment (seconds since the epoch); None where there was none."""
    row = tx.execute(
        "SELECT roles FROM people WHERE subject = :subject AND last_seen_at > to_timestamp(:at)",
        subject=subject,
        at=at,
    ).first()
    return frozenset(row.roles) if row else None


def get(tx: Transaction, subject: str) -> Person | None:
    """A person as of their latest sign-in."""
    row = tx.execute("SELECT * FROM people WHERE subject = :subject", subject=subject).first()
    return Person(row.subject, row.name, row.email, frozenset(row.roles)) if row else None


def open_session(
    tx: Transaction, secret: str, subject: str, csrf: str, signed_in: dict[str, Any], hours: int, sid: str
) -> None:
    """Store a session for the cookie value `secret`; `sid` is the provider's name for its own, empty for none."""
    tx.execute(
        """INSERT INTO sessions (id_hash, subject, csrf, signed_in, expires_at, sid)
           VALUES (:hash, :subject, :csrf, :signed_in, now() + make_interval(hours => :hours), :sid)""",
        hash=hashed(secret),
        subject=subject,
        csrf=csrf,
        signed_in=signed_in,
        hours=hours,
        sid=sid,
    )


def renew_session(
    tx: Transaction, secret: str, renewed: str, subject: str, signed_in: dict[str, Any], sid: str
) -> bool:
    """Move a person's live session to another secret, with how they signed in just now; False where it has ended."""
    moved = tx.execute(
        """UPDATE sessions SET id_hash = :renewed, signed_in = :signed_in, sid = :sid
           WHERE id_hash = :hash AND subject = :subject AND revoked_at IS NULL AND expires_at > now()""",
        hash=hashed(secret),
        renewed=hashed(renewed),
        subject=subject,
        signed_in=signed_in,
        sid=sid,
    )
    return moved.rowcount == 1


def session(tx: Transaction, secret: str) -> Session | None:
    """The live session of a cookie value, with the person's roles of their latest sign-in."""
    row = tx.execute(
        """SELECT s.subject, s.csrf, s.signed_in, s.expires_at, p.name, p.email, p.roles
           FROM sessions s JOIN people p USING (subject)
           WHERE s.id_hash = :hash AND s.revoked_at IS NULL AND s.expires_at > now()""",
        hash=hashed(secret),
    ).first()
    return Session.of(row) if row else None


def revoke_session(tx: Transaction, secret: str) -> None:
    """End a session for good."""
    tx.execute(
        "UPDATE sessions SET revoked_at = now() WHERE id_hash = :hash AND revoked_at IS NULL",
        hash=hashed(secret),
    )


def revoke_sessions(tx: Transaction, issuer: str, subject: str, sid: str) -> dict[str, int]:
    """End the live sessions that the provider names by its `sid`, its `sub` or both: how many of whom, by subject."""
    rows = tx.execute(
        """WITH ended AS (
             UPDATE sessions SET revoked_at = now()
             WHERE starts_with(subject, :issuer || '#') AND (:sid = '' OR sid = :sid)
               AND (:sub = '' OR subject = :issuer || '#' || :sub) AND (:sid || :sub) <> ''
               AND revoked_at IS NULL AND expires_at > now()
             RETURNING subject)
           SELECT subject, count(*) AS sessions FROM ended GROUP BY subject ORDER BY subject""",
        issuer=issuer,
        sid=sid,
        sub=subject,
    )
    return {row.subject: row.sessions for row in rows}


def first_use(tx: Transaction, token: str, seconds: int) -> bool:
    """Whether a token that counts once comes for the first time; what is older than so many seconds is forgotten."""
    tx.execute("DELETE FROM used_tokens WHERE used_at < now() - make_interval(secs => :seconds)", seconds=seconds)
    first = tx.execute("INSERT INTO used_tokens (id) VALUES (:id) ON CONFLICT DO NOTHING", id=token)
    return first.rowcount == 1


def by_chat_user(tx: Transaction, team: str, chat_user: str, hours: int) -> Person | None:
    """The person linked to a chat account, if they signed in within so many hours: roles are as of then."""
    row = tx.execute(
        """SELECT p.* FROM chat_people c JOIN people p USING (subject)
           WHERE c.team = :team AND c.chat_user = :chat_user
             AND p.last_seen_at > now() - make_interval(hours => :hours)""",
        team=team,
        chat_user=chat_user,
        hours=hours,
    ).first()
    return Person(row.subject, row.name, row.email, frozenset(row.roles)) if row else None


def name_in_chat(tx: Transaction, team: str, chat_user: str) -> str:
    """Name of the person linked to a chat account, however long ago they signed in; empty where nobody is."""
    row = tx.execute(
        """SELECT p.name FROM chat_people c JOIN people p USING (subject)
           WHERE c.team = :team AND c.chat_user = :chat_user""",
        team=team,
        chat_user=chat_user,
    ).first()
    return str(row.name) if row else ""


def offer_link(tx: Transaction, code: str, team: str, chat_user: str, chat_name: str, minutes: int) -> None:
    """Store a one-time link for a chat account."""
    tx.execute(
        """INSERT INTO chat_links (code_hash, team, chat_user, chat_name, expires_at)
           VALUES (:hash, :team, :chat_user, :chat_name, now() + make_interval(mins => :minutes))""",
        hash=hashed(code),
        team=team,
        chat_user=chat_user,
        chat_name=chat_name,
        minutes=minutes,
    )


def link_offer(tx: Transaction, code: str) -> tuple[str, str, str] | None:
    """Team, chat user and chat name of a one-time link that can still be used; its row is locked."""
    row = tx.execute(
        """SELECT team, chat_user, chat_name FROM chat_links
           WHERE code_hash = :hash AND used_at IS NULL AND expires_at > now() FOR UPDATE""",
        hash=hashed(code),
    ).first()
    return (row.team, row.chat_user, row.chat_name) if row else None


def link(tx: Transaction, code: str, team: str, chat_user: str, subject: str) -> None:
    """Use up a one-time link: the chat account is this person's from now on."""
    tx.moved(
        "The link",
        "UPDATE chat_links SET used_at = now() WHERE code_hash = :hash AND used_at IS NULL",
        hash=hashed(code),
    )
    tx.execute(
        """INSERT INTO chat_people (team, chat_user, subject) VALUES (:team, :chat_user, :subject)
           ON CONFLICT (team, chat_user) DO UPDATE SET subject = excluded.subject, linked_at = now()""",
        team=team,
        chat_user=chat_user,
        subject=subject,
    )


def first_delivery(tx: Transaction, key: str) -> bool:
    """Whether the chat delivers this for the first time."""
    return tx.execute("INSERT INTO chat_deliveries (key) VALUES (:key) ON CONFLICT DO NOTHING", key=key).rowcount == 1


def delivered(tx: Transaction, key: str) -> bool:
    """Whether the chat has delivered this before."""
    return tx.execute("SELECT 1 FROM chat_deliveries WHERE key = :key", key=key).first() is not None

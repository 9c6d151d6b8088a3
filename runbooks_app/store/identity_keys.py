"""Public halves of the keys that sign run tokens. Only workers have the private ones.

What is served is what the trail says was published: a row that somebody put beside it, or changed, is not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from runbooks_app.core.audit import Event
from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.run_identity import ALGORITHM, Key, thumbprint
from runbooks_app.store.database import Transaction

_ENTERED = "SELECT FROM audit_entries e WHERE e.event = :{} AND (e.objects::jsonb) @> jsonb_build_object('key', k.kid)"


def served(tx: Transaction) -> list[dict[str, Any]]:
    """The keys by which tokens are verified now, as a JWK Set lists them (RFC 7517), the oldest first."""
    rows = tx.execute(
        f"""SELECT k.kid, k.jwk FROM identity_keys k
            WHERE k.withdrawn_at IS NULL AND EXISTS ({_ENTERED.format("published")})
              AND NOT EXISTS ({_ENTERED.format("withdrawn")})
            ORDER BY k.published_at, k.kid""",
        published=str(Event.IDENTITY_KEY_PUBLISHED),
        withdrawn=str(Event.IDENTITY_KEY_WITHDRAWN),
    )
    return [public(row.jwk) for row in rows if _is_named(row.jwk, row.kid)]


def public(jwk: Mapping[str, Any]) -> dict[str, str]:
    """A key as it is served: its public members, whatever else it has."""
    kid = thumbprint(jwk)
    return {"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": kid, "n": jwk["n"], "e": jwk["e"]}


def _is_named(jwk: object, kid: str) -> bool:
    try:
        return thumbprint(jwk) == kid
    except InvalidInput:
        return False


def publish(tx: Transaction, jwk: Mapping[str, str], at: datetime) -> bool:
    """Publish a key as of this transaction's commit; False where it is known already."""
    done = tx.execute(
        """INSERT INTO identity_keys (kid, jwk, published_at, seen_at) VALUES (:kid, :jwk, :at, :at)
           ON CONFLICT (kid) DO NOTHING""",
        kid=jwk["kid"],
        jwk=dict(jwk),
        at=at,
    )
    return done.rowcount == 1


def seen(tx: Transaction, kids: Collection[str], at: datetime) -> dict[str, Key | None]:
    """Note that a worker has the private halves of these; each as it was published, None where it was withdrawn."""
    rows = tx.execute(
        """UPDATE identity_keys SET seen_at = CASE WHEN withdrawn_at IS NULL THEN :at ELSE seen_at END
           WHERE kid = ANY(CAST(:kids AS text[])) RETURNING kid, published_at, withdrawn_at""",
        kids="{" + ",".join(kids) + "}",
        at=at,
    )
    return {row.kid: None if row.withdrawn_at else Key(row.kid, row.published_at) for row in rows}


def withdraw(tx: Transaction, kid: str, at: datetime) -> bool:
    """Serve a key no longer, for good; False where it is not served anyway."""
    done = tx.execute(
        "UPDATE identity_keys SET withdrawn_at = :at WHERE kid = :kid AND withdrawn_at IS NULL", kid=kid, at=at
    )
    return done.rowcount == 1


def unseen_since(tx: Transaction, then: datetime) -> list[str]:
    """Keys that no worker has had in its folder since."""
    rows = tx.execute("SELECT kid FROM identity_keys WHERE withdrawn_at IS NULL AND seen_at < :then", then=then)
    return [row.kid for row in rows]

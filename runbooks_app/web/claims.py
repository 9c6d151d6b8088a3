"""What believed claims of the sign-in provider say about a person, and about how they signed in."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from runbooks_app.core.id_tokens import roles_of
from runbooks_app.core.people import Person

if TYPE_CHECKING:
    from runbooks_app.settings import Settings


def person_of(claims: dict[str, Any], settings: Settings) -> Person:
    """The person whom believed claims describe. Roles come from the groups that it lists."""
    told = (shown(claims.get(name)) for name in ("name", "preferred_username", "sub"))
    name = next(filter(None, told), "somebody")
    email = shown(claims.get("email")) if claims.get("email_verified") is True else ""
    return Person(
        f"{claims['iss']}#{claims['sub']}", name, email, roles_of(claims, settings.groups_claim, settings.roles)
    )


def signed_in_of(claims: dict[str, Any]) -> dict[str, Any]:
    """How and when the provider authenticated the person, as sessions and audit entries keep it."""
    at = claims.get("auth_time")
    fresh = isinstance(at, int) and not isinstance(at, bool) and 0 < at < 2**53
    told: dict[str, Any] = {"surface": "web", "auth_time": at if fresh else None}
    if isinstance(claims.get("amr"), list):
        told["amr"] = [shown(method) for method in claims["amr"][:10]]
    if isinstance(claims.get("acr"), str):
        told["acr"] = shown(claims["acr"])
    return told


def sid_of(claims: dict[str, Any]) -> str:
    """The provider's name for this browser's session there, by which it may end ours; empty where it gives none."""
    sid = claims.get("sid")
    return sid if isinstance(sid, str) and len(sid) <= 255 and sid.isprintable() else ""


def shown(value: Any) -> str:
    """A name from a claim, fit to be shown: one line, no control or direction-changing characters."""
    if not isinstance(value, str):
        return ""
    plain = "".join(c for c in value if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    return plain.strip()[:200]

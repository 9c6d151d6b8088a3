"""What may be believed of a token that the sign-in provider issued.

    believed        an id_token that has just come (OpenID Connect Core 1.0, section 3.1.3.7)
    believed_once   one that was kept with a decision: judged by the moment of its issue, not by its expiry
    believed_logout a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6)
    believed_access an access token for the API (RFC 9068)
    roles_of        the roles that claims give, by the settings' mapping

The algorithms are named, so neither `none` nor a MAC under the provider's public key passes; a token of another
kind, for another audience or by another issuer is none of ours. Authlib's own check is not used: seen of 1.9.9 is
that it takes tokens 100 s past expiry and a foreign audience with `azp` ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from runbooks_app.core.errors import Refused
from runbooks_app.core.people import roles_from_groups

ALGORITHMS = ["RS256", "ES256"]
LEEWAY = 30
"""Seconds by which our clock and the provider's may differ."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_AGE = 300
"""Seconds for which a logout token is good; its `jti` has to be remembered for as long, and `LEEWAY` more."""
CLIENT_CLAIMS = ("client_id", "azp", "cid", "appid")
"""Where tokens name the client that they were issued to: RFC 9068 says the first, others say others."""
_ONLY_IN_ID_TOKENS = frozenset({"nonce", "at_hash", "c_hash"})


class Untrusted(Refused):
    """The token cannot be believed; nothing was done on its word."""

    code = "untrusted_token"


class UntrustedLogout(Untrusted):
    """The logout token cannot be believed; no session was ended."""

    code = "invalid_request"


class SigningKeys(Protocol):
    """Where the provider's public keys come from."""

    def keys(self, stale: KeySet | None = None) -> KeySet:
        """The keys; others than `stale`, which proved too old, if there are others by now."""


def believed(token: str, keys: SigningKeys, *, issuer: str, client_id: str, nonce: str, now: float) -> dict[str, Any]:
    """The claims of a good id_token; raises `Untrusted` for every other, naming the check that failed.

    `now` is in seconds since the epoch, as are the times in tokens.
    """
    claims = signed_claims(token, keys, kinds=("JWT",))
    expires = _time(claims.get("exp"))
    fault = _fault(claims, issuer, client_id, now) or _nonce_fault(claims, nonce)
    if not fault and (expires is None or now > expires + LEEWAY):
        fault = "expired"
    return _unless(fault, claims)


def believed_once(
    token: str, keys: SigningKeys, *, issuer: str, client_id: str, nonce: str, fresh_within: float, now: float
) -> dict[str, Any]:
    """The claims of an id_token that was good when it was issued, for a sign-in at most `fresh_within` seconds before.

    How long ago it was issued is the caller's to judge, by `iat`. Raises `Untrusted`.
    """
    claims = signed_claims(token, keys, kinds=("JWT",))
    issued, expires, signed_in = (_time(claims.get(name)) for name in ("iat", "exp", "auth_time"))
    fault = _fault(claims, issuer, client_id, now) or _nonce_fault(claims, nonce)
    if fault:
        pass
    elif issued is None or expires is None or expires < issued:
        fault = "expiry"
    elif signed_in is None or not -LEEWAY <= issued - signed_in <= fresh_within + LEEWAY:
        fault = "no fresh sign-in"
    return _unless(fault, claims)


def believed_logout(token: str, keys: SigningKeys, *, issuer: str, client_id: str, now: float) -> dict[str, Any]:
    """The claims of a good logout token: `sid`, `sub` or both say whose sessions end; its `jti` counts once.

    Raises `UntrustedLogout`.
    """
    try:
        claims = signed_claims(token, keys, kinds=("JWT", "LOGOUT+JWT"))
    except Untrusted as error:
        raise UntrustedLogout(error.message) from error
    events, issued, expires = claims.get("events"), _time(claims.get("iat")), _time(claims.get("exp"))
    whose = [claims[name] for name in ("sub", "sid") if name in claims]
    fault = _fault(claims, issuer, client_id, now, subject_needed=False)
    if fault:
        pass
    elif not (isinstance(events, dict) and isinstance(events.get(LOGOUT_EVENT), dict)):
        fault = "it is no logout"
    elif "nonce" in claims:
        fault = "it is an id_token"
    elif not whose or not all(map(_name, whose)):
        fault = "it names nobody"
    elif not _name(claims.get("jti")):
        fault = "it has no name of its own"
    elif issued is None or now > issued + LOGOUT_AGE + LEEWAY:
        fault = "it is old"
    # `exp` became a must in the final specification; older providers leave it out.
    elif "exp" in claims and (expires is None or now > expires + LEEWAY):
        fault = "expired"
    if fault:
        raise UntrustedLogout(f"The logout token cannot be believed ({fault}).")
    return claims


def believed_access(
    token: str, keys: SigningKeys, *, issuer: str, audience: str, now: float, agents: str = ""
) -> dict[str, Any]:
    """The claims of a good access token for this service, which stands for a person (RFC 9068, section 4).

    Many providers call the kind of an access token plain `JWT`, as that of an id_token: so what only id_tokens carry
    is looked for as well, and the caller sees to it that `audience` is no client's id. `agents` is the id of the one
    client whose tokens need no person behind them. Raises `Untrusted`.
    """
    claims = signed_claims(token, keys, kinds=("AT+JWT", "JWT"))
    issued, expires = _time(claims.get("iat")), _time(claims.get("exp"))
    fault = ""
    if claims.get("iss") != issuer:
        fault = "another issuer"
    elif claims.get("aud") not in (audience, [audience]):
        fault = f"it is not for {audience} alone"
    elif not _ONLY_IN_ID_TOKENS.isdisjoint(claims) or claims.get("typ") == "ID":
        fault = "it is an id_token"
    elif issued is None or issued > now + LEEWAY:
        fault = "issued in the future"
    elif "nbf" in claims and ((starts := _time(claims["nbf"])) is None or starts > now + LEEWAY):
        fault = "not valid yet"
    elif expires is None or now > expires + LEEWAY:
        fault = "expired"
    elif not _name(claims.get("sub")):
        fault = "subject"
    # RFC 9068, section 2.2: so it is where no person is behind it.
    elif claims["sub"] != agents and claims["sub"] in [claims.get(name) for name in CLIENT_CLAIMS]:
        fault = "it stands for a program, not for a person"
    if fault:
        raise Untrusted(f"The access token cannot be believed ({fault}).")
    return claims


def roles_of(claims: Mapping[str, Any], claim_path: str, mapping: Mapping[str, list[str]]) -> frozenset[str]:
    """Roles by the groups that a claim lists; anything but a list of names gives none.

    `claim_path` is a claim's name (`groups`, `https://example.com/groups`) or leads into one, by dots
    (`realm_access.roles`).
    """
    found: Any = claims
    if claim_path in claims:
        found = claims[claim_path]
    else:
        for step in claim_path.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
    names = [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
    return roles_from_groups(names, dict(mapping))


def signed_claims(token: str, keys: SigningKeys, *, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The claims of a token that the provider signed and whose `typ` is of these kinds (in capitals).

    Whether they mean what the caller wants is still to be asked. Raises `Untrusted`.
    """
    at_hand = keys.keys()
    try:
        try:
            found = jwt.decode(token, at_hand, algorithms=ALGORITHMS)
        except (InvalidKeyIdError, BadSignatureError):
            # The provider may have changed its keys since; BadSignature where it gives them no names.
            found = jwt.decode(token, keys.keys(stale=at_hand), algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError) as error:
        raise Untrusted("The token is not signed by the sign-in provider as it must be. Sign in again.") from error
    if str(found.header.get("typ", "JWT")).upper().removeprefix("APPLICATION/") not in kinds:
        raise Untrusted("The sign-in provider's token is of another kind than is needed here. Sign in again.")
    return found.claims


def _fault(claims: dict[str, Any], issuer: str, client_id: str, now: float, *, subject_needed: bool = True) -> str:
    """What is wrong with the claims that every kind of token has, in a word; empty where nothing is."""
    issued = _time(claims.get("iat"))
    if claims.get("iss") != issuer:
        return "issuer"
    if claims.get("aud") not in (client_id, [client_id]):
        return "audience"
    if claims.get("azp", client_id) != client_id:
        return "authorized party"
    if issued is None or issued > now + LEEWAY:
        return "issued in the future"
    if subject_needed and not _name(claims.get("sub")):
        return "subject"
    return ""


def _nonce_fault(claims: dict[str, Any], nonce: str) -> str:
    return "" if nonce and claims.get("nonce") == nonce else "nonce"


def _unless(fault: str, claims: dict[str, Any]) -> dict[str, Any]:
    if fault:
        raise Untrusted(f"The sign-in provider's answer cannot be believed ({fault}). Sign in again.")
    return claims


def _name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _time(value: Any) -> float | None:
    """Seconds since the epoch (RFC 7519 NumericDate); None for anything else."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53
    return float(value) if good else None

"""Whether an id_token may be believed (OpenID Connect Core 1.0, section 3.1.3.7).

Authlib's own check is not used: seen of 1.9.9 is that it takes tokens 100 s past expiry and a foreign
audience with `azp` ours. Here the algorithms are named, so neither `none` nor a MAC under the provider's public
key passes; issuer, audience, nonce and times must fit; a token for anybody besides us is not ours.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from runbooks_app.core.errors import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

ALGORITHMS = ["RS256", "ES256"]
LEEWAY = 30
"""Seconds by which our clock and the provider's may differ."""


class Untrusted(Refused):
    """The provider's answer cannot be believed; nobody was signed in."""

    code = "untrusted_token"


class Keys:
    """The provider's public keys, fetched when first needed and again when a token was signed with another."""

    def __init__(self, fetch: Callable[[], dict[str, Any]]) -> None:
        """`fetch` gets the provider's JWKS; it raises `Unavailable` where that cannot be had."""
        self._fetch = fetch
        self._lock = threading.Lock()
        self._keys: KeySet | None = None

    def get(self, stale: KeySet | None = None) -> KeySet:
        """The keys; fetched again if those at hand are the ones that proved `stale`."""
        with self._lock:
            if self._keys is None or self._keys is stale:
                try:
                    self._keys = KeySet.import_key_set(self._fetch())  # type: ignore[arg-type]  # checked by joserfc
                except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
                    raise Unavailable("The sign-in provider publishes no keys that can be read.") from error
            return self._keys


def believed(
    token: str, keys: Keys, *, issuer: str, client_id: str, nonce: str, now: float | None = None
) -> dict[str, Any]:
    """The claims of a good id_token; raises `Untrusted` for every other, naming the check that failed."""
    claims = _signed(token, keys)
    fault = _fault(claims, issuer, client_id, nonce, time.time() if now is None else now)
    if fault:
        raise Untrusted(f"The sign-in provider's answer cannot be believed ({fault}). Sign in again.")
    return claims


def _signed(token: str, keys: Keys) -> dict[str, Any]:
    at_hand = keys.get()
    try:
        try:
            found = jwt.decode(token, at_hand, algorithms=ALGORITHMS)
        except (InvalidKeyIdError, BadSignatureError):
            # The provider may have changed its keys since; BadSignature where it gives them no names.
            found = jwt.decode(token, keys.get(stale=at_hand), algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError) as error:
        raise Untrusted("The sign-in provider's answer is not signed as it must be. Sign in again.") from error
    # An access token (RFC 9068: at+jwt) or any other kind of token is no id_token.
    if str(found.header.get("typ", "JWT")).upper() != "JWT":
        raise Untrusted("The sign-in provider sent another kind of token than an id_token. Sign in again.")
    if not isinstance(found.claims, dict):
        raise Untrusted("The sign-in provider's id_token holds no claims. Sign in again.")
    return found.claims


def _fault(claims: dict[str, Any], issuer: str, client_id: str, nonce: str, now: float) -> str:
    """What is wrong with the claims, in a word; empty where nothing is."""
    subject = claims.get("sub")
    expires, issued = _time(claims.get("exp")), _time(claims.get("iat"))
    if claims.get("iss") != issuer:
        return "issuer"
    if claims.get("aud") not in (client_id, [client_id]):
        return "audience"
    if claims.get("azp", client_id) != client_id:
        return "authorized party"
    if not nonce or claims.get("nonce") != nonce:
        return "nonce"
    if expires is None or now > expires + LEEWAY:
        return "expired"
    if issued is None or issued > now + LEEWAY:
        return "issued in the future"
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        return "subject"
    return ""


def _time(value: Any) -> float | None:
    """Seconds since the epoch (RFC 7519 NumericDate); None for anything else."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53
    return float(value) if good else None

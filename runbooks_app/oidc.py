"""The OpenID provider that people sign in with: what it publishes about itself, and its public keys.

Web, workers and the command line ask it each for themselves, so that none has to take another's word for a key.
Both documents are kept for an hour: a key that the provider withdrew is not believed for longer than that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import requests
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from runbooks_app.core.errors import Misconfigured, Unavailable

log = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
KEPT = 3600
"""Seconds for which a document is good."""
REST = 10
"""Seconds between two fetches of keys that were asked for because of an unknown one: tokens are anybody's to send."""
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
KNOWN = (*NEEDED, "end_session_endpoint", "device_authorization_endpoint", "revocation_endpoint", "userinfo_endpoint")

T = TypeVar("T")


class NoProvider(Unavailable):
    """The sign-in provider does not answer: until it does nobody signs in or approves high risk; all else goes on."""

    code = "no_provider"


class OpenIDProvider:
    """A provider by its issuer. `patience` is the seconds that it has for each answer."""

    def __init__(self, issuer: str, *, patience: float = 10) -> None:
        self.issuer = issuer
        self._patience = patience
        self._metadata: _Kept[Mapping[str, Any]] = _Kept(self._fetch_metadata)
        self._keys: _Kept[KeySet] = _Kept(self._fetch_keys)

    def metadata(self, fresh_within: float = KEPT) -> Mapping[str, Any]:
        """What it publishes about itself, no older than so many seconds.

        Raises `NoProvider` where it does not answer, and `Misconfigured` where it is not the one that was named.
        """
        return self._metadata.get(fresh_within)

    def keys(self, stale: KeySet | None = None) -> KeySet:
        """Its public keys. Fetched anew if those at hand are the ones that proved `stale`, once in `REST` seconds.

        Raises `NoProvider`, or `Unavailable` where it publishes none that can be read.
        """
        return self._keys.get(KEPT, stale)

    def _fetch_metadata(self) -> Mapping[str, Any]:
        found = self._json(self.issuer.rstrip("/") + DISCOVERY, "discovery")
        places = {name: found[name] for name in KNOWN if found.get(name) is not None}
        if found.get("issuer") != self.issuer:
            fault = "names another issuer"
        elif not all(name in places for name in NEEDED) or not all(map(_is_address, places.values())):
            fault = "lacks an endpoint"
        elif self.issuer.startswith("https://") and not all(p.startswith("https://") for p in places.values()):
            fault = "names an endpoint without https"
        else:
            return found
        log.error("The provider at RUNBOOKS_OIDC_ISSUER %s in its discovery document; nobody can sign in.", fault)
        raise Misconfigured(f"Signing in is not possible: the provider {fault} in its discovery document.")

    def _fetch_keys(self) -> KeySet:
        found = self._json(self.metadata()["jwks_uri"], "its keys")
        try:
            return KeySet.import_key_set(found)  # type: ignore[arg-type]  # checked by joserfc
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unavailable("The sign-in provider publishes no keys that can be read.") from error

    def _json(self, address: str, what: str) -> dict[str, Any]:
        try:
            wanted = {"Accept": "application/json"}
            # A redirect could lead away from https, and so to somebody else's keys.
            answer = requests.get(address, timeout=self._patience, headers=wanted, allow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
            if answer.is_redirect or not isinstance(found, dict):
                raise TypeError("no JSON object")  # noqa: TRY301 -- told like every other answer that is none
        except (requests.RequestException, ValueError, TypeError) as error:
            log.warning("The sign-in provider did not answer (%s: %s).", what, type(error).__name__)
            raise NoProvider from error
        return found


class _Kept(Generic[T]):
    """A document, fetched when first needed and again when it is too old.

    While one thread fetches the others wait for what it brings, be it an error: a provider that hangs must not hold
    up each of them in turn. Whoever is content with what is at hand does not wait at all: a token that somebody made
    up, which has it fetched anew, must not hold up those whose tokens are good.
    """

    def __init__(self, fetch: Callable[[], T]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._kept: tuple[T, float] | None = None  # and since when
        self._failure: Exception | None = None
        self._failed_at = self._doubted_at = float("-inf")

    def get(self, fresh_within: float, stale: T | None = None) -> T:
        asked = time.monotonic()
        kept = self._kept
        if stale is None and kept is not None and asked < kept[1] + fresh_within:
            return kept[0]
        with self._lock:
            if self._failure is not None and asked < self._failed_at:
                raise self._failure
            kept = self._kept
            if kept is not None and asked < kept[1] + fresh_within:
                if kept[0] is not stale or asked < self._doubted_at + REST:
                    return kept[0]
                self._doubted_at = asked
            try:
                found = self._fetch()
            except Exception as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise
            self._kept = (found, time.monotonic())
            return found


def _is_address(place: object) -> bool:
    try:
        return isinstance(place, str) and urlsplit(place).scheme in {"http", "https"} and bool(urlsplit(place).hostname)
    except ValueError:
        return False

"""The issuer of run tokens. Only workers have one; the private keys stay in it and in their folder.

issuer.sign_with(key)                            # once its public half is published and committed
token = issuer.token("sts.amazonaws.com", purpose)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from joserfc import jwt
from joserfc.jwk import RSAKey
from opentelemetry import metrics

from runbooks_app.asking import ask
from runbooks_app.core.errors import InvalidInput, Misconfigured, RunbooksError, Unavailable
from runbooks_app.core.run_identity import ALGORITHM, Purpose, claims, thumbprint
from runbooks_app.credentials.key_folder import KeyFolder

STALE = 3600.0
"""Seconds for which a key signs that nobody has looked after: it may have been withdrawn meanwhile."""

_TOKENS = metrics.get_meter("runbooks.identity").create_counter(
    "runbooks.identity.tokens", unit="{token}", description="Run tokens that were signed, by stage."
)


@dataclass
class Issuer:
    """Signs for `url`. With `jwks_uri` its keys are published there by hand. `clock` gives seconds since the epoch."""

    url: str
    folder: KeyFolder
    jwks_uri: str = ""
    clock: Callable[[], float] = time.time
    _key: RSAKey | None = field(default=None, repr=False)
    _looked: float = 0.0
    _trouble: RunbooksError | None = None

    def token(self, audience: str, purpose: Purpose) -> str:
        """A token for this audience and purpose, with an id of its own.

        Raises `InvalidInput` for a purpose that lacks a part, and `Unavailable` or `Misconfigured` where no key may
        sign, with the mend.
        """
        said = claims(purpose, issuer=self.url, audience=audience, now=self.clock(), jti=secrets.token_urlsafe(24))
        key = self._key
        # By a clock that nobody sets: the other one may jump when it is put right.
        if key is None or time.monotonic() - self._looked > STALE:
            raise self._trouble or Unavailable("No key of the run identity is published yet; try again in a minute.")
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": thumbprint(key.as_dict(private=False))}
        _TOKENS.add(1, {"runbooks.stage": purpose.stage})
        return jwt.encode(header, said, key, algorithms=[ALGORITHM])

    def sign_with(self, key: RSAKey) -> None:
        """Sign with this key from now on; it is published, and that is committed."""
        self._key, self._looked, self._trouble = key, time.monotonic(), None

    def fail(self, trouble: RunbooksError, *, at_once: bool = False) -> None:
        """Its keys could not be looked after: say so, `at_once` or when the key at hand may have been withdrawn."""
        self._trouble = trouble
        if at_once:
            self._key = None

    def usable(self) -> frozenset[str] | None:
        """Thumbprints of what is published by hand; None where that is not done."""
        if not self.jwks_uri:
            return None
        answer = ask("RUNBOOKS_IDENTITY_JWKS_URI", "GET", self.jwks_uri)
        keys = answer.object().get("keys")
        if answer.status != HTTPStatus.OK or not isinstance(keys, list):
            raise Misconfigured(
                f"RUNBOOKS_IDENTITY_JWKS_URI: {self.jwks_uri} gives no keys (status {answer.status}). "
                "Publish there what `runbooks identity jwks` prints."
            )
        return frozenset(filter(None, map(_name, keys)))


def _name(jwk: object) -> str:
    try:
        return thumbprint(jwk)
    except InvalidInput:
        return ""  # somebody else's, of another kind

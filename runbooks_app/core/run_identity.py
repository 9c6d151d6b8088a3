"""Run identity: what a run token says of one stage of one run, and which key signs it when.

A run token is a JWT (RFC 7519) that workers sign for one audience: a cloud, a vault, a cluster. Whoever is asked to
trust it pins `sub`, which names the runbook, the environment and the stage, since AWS can condition on `aud` and `sub`
alone. Keys are held, published and used elsewhere; the rules of their rotation stand here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from runbooks_app.core.errors import InvalidInput

STAGES = ("diagnose", "remediate")

TOKEN_SECONDS = 300
"""How long a run token is good."""

EARLIER = 30
"""Seconds by which a token is good before it was made: the clock of whoever reads it may be behind."""

AHEAD = timedelta(days=1)
"""For so long a key is published before it signs: whoever keeps the keys has fetched it by then."""

AFTER = timedelta(days=1, seconds=TOKEN_SECONDS)
"""For so long a key stays published after it has signed: until its tokens have lapsed, and a day."""

FORGOTTEN = AFTER
"""A published key that no worker has had in its folder for so long signs no more."""

ALGORITHM = "RS256"
"""What every consumer takes: AWS, GCP, Vault and Kubernetes."""

TAGS = "https://aws.amazon.com/tags"
"""The claim from which AWS STS takes session tags."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENVIRONMENT = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(frozen=True)
class Purpose:
    """What a credential is for: told to the system it is minted in.

    `stage` is `diagnose` (also for verification) or `remediate`; `lifetime` is in seconds. `runbook_id` is the
    runbook's immutable one, `environment` this installation's name, `requesters` the subjects of the people behind
    the run. A remediation names its proposal and the subjects of those who approved. `cells` are digests of the
    sources of the cells that may use it. `identity` gives a run token for an audience; it is None where the service
    has no run identity. `renewed` is told, before it is used, that the credential of this name was given anew and for
    how many seconds.
    """

    run_id: str
    stage: str
    lifetime: int
    proposal_id: str | None = None
    approvers: tuple[str, ...] = ()
    runbook_id: str = ""
    runbook_digest: str = ""
    params_digest: str = ""
    environment: str = ""
    requesters: tuple[str, ...] = ()
    proposal_digest: str = ""
    cells: tuple[str, ...] = ()
    identity: Callable[[str], str] | None = field(default=None, repr=False, compare=False)
    renewed: Callable[[str, int], None] | None = field(default=None, repr=False, compare=False)


def subject(runbook_id: str, environment: str, stage: str) -> str:
    """The `sub` of a runbook's tokens in one stage. Raises `InvalidInput` where a part could pass for another."""
    if not _UUID.fullmatch(runbook_id) or not _ENVIRONMENT.fullmatch(environment) or stage not in STAGES:
        raise InvalidInput(
            f"There is no run identity for runbook {runbook_id!r}, environment {environment!r} and stage {stage!r}."
        )
    return f"runbook:{runbook_id}:env:{environment}:stage:{stage}"


def claims(purpose: Purpose, *, issuer: str, audience: str, now: float, jti: str) -> dict[str, Any]:
    """What a token says; `now` is in seconds since the epoch. Raises `InvalidInput` for a purpose that lacks a part."""
    named = subject(purpose.runbook_id, purpose.environment, purpose.stage)
    about = {"run_id": purpose.run_id, "runbook_digest": purpose.runbook_digest, "params_digest": purpose.params_digest}
    people = {"requested_by": list(purpose.requesters)}
    if purpose.stage == "remediate":
        about |= {"proposal_id": purpose.proposal_id or "", "proposal_digest": purpose.proposal_digest}
        people["approved_by"] = list(purpose.approvers)
        if not purpose.approvers:
            raise InvalidInput("A remediation whose approvers are not known has no run identity.")
    if lacking := [name for name, value in {**about, "audience": audience}.items() if not value]:
        raise InvalidInput(f"There is no run identity without {' and '.join(lacking)}.")
    issued = int(now)
    return {
        "iss": issuer,
        "aud": audience,
        "sub": named,
        "iat": issued,
        "nbf": issued - EARLIER,
        "exp": issued + TOKEN_SECONDS,
        "jti": jti,
        "stage": purpose.stage,
        "environment": purpose.environment,
        "runbook_id": purpose.runbook_id,
        **about,
        **people,
        TAGS: _tags(purpose),
    }


def _tags(purpose: Purpose) -> dict[str, Any]:
    """Session tags as AWS wants them. It takes no # in them, which subjects of people have: the run leads to those."""
    tags = {
        "runbook_id": purpose.runbook_id,
        "run_id": purpose.run_id,
        "environment": purpose.environment,
        "stage": purpose.stage,
    }
    if purpose.stage == "remediate":
        tags["proposal_id"] = purpose.proposal_id or ""
    return {"principal_tags": {name: [value] for name, value in tags.items()}, "transitive_tag_keys": list(tags)}


def thumbprint(jwk: object) -> str:
    """The key's name: RFC 7638, by SHA-256. Raises `InvalidInput` for what is no RSA key."""
    if (
        not isinstance(jwk, Mapping)
        or jwk.get("kty") != "RSA"
        or not all(isinstance(jwk.get(part), str) for part in ("e", "n"))
    ):
        raise InvalidInput("This is no RSA key.")
    named = json.dumps({part: jwk[part] for part in ("e", "kty", "n")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(named.encode()).digest()).rstrip(b"=").decode()


def discovery(issuer: str, jwks_uri: str) -> dict[str, Any]:
    """What stands at the issuer's `/.well-known/openid-configuration`: as much as those want who verify tokens."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "scopes_supported": ["openid"],
        "claims_supported": [
            *("iss", "aud", "sub", "iat", "nbf", "exp", "jti", "stage", "environment", "runbook_id", "run_id"),
            *("runbook_digest", "params_digest", "requested_by", "approved_by", "proposal_id", "proposal_digest"),
            TAGS,
        ],
    }


@dataclass(frozen=True)
class Key:
    """A key that is published, by its thumbprint, and since when."""

    kid: str
    published_at: datetime


@dataclass(frozen=True)
class Turn:
    """What is to be done with the keys of a folder: which one signs (None: none may), which go, whether one is made."""

    signs: Key | None
    withdraw: tuple[Key, ...]
    make: bool


def turn(keys: Iterable[Key], now: datetime, days: int, usable: Container[str] | None = None) -> Turn:
    """The rules of rotation. `keys` are published, and their private halves are at hand.

    A new key signs when it has been published for `AHEAD`; until then the one before it does, and the very first signs
    at once. The next is made `days` after the one that signs. With `usable` none signs that is not in it.
    """
    known = sorted(keys, key=lambda key: (key.published_at, key.kid))
    ready = [key for key in known if usable is None or key.kid in usable]
    ripe = [key for key in ready if key.published_at + AHEAD <= now]
    signs = ripe[-1] if ripe else ready[0] if ready else None
    if signs is None:
        return Turn(None, (), make=not known)
    signed_since = signs.published_at + AHEAD
    older = tuple(key for key in known if known.index(key) < known.index(signs))
    return Turn(
        signs,
        older if signed_since + AFTER <= now else (),
        make=signs is known[-1] and signs.published_at + timedelta(days=days) <= now,
    )

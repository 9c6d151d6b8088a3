"""Signed decisions as people make them: tokens that a provider would issue after a fresh sign-in, by keys at hand.

Whatever is about the provider itself goes through a real one over HTTP (`hostile_provider`, `tests/identity`).
"""

from __future__ import annotations

import time
from typing import Any

from hostile_provider import CLIENT_ID, RSA, rs256
from joserfc.jwk import KeySet

from runbooks_app.actions import deciding
from runbooks_app.actions.context import Service
from runbooks_app.actions.signatures import Checked, Signatures
from runbooks_app.core.digests import decision_nonce
from runbooks_app.core.people import Person
from runbooks_app.store import proposals
from runbooks_app.store.database import reading
from runbooks_app.store.records import Proposal

WEB = {"surface": "web", "auth_time": 1}
ROLES = {name: [name] for name in ("responder", "approver:database", "approver:payments", "break-glass")}
"""Each of these roles by a group of the same name."""


class KeysAtHand:
    """The provider's keys without a provider."""

    def __init__(self, *keys: Any) -> None:
        self.held = KeySet(list(keys))

    def keys(self, stale: KeySet | None = None) -> KeySet:  # noqa: ARG002 -- there are no others
        return self.held


def signatures(issuer: str = "https://idp", **changes: Any) -> Signatures:
    """What a worker checks signatures by."""
    return Signatures(**{"keys": KeysAtHand(RSA), "issuer": issuer, "client_id": CLIENT_ID, "roles": ROLES, **changes})


def checked(service: Service, proposal_id: str, by: Signatures | None = None) -> Checked:
    """What a worker finds the approvals of a proposal to be worth, before it writes anything."""
    with reading(service.engine) as tx:
        proposal = proposals.get(tx, proposal_id)
    return (by or signatures()).check(proposal, time.time())


def id_token(person: Person, digest: str, said: str = "approve", sign: Any = rs256, **claims: Any) -> str:
    """The provider's word that this person has signed in just now, for this answer on this proposal."""
    issuer, _, sub = person.subject.partition("#")
    now = int(time.time())
    told = {"iss": issuer, "sub": sub, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "auth_time": now - 3}
    groups = sorted(person.roles)
    return sign({**told, "groups": groups, "nonce": decision_nonce(digest, said), **claims})


def approve(service: Service, person: Person, proposal: Proposal, reason: str = "", **claims: Any) -> Proposal:
    """Approve as the page does once the person is back from the provider."""
    token = id_token(person, proposal.digest, **claims)
    return deciding.decide(service, person, WEB, proposal.id, "approve", proposal.digest, reason, id_token=token)

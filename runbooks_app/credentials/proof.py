"""Proving that a diagnosis cannot write: a credential minted for diagnosing is held against the system that it opens.

    proof = prove(connection, source, credential)
    proof.holds     True: it cannot write · False: it can, and `says` names how · None: nobody can tell from here

The system itself is asked, by its own rules of permission, and a few statements are tried where they can be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runbooks_app.core.http_rules import Rule
from runbooks_app.core.wording import one_line
from runbooks_app.credentials import kubernetes_proof, postgres_proof
from runbooks_app.credentials.findings import Found
from runbooks_app.credentials.provider import Credential, Endpoint, Provider, Source
from runbooks_app.credentials.vault import Vault

MOST_SAID = 6
"""Findings that are told one by one."""
MOST_LETTERS = 200
"""Of one finding."""


class System(Endpoint, Protocol):
    """The part of a connection that a proof needs."""

    @property
    def kind(self) -> str:
        """`postgres` or `http`."""

    @property
    def ca_file(self) -> str:
        """Certificates to believe of it; empty: the machine's."""

    @property
    def diagnose_rules(self) -> Sequence[Rule]:
        """What the gateway lets a diagnosis send."""

    @property
    def remediate(self) -> Source | None:
        """Where credentials come from that may change something."""


@dataclass(frozen=True)
class Proof:
    """What came of it. `says` tells people, with the mend; `tried` is what was looked for and tried, for those who ask.

    `says` stays the same while what it tells of does: counts that move from hour to hour stand in `tried` alone.
    """

    holds: bool | None
    says: str
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """A credential for diagnosing, where it comes from, and the provider that minted it."""

    source: Source
    provider: Provider
    credential: Credential


def prove(connection: System, held: Held | None) -> Proof:
    """What this credential may change; without one, what anybody may who asks.

    Raises `Unavailable` or `Misconfigured` where the system does not answer, or not with what was asked for.
    """
    if held is None:
        return Proof(None, f"It is asked without a credential, and what anybody may do there is unknown: {GATEWAY}.")
    options = held.source.options
    beyond = _beyond(connection, held)
    if beyond:
        return _of(Found(writes=beyond), f"Take that away from the policies of {options['login_role']}.")
    if connection.kind == "postgres":
        role = options.get("role", "the role of this login")
        return _of(
            postgres_proof.examine(connection, held.credential),
            f"Revoke it from {role}, and from PUBLIC if everybody has it.",
        )
    if held.source.provider == "kubernetes":
        cluster = kubernetes_proof.Cluster(connection.name, connection.url, connection.ca_file, held.credential)
        found = kubernetes_proof.examine(cluster, connection.diagnose_rules)
        return _of(found, "Take it away from the roles that the cluster binds to diagnoses.")
    return Proof(None, UNPROVABLE[held.source.provider].format(scope=held.credential.scope))


GATEWAY = "the gateway's rules are all that holds a diagnosis"
UNPROVABLE = {
    "static": f"It is a standing credential, the same for every run, and nobody can ask what it may do: {GATEWAY}. "
    "Give it no more rights than reading.",
    "vault": f"What this secret may do at the system cannot be asked: {GATEWAY}. Have Vault give one that only reads.",
    "aws": "AWS does not tell a session all that its role may do: the role's policies, the session policy and the "
    "gateway's rules are all that holds a diagnosis. Give the role actions alone that read.",
    "token-exchange": "The token is of scope {scope!r}, no more than was asked for; what that lets it do at the system "
    f"cannot be asked: {GATEWAY}.",
}
"""By provider of HTTP credentials: what nobody can prove, and what holds nevertheless."""


def _beyond(connection: System, held: Held) -> list[str]:
    """What the login that gave this credential may have besides: in Vault, the secret of a remediation."""
    other = connection.remediate
    if not isinstance(held.provider, Vault) or other is None or other.provider != held.source.provider:
        return []
    if other.options["address"] != held.source.options["address"]:
        return []
    path = other.options["path"]
    able = held.provider.may(connection, held.credential.identity, path)
    return [f"{', '.join(able)} in Vault at {path}, which is for remediations"] if able != ["deny"] else []


def _of(found: Found, mend: str) -> Proof:
    tried = tuple(one_line(what, MOST_LETTERS) for what in found.tried)
    if found.writes:
        return Proof(False, f"A diagnosis can change something: {_told(found.writes)}. {mend}", tried)
    if found.doubtful:
        told = f"Nothing proves that a diagnosis only reads: {_told(found.doubtful)}."
        return Proof(None, f"{told} {mend} Or see for yourself that it is harmless.", tried)
    remains = f" What every login may do remains: {', '.join(found.remains)}." if found.remains else ""
    return Proof(True, f"A diagnosis cannot change data.{remains}", tried)


def _told(findings: Sequence[str]) -> str:
    """Some of them; names are whatever the system's people gave to things, and are shown to terminals, too."""
    more = len(findings) - MOST_SAID
    told = [one_line(finding, MOST_LETTERS) for finding in findings[:MOST_SAID]]
    return "; ".join([*told, *([f"and {more} more"] if more > 0 else [])])

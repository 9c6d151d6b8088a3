"""Proving that a diagnosis cannot write: a credential minted for diagnosing is held against the system that it opens.

    proof = prove(connection, source, credential)
    proof.holds     True: it cannot write · False: it can, and `says` names how · None: nobody can tell from here

The system itself is asked, by its own rules of permission, and a few statements are tried where they can be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runbooks_app.credentials import postgres_proof
from runbooks_app.credentials.provider import Credential, Endpoint, Source

MOST_SAID = 6
"""Findings that are told one by one."""


class System(Endpoint, Protocol):
    """The part of a connection that a proof needs."""

    @property
    def kind(self) -> str:
        """`postgres` or `http`."""


@dataclass(frozen=True)
class Proof:
    """What came of it. `says` tells people, with the mend; `tried` is what was looked for and tried, for those who ask.

    `says` stays the same while what it tells of does: counts that move from hour to hour stand in `tried` alone.
    """

    holds: bool | None
    says: str
    tried: tuple[str, ...] = ()


def prove(connection: System, source: Source | None, credential: Credential | None) -> Proof:
    """What this credential of the stage `diagnose` may change; without one, what anybody may who asks.

    Raises `Unavailable` where the system does not answer, or not with what was asked for.
    """
    if source is None or credential is None:
        return Proof(None, f"It is asked without a credential. {GATEWAY}")
    if connection.kind == "postgres":
        return _of_login(source, postgres_proof.examine(credential))
    return _OF_HTTP[source.provider](credential)


GATEWAY = (
    "What a request without one may change there cannot be asked: the gateway's rules are all that holds a diagnosis."
)


def _of_login(source: Source, found: postgres_proof.Found) -> Proof:
    role = source.options.get("role", "the role of this login")
    tried = tuple(found.tried)
    if found.writes:
        mend = f"Revoke this from {role}, and from PUBLIC where everybody has it."
        return Proof(False, f"A diagnosis can change something: {_told(found.writes)}. {mend}", tried)
    if found.doubtful:
        mend = f"Revoke it from {role} and from PUBLIC, or see for yourself that it only reads."
        return Proof(None, f"Nothing proves that a diagnosis only reads: {_told(found.doubtful)}. {mend}", tried)
    remains = ", ".join(found.remains)
    return Proof(True, f"A diagnosis cannot change data. What every login may do remains: {remains}.", tried)


def _told(findings: Sequence[str]) -> str:
    more = len(findings) - MOST_SAID
    return "; ".join([*findings[:MOST_SAID], *([f"and {more} more"] if more > 0 else [])])


def _of_static(_: Credential) -> Proof:
    return Proof(
        None,
        "It is a standing credential, the same for every run, and nobody can ask what it may do: "
        "the gateway's rules are all that holds a diagnosis. Give it no more rights than reading.",
    )


def _of_aws(_: Credential) -> Proof:
    return Proof(
        None,
        "AWS tells a session nothing of all that its role may: the role's policies, the session policy and the "
        "gateway's rules are all that hold a diagnosis. Give the role actions alone that read.",
    )


def _of_secret(_: Credential) -> Proof:
    return Proof(
        None,
        "What this secret may do at the system cannot be asked: the gateway's rules are all that holds a diagnosis. "
        "Have Vault give one that reads alone.",
    )


_OF_HTTP: dict[str, Callable[[Credential], Proof]] = {"static": _of_static, "aws": _of_aws, "vault": _of_secret}
"""By provider: how what it gives for HTTP systems is proved."""

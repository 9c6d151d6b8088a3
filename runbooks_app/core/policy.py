"""Who may decide on a proposal, how many of them, and until when.

A connection has a policy floor; a runbook's gate may tighten it and never loosen it. What results is a
`Policy`, copied onto the proposal when it is made: later edits of settings or runbook do not touch it.

Approvers are held as clauses, an AND of ORs: `(("database",), ("payments", "sre"))` lets those decide who
are approvers for `database` and for one of `payments` or `sre`. Each floor and each gate adds a clause, so
a gate can only make the circle smaller.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from runbooks_app.core.errors import Misconfigured, Problem

if TYPE_CHECKING:
    from runbooks_app.core.runbook import Gate

DEFAULT_EXPIRY = 30 * 60
"""Seconds that a proposal waits where neither gate nor floor says otherwise."""


class Risk(StrEnum):
    """How much harm an action can do; ordered."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Risk).index(self)


@dataclass(frozen=True)
class Floor:
    """The least that a connection asks of every action on it.

    `recheck=False` lets a gate switch the re-check off. `expires` is the longest that a proposal may wait,
    in seconds.
    """

    risk: Risk = Risk.LOW
    approvals: int = 1
    approvers: tuple[str, ...] = ()
    recheck: bool = True
    expires: int | None = None


@dataclass(frozen=True)
class Policy:
    """What binds one proposal. `approvers` are clauses (see above); `expires` is in seconds."""

    risk: Risk
    approvals: int
    approvers: tuple[tuple[str, ...], ...]
    expires: int
    recheck: bool

    def may_be_decided_by(self, groups: frozenset[str]) -> bool:
        """Whether an approver for these groups satisfies every clause; no clause at all lets nobody."""
        return bool(self.approvers) and all(not groups.isdisjoint(clause) for clause in self.approvers)

    def as_json(self) -> dict[str, Any]:
        """The form that is stored, digested and shown."""
        return {
            "risk": str(self.risk),
            "approvals": self.approvals,
            "approvers": [list(clause) for clause in self.approvers],
            "expires": self.expires,
            "recheck": self.recheck,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Policy:
        """The policy as it was copied onto a proposal."""
        return cls(
            risk=Risk(stored["risk"]),
            approvals=stored["approvals"],
            approvers=tuple(tuple(clause) for clause in stored["approvers"]),
            expires=stored["expires"],
            recheck=stored["recheck"],
        )


def bind(gate: Gate, floors: dict[str, Floor], *, by_hand: bool = False) -> Policy:
    """Policy of a proposal: the gate's wishes, tightened by the floor of each connection it opens.

    `floors` maps connection names to floors. A proposal by hand is always high risk. Raises
    `Misconfigured` where a connection names no approvers: then nobody could decide.
    """
    missing = [name for name, floor in floors.items() if not floor.approvers]
    if missing or not floors:
        raise Misconfigured(
            f"Nobody may approve {gate.name!r}.",
            problems=tuple(
                Problem(name, "has no approvers.", f"Set approvers under [{name}.floor] in the connections file.")
                for name in missing
            )
            or (
                Problem(
                    gate.name, "opens no connection.", "Open one in the remediation cell with kit.postgres or kit.http."
                ),
            ),
        )
    risks: Iterable[Risk] = [gate.risk, *(floor.risk for floor in floors.values())]
    waits = [gate.expires, *(floor.expires for floor in floors.values())]
    clauses = {floor.approvers for floor in floors.values()} | ({gate.approvers} if gate.approvers else set())
    return Policy(
        risk=Risk.HIGH if by_hand else max(risks, key=lambda risk: risk.rank),
        approvals=max([gate.approvals or 1, *(floor.approvals for floor in floors.values())]),
        approvers=tuple(sorted(clauses)),
        expires=min((wait for wait in waits if wait is not None), default=DEFAULT_EXPIRY),
        recheck=gate.recheck or any(floor.recheck for floor in floors.values()),
    )


def looser(policy: Policy, least: Policy) -> str:
    """What a proposal's policy asks less of than `least` does, in words; empty where it asks for as much."""
    faults = {
        "risk": policy.risk.rank < least.risk.rank,
        "approvals": policy.approvals < least.approvals,
        "approvers": not set(least.approvers) <= set(policy.approvers),
        "time": policy.expires > least.expires,
        "re-check": least.recheck and not policy.recheck,
    }
    return ", ".join(name for name, fault in faults.items() if fault)

"""Life cycle of a proposal, and of the verification beside it.

    proposed  → approved | denied | expired | withdrawn | stale
    approved  → executing | denied | withdrawn | expired | stale      (all until the start row)
    executing → applied | failed | unknown

    verification: pending → verified | not_verified | not_possible

`unknown` means that the worker went away while it executed: the effect may be whole, partial or none. It is
never tried again.
"""

from __future__ import annotations

from enum import StrEnum

from runbooks_app.core.errors import Conflict


class ProposalState(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    STALE = "stale"
    EXECUTING = "executing"
    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Verification(StrEnum):
    """What the verification cells said after the remediation."""

    PENDING = "pending"
    VERIFIED = "verified"
    NOT_VERIFIED = "not_verified"
    NOT_POSSIBLE = "not_possible"


_CLOSED = frozenset({ProposalState.DENIED, ProposalState.EXPIRED, ProposalState.WITHDRAWN, ProposalState.STALE})

TRANSITIONS: dict[ProposalState, frozenset[ProposalState]] = {
    ProposalState.PROPOSED: _CLOSED | {ProposalState.APPROVED},
    ProposalState.APPROVED: _CLOSED | {ProposalState.EXECUTING},
    ProposalState.EXECUTING: frozenset({ProposalState.APPLIED, ProposalState.FAILED, ProposalState.UNKNOWN}),
    **dict.fromkeys(
        [*_CLOSED, ProposalState.APPLIED, ProposalState.FAILED, ProposalState.UNKNOWN], frozenset[ProposalState]()
    ),
}

OPEN = frozenset({ProposalState.PROPOSED, ProposalState.APPROVED})
"""States in which a proposal can still be stopped."""


def move(current: ProposalState, to: ProposalState) -> ProposalState:
    """The next state, or `Conflict` where the table has no such step."""
    if to not in TRANSITIONS[current]:
        raise Conflict(f"The proposal is {current}; it cannot become {to}.")
    return to


VERIFICATION_TRANSITIONS: dict[Verification, frozenset[Verification]] = {
    Verification.PENDING: frozenset({Verification.VERIFIED, Verification.NOT_VERIFIED, Verification.NOT_POSSIBLE}),
    Verification.VERIFIED: frozenset(),
    Verification.NOT_VERIFIED: frozenset(),
    Verification.NOT_POSSIBLE: frozenset(),
}


def move_verification(current: Verification, to: Verification) -> Verification:
    """The next state of the verification, or `Conflict` where the table has no such step."""
    if to not in VERIFICATION_TRANSITIONS[current]:
        raise Conflict(f"The verification is {current.replace('_', ' ')} already.")
    return to

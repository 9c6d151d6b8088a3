"""Who broke the glass, and whether somebody has looked at it since."""

from __future__ import annotations

from runbooks_app.core.errors import NotFound
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import BreakGlass


def insert(tx: Transaction, proposal_id: str, subject: str, name: str, reason: str, *, signed: bool) -> None:
    """Keep it as open."""
    tx.execute(
        """INSERT INTO break_glass (proposal_id, subject, name, reason, signed)
           VALUES (:proposal_id, :subject, :name, :reason, :signed)""",
        proposal_id=proposal_id,
        subject=subject,
        name=name,
        reason=reason,
        signed=signed,
    )


def get(tx: Transaction, proposal_id: str) -> BreakGlass:
    """The break-glass on this proposal, or `NotFound`."""
    found = find(tx, proposal_id)
    if found is None:
        raise NotFound(f"Nobody broke the glass for proposal {proposal_id[:40]!r}.")
    return found


def find(tx: Transaction, proposal_id: str) -> BreakGlass | None:
    """The break-glass on this proposal, if there is one."""
    row = tx.execute("SELECT * FROM break_glass WHERE proposal_id = :id", id=proposal_id).first()
    return BreakGlass.of(row) if row else None


def unreviewed(tx: Transaction) -> list[BreakGlass]:
    """The open ones, oldest first."""
    return BreakGlass.every(tx.execute("SELECT * FROM break_glass WHERE reviewed_at IS NULL ORDER BY at"))


def reviewed(tx: Transaction, limit: int) -> list[BreakGlass]:
    """The closed ones, newest first."""
    rows = tx.execute("SELECT * FROM break_glass WHERE reviewed_at IS NOT NULL ORDER BY at DESC LIMIT :n", n=limit)
    return BreakGlass.every(rows)


def close(tx: Transaction, proposal_id: str, reviewer: str, name: str, review: str) -> None:
    """Close it with a review; raises `Conflict` where somebody else just did."""
    tx.moved(
        "The break-glass",
        """UPDATE break_glass SET reviewed_by = :subject, reviewer = :name, review = :review, reviewed_at = now()
           WHERE proposal_id = :id AND reviewed_at IS NULL""",
        id=proposal_id,
        subject=reviewer,
        name=name,
        review=review,
    )

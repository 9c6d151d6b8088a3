"""Proposals and the decisions on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from runbooks_app.core.errors import NotFound
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import DecisionRow, Proposal


def insert(tx: Transaction, proposal: dict[str, Any], expires: int) -> None:
    """Write a new proposal that expires in so many seconds by the database's clock."""
    columns, values = ", ".join(proposal), ", ".join(":" + c for c in proposal)
    tx.execute(
        f"INSERT INTO proposals ({columns}, expires_at) VALUES ({values}, now() + make_interval(secs => :expires))",
        **proposal,
        expires=expires,
    )


def get(tx: Transaction, proposal_id: str, *, lock: bool = False) -> Proposal:
    """The proposal with its decisions, or `NotFound`; `lock` holds its row until commit."""
    row = tx.execute(f"SELECT * FROM proposals WHERE id = :id {'FOR UPDATE' if lock else ''}", id=proposal_id).first()
    if row is None:
        raise NotFound(f"There is no proposal {proposal_id[:40]!r}.")
    return _with_decisions(tx, [Proposal.of(row)])[0]


def of_run(tx: Transaction, run_id: str) -> list[Proposal]:
    """Proposals of a run, in order."""
    rows = tx.execute("SELECT * FROM proposals WHERE run_id = :id ORDER BY proposed_at, id", id=run_id)
    return _with_decisions(tx, [Proposal.of(row) for row in rows])


def of_incident(tx: Transaction, incident_id: int) -> list[Proposal]:
    """Proposals of an incident's runs, in order."""
    rows = tx.execute(
        """SELECT p.* FROM proposals p JOIN runs r ON r.id = p.run_id
           WHERE r.incident_id = :id ORDER BY p.proposed_at, p.id""",
        id=incident_id,
    )
    return _with_decisions(tx, [Proposal.of(row) for row in rows])


def waiting(tx: Transaction, limit: int = 200) -> list[Proposal]:
    """Proposals that can be decided right now, those that expire first at the top."""
    rows = tx.execute(
        """SELECT * FROM proposals WHERE state = 'proposed' AND expires_at > now()
           ORDER BY expires_at LIMIT :limit""",
        limit=limit,
    )
    return _with_decisions(tx, [Proposal.of(row) for row in rows])


def undecided(tx: Transaction, incident_id: int) -> int:
    """How many proposals of an incident can be decided right now."""
    count: int = tx.execute(
        """SELECT count(*) FROM proposals p JOIN runs r ON r.id = p.run_id
           WHERE r.incident_id = :id AND p.state = 'proposed' AND p.expires_at > now()""",
        id=incident_id,
    ).scalar_one()
    return count


def waiting_for(tx: Transaction, subject: str, groups: Iterable[str], limit: int) -> list[tuple[Proposal, int]]:
    """Proposals that wait for an approver of these groups, with their incidents; those that expire first at the top.

    It asks what `core.deciding.why_not` asks, so that nobody's own is lost behind a great many of others.
    """
    rows = tx.execute(
        """SELECT p.*, r.incident_id FROM proposals p JOIN runs r ON r.id = p.run_id
           WHERE p.state = 'proposed' AND p.expires_at > now()
             AND NOT p.requesters ? :subject AND p.sponsor <> :subject
             AND NOT (p.requesters = '[]' AND p.sponsor = '' AND p.policy ->> 'risk' = 'high')
             AND p.policy -> 'approvers' <> '[]'
             AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.policy -> 'approvers') AS clause
               WHERE NOT clause ?| ARRAY(SELECT jsonb_array_elements_text(:groups)))
             AND NOT EXISTS (SELECT FROM decisions d WHERE d.proposal_id = p.id AND d.subject = :subject
               AND d.verdict = 'approve' AND NOT d.break_glass)
           ORDER BY p.expires_at, p.id LIMIT :limit""",
        subject=subject,
        groups=list(groups),
        limit=limit,
    ).all()
    found = _with_decisions(tx, [Proposal.of(row) for row in rows])
    return list(zip(found, (row.incident_id for row in rows), strict=True))


def last_applied(tx: Transaction, runbook: str, gate: str, not_this: str) -> tuple[str, str] | None:
    """Revision digest and cell id of the latest proposal of this gate that people approved and that ran."""
    row = tx.execute(
        """SELECT r.revision, p.cell_id FROM proposals p JOIN runs r ON r.id = p.run_id
           WHERE r.runbook = :runbook AND p.gate = :gate AND p.state = 'applied' AND p.id <> :id
           ORDER BY p.ended_at DESC LIMIT 1""",
        runbook=runbook,
        gate=gate,
        id=not_this,
    ).first()
    return (row.revision, row.cell_id) if row else None


def expired(tx: Transaction) -> list[Proposal]:
    """Open proposals past their expiry, locked; those held by somebody else are passed over."""
    rows = tx.execute(
        """SELECT * FROM proposals WHERE state IN ('proposed', 'approved') AND expires_at <= now()
           ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED"""
    )
    return [Proposal.of(row) for row in rows]


def move(tx: Transaction, proposal: Proposal, to: ProposalState, **changes: Any) -> None:
    """Change the state, guarded by the state that was read, with other columns along."""
    sets = "".join(f", {name} = :{name}" for name in changes)
    tx.moved(
        f"Proposal {proposal.id}",
        f"UPDATE proposals SET state = :to{sets} WHERE id = :id AND state = :was",
        id=proposal.id,
        to=str(to),
        was=str(proposal.state),
        **changes,
    )


def decided(tx: Transaction, decision: dict[str, Any]) -> None:
    """Store a decision."""
    tx.execute(
        """INSERT INTO decisions
             (proposal_id, digest, subject, name, verdict, reason, signed_in, id_token, break_glass, batch)
           VALUES (:proposal_id, :digest, :subject, :name, :verdict, :reason, :signed_in, :id_token, :break_glass,
             :batch)""",
        **decision,
    )


def _with_decisions(tx: Transaction, proposals: list[Proposal]) -> list[Proposal]:
    rows = tx.execute(
        "SELECT * FROM decisions WHERE proposal_id = ANY(CAST(:ids AS text[])) ORDER BY id",
        ids="{" + ",".join(p.id for p in proposals) + "}",
    )
    found: dict[str, list[DecisionRow]] = {}
    for row in rows:
        found.setdefault(row.proposal_id, []).append(DecisionRow.of(row))
    return [replace(p, decisions=tuple(found.get(p.id, ()))) for p in proposals]

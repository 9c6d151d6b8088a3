"""Proposals and the decisions on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from runbooks_app.core.errors import NotFound
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store import cursors
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import DecisionRow, Proposal

_LANE = "jsonb_hash_extended(policy -> 'approvers', 0)"
_ASKED = "hashtextextended(CAST(requesters AS text) || sponsor, 0)"
_NOT_SATISFIED = """EXISTS (SELECT FROM jsonb_array_elements({}) AS clause
    WHERE NOT clause ?| ARRAY(SELECT jsonb_array_elements_text(:groups)))"""

# Very many may wait for other groups, and very many may have been asked for by who looks. Neither are read: the index
# is skipped through by who may decide, and within that by who asked, and only where both fit the first few are taken.
# BETWEEN and not = : the order is then given by this index alone, and none that reads them all can stand in for it.
_WAITING_FOR = f"""
WITH RECURSIVE lane (key, clauses) AS (
    (SELECT {_LANE}, policy -> 'approvers' FROM proposals WHERE state = 'proposed' ORDER BY {_LANE} LIMIT 1)
    UNION ALL SELECT next.* FROM lane CROSS JOIN LATERAL (
        SELECT {_LANE}, policy -> 'approvers' FROM proposals
        WHERE state = 'proposed' AND {_LANE} > lane.key ORDER BY {_LANE} LIMIT 1) next),
asked (lane, key, own) AS (
    SELECT lane.key, first.* FROM lane CROSS JOIN LATERAL (
        SELECT {_ASKED}, requesters ? :subject OR sponsor = :subject FROM proposals
        WHERE state = 'proposed' AND {_LANE} BETWEEN lane.key AND lane.key ORDER BY {_LANE}, {_ASKED} LIMIT 1) first
    WHERE lane.clauses <> '[]' AND NOT {_NOT_SATISFIED.format("lane.clauses")}
    UNION ALL SELECT asked.lane, next.* FROM asked CROSS JOIN LATERAL (
        SELECT {_ASKED}, requesters ? :subject OR sponsor = :subject FROM proposals
        WHERE state = 'proposed' AND {_LANE} BETWEEN asked.lane AND asked.lane AND {_ASKED} > asked.key
        ORDER BY {_LANE}, {_ASKED} LIMIT 1) next)
SELECT p.*, r.incident_id FROM asked CROSS JOIN LATERAL (
    SELECT * FROM proposals p
    WHERE state = 'proposed' AND {_LANE} BETWEEN asked.lane AND asked.lane AND {_ASKED} BETWEEN asked.key AND asked.key
      AND expires_at > now()
      AND NOT ((requesters = '[]' OR by_program) AND sponsor = '' AND policy ->> 'risk' = 'high')
      AND NOT EXISTS (SELECT FROM decisions d WHERE d.proposal_id = p.id AND d.subject = :subject
        AND d.verdict = 'approve' AND NOT d.break_glass)
    ORDER BY {_LANE}, {_ASKED}, expires_at, id LIMIT :limit) p JOIN runs r ON r.id = p.run_id
WHERE NOT asked.own ORDER BY p.expires_at, p.id LIMIT :limit"""


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


def of_run(tx: Transaction, *run_ids: str) -> list[Proposal]:
    """Proposals of a run, or of several, in order."""
    rows = tx.execute(
        """SELECT * FROM proposals WHERE run_id = ANY(ARRAY(SELECT jsonb_array_elements_text(:ids)))
           ORDER BY proposed_at, id""",
        ids=list(run_ids),
    )
    return _with_decisions(tx, Proposal.every(rows))


def of_incident(tx: Transaction, incident_id: int, limit: int | None = None) -> list[Proposal]:
    """Proposals of an incident's runs, in order; the latest, where there is a limit."""
    rows = tx.execute(
        """SELECT * FROM (SELECT p.* FROM proposals p JOIN runs r ON r.id = p.run_id
             WHERE r.incident_id = :id ORDER BY p.proposed_at DESC, p.id DESC LIMIT CAST(:limit AS bigint)) latest
           ORDER BY proposed_at, id""",
        id=incident_id,
        limit=limit,
    )
    return _with_decisions(tx, Proposal.every(rows))


def waiting(tx: Transaction, limit: int = 200, *, before: str = "") -> list[Proposal]:
    """Proposals that can be decided right now, those that expire first at the top.

    `before` is the id of the last one seen; refused if there is none such.
    """
    if before:
        cursors.known(tx, "proposals", before)
    rows = tx.execute(
        """SELECT * FROM proposals WHERE state = 'proposed' AND expires_at > now()
             AND (:before = '' OR (expires_at, id) > (SELECT expires_at, id FROM proposals WHERE id = :before))
           ORDER BY expires_at, id LIMIT :limit""",
        before=before,
        limit=limit,
    )
    return _with_decisions(tx, Proposal.every(rows))


def count_waiting(tx: Transaction, most: int) -> int:
    """How many proposals can be decided right now; of more than `most`, this many."""
    count: int = tx.execute(
        """SELECT count(*) FROM (SELECT FROM proposals WHERE state = 'proposed' AND expires_at > now()
             LIMIT :most) AS found""",
        most=most,
    ).scalar_one()
    return count


def incidents_of(tx: Transaction, found: Iterable[Proposal]) -> dict[str, int]:
    """The incidents of these proposals, by the proposals' ids."""
    rows = tx.execute(
        """SELECT p.id, r.incident_id FROM proposals p JOIN runs r ON r.id = p.run_id
           WHERE p.id = ANY(ARRAY(SELECT jsonb_array_elements_text(:ids)))""",
        ids=[proposal.id for proposal in found],
    )
    return {row.id: row.incident_id for row in rows}


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
    rows = tx.execute(_WAITING_FOR, subject=subject, groups=list(groups), limit=limit).all()
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
    return Proposal.every(rows)


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

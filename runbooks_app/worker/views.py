"""What messages tell, filled in from what is stored."""

from __future__ import annotations

from typing import Any

from runbooks_app.actions import waiting
from runbooks_app.actions.context import Service
from runbooks_app.actions.outputs import outputs_of
from runbooks_app.actions.restricting import reached, restricted
from runbooks_app.chat.views import (
    BreakGlassTold,
    CellTold,
    ChartTold,
    DecisionTold,
    DetailsTold,
    EvidenceTold,
    FindingTold,
    ProposalTold,
    RunTold,
    TargetTold,
)
from runbooks_app.core.deciding import why_not_in_chat
from runbooks_app.core.people import ALERT
from runbooks_app.core.policy import Policy
from runbooks_app.core.proposal import Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.core.runbook import Stage
from runbooks_app.documents.images import read_image
from runbooks_app.documents.unreadable import Unreadable
from runbooks_app.store import break_glass, incidents, proposals, runs, wakings
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Attempt, CellOutline, Incident, Proposal, Run
from runbooks_app.worker.alerts import alerts_told

MOST_CHARTS = 4


def run_told(tx: Transaction, service: Service, run: Run) -> RunTold:
    """A run as its one message tells it."""
    cells, attempt = _diagnosis(tx, run)
    number = attempt.number if attempt else 1
    url = f"{service.settings.public_url}/runs/{run.id}"
    incident = incidents.get(tx, run.incident_id)
    done = [cell for cell in cells if cell.state not in {CellState.WAITING, CellState.RUNNING}]
    worked = [cell for cell in done if cell.state is CellState.OK]
    began = min((cell.started_at for cell in cells if cell.started_at), default=None)
    seconds = ((run.ended_at or tx.now) - began).total_seconds() if began else 0.0
    return RunTold(
        run_id=run.id,
        runbook=run.runbook,
        url=url,
        state=run.state,
        requested_by=run.requested_by["name"],
        target=", ".join(reached(tx, service, run) or ()),
        part=run.in_part,
        cells_done=len(worked) if run.state is RunState.DIAGNOSED else len(done),
        cells_total=len(cells),
        seconds=seconds,
        attempt=number,
        waiting=waiting.told(waiting.place(tx, service, run), run, rough=True),
        findings=tuple(
            FindingTold(f.severity, f.summary, f"{url}#cell-{f.cell_id}") for f in runs.findings(tx, run.id)
        ),
        problems=(
            *([run.reason] if run.reason else []),
            *(f"{p['where']}: {p['message']} {p['fix']}".strip() for p in run.problems),
        ),
        proposals=tuple(proposal_told(tx, service, p, run) for p in proposals.of_run(tx, run.id)),
        incident_title=incident.title,
        incident_url=f"{service.settings.public_url}/incidents/{incident.id}",
        attaches=_attaches(tx, incident),
        alerts=alerts_told(tx, service, run),
        restricted=restricted(tx, service, run),
        sandbox_off=service.settings.sandbox == "off",
        remediation_off=service.settings.remediation == "off",
    )


def proposal_told(tx: Transaction, service: Service, proposal: Proposal, run: Run) -> ProposalTold:
    """A proposal as its message tells it."""
    policy = Policy.from_json(proposal.policy)
    attempt = next(
        (a for a in runs.attempts(tx, run.id) if a.stage == "remediate" and a.proposal_id == proposal.id),
        None,
    )
    successor = tx.execute("SELECT id FROM proposals WHERE predecessor = :id", id=proposal.id).scalar()
    base = f"{service.settings.public_url}/proposals/"
    hidden = restricted(tx, service, run, proposal)
    elsewhere = why_not_in_chat(proposal.asked, service.settings.slack_decide, restricted=hidden)
    since = None
    if proposal.verification is Verification.VERIFIED and proposal.ended_at:
        since = (proposal.ended_at - incidents.get(tx, run.incident_id).opened_at).total_seconds()
    return ProposalTold(
        proposal_id=proposal.id,
        runbook=run.runbook,
        title=proposal.title,
        url=base + proposal.id,
        state=proposal.state,
        risk=policy.risk,
        reason=proposal.reason,
        targets=tuple(TargetTold(held["connection"], held["role"]) for held in proposal.connections),
        approvals=policy.approvals,
        approvers=policy.approvers,
        expires_at=proposal.expires_at,
        proposed_by=_proposer(tx, proposal) if proposal.by_hand else "",
        sponsor_needed=proposal.asked.needs_sponsor,
        decisions=tuple(
            DecisionTold(d.name, d.verdict == "approve", d.at, d.reason, d.break_glass) for d in proposal.decisions
        ),
        why=proposal.state_reason if attempt is None else "",
        outcome=f"{proposal.state_reason} {proposal.verification_reason}".strip() if attempt is not None else "",
        verification=proposal.verification,
        checks=tuple(f"{'✓' if c['ok'] else '✗'} {c['name']}" for c in proposal.checks),
        seconds=(attempt.ended_at - attempt.started_at).total_seconds() if attempt and attempt.ended_at else None,
        since_alert=since,
        successor_url=base + successor if successor else "",
        woken=tuple(
            one.name + (" (not reached)" if one.trouble else "") for one in wakings.of_proposal(tx, proposal.id)
        ),
        restricted=hidden,
        decides="" if elsewhere or service.settings.remediation == "off" else f"{proposal.id}:{proposal.digest}",
    )


def break_glass_told(tx: Transaction, service: Service, proposal: Proposal) -> BreakGlassTold:
    """A break-glass as its message tells it."""
    used = break_glass.get(tx, proposal.id)
    base = service.settings.public_url
    return BreakGlassTold(
        name=used.name,
        title=proposal.title,
        reason=used.reason,
        at=used.at,
        signed=used.signed,
        approvals_given=len(proposal.asked.approvers),
        approvals_needed=proposal.asked.policy.approvals,
        proposal_url=f"{base}/proposals/{proposal.id}",
        review_url=f"{base}/break-glass#{proposal.id}",
        requester=used.subject in proposal.requesters,
        reviewer=used.reviewer,
        review=used.review,
    )


def details_told(tx: Transaction, service: Service, run: Run) -> DetailsTold:
    """What goes into the thread of a run that has ended. Of what cells printed, only what it shows is read."""
    url = f"{service.settings.public_url}/runs/{run.id}"
    hidden = restricted(tx, service, run)
    cells, attempt = _diagnosis(tx, run)
    wrong = [c for c in cells if c.state not in {CellState.OK, CellState.NEVER_RAN}]
    drawn = set(runs.illustrated(tx, attempt.id)) if attempt else set()
    shown = {c.cell_id for c in wrong} | {c.cell_id for c in cells if c.cell_id in drawn}
    at_length = runs.cells_named(tx, attempt.id, shown) if attempt and shown else {}
    outputs = {cell_id: outputs_of(service, cell) for cell_id, cell in at_length.items()}
    return DetailsTold(
        url=url,
        cells=tuple(
            CellTold(
                c.cell_id,
                c.state,
                c.reason,
                _trace(outputs[c.cell_id]),
                f"{url}#cell-{c.cell_id}",
                hidden,
            )
            for c in wrong
        ),
        evidence=tuple(
            _evidence(f.summary, f.evidence, f"{url}#cell-{f.cell_id}", restricted=hidden)
            for f in runs.findings(tx, run.id)
            if f.evidence and f.severity != "info"
        ),
        charts=tuple(
            ChartTold(
                png,
                alt or c.cell_id.replace("-", " "),
                c.cell_id.replace("-", " ").capitalize(),
                f"{url}#cell-{c.cell_id}",
                hidden,
            )
            for c in cells
            for png, alt in _charts(outputs.get(c.cell_id, []))
        )[:MOST_CHARTS],
    )


def _attaches(tx: Transaction, incident: Incident) -> bool:
    """Whether an alert's run may be attached to an incident that people opened: until it belongs to one."""
    return incident.opened_by["kind"] == ALERT and incident.closed_at is None and bool(incidents.of_people(tx, most=1))


def _diagnosis(tx: Transaction, run: Run) -> tuple[list[CellOutline], Attempt | None]:
    """Cells of the latest attempt at the diagnosis, without what they printed: a message tells none of it."""
    tries = [a for a in runs.attempts(tx, run.id) if a.stage == "diagnose"]
    if not tries:
        return [], None
    cells = [
        c
        for c, _ in runs.outlines(tx, tries[-1].id)
        if c.stage == Stage.DIAGNOSTIC or c.state not in {CellState.OK, CellState.WAITING, CellState.RUNNING}
    ]
    return cells, tries[-1]


def _proposer(tx: Transaction, proposal: Proposal) -> str:
    row = tx.execute(
        """SELECT (actor::jsonb)->>'name' AS name FROM audit_entries
           WHERE event = 'proposal.made' AND (objects::jsonb) @> :about""",
        about={"proposal": proposal.id},
    ).first()
    return row.name if row else ""


def _trace(outputs: list[dict[str, Any]]) -> str:
    return "\n".join(
        "\n".join(output.get("traceback", ())) for output in outputs if output.get("output_type") == "error"
    )


def _evidence(finding: str, evidence: dict[str, Any] | None, url: str, *, restricted: bool) -> EvidenceTold:
    evidence = evidence or {}
    if evidence.get("kind") == "table":
        return EvidenceTold(
            finding,
            tuple(str(column["name"]) for column in evidence["columns"]),
            tuple(tuple("" if value is None else str(value) for value in row) for row in evidence["rows"]),
            int(evidence.get("omitted", 0)),
            url=url,
            restricted=restricted,
        )
    text = evidence.get("text") or str(evidence.get("value", ""))
    return EvidenceTold(finding, text=str(text), url=url, restricted=restricted)


def _charts(outputs: list[dict[str, Any]]) -> list[tuple[bytes, str]]:
    """Images that are images, as their pixels alone: metadata may hold what no search for secrets can see."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        if "image/png" not in data:
            continue
        try:
            found.append((read_image("image/png", data["image/png"]).data, str(data.get("text/plain", ""))))
        except Unreadable:
            continue
    return found

"""An incident's story, put together from what is stored: for its page, and for the postmortem.

Every claim is tied to the audit entry that proves it, found by event and object ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runbooks_app.actions.context import Service
from runbooks_app.actions.outputs import outputs_of
from runbooks_app.actions.proposing import revision
from runbooks_app.core.audit import Entry, Event
from runbooks_app.core.incident import (
    AuditRef,
    CellStory,
    DecisionStory,
    FindingStory,
    Happened,
    IncidentStory,
    NoteStory,
    ProposalStory,
    RemediationStory,
    ReviewStory,
    RunStory,
    Told,
    VerificationStory,
)
from runbooks_app.core.policy import Policy
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.runbook import Runbook, Stage
from runbooks_app.store import audit, break_glass, incidents, proposals, runs
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Attempt, Cell, DecisionRow, Incident, Proposal, Run


class Trail:
    """The audit entries of one incident, found by event and object."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = [(entry, json.loads(entry.objects), json.loads(entry.actor)) for entry in entries]

    def find(self, *events: Event, **objects: Any) -> Entry | None:
        """The last entry of these events about these objects."""
        found = [
            entry
            for entry, about, _ in self._entries
            if entry.event in events and all(about.get(key) == value for key, value in objects.items())
        ]
        return found[-1] if found else None

    def ref(self, *events: Event, **objects: Any) -> AuditRef | None:
        """Number and hash of that entry."""
        entry = self.find(*events, **objects)
        return AuditRef(entry.seq, entry.hash) if entry else None

    def decision(self, decision: DecisionRow) -> AuditRef | None:
        """The entry of one person's decision."""
        event = Event.PROPOSAL_APPROVED if decision.verdict == "approve" else Event.PROPOSAL_DENIED
        event = Event.BREAK_GLASS_USED if decision.break_glass else event
        wanted = (event, decision.proposal_id, decision.subject)
        for entry, about, actor in self._entries:
            if (entry.event, about.get("proposal"), actor["subject"]) == wanted:
                return AuditRef(entry.seq, entry.hash)
        return None

    def at(self, *events: Event, **objects: Any) -> datetime | None:
        """When it was entered."""
        entry = self.find(*events, **objects)
        return moment(entry.at) if entry else None


def moment(text: str) -> datetime:
    """An entry's time."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Teller:
    """One incident while its story is put together."""

    tx: Transaction
    service: Service
    trail: Trail

    def cell(self, cell: Cell) -> CellStory:
        """One executed cell."""
        return CellStory(
            id=cell.cell_id,
            stage=Stage(cell.stage),
            source=cell.source,
            outputs=tuple(outputs_of(self.service, cell)),
            execution_count=cell.execution_count,
            state=cell.state,
            reason=cell.reason,
            started_at=cell.started_at,
            ended_at=cell.ended_at,
            tags=(cell.stage,),
        )

    def cells(self, attempt: Attempt | None, runbook: Runbook | None = None) -> tuple[CellStory, ...]:
        """Executed cells of an attempt; with a runbook, its text cells stand between them as they do there."""
        done = {cell.cell_id: self.cell(cell) for cell in runs.cells(self.tx, attempt.id)} if attempt else {}
        if runbook is None:
            return tuple(done.values())
        first_gate = runbook.sections[0].cell.id if runbook.sections else None
        told = []
        for cell in runbook.cells:
            if cell.id == first_gate:
                break
            if cell.stage is Stage.TEXT:
                told.append(CellStory(cell.id, Stage.TEXT, cell.source))
            elif cell.id in done:
                told.append(done[cell.id])
        return tuple(told)

    def findings(self, run: Run, attempt: Attempt | None) -> tuple[FindingStory, ...]:
        """What an attempt found."""
        return tuple(
            FindingStory(
                severity=f.severity,
                summary=f.summary,
                cell_id=f.cell_id,
                at=self.trail.at(Event.FINDING_MADE, finding=f.id),
                evidence=f.evidence,
                entry=self.trail.ref(Event.FINDING_MADE, finding=f.id),
            )
            for f in runs.findings(self.tx, run.id)
            if attempt is not None and f.attempt_id == attempt.id
        )

    def run(self, run: Run) -> RunStory:
        """One diagnosis with all that came of it."""
        runbook = revision(self.tx, self.service, run.revision)
        attempts = runs.attempts(self.tx, run.id)
        diagnosis = [a for a in attempts if a.stage == "diagnose"]
        last = diagnosis[-1] if diagnosis else None
        return RunStory(
            id=run.id,
            runbook=run.runbook,
            title=runbook.title,
            digest=run.revision,
            parameters=run.parameters,
            requested_by=run.requested_by["name"],
            requested_at=run.requested_at,
            state=run.state,
            partial=run.in_part,
            reason=run.reason,
            source=str(run.requested_by["signed_in"].get("surface", "")),
            started_at=diagnosis[0].started_at if diagnosis else None,
            ended_at=run.ended_at,
            cells=self.cells(last, runbook),
            findings=self.findings(run, last),
            proposals=tuple(self.proposal(p, run, runbook, attempts) for p in proposals.of_run(self.tx, run.id)),
            requested=self.trail.ref(Event.RUN_REQUESTED, run=run.id),
            entry=self.trail.ref(Event.RUN_ENDED, run=run.id),
        )

    def proposal(self, proposal: Proposal, run: Run, runbook: Runbook, attempts: list[Attempt]) -> ProposalStory:
        """One proposal from its making to its end."""
        section = runbook.section(proposal.gate)
        source = section.cell.source if section else ""
        closed = (
            Event.PROPOSAL_EXPIRED,
            Event.PROPOSAL_STALE,
            Event.PROPOSAL_WITHDRAWN,
            Event.PROPOSAL_DENIED,
        )
        is_closed = proposal.state in {
            ProposalState.EXPIRED,
            ProposalState.STALE,
            ProposalState.WITHDRAWN,
            ProposalState.DENIED,
        }
        approved = any(d.verdict == "approve" for d in proposal.decisions)
        made = self.trail.find(Event.PROPOSAL_MADE, proposal=proposal.id)
        return ProposalStory(
            id=proposal.id,
            gate=proposal.gate,
            title=proposal.title,
            state=proposal.state,
            proposed_at=proposal.proposed_at,
            digest=proposal.digest,
            inputs=proposal.inputs,
            policy=Policy.from_json(proposal.policy),
            cell=CellStory(proposal.cell_id, Stage.REMEDIATION, source, tags=("remediation",)),
            target=proposal.target,
            reason=proposal.reason,
            by=json.loads(made.actor)["name"] if made else "",
            by_hand=proposal.by_hand,
            sponsor=proposal.sponsor,
            connections={held["connection"]: held["role"] for held in proposal.connections},
            expires_at=proposal.expires_at,
            approved_at=proposal.decided_at if approved and proposal.state is not ProposalState.DENIED else None,
            decisions=tuple(
                DecisionStory(
                    by=d.name,
                    decision=d.verdict,
                    at=d.at,
                    reason=d.reason,
                    signed_in=str(d.signed_in.get("surface", "")),
                    signed=bool(d.id_token),
                    break_glass=d.break_glass,
                    entry=self.trail.decision(d),
                )
                for d in proposal.decisions
            ),
            review=self.review(proposal),
            remediation=self.remediation(proposal, attempts),
            verification=self.verification(proposal, run, attempts),
            closed_reason=proposal.state_reason if is_closed else "",
            closed_at=proposal.ended_at if is_closed else None,
            predecessor=proposal.predecessor or "",
            closed=self.trail.ref(*closed, proposal=proposal.id) if is_closed else None,
            recheck=self.trail.ref(Event.RUN_REQUESTED, proposal=proposal.id),
            entry=self.trail.ref(Event.PROPOSAL_MADE, proposal=proposal.id),
        )

    def review(self, proposal: Proposal) -> ReviewStory | None:
        """What somebody said of the proposal's break-glass, if there was one and somebody has."""
        glass = break_glass.find(self.tx, proposal.id) if proposal.asked.broke_glass else None
        if glass is None or glass.reviewed_at is None:
            return None
        entry = self.trail.ref(Event.BREAK_GLASS_REVIEWED, proposal=proposal.id)
        return ReviewStory(glass.reviewer, glass.review, glass.reviewed_at, entry)

    def remediation(self, proposal: Proposal, attempts: list[Attempt]) -> RemediationStory | None:
        """The one execution, if there was one."""
        attempt = next((a for a in attempts if a.stage == "remediate" and a.proposal_id == proposal.id), None)
        if attempt is None:
            return None
        issued = self.trail.find(Event.CREDENTIAL_ISSUED, proposal=proposal.id)
        return RemediationStory(
            outcome=proposal.state,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            identity=json.loads(issued.body)["identity"] if issued else "",
            reason=proposal.state_reason,
            cells=self.cells(attempt),
            started=self.trail.ref(Event.REMEDIATION_STARTED, proposal=proposal.id),
            entry=self.trail.ref(Event.REMEDIATION_ENDED, proposal=proposal.id),
        )

    def verification(self, proposal: Proposal, run: Run, attempts: list[Attempt]) -> VerificationStory | None:
        """What the verification said, once there is one."""
        if proposal.verification is None:
            return None
        tries = [a for a in attempts if a.stage == "verify" and a.proposal_id == proposal.id]
        last = tries[-1] if tries else None
        return VerificationStory(
            state=proposal.verification,
            ended_at=last.ended_at if last and proposal.verification is not Verification.PENDING else None,
            reason=proposal.verification_reason,
            cells=self.cells(last),
            findings=self.findings(run, last),
            entry=self.trail.ref(Event.VERIFICATION_ENDED, proposal=proposal.id),
        )

    def items(
        self, incident: Incident, stories: tuple[RunStory, ...], notes: tuple[NoteStory, ...]
    ) -> tuple[Told, ...]:
        """The timeline, oldest first."""
        opener = incident.opened_by
        told = [
            Told(
                incident.opened_at,
                Happened.OPENED,
                f"Incident opened: {incident.title}",
                opener["name"],
                opener["kind"] == "person",
                entry=self.trail.ref(Event.INCIDENT_OPENED, incident=incident.id),
            )
        ]
        for story in stories:
            told += _run_items(story)
            for proposal in story.proposals:
                told += _proposal_items(proposal, story.id)
        told += [Told(n.at, Happened.NOTE, n.text, n.by, human=True, entry=n.entry) for n in notes]
        if incident.closed_at is not None:
            closed = self.trail.find(Event.INCIDENT_CLOSED, incident=incident.id)
            by = json.loads(closed.actor)["name"] if closed else ""
            ref = AuditRef(closed.seq, closed.hash) if closed else None
            told.append(
                Told(
                    incident.closed_at,
                    Happened.CLOSED,
                    f"Incident closed: {incident.cause}",
                    by,
                    human=True,
                    entry=ref,
                )
            )
        return tuple(sorted(told, key=lambda item: item.at))


def incident_story(tx: Transaction, service: Service, incident_id: int) -> IncidentStory:
    """Everything that is told of an incident. Raises `NotFound`."""
    incident = incidents.get(tx, incident_id)
    teller = _Teller(tx, service, Trail(audit.of_incident(tx, incident_id)))
    found = list(reversed(runs.recent(tx, incident_id=incident_id, limit=500)))
    stories = tuple(teller.run(run) for run in found)
    notes = tuple(
        NoteStory(n.at, n.name, n.text, teller.trail.ref(Event.NOTE_ADDED, note=n.id))
        for n in incidents.notes(tx, incident_id)
    )
    closed = teller.trail.find(Event.INCIDENT_CLOSED, incident=incident_id)
    closed_ref = AuditRef(closed.seq, closed.hash) if closed else None
    return IncidentStory(
        id=str(incident.id),
        title=incident.title,
        opened_at=incident.opened_at,
        opened_by=incident.opened_by["name"],
        closed_at=incident.closed_at,
        closed_by=json.loads(closed.actor)["name"] if closed else "",
        cause=incident.cause,
        channel=incident.channel,
        items=teller.items(incident, stories, notes),
        runs=stories,
        notes=notes,
        opened=teller.trail.ref(Event.INCIDENT_OPENED, incident=incident_id),
        cause_entry=closed_ref,
        closed=closed_ref,
    )


def _run_items(story: RunStory) -> list[Told]:
    told = [
        Told(
            story.requested_at,
            Happened.RUN,
            f"{story.runbook} requested",
            story.requested_by,
            human=True,
            run_id=story.id,
            entry=story.requested,
        )
    ]
    told += [
        Told(
            f.at,
            Happened.FINDING,
            f"{f.severity}: {f.summary}",
            run_id=story.id,
            cell_id=f.cell_id,
            entry=f.entry,
        )
        for f in story.findings
        if f.at is not None
    ]
    if story.ended_at is not None:
        how = str(story.state).replace("_", " ") + (" in part" if story.partial else "")
        text = f"{story.runbook} {how}" + (f": {story.reason}" if story.reason else "")
        told.append(Told(story.ended_at, Happened.RUN, text, run_id=story.id, entry=story.entry))
    return told


def _proposal_items(proposal: ProposalStory, run_id: str) -> list[Told]:
    about: dict[str, Any] = {"run_id": run_id, "proposal_id": proposal.id}
    told = [
        Told(
            proposal.proposed_at,
            Happened.PROPOSAL,
            f"Proposed: {proposal.title}",
            proposal.by,
            proposal.by_hand,
            entry=proposal.entry,
            **about,
        )
    ]
    for d in proposal.decisions:
        verb = "Glass broken" if d.break_glass else "Approved" if d.decision == "approve" else "Denied"
        how = " (signed)" if d.signed else ""
        text = f"{verb}{how}: {proposal.title}" + (f" — {d.reason}" if d.reason else "")
        told.append(Told(d.at, Happened.DECISION, text, d.by, human=True, entry=d.entry, **about))
    if proposal.review is not None:
        text = f"Break-glass reviewed: {proposal.title} — {proposal.review.text}"
        reviewed = proposal.review
        told.append(Told(reviewed.at, Happened.DECISION, text, reviewed.by, human=True, entry=reviewed.entry, **about))
    if proposal.closed is not None and proposal.state is not ProposalState.DENIED and proposal.closed_reason:
        told.append(
            Told(
                _closed_at(proposal),
                Happened.DECISION,
                f"{str(proposal.state).capitalize()}: {proposal.closed_reason}",
                entry=proposal.closed,
                **about,
            )
        )
    done = proposal.remediation
    if done is not None:
        told.append(
            Told(
                done.started_at,
                Happened.REMEDIATION,
                f"Started: {proposal.title}",
                entry=done.started,
                **about,
            )
        )
        if done.ended_at is not None:
            text = f"{str(done.outcome).capitalize()}: {proposal.title}" + (f" — {done.reason}" if done.reason else "")
            told.append(Told(done.ended_at, Happened.REMEDIATION, text, entry=done.entry, **about))
    verified = proposal.verification
    if verified is not None and verified.ended_at is not None:
        text = str(verified.state).replace("_", " ").capitalize() + (f": {verified.reason}" if verified.reason else "")
        told.append(Told(verified.ended_at, Happened.VERIFICATION, text, entry=verified.entry, **about))
    return told


def _closed_at(proposal: ProposalStory) -> datetime:
    return proposal.closed_at or proposal.proposed_at

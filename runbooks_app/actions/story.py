"""An incident's story, put together from what is stored: for its page, and for the postmortem.

Every claim is tied to the audit entry that proves it, found by event and object ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from runbooks_app.actions.context import Service
from runbooks_app.actions.outputs import outputs_of
from runbooks_app.actions.proposing import revision
from runbooks_app.actions.timeline import timeline
from runbooks_app.actions.trail import Trail, since
from runbooks_app.core.alerts import Incoming
from runbooks_app.core.audit import Entry, Event
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.incident import (
    AlertStory,
    AskStory,
    AuditRef,
    CellStory,
    ChannelStory,
    DecisionStory,
    FindingStory,
    IncidentStory,
    NoteStory,
    ProposalStory,
    RemediationStory,
    ReviewStory,
    RunStory,
    VerificationStory,
)
from runbooks_app.core.policy import Policy
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.restricted import shareable, shareable_ask
from runbooks_app.core.runbook import Runbook, Stage
from runbooks_app.core.writing import ProseStory, Section
from runbooks_app.store import asks, audit, break_glass, incidents, proposals, runs, writing
from runbooks_app.store.asks import AskedRun
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import AlertRow, Attempt, Cell, Finding, Proposal, Run


@dataclass(frozen=True)
class _Teller:
    """One incident while its story is put together; rows of its runs, each kind read at once, are at hand by run.

    `outputs` says whether cells are told with what they printed: without, none is read.
    """

    tx: Transaction
    service: Service
    trail: Trail
    outputs: bool
    attempts: dict[str, list[Attempt]]
    proposals: dict[str, list[Proposal]]
    found: dict[str, list[Finding]]
    runbooks: dict[str, Runbook | None] = field(default_factory=dict)

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

    def runbook(self, digest: str) -> Runbook | None:
        """The runbook as it ran; None where it can no longer be read. Many runs of an incident are of the same few."""
        if digest not in self.runbooks:
            try:
                self.runbooks[digest] = revision(self.tx, self.service, digest)
            except RunbooksError:
                self.runbooks[digest] = None
        return self.runbooks[digest]

    def restricted(self, run: Run, runbook: Runbook | None, opened: Iterable[str]) -> bool:
        """Whether what the run showed stays on pages; so it does where nobody can say any more what that is."""
        if runbook is None:
            return True
        names, known = [*runbook.connections_used(run.parameters), *opened], self.service.connections
        return any(name not in known or known[name].data_class == "restricted" for name in names)

    def cells(self, attempt: Attempt | None, runbook: Runbook | None = None) -> tuple[CellStory, ...]:
        """Executed cells of an attempt; with a runbook, its text cells stand between them as they do there."""
        if not self.outputs:
            return ()
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
                id=str(f.id),
            )
            for f in self.found.get(run.id, [])
            if attempt is not None and f.attempt_id == attempt.id
        )

    def run(self, run: Run) -> RunStory:
        """One diagnosis with all that came of it."""
        runbook = self.runbook(run.revision)
        attempts = self.attempts.get(run.id, [])
        diagnosis = [a for a in attempts if a.stage == "diagnose"]
        last = diagnosis[-1] if diagnosis else None
        made = self.proposals.get(run.id, [])
        opened = [str(held["connection"]) for proposal in made for held in proposal.connections]
        return RunStory(
            id=run.id,
            runbook=run.runbook,
            title=runbook.title if runbook else run.runbook,
            digest=run.revision,
            parameters=run.parameters,
            requested_by=run.requested_by["name"],
            requested_at=run.requested_at,
            state=run.state,
            partial=run.in_part,
            reason=run.reason,
            source=str(run.requested_by["signed_in"].get("surface", "")),
            restricted=self.restricted(run, runbook, opened),
            started_at=diagnosis[0].started_at if diagnosis else None,
            ended_at=run.ended_at,
            cells=self.cells(last, runbook),
            findings=self.findings(run, last),
            proposals=tuple(self.proposal(p, run, runbook, attempts) for p in made),
            requested=self.trail.ref(Event.RUN_REQUESTED, run=run.id),
            entry=self.trail.ref(Event.RUN_ENDED, run=run.id),
        )

    def ask(self, asked: AskedRun) -> AskStory:
        """One ask with what it showed."""
        run, ask = self.run(asked.run), asked.ask
        return AskStory(
            run=run,
            conclusion=ask.conclusion,
            concluded_by=ask.concluded_by["name"] if ask.concluded_by else "",
            concluded_at=ask.concluded_at,
            entry=self.trail.ref(Event.ASK_CONCLUDED, run=run.id),
        )

    def proposal(self, proposal: Proposal, run: Run, runbook: Runbook | None, attempts: list[Attempt]) -> ProposalStory:
        """One proposal from its making to its end."""
        section = runbook.section(proposal.gate) if runbook else None
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
        return RemediationStory(
            outcome=proposal.state,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            credentials=self.trail.credentials(proposal.id, "remediate"),
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


def incident_story(
    tx: Transaction, service: Service, incident_id: int, *, shared: bool = False, outputs: bool = True
) -> IncidentStory:
    """Everything that is told of an incident. Raises `NotFound`.

    `shared`: without what stays on pages. Without `outputs` runs have no cells: the timeline tells of none, and what
    two hundred runs printed is very much.
    """
    incident = incidents.get(tx, incident_id)
    trail = Trail(audit.of_incident(tx, incident_id))
    found = list(reversed(runs.recent(tx, incident_id=incident_id, limit=500)))
    asked_runs = list(reversed(asks.of_incident(tx, incident_id)))
    run_ids = [run.id for run in found] + [one.run.id for one in asked_runs]
    teller = _Teller(
        tx,
        service,
        trail,
        outputs,
        attempts=_by_run(runs.attempts(tx, *run_ids)),
        proposals=_by_run(proposals.of_run(tx, *run_ids)),
        found=_by_run(runs.findings(tx, *run_ids)),
    )
    stories, asked = tuple(teller.run(run) for run in found), tuple(teller.ask(one) for one in asked_runs)
    if shared:
        stories, asked = tuple(map(shareable, stories)), tuple(map(shareable_ask, asked))
    channels = tuple(ChannelStory(c.channel, c.name) for c in incidents.channels(tx, incident_id))
    notes = tuple(
        NoteStory(
            at=n.at,
            by=n.name,
            text=n.text,
            entry=trail.ref(Event.NOTE_ADDED, Event.NOTE_EDITED, note=n.id),
            author=n.author,
            link=n.link,
            id=str(n.id),
            edited_at=n.edited_at,
            edited_by=n.edited_by,
            human=trail.by_person(trail.ref(Event.NOTE_ADDED, note=n.id)),
            writer="" if n.source else n.subject,
        )
        for n in incidents.notes(tx, incident_id)
    )
    prose = writing.prose(tx, incident_id)
    received, resolved = trail.alerts(Event.ALERT_RECEIVED), trail.alerts(Event.ALERT_RESOLVED)
    alerts = tuple(_alert(row, received, resolved) for row in incidents.alerts(tx, incident_id))
    closed = trail.find(Event.INCIDENT_CLOSED, incident=incident_id)
    closed_ref = AuditRef(closed.seq, closed.hash) if closed else None
    return IncidentStory(
        id=str(incident.id),
        title=incident.title,
        opened_at=incident.opened_at,
        opened_by=incident.opened_by["name"],
        closed_at=incident.closed_at,
        closed_by=json.loads(closed.actor)["name"] if closed else "",
        cause=incident.cause,
        merged_into=str(incident.merged_into or ""),
        channels=channels,
        items=timeline(trail, incident, incidents.parts(tx, incident_id), channels, stories, asked, notes, alerts),
        runs=stories,
        asks=asked,
        notes=notes,
        alerts=alerts,
        prose=tuple(
            ProseStory(section, w.text, w.name, w.at, trail.prose(incident_id, section))
            for section in Section
            if (w := prose.get(section)) and w.text
        ),
        opened=trail.ref(Event.INCIDENT_OPENED, incident=incident_id),
        cause_entry=closed_ref,
        closed=closed_ref,
    )


_OfRun = TypeVar("_OfRun", Attempt, Proposal, Finding)


def _by_run(rows: Iterable[_OfRun]) -> dict[str, list[_OfRun]]:
    found: dict[str, list[_OfRun]] = {}
    for row in rows:
        found.setdefault(row.run_id, []).append(row)
    return found


def _alert(row: AlertRow, received: Mapping[str, list[Entry]], resolved: Mapping[str, list[Entry]]) -> AlertStory:
    alert = Incoming(
        source=row.source,
        fingerprint=row.fingerprint,
        status=row.status,
        labels=row.labels,
        annotations=row.annotations,
        starts_at=row.starts_at,
        ends_at=None,
        group_key=row.group_key,
    )
    return AlertStory(
        at=row.received_at,
        by=row.source,
        text=alert.summary,
        why="" if row.run_id else row.why,  # one that ran is held back when it is told again, and ran all the same
        # The address comes from whoever sent the alert: only one that a browser may follow is a link.
        link=row.link if row.link.startswith(("https://", "http://")) else "",
        resolved_at=row.resolved_at,
        entry=since(received.get(row.fingerprint, ()), row.received_at) if row.run_id else None,
        resolved=since(resolved.get(row.fingerprint, ()), row.resolved_at),
    )

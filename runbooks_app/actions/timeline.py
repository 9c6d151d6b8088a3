"""An incident's timeline: one line for each thing that happened, with the entry that proves it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from runbooks_app.actions.trail import Trail, moment
from runbooks_app.core.audit import Entry, Event
from runbooks_app.core.incident import (
    AlertStory,
    AskStory,
    AuditRef,
    ChannelStory,
    Happened,
    NoteStory,
    ProposalStory,
    RunStory,
    Told,
)
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.waking import Step
from runbooks_app.store.records import Incident


def timeline(
    trail: Trail,
    incident: Incident,
    parts: Iterable[Incident],
    channels: tuple[ChannelStory, ...],
    stories: tuple[RunStory, ...],
    asks: tuple[AskStory, ...],
    notes: tuple[NoteStory, ...],
    alerts: tuple[AlertStory, ...],
) -> tuple[Told, ...]:
    """Everything that happened, oldest first."""
    told = [*_opened(trail, incident, parts), *_attached(trail, channels, stories)]
    for story in stories:
        told += _run_items(story)
        for proposal in story.proposals:
            told += _proposal_items(proposal, story.id)
    for ask in asks:
        told += _ask_items(ask)
    told += _woken(trail)
    for alert in alerts:
        told += _alert_items(alert)
    told += _closed(trail, incident)
    told = [replace(item, human=trail.by_person(item.entry)) for item in told]
    told += [
        Told(n.at, Happened.NOTE, _said(n), n.by, n.human, note_id=n.id, link=n.link, entry=n.entry) for n in notes
    ]
    return tuple(sorted(told, key=lambda item: item.at))


def _opened(trail: Trail, incident: Incident, parts: Iterable[Incident]) -> list[Told]:
    """The opening of the incident, and of those that are part of it."""
    return [
        Told(
            each.opened_at,
            Happened.OPENED,
            f"Incident opened: {each.title}"
            if each.id == incident.id
            else f"Incident {each.id}, now part of this one, opened: {each.title}",
            each.opened_by["name"],
            entry=trail.ref(Event.INCIDENT_OPENED, incident=each.id),
        )
        for each in (incident, *parts)
    ]


def _attached(trail: Trail, channels: tuple[ChannelStory, ...], stories: tuple[RunStory, ...]) -> list[Told]:
    """Channels in which it is worked too, runs that came from another incident, and runs that went to another."""
    told, named, shown = [], {c.id: c.shown for c in channels}, {story.id: story.runbook for story in stories}
    for entry, objects, actor in trail.every(Event.INCIDENT_ATTACHED, Event.RUN_ATTACHED):
        body, run_id = json.loads(entry.body), str(objects.get("run", ""))
        if not run_id:
            text = f"Worked in {named.get(body['channel'], body['channel'])} too"
        elif run_id in shown:
            text = f"{shown[run_id]} attached, which belonged to incident {objects['from']}"
        else:
            text = f"{body['runbook']} attached to incident {objects['incident']}"
        told.append(
            Told(
                moment(entry.at),
                Happened.ATTACHED,
                text,
                actor["name"],
                run_id=run_id,
                entry=AuditRef(entry.seq, entry.hash),
            )
        )
    return told


def _woken(trail: Trail) -> list[Told]:
    """Who was woken for proposals: one line for all of one step and way."""
    steps: dict[tuple[str, int, str], list[Entry]] = {}
    for entry, objects, _ in trail.every(Event.APPROVER_WOKEN):
        body = json.loads(entry.body)
        steps.setdefault((str(objects["proposal"]), body["step"], body["way"]), []).append(entry)
    return [
        Told(
            moment(entries[0].at),
            Happened.PROPOSAL,
            f"{'Break-glass offered to' if step == Step.BREAK_GLASS else 'Woken'}: {_names(entries)}",
            proposal_id=proposal_id,
            entry=AuditRef(entries[0].seq, entries[0].hash),
        )
        for (proposal_id, step, _), entries in steps.items()
    ]


def _names(entries: list[Entry]) -> str:
    bodies = [json.loads(entry.body) for entry in entries]
    return ", ".join(body["name"] if "name" in body else f"{body['way']} ({body['service']})" for body in bodies)


def _alert_items(alert: AlertStory) -> list[Told]:
    how = f" ({alert.why})" if alert.why else ""
    told = [Told(alert.at, Happened.ALERT, f"Alert: {alert.text}{how}", alert.by, link=alert.link, entry=alert.entry)]
    if alert.resolved_at is not None:
        text = f"Resolved: {alert.text}"
        told.append(Told(alert.resolved_at, Happened.ALERT, text, alert.by, link=alert.link, entry=alert.resolved))
    return told


def _said(note: NoteStory) -> str:
    """A note's text; of a pinned message, who wrote it."""
    return f"{note.author} wrote: {note.text}" if note.author else note.text


def _closed(trail: Trail, incident: Incident) -> list[Told]:
    if incident.closed_at is None:
        return []
    entry = trail.find(Event.INCIDENT_CLOSED, incident=incident.id)
    by = json.loads(entry.actor)["name"] if entry else ""
    ref = AuditRef(entry.seq, entry.hash) if entry else None
    text = f"Incident closed: {incident.cause}"
    at = moment(entry.at) if entry else incident.closed_at  # behind what was entered in the same transaction
    return [Told(at, Happened.CLOSED, text, by, entry=ref)]


def _run_items(story: RunStory) -> list[Told]:
    told = [
        Told(
            story.requested_at,
            Happened.RUN,
            f"{story.runbook} requested",
            story.requested_by,
            run_id=story.id,
            entry=story.requested,
        )
    ]
    told += _found(story)
    if story.ended_at is not None:
        how = str(story.state).replace("_", " ") + (" in part" if story.partial else "")
        text = f"{story.runbook} {how}" + (f": {story.reason}" if story.reason else "")
        told.append(Told(story.ended_at, Happened.RUN, text, run_id=story.id, entry=story.entry))
    return told


def _ask_items(ask: AskStory) -> list[Told]:
    """What somebody asked, what its cells found, and what was concluded; that it ended says nothing more."""
    run = ask.run
    text, entry = f"Asked: {run.title}", run.requested
    told = [Told(run.requested_at, Happened.RUN, text, run.requested_by, run_id=run.id, entry=entry)]
    told += _found(run)
    if ask.concluded_at is not None:
        text, by = f"Concluded: {ask.conclusion}", ask.concluded_by
        told.append(Told(ask.concluded_at, Happened.NOTE, text, by, run_id=run.id, entry=ask.entry))
    return told


def _found(story: RunStory) -> list[Told]:
    return [
        Told(
            f.at,
            Happened.FINDING,
            f"{f.severity}: {f.summary}",
            run_id=story.id,
            finding_id=f.id,
            entry=f.entry,
        )
        for f in story.findings
        if f.at is not None
    ]


def _proposal_items(proposal: ProposalStory, run_id: str) -> list[Told]:
    about: dict[str, Any] = {"run_id": run_id, "proposal_id": proposal.id}
    told = [
        Told(
            proposal.proposed_at,
            Happened.PROPOSAL,
            f"Proposed: {proposal.title}",
            proposal.by,
            entry=proposal.entry,
            **about,
        )
    ]
    for d in proposal.decisions:
        verb = "Glass broken" if d.break_glass else "Approved" if d.decision == "approve" else "Denied"
        how = " (signed)" if d.signed else ""
        text = f"{verb}{how}: {proposal.title}" + (f" — {d.reason}" if d.reason else "")
        told.append(Told(d.at, Happened.DECISION, text, d.by, entry=d.entry, **about))
    if proposal.review is not None:
        text = f"Break-glass reviewed: {proposal.title} — {proposal.review.text}"
        reviewed = proposal.review
        told.append(Told(reviewed.at, Happened.DECISION, text, reviewed.by, entry=reviewed.entry, **about))
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

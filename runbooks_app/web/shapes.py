"""Runs, proposals, incidents and runbooks as the API tells them. Times are ISO 8601 with their zone."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from runbooks_app.actions import waiting
from runbooks_app.actions.outputs import outputs_of
from runbooks_app.core.parameters import json_schema
from runbooks_app.core.quotas import why
from runbooks_app.core.run import RunState
from runbooks_app.store import proposals, runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from runbooks_app.actions.connections import Seen
    from runbooks_app.actions.context import Service
    from runbooks_app.core.quotas import Place
    from runbooks_app.core.runbook import Runbook
    from runbooks_app.store.database import Transaction
    from runbooks_app.store.records import Attempt, Cell, Incident, Note, Proposal, Run


def runbook(found: Runbook) -> dict[str, Any]:
    """A runbook with the JSON Schema of its parameters, and what it may propose."""
    return {
        "name": found.name,
        "id": found.id,
        "title": found.title,
        "description": found.description,
        "owner": found.owner,
        "digest": found.digest,
        "connections": found.connections,
        "parameters": json_schema(found.parameters),
        "gates": [
            {
                "name": section.gate.name,
                "title": section.gate.title,
                "risk": str(section.gate.risk),
                "inputs": [{"name": i.name, "type": str(i.type), "help": i.help} for i in section.inputs],
            }
            for section in found.sections
        ],
    }


def run(found: Run, line: Mapping[str, Place]) -> dict[str, Any]:
    """A run without what belongs to it; `line` holds the places of the queued."""
    return {
        "id": found.id,
        "runbook": found.runbook,
        "digest": found.revision,
        "incident": found.incident_id,
        "parameters": found.parameters,
        "state": str(found.state),
        "waiting": _waiting(found, line.get(found.id)),
        "in_part": found.in_part,
        "reason": found.reason,
        "problems": found.problems,
        "purpose": found.purpose,
        "rerun_of": found.rerun_of,
        "requested_by": _person(found.requested_by),
        "requested_at": _at(found.requested_at),
        "cancel_requested_at": _at(found.cancel_requested_at),
        "ended_at": _at(found.ended_at),
    }


def whole_run(tx: Transaction, service: Service, run_id: str, *, outputs: bool) -> dict[str, Any]:
    """A run with its latest attempts' cells, its findings and its proposals."""
    found = runs.get(tx, run_id)
    latest: dict[tuple[str, str | None], Attempt] = {}
    for attempt in runs.attempts(tx, run_id):
        latest[attempt.stage, attempt.proposal_id] = attempt
    return {
        **run(found, waiting.line(tx, service) if found.state is RunState.QUEUED else {}),
        "attempts": [_attempt(tx, service, attempt, outputs=outputs) for attempt in latest.values()],
        "findings": [
            {"cell": f.cell_id, "severity": f.severity, "summary": f.summary, "evidence": f.evidence}
            for f in runs.findings(tx, run_id)
        ],
        "proposals": [proposal(p) for p in proposals.of_run(tx, run_id)],
    }


def proposal(found: Proposal) -> dict[str, Any]:
    """A proposal with everything that a decision binds to."""
    return {
        "id": found.id,
        "run": found.run_id,
        "gate": found.gate,
        "cell": found.cell_id,
        "title": found.title,
        "target": found.target,
        "inputs": found.inputs,
        "identity": found.identity,
        "connections": found.connections,
        "policy": found.policy,
        "reason": found.reason,
        "evidence": found.evidence,
        "digest": found.digest,
        "by_hand": found.by_hand,
        "requesters": found.requesters,
        "sponsor": found.sponsor,
        "predecessor": found.predecessor,
        "state": str(found.state),
        "state_reason": found.state_reason,
        "verification": str(found.verification) if found.verification else None,
        "verification_reason": found.verification_reason,
        "checks": found.checks,
        "proposed_at": _at(found.proposed_at),
        "expires_at": _at(found.expires_at),
        "decided_at": _at(found.decided_at),
        "ended_at": _at(found.ended_at),
        "decisions": [
            {
                "by": d.name,
                "subject": d.subject,
                "verdict": d.verdict,
                "signed": bool(d.id_token),
                "break_glass": d.break_glass,
                "reason": d.reason,
                "at": _at(d.at),
            }
            for d in found.decisions
        ],
    }


def connection(seen: Seen) -> dict[str, Any]:
    """A connection with what its latest test found; null where it was not tested as it is configured now."""
    found, tested = seen.connection, seen.tested
    return {
        "name": found.name,
        "label": found.label,
        "kind": found.kind,
        "address": found.address,
        "data_class": found.data_class,
        "diagnosers": list(found.diagnosers),
        "diagnoses_as": found.diagnose_role or None,
        "changes_as": found.remediate_role or None,
        "floor": {**asdict(found.floor), "approvers": list(found.floor.approvers)},
        "standing": str(seen.standing),
        "test": tested
        and {
            "reachable": tested.outcome.reachable,
            "holds": tested.outcome.holds,
            "says": tested.outcome.says,
            "tried": list(tested.outcome.tried),
            "at": _at(tested.tested_at),
        },
    }


def incident(found: Incident) -> dict[str, Any]:
    """An incident without what belongs to it."""
    return {
        **asdict(found),
        "opened_by": _person(found.opened_by),
        "opened_at": _at(found.opened_at),
        "closed_at": _at(found.closed_at),
    }


def note(found: Note) -> dict[str, Any]:
    """A note."""
    return {"id": found.id, "by": found.name, "subject": found.subject, "text": found.text, "at": _at(found.at)}


def _attempt(tx: Transaction, service: Service, attempt: Attempt, *, outputs: bool) -> dict[str, Any]:
    return {
        "stage": attempt.stage,
        "number": attempt.number,
        "proposal": attempt.proposal_id,
        "started_at": _at(attempt.started_at),
        "ended_at": _at(attempt.ended_at),
        "cells": [
            {
                "id": cell.cell_id,
                "stage": cell.stage,
                "state": str(cell.state),
                "reason": cell.reason,
                "started_at": _at(cell.started_at),
                "ended_at": _at(cell.ended_at),
                "whole": _whole(attempt, cell),
                **({"outputs": outputs_of(service, cell)} if outputs else {}),
            }
            for cell in runs.cells(tx, attempt.id)
        ],
    }


def _whole(attempt: Attempt, cell: Cell) -> dict[str, Any] | None:
    """Where all the text of a cell is that printed more than its outputs hold; sizes in bytes."""
    if cell.whole is None:
        return None
    href = f"/api/v1/runs/{attempt.run_id}/cells/{attempt.id}/{cell.cell_id}/whole" if cell.whole["artifact"] else None
    return {"bytes": cell.whole["size"], "lost": cell.whole["lost"], "href": href}


def _waiting(found: Run, place: Place | None) -> dict[str, Any] | None:
    """Of a queued run: where it stands among those that wait for the same, and what for."""
    if place is None:
        return None
    return {"place": place.place, "why": why(place, f"{found.requested_by['name']}'s", found.runbook)}


def _person(actor: dict[str, Any]) -> dict[str, Any]:
    """An actor without how they were signed in, which is for auditors."""
    return {"kind": actor["kind"], "name": actor["name"], "subject": actor["subject"]}


def _at(time: datetime | None) -> str | None:
    return time.isoformat() if time else None

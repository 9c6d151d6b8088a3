"""What approvers are shown of a proposal wherever they decide: on what, as whom, with which inputs, why, the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runbooks_app.actions.proposing import revision
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.runbook import Input, Runbook, Stage
from runbooks_app.documents import source
from runbooks_app.documents.pieces import Found
from runbooks_app.library import read_revision
from runbooks_app.store import proposals, revisions
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Proposal, Run
from runbooks_app.web.context import service
from runbooks_app.web.pages.evidence import finding, highlighted


@dataclass(frozen=True)
class Whole:
    """All that a proposal would do. `inputs` are names, values and declarations; `evidence` has ids of cells along."""

    connections: list[dict[str, Any]]
    inputs: list[tuple[str, Any, Input | None]]
    evidence: list[tuple[Found, str]]
    code: dict[str, Any]


def read_whole(tx: Transaction, proposal: Proposal, run: Run) -> Whole:
    """The proposal, with its code as it will run."""
    code = _code(tx, proposal, run)
    return Whole(
        connections=_connections(proposal),
        inputs=_inputs(proposal, code.get("inputs", {})),
        evidence=[
            (finding(f["severity"], f["summary"], f["evidence"]), f.get("cell_id", "")) for f in proposal.evidence
        ],
        code=code,
    )


def _connections(proposal: Proposal) -> list[dict[str, Any]]:
    """The systems that it will reach, with the role; what the connections file no longer names is told so."""
    return [
        {
            "name": held["connection"],
            "role": held["role"],
            "connection": service().connections.get(held["connection"]),
        }
        for held in proposal.connections
    ]


def _inputs(proposal: Proposal, declared: dict[str, Input]) -> list[tuple[str, Any, Input | None]]:
    """The frozen inputs in the order in which the cell declares them, those first that say what it is done to."""
    order = {name: place for place, name in enumerate(declared)}
    names = sorted(proposal.inputs, key=lambda name: (name not in proposal.identity, order.get(name, len(order)), name))
    return [(name, proposal.inputs[name], declared.get(name)) for name in names]


def _code(tx: Transaction, proposal: Proposal, run: Run) -> dict[str, Any]:
    """The cell as it will run, what runs before it, and how it differs from the last one that was approved and ran."""
    try:
        runbook = revision(tx, service(), run.revision)
    except RunbooksError as error:
        return {"trouble": error.message}
    section = runbook.section(proposal.gate)
    if section is None:
        return {"trouble": "The runbook as it ran has no such cell any more; nothing can be approved."}
    before = [cell for cell in runbook.cells if cell.stage in {Stage.PARAMETERS, Stage.SETUP}]
    earlier = _earlier(tx, proposal, run)
    old_section = earlier.section(proposal.gate) if earlier else None
    old_before = {cell.id: cell.source for cell in earlier.cells} if earlier else {}
    return {
        "lines": highlighted(section.cell.source),
        "inputs": {item.name: item for item in section.inputs},
        "verified": len(section.verification),
        "compared": old_section is not None,
        "difference": source.unified(old_section.cell.source, section.cell.source) if old_section else (),
        "before": [
            {
                "id": cell.id,
                "lines": highlighted(cell.source),
                "difference": source.unified(old_before.get(cell.id, ""), cell.source) if earlier else (),
            }
            for cell in before
        ],
    }


def _earlier(tx: Transaction, proposal: Proposal, run: Run) -> Runbook | None:
    """The runbook as it was when this action was last approved and applied; None where it never was."""
    last = proposals.last_applied(tx, run.runbook, proposal.gate, proposal.id)
    if last is None:
        return None
    try:
        name, notebook = revisions.get(tx, last[0])
        return read_revision(name, notebook, last[0])
    except RunbooksError:
        return None

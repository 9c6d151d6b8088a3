"""Making a proposal: everything that a decision will bind to is frozen here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runbooks_app.actions import waking
from runbooks_app.actions.context import Service
from runbooks_app.actions.telling import tell
from runbooks_app.core import asking, bundles, digests, gates
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import BrokenRunbook, InvalidInput, Misconfigured, NotFound, Problem
from runbooks_app.core.people import Actor
from runbooks_app.core.policy import Policy, bind, looser
from runbooks_app.core.runbook import Runbook, Section
from runbooks_app.store import proposals, revisions, runs
from runbooks_app.store.database import Transaction, new_id
from runbooks_app.store.records import Proposal, Run


def revision(tx: Transaction, service: Service, digest: str) -> Runbook:
    """The notebook exactly as it was when its run was asked for.

    Its digest is the one it has under *this* process's modules and environment: where they are others than
    those of the request, it differs from `digest`, and nothing is executed.
    """
    return service.library.stored_revision(digest, lambda: revisions.get(tx, digest))


BY_HAND = "Propose it by hand on the page of the runbook's run."

MOST_PROPOSALS = 20
"""Proposals that one diagnosis may make: people have to read each."""


@dataclass(frozen=True)
class Usable:
    """Something that cells propose and the runbook has a gate for; `inputs` are validated."""

    section: Section
    inputs: dict[str, Any]
    reason: str

    @property
    def gate(self) -> str:
        """Name of the gate."""
        return self.section.gate.name


def usable_proposals(
    runbook: Runbook, run: Run, proposed: list[bundles.Proposed]
) -> tuple[list[Usable], list[Problem]]:
    """What cells of a run propose, checked against the gates; the same action with the same inputs only once."""
    usable: list[Usable] = []
    problems = []
    for action in proposed:
        section = runbook.section(action.gate)
        if section is None and runbook.id == asking.RUNBOOK_ID:
            problems.append(Problem(action.gate, "is proposed by an ask, which proposes nothing.", BY_HAND))
            continue
        if section is None:
            problems.append(Problem(action.gate, "is proposed, but the runbook has no such gate."))
            continue
        try:
            inputs = gates.validate_inputs(section, action.inputs, runbook.connections_used(run.parameters))
        except InvalidInput as error:
            problems += [Problem(f"{action.gate}.{p.where}", p.message, p.fix) for p in error.problems]
            continue
        if not any(other.section is section and other.inputs == inputs for other in usable):
            usable.append(Usable(section, inputs, action.reason))
    if len(usable) > MOST_PROPOSALS:
        message = f"{len(usable)} different actions are proposed at once; the first {MOST_PROPOSALS} were taken."
        problems.append(Problem(runbook.name, message, "Propose the few that matter."))
    return usable[:MOST_PROPOSALS], problems


def propose(
    tx: Transaction,
    service: Service,
    run: Run,
    usable: list[Usable],
    actor: Actor,
    *,
    follows: Proposal | None = None,
    predecessor: str | None = None,
    evidence_of: str = "",
) -> list[Problem]:
    """Make these proposals; those that cannot be made are refused in the trail, and their problems told.

    `follows` is the proposal that they followed from, if they did: whoever is behind that one is behind them.
    """
    problems: list[Problem] = []
    for action in usable:
        try:
            make_proposal(
                tx,
                service,
                run,
                action.section,
                action.inputs,
                reason=action.reason,
                actor=actor,
                requesters=sorted(follows.asked.behind) if follows else run.requesters,
                by_program=follows is not None and follows.asked.nobody_asked,
                predecessor=predecessor,
                evidence_of=evidence_of,
            )
        except (Misconfigured, NotFound, InvalidInput) as error:
            problems += list(error.problems) or [Problem(action.gate, error.message)]
    refuse_proposals(tx, run, problems, actor)
    return problems


def refuse_proposals(tx: Transaction, run: Run, problems: list[Problem], actor: Actor) -> None:
    """Enter what was proposed and cannot be."""
    for problem in problems:
        tx.audit(actor, Event.PROPOSAL_REFUSED, {"run": run.id}, {"reason": str(problem)})


def make_proposal(
    tx: Transaction,
    service: Service,
    run: Run,
    section: Section,
    inputs: dict[str, Any],
    *,
    reason: str,
    actor: Actor,
    requesters: list[str],
    by_hand: bool = False,
    by_program: bool = False,
    predecessor: str | None = None,
    evidence_of: str = "",
) -> str:
    """Freeze a remediation cell with its inputs, evidence and policy; the new proposal's id.

    `evidence_of` is the re-check whose findings led to it, where that was not the run itself.
    Raises `Misconfigured` where a connection is missing or nobody could approve.
    """
    values = {**run.parameters, **inputs}
    opened = _opened(service, revision(tx, service, run.revision), section, run, inputs)
    policy = bind(section.gate, {name: service.connections[name].floor for name in opened}, by_hand=by_hand)
    held = _held(service, opened)
    evidence = [
        {"severity": f.severity, "summary": f.summary, "evidence": f.evidence, "cell_id": f.cell_id}
        for f in runs.findings(tx, evidence_of or run.id)
    ]
    evidence_digest = digests.evidence_digest(evidence)
    source_digest = digests.source_digest(section.cell.source)
    proposal_id = new_id()
    digest = _digest(proposal_id, run, section, inputs, held, evidence_digest, run.revision, policy)
    proposals.insert(
        tx,
        {
            "id": proposal_id,
            "run_id": run.id,
            "gate": section.gate.name,
            "cell_id": section.cell.id,
            "title": gates.render(section.gate.title, values),
            "target": gates.render(section.gate.target, values) or ", ".join(opened),
            "inputs": inputs,
            "identity": list(section.identity),
            "connections": held,
            "policy": policy.as_json(),
            "reason": reason,
            "evidence": evidence,
            "evidence_digest": evidence_digest,
            "source_digest": source_digest,
            "digest": digest,
            "by_hand": by_hand,
            "by_program": by_program,
            "requesters": requesters,
            "predecessor": predecessor,
            "state": "proposed",
        },
        policy.expires,
    )
    tx.audit(
        actor,
        Event.PROPOSAL_MADE,
        {"proposal": proposal_id, "run": run.id, "incident": run.incident_id},
        {
            "by_hand": by_hand,
            "connections": held,
            "digest": digest,
            "evidence_digest": evidence_digest,
            "gate": section.gate.name,
            "inputs": inputs,
            "policy": policy.as_json(),
            "predecessor": predecessor,
            "requesters": requesters,
            "source_digest": source_digest,
        },
    )
    tell_proposal(tx, proposals.get(tx, proposal_id))
    waking.begin(tx, service, proposal_id)
    return proposal_id


def digest_now(service: Service, runbook: Runbook, proposal: Proposal, run: Run) -> str:
    """The proposal's digest computed anew from what would run now; empty where the cell is gone or reaches others."""
    section = runbook.section(proposal.gate)
    if section is None or section.cell.id != proposal.cell_id:
        return ""
    opened = _opened(service, runbook, section, run, proposal.inputs)
    held = _held(service, opened)
    if held != proposal.connections:
        return ""
    evidence_digest = digests.evidence_digest(proposal.evidence)
    policy = Policy.from_json(proposal.policy)
    return _digest(proposal.id, run, section, proposal.inputs, held, evidence_digest, runbook.digest, policy)


def asks_too_little(service: Service, runbook: Runbook, proposal: Proposal, run: Run) -> str:
    """Why a proposal's policy is not what this process would have bound it by, in one sentence; empty if it is.

    The database says what a proposal asks for. What it has to ask for at least is said by this process's own
    connections and library, which whoever can write to the database cannot change.
    """
    section = runbook.section(proposal.gate)
    if section is None:
        return ""  # then its digest does not fit either
    opened = _opened(service, runbook, section, run, proposal.inputs)
    floors = {name: service.connections[name].floor for name in opened}
    fault = looser(proposal.asked.policy, bind(section.gate, floors, by_hand=proposal.by_hand))
    if fault:
        return f"It asks for less ({fault}) than its connections and its runbook do."
    if not proposal.asked.wants_signatures and not _in_library(service, runbook):
        return "Its runbook is another by now; run it again."
    return ""


def _in_library(service: Service, runbook: Runbook) -> bool:
    try:
        return service.library.get(runbook.name).digest == runbook.digest
    except (NotFound, BrokenRunbook):
        return False


def tell_proposal(tx: Transaction, proposal: Proposal) -> None:
    """Have all who were told of the proposal, in channels or directly, told how it stands."""
    tell(tx, f"run:{proposal.run_id}")
    waking.goes_on(tx, proposal.id)


def _digest(
    proposal_id: str,
    run: Run,
    section: Section,
    inputs: dict[str, Any],
    held: list[dict[str, str]],
    evidence_digest: str,
    runbook_digest: str,
    policy: Policy,
) -> str:
    return digests.proposal_digest(
        proposal_id=proposal_id,
        run_id=run.id,
        parameters_digest=digests.parameters_digest(run.parameters),
        cell_id=section.cell.id,
        source_digest=digests.source_digest(section.cell.source),
        inputs=inputs,
        connections=held,
        evidence_digest=evidence_digest,
        runbook_digest=runbook_digest,
        policy=policy.as_json(),
    )


def _held(service: Service, opened: list[str]) -> list[dict[str, str]]:
    """What the cell will hold: which system by which address, and as which role there or with which requests."""
    return [
        {
            "connection": name,
            "address": connection.address,
            "role": connection.held_role,
        }
        for name in opened
        for connection in [service.connections[name]]
    ]


def _opened(service: Service, runbook: Runbook, section: Section, run: Run, inputs: dict[str, Any]) -> list[str]:
    """Names of the connections that the cell opens; refused where its kernel would not be granted one of them.

    A remediation reaches what its run reaches, and nothing else: who asked for the run may diagnose on that.
    """
    names = sorted({opened.resolve({**run.parameters, **inputs}) for opened in section.cell.opens})
    reached = runbook.connections_used(run.parameters)
    problems = []
    for name in names:
        if name not in service.connections:
            fix = "Add it to the connections file."
            problems.append(Problem(name or section.cell.id, "is no configured connection.", fix))
        elif name not in reached:
            fix = "Declare it under metadata.runbook.connections."
            problems.append(Problem(name, f"is no connection that {runbook.name} declares.", fix))
    if problems:
        raise Misconfigured(f"{section.gate.name!r} cannot be proposed.", problems=tuple(problems))
    return names

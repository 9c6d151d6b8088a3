"""What a postmortem tells of a run: what it found and did, what was proposed, decided, executed and verified."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from runbooks_app.core import asking
from runbooks_app.core.incident import AuditRef, CellStory
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.core.runbook import Stage
from runbooks_app.documents import bundled
from runbooks_app.documents.blocks import (
    BAD,
    GOOD,
    WARN,
    Block,
    Executed,
    Grid,
    Heading,
    Line,
    Paragraph,
    Proof,
    Prose,
    Quote,
    Row,
    Span,
    Verbatim,
    fact,
    text,
)
from runbooks_app.documents.pieces import Json, Table, Text
from runbooks_app.documents.unreadable import Unreadable
from runbooks_app.documents.wording import lasted, moment, words

if TYPE_CHECKING:
    from runbooks_app.core.incident import (
        AskStory,
        CredentialStory,
        DecisionStory,
        FindingStory,
        ProposalStory,
        RemediationStory,
        ReviewStory,
        RunStory,
        VerificationStory,
    )

_RUN_COLOURS = {RunState.DIAGNOSED: GOOD, RunState.QUEUED: "", RunState.DIAGNOSING: ""}
_SEVERITY_COLOURS = {"critical": BAD, "warning": WARN}
_PROPOSAL_COLOURS = {ProposalState.APPLIED: GOOD, ProposalState.FAILED: BAD, ProposalState.UNKNOWN: BAD}
_VERIFICATION_COLOURS = {Verification.VERIFIED: GOOD, Verification.PENDING: ""}


def run_told(run: RunStory, name: str, *, asked: bool = False) -> list[Block]:
    """The run under this heading; `asked`: it answered an ask."""
    word = asking.STATES.get(run.state) if asked else None
    state = (word or words(run.state)) + (" in part" if run.partial and run.state is RunState.DIAGNOSED else "")
    ended = f"{state}, {moment(run.ended_at)}" + (f": {run.reason}" if run.reason else "")
    colour = WARN if run.partial else _RUN_COLOURS.get(run.state, BAD)
    rows = [
        fact("Run", run.id, style="code"),
        fact("Runbook", run.runbook, style="code"),
        fact("Runbook digest", run.digest, style="code"),
        fact(
            "Requested",
            f"{moment(run.requested_at)} by {run.requested_by}" + (f" from {run.source}" if run.source else ""),
            run.requested,
        ),
        fact("Ended", ended, run.entry, style=colour),
        *([fact("Took", lasted(run.ended_at - run.started_at))] if run.started_at and run.ended_at else []),
    ]
    return [
        Heading(2, text(f"{name}: {run.title or run.runbook}")),
        Grid((), tuple(rows)),
        *_values("Parameters", run.parameters, 3, run.requested),
        *_findings(run.findings, 3),
        *([Heading(3, text("Cells"))] if run.cells else []),
        *_cells(run.cells, run.entry),
        *(block for proposal in run.proposals for block in _proposal(proposal)),
    ]


def ask_told(ask: AskStory, name: str) -> list[Block]:
    """What somebody asked in cells of their own: the run that answered it, and what was concluded."""
    concluded = (
        [Quote(ask.conclusion), Paragraph((Span(f"{ask.concluded_by}, {moment(ask.concluded_at)}"), Proof(ask.entry)))]
        if ask.concluded_at
        else [Paragraph(text("Nobody wrote down what it showed."))]
    )
    if ask.withheld:
        rows = [fact("Asked", f"{moment(ask.run.requested_at)} by {ask.run.requested_by}", ask.run.requested)]
        if ask.concluded_at:
            rows.append(fact("Concluded", f"{moment(ask.concluded_at)} by {ask.concluded_by}", ask.entry))
        return [Heading(2, text(f"{name}: {ask.run.title}")), Grid((), tuple(rows))]
    return [*run_told(ask.run, name, asked=True), Heading(3, text("Conclusion")), *concluded]


def _values(name: str, values: dict[str, Any], level: int, entry: AuditRef | None) -> list[Block]:
    if not values:
        return [Heading(level, text(name)), Paragraph((Span("None."), Proof(entry)))]
    rows = tuple((text(key, "code"), text(bundled.shown(value), "code")) for key, value in values.items())
    return [Heading(level, (Span(name), Proof(entry))), Grid(("Name", "Value"), rows)]


def _findings(findings: tuple[FindingStory, ...], level: int) -> list[Block]:
    if not findings:
        return [Heading(level, text("Findings")), Paragraph(text("None."))]
    rank = {"critical": 0, "warning": 1}
    worst_first = sorted(findings, key=lambda finding: rank.get(finding.severity, 2))
    blocks: list[Block] = [Heading(level, text("Findings"))]
    for finding in worst_first:
        line: Line = (
            Span(finding.severity, _SEVERITY_COLOURS.get(finding.severity, "dim")),
            Span(": "),
            Span(finding.summary, "strong"),
            *((Span(" from cell "), Span(finding.cell_id, "code")) if finding.cell_id else ()),
            Proof(finding.entry),
        )
        blocks += [Paragraph(line), *_evidence(finding.evidence)]
    return blocks


def _evidence(value: Any) -> list[Block]:
    if value is None:
        return []
    try:
        piece = bundled.evidence(value)
    except Unreadable as error:
        return [Paragraph(text(f"The evidence cannot be shown: {error}.", "dim"))]
    if isinstance(piece, Table):
        numbers = frozenset(n for n, column in enumerate(piece.columns) if column.type == "number")
        rows = tuple(tuple(text(cell) for cell in row) for row in piece.rows)
        return [Grid(tuple(column.name for column in piece.columns), rows, piece.omitted, numbers)]
    if isinstance(piece, Text):
        return [Verbatim(piece.plain, "", piece.omitted, piece.omitted_characters)]
    return [Verbatim(piece.head, "json", piece.omitted, piece.omitted_characters)] if isinstance(piece, Json) else []


def _cells(cells: tuple[CellStory, ...], entry: AuditRef | None) -> list[Block]:
    """Cells in order. Their entry is the one that closed their stage: it holds the digest of what they showed."""
    return [Prose(cell) if cell.stage is Stage.TEXT else Executed(cell, _caption(cell, entry)) for cell in cells]


def _caption(cell: CellStory, entry: AuditRef | None) -> Line:
    colour = {CellState.OK: GOOD, CellState.SKIPPED: WARN, CellState.NEVER_RAN: WARN}.get(cell.state, BAD)
    ran = f", {moment(cell.started_at)}" if cell.started_at else ""
    took = f", {lasted(cell.ended_at - cell.started_at)}" if cell.started_at and cell.ended_at else ""
    return (
        Span("Cell "),
        Span(cell.id, "code"),
        Span(f" · {words(cell.stage)} · "),
        Span(words(cell.state), colour),
        Span(ran + took + (f". {cell.reason}" if cell.reason else "")),
        Proof(entry),
    )


def _proposal(proposal: ProposalStory) -> list[Block]:
    asked = f"{proposal.by or 'the diagnosis'}" + (
        " by hand, not proposed by the diagnosis" if proposal.by_hand else ""
    )
    decided = f"{words(proposal.state)}" + (f": {proposal.closed_reason}" if proposal.closed_reason else "")
    last = proposal.remediation.entry if proposal.remediation else proposal.closed
    rows = [
        fact("Proposal", proposal.id, style="code"),
        fact("Gate", proposal.gate, style="code"),
        fact("Proposed", f"{moment(proposal.proposed_at)} by {asked}", proposal.entry),
        *([fact("Sponsor", proposal.sponsor, proposal.entry)] if proposal.sponsor else []),
        *([fact("Why", proposal.reason)] if proposal.reason else []),
        *([fact("Target", proposal.target)] if proposal.target else []),
        *([fact("Follows", proposal.predecessor, style="code")] if proposal.predecessor else []),
        *(fact("Connection", f"{name}, as {role}") for name, role in proposal.connections.items()),
        fact("Proposal digest", proposal.digest, style="code"),
        *([fact("Expires", moment(proposal.expires_at))] if proposal.expires_at else []),
        fact(
            "State",
            decided,
            last or _last_decision(proposal),
            style=_PROPOSAL_COLOURS.get(proposal.state, WARN),
        ),
    ]
    blocks: list[Block] = [
        Heading(3, text(f"Proposal: {proposal.title or proposal.gate}")),
        Grid((), tuple(rows)),
        *_values("Inputs, frozen when it was proposed", proposal.inputs, 4, proposal.entry),
        *_policy(proposal),
        *_decisions(proposal.decisions, proposal.review),
    ]
    if proposal.remediation:
        blocks += _remediation(proposal.remediation, proposal.recheck)
    else:
        never = Executed(
            replace(proposal.cell, outputs=()),
            (Span("The code that was proposed; it was never executed."), Proof(proposal.entry)),
        )
        blocks += [Heading(4, text("Remediation")), never]
    if proposal.verification:
        blocks += _verification(proposal.verification)
    return blocks


def _last_decision(proposal: ProposalStory) -> AuditRef | None:
    counted = [decision for decision in proposal.decisions if decision.counted]
    return max(counted, key=lambda decision: decision.at).entry if counted else proposal.entry


def _policy(proposal: ProposalStory) -> list[Block]:
    policy = proposal.policy
    circle = " and ".join(
        f"({' or '.join(clause)})" if len(clause) > 1 else clause[0] for clause in policy.approvers if clause
    )
    rows = (
        fact("Risk", str(policy.risk)),
        fact("Approvals needed", str(policy.approvals)),
        fact("Approvers", circle or "nobody"),
        fact("Waits at most", lasted(timedelta(seconds=policy.expires))),
        fact("Re-check before it runs", "yes" if policy.recheck else "no"),
    )
    return [Heading(4, (Span("Policy, as it stood"), Proof(proposal.entry))), Grid((), rows)]


def _decisions(decisions: tuple[DecisionStory, ...], review: ReviewStory | None) -> list[Block]:
    if not decisions:
        return [Heading(4, text("Decisions")), Paragraph(text("Nobody decided."))]
    verbs = {"approve": ("approved", GOOD), "deny": ("denied", BAD)}
    rows = []
    for decision in decisions:
        word, colour = verbs.get(decision.decision, (decision.decision, WARN))
        if decision.break_glass:
            word, colour = "broke the glass, without approval", BAD
        how = ", ".join(filter(None, [decision.signed_in, "signed for just this" if decision.signed else ""]))
        late = "" if decision.counted else " (too late, without effect)"
        said: Line = (Span(word, colour), Span(late), Proof(decision.entry))
        rows.append(
            (
                text(moment(decision.at)),
                text(decision.by),
                said,
                text(decision.reason),
                text(how),
            )
        )
    return [
        Heading(4, text("Decisions")),
        Grid(("Time", "Who", "Decision", "Reason", "Signed in"), tuple(rows), stacks=True),
        *(_review(review) if any(decision.break_glass for decision in decisions) else []),
    ]


def _review(review: ReviewStory | None) -> list[Block]:
    if review is None:
        return [Paragraph((Span("The break-glass is open: nobody has reviewed it yet.", BAD),))]
    about = f", {moment(review.at)}: {review.text}"
    return [Paragraph((Span("Break-glass reviewed by "), Span(review.by, "strong"), Span(about), Proof(review.entry)))]


def _remediation(remediation: RemediationStory, recheck: AuditRef | None) -> list[Block]:
    outcome = words(remediation.outcome) + (f": {remediation.reason}" if remediation.reason else "")
    rows = [
        *([fact("Re-checked", "the same action was proposed again", recheck)] if recheck else []),
        fact("Started", moment(remediation.started_at), remediation.started),
        fact("Outcome", outcome, remediation.entry, style=_PROPOSAL_COLOURS.get(remediation.outcome, WARN)),
        *([fact("Ended", moment(remediation.ended_at), remediation.entry)] if remediation.ended_at else []),
        *(_credential(credential) for credential in remediation.credentials),
    ]
    return [
        Heading(4, text("Remediation")),
        Grid((), tuple(rows)),
        *_cells(remediation.cells, remediation.entry),
    ]


def _credential(credential: CredentialStory) -> Row:
    named = Span(credential.identity, "code"), Span(f" for {credential.connection}"), Proof(credential.entry)
    return text("Credential", "strong"), named


def _verification(verification: VerificationStory) -> list[Block]:
    outcome = words(verification.state) + (f": {verification.reason}" if verification.reason else "")
    colour = _VERIFICATION_COLOURS.get(verification.state, BAD)
    rows = [
        fact("Outcome", outcome, verification.entry, style=colour),
        *([fact("Ended", moment(verification.ended_at), verification.entry)] if verification.ended_at else []),
    ]
    return [
        Heading(4, text("Verification")),
        Grid((), tuple(rows)),
        *(_findings(verification.findings, 5) if verification.findings else []),
        *_cells(verification.cells, verification.entry),
    ]

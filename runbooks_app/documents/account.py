"""What a postmortem tells of an incident, as blocks: the facts, their order, and the entry behind each claim."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runbooks_app.core.incident import AuditRef, durations
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.core.runbook import Stage
from runbooks_app.documents import bundled
from runbooks_app.documents.blocks import (
    BAD,
    GOOD,
    WARN,
    Block,
    Entries,
    Executed,
    Grid,
    Heading,
    Line,
    Paragraph,
    Proof,
    Prose,
    Quote,
    Span,
    Verbatim,
    text,
)
from runbooks_app.documents.pieces import Json, Table, Text
from runbooks_app.documents.unreadable import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runbooks_app.core.incident import (
        CellStory,
        DecisionStory,
        FindingStory,
        IncidentStory,
        ProposalStory,
        RemediationStory,
        ReviewStory,
        RunStory,
        Step,
        VerificationStory,
    )

Row = tuple[Line, ...]

_NO = "not recorded"
_RUN_COLOURS = {RunState.DIAGNOSED: GOOD, RunState.QUEUED: "", RunState.DIAGNOSING: ""}
_SEVERITY_COLOURS = {"critical": BAD, "warning": WARN}
_PROPOSAL_COLOURS = {ProposalState.APPLIED: GOOD, ProposalState.FAILED: BAD, ProposalState.UNKNOWN: BAD}
_VERIFICATION_COLOURS = {Verification.VERIFIED: GOOD, Verification.PENDING: ""}


def account(story: IncidentStory) -> tuple[Block, ...]:
    """The whole postmortem."""
    blocks: list[Block] = [
        Heading(1, text(f"Postmortem: {story.title or story.id}")),
        *_summary(story),
        *_timeline(story),
    ]
    for number, run in enumerate(story.runs, 1):
        blocks += _run(run, f"Run {number} of {len(story.runs)}" if len(story.runs) > 1 else "Run")
    blocks += _notes(story)
    return (*blocks, *_verify(blocks))


def proofs(blocks: Iterable[Block]) -> tuple[AuditRef, ...]:
    """Every entry that the blocks name, once each, by number."""
    found = {span.entry for line in _lines(blocks) for span in line if isinstance(span, Proof) and span.entry}
    return tuple(sorted(found, key=lambda entry: (entry.seq, entry.hash)))


def moment(at: datetime | None) -> str:
    """A time as it is written everywhere here: `2026-11-22 03:12:04 UTC`."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else _NO


def lasted(took: timedelta) -> str:
    """How long something took: `0.4 s`, `12 s`, `6 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = max(took.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def _lines(blocks: Iterable[Block]) -> Iterable[Line]:
    for block in blocks:
        if isinstance(block, Heading | Paragraph):
            yield block.line
        elif isinstance(block, Executed):
            yield block.caption
        elif isinstance(block, Grid):
            for row in block.rows:
                yield from row


def _words(state: str) -> str:
    return state.replace("_", " ")


def _fact(name: str, value: str, *proof: AuditRef | None, style: str = "") -> Row:
    """A row of facts: a claim has its entries behind it, a mere description has none."""
    return text(name, "strong"), (Span(value, style), *(Proof(entry) for entry in proof))


def _summary(story: IncidentStory) -> list[Block]:
    took = durations(story)
    rows = [
        _fact("Incident", story.id, style="code"),
        _fact("Opened", f"{moment(story.opened_at)} by {story.opened_by}", story.opened),
        _fact("Closed", f"{moment(story.closed_at)} by {story.closed_by or _NO}", story.closed)
        if story.closed_at
        else _fact("Closed", "not yet"),
        _fact("Cause", story.cause, story.cause_entry) if story.cause else _fact("Cause", "not established"),
        *([_fact("Part of", f"incident {story.merged_into}")] if story.merged_into else []),
        *([_fact("Channels", ", ".join(c.shown for c in story.channels))] if story.channels else []),
        _step("Time to acknowledge", "opened → first act of a person", took.acknowledge),
        _step("Time to diagnose", "opened → first diagnosis", took.diagnose),
        _step("Time to approve", "first proposal → first approval", took.approve),
        _step("Time to mitigate", "opened → first verified remediation", took.mitigate),
        _fact("People", ", ".join(_people(story)) or _NO),
        _fact("Runs", _counted([run.state for run in story.runs])),
        _fact("Proposals", _counted([proposal.state for proposal in story.proposals])),
    ]
    return [Grid((), tuple(rows))]


def _step(name: str, between: str, step: Step | None) -> Row:
    if step is None:
        return text(name, "strong"), (Span("did not happen"), Span(f" ({between})", "dim"))
    return (
        text(name, "strong"),
        (
            Span(lasted(step.took), "strong"),
            Span(f" ({between})", "dim"),
            Proof(step.since),
            Proof(step.until),
        ),
    )


def _people(story: IncidentStory) -> list[str]:
    """Everybody who acted, in the order of the timeline, then deciders and writers of notes whom it does not name."""
    named = [item.by for item in story.items if item.human]
    named += [decision.by for proposal in story.proposals for decision in proposal.decisions]
    named += [note.by for note in story.notes]
    return list(dict.fromkeys(name for name in named if name))


def _counted(states: list[str]) -> str:
    if not states:
        return "none"
    return f"{len(states)}: " + ", ".join(f"{states.count(state)} {_words(state)}" for state in dict.fromkeys(states))


def _timeline(story: IncidentStory) -> list[Block]:
    if not story.items:
        return [Heading(2, text("Timeline")), Paragraph(text("Nothing was recorded."))]
    rows = tuple(
        (
            text(moment(item.at)),
            text(_words(item.kind), "dim"),
            (Span(item.text), Proof(item.entry)),
            text(item.by),
        )
        for item in story.items
    )
    return [Heading(2, text("Timeline")), Grid(("Time", "What", "Told", "Who"), rows, stacks=True)]


def _run(run: RunStory, name: str) -> list[Block]:
    state = _words(run.state) + (" in part" if run.partial and run.state is RunState.DIAGNOSED else "")
    ended = f"{state}, {moment(run.ended_at)}" + (f": {run.reason}" if run.reason else "")
    colour = WARN if run.partial else _RUN_COLOURS.get(run.state, BAD)
    rows = [
        _fact("Run", run.id, style="code"),
        _fact("Runbook", run.runbook, style="code"),
        _fact("Runbook digest", run.digest, style="code"),
        _fact(
            "Requested",
            f"{moment(run.requested_at)} by {run.requested_by}" + (f" from {run.source}" if run.source else ""),
            run.requested,
        ),
        _fact("Ended", ended, run.entry, style=colour),
        *([_fact("Took", lasted(run.ended_at - run.started_at))] if run.started_at and run.ended_at else []),
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
        Span(f" · {_words(cell.stage)} · "),
        Span(_words(cell.state), colour),
        Span(ran + took + (f". {cell.reason}" if cell.reason else "")),
        Proof(entry),
    )


def _proposal(proposal: ProposalStory) -> list[Block]:
    asked = f"{proposal.by or 'the diagnosis'}" + (
        " by hand, not proposed by the diagnosis" if proposal.by_hand else ""
    )
    decided = f"{_words(proposal.state)}" + (f": {proposal.closed_reason}" if proposal.closed_reason else "")
    last = proposal.remediation.entry if proposal.remediation else proposal.closed
    rows = [
        _fact("Proposal", proposal.id, style="code"),
        _fact("Gate", proposal.gate, style="code"),
        _fact("Proposed", f"{moment(proposal.proposed_at)} by {asked}", proposal.entry),
        *([_fact("Sponsor", proposal.sponsor, proposal.entry)] if proposal.sponsor else []),
        *([_fact("Why", proposal.reason)] if proposal.reason else []),
        *([_fact("Target", proposal.target)] if proposal.target else []),
        *([_fact("Follows", proposal.predecessor, style="code")] if proposal.predecessor else []),
        *(_fact("Connection", f"{name}, as {role}") for name, role in proposal.connections.items()),
        _fact("Proposal digest", proposal.digest, style="code"),
        *([_fact("Expires", moment(proposal.expires_at))] if proposal.expires_at else []),
        _fact(
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
        _fact("Risk", str(policy.risk)),
        _fact("Approvals needed", str(policy.approvals)),
        _fact("Approvers", circle or "nobody"),
        _fact("Waits at most", lasted(timedelta(seconds=policy.expires))),
        _fact("Re-check before it runs", "yes" if policy.recheck else "no"),
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
    outcome = _words(remediation.outcome) + (f": {remediation.reason}" if remediation.reason else "")
    rows = [
        *([_fact("Re-checked", "the same action was proposed again", recheck)] if recheck else []),
        _fact("Started", moment(remediation.started_at), remediation.started),
        _fact("Outcome", outcome, remediation.entry, style=_PROPOSAL_COLOURS.get(remediation.outcome, WARN)),
        *([_fact("Ended", moment(remediation.ended_at), remediation.entry)] if remediation.ended_at else []),
        *(
            [_fact("Credential", remediation.identity, remediation.started, style="code")]
            if remediation.identity
            else []
        ),
    ]
    return [
        Heading(4, text("Remediation")),
        Grid((), tuple(rows)),
        *_cells(remediation.cells, remediation.entry),
    ]


def _verification(verification: VerificationStory) -> list[Block]:
    outcome = _words(verification.state) + (f": {verification.reason}" if verification.reason else "")
    colour = _VERIFICATION_COLOURS.get(verification.state, BAD)
    rows = [
        _fact("Outcome", outcome, verification.entry, style=colour),
        *([_fact("Ended", moment(verification.ended_at), verification.entry)] if verification.ended_at else []),
    ]
    return [
        Heading(4, text("Verification")),
        Grid((), tuple(rows)),
        *(_findings(verification.findings, 5) if verification.findings else []),
        *_cells(verification.cells, verification.entry),
    ]


def _notes(story: IncidentStory) -> list[Block]:
    if not story.notes:
        return []
    blocks: list[Block] = [Heading(2, text("Notes"))]
    for note in story.notes:
        wrote = f" pinned what {note.author} wrote" if note.author else ""
        blocks += [
            Paragraph((Span(note.by, "strong"), Span(f"{wrote}, {moment(note.at)}"), Proof(note.entry))),
            Quote(note.text),
        ]
    return blocks


def _verify(told: list[Block]) -> list[Block]:
    entries = proofs(told)
    how = (
        "Each claim above names an entry of the audit trail by its number and the beginning of its hash."
        " On the service, or on a download of its trail, this walks the whole chain and says where it breaks:"
    )
    then = "Then compare: the trail must hold each of these entries under exactly this hash."
    blocks: list[Block] = [
        Heading(2, text("How to verify")),
        Paragraph(text(how)),
        Verbatim("runbooks audit verify"),
    ]
    return [*blocks, Paragraph(text(then)), Entries(entries)] if entries else blocks

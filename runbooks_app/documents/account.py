"""What a postmortem tells of an incident, as blocks: the facts, their order, and the entry behind each claim.

What it tells of each run is `account_of_runs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.core.incident import AuditRef, CellStory
from runbooks_app.core.incident_steps import durations
from runbooks_app.core.runbook import Stage
from runbooks_app.documents.account_of_runs import ask_told, run_told
from runbooks_app.documents.blocks import (
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
    Row,
    Span,
    Verbatim,
    fact,
    text,
)
from runbooks_app.documents.wording import NOT_RECORDED, lasted, moment, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runbooks_app.core.incident import IncidentStory
    from runbooks_app.core.incident_steps import Step


def account(story: IncidentStory) -> tuple[Block, ...]:
    """The whole postmortem."""
    blocks: list[Block] = [
        Heading(1, text(f"Postmortem: {story.title or story.id}")),
        *_summary(story),
        *_prose(story),
        *_timeline(story),
    ]
    for number, run in enumerate(story.runs, 1):
        blocks += run_told(run, f"Run {number} of {len(story.runs)}" if len(story.runs) > 1 else "Run")
    for number, ask in enumerate(story.asks, 1):
        blocks += ask_told(ask, f"Ask {number} of {len(story.asks)}" if len(story.asks) > 1 else "Ask")
    blocks += _notes(story)
    return (*blocks, *_verify(blocks))


def proofs(blocks: Iterable[Block]) -> tuple[AuditRef, ...]:
    """Every entry that the blocks name, once each, by number."""
    found = {span.entry for line in _lines(blocks) for span in line if isinstance(span, Proof) and span.entry}
    return tuple(sorted(found, key=lambda entry: (entry.seq, entry.hash)))


def _lines(blocks: Iterable[Block]) -> Iterable[Line]:
    for block in blocks:
        if isinstance(block, Heading | Paragraph):
            yield block.line
        elif isinstance(block, Executed):
            yield block.caption
        elif isinstance(block, Grid):
            for row in block.rows:
                yield from row


def _summary(story: IncidentStory) -> list[Block]:
    took = durations(story)
    rows = [
        fact("Incident", story.id, style="code"),
        fact("Opened", f"{moment(story.opened_at)} by {story.opened_by}", story.opened),
        fact("Closed", f"{moment(story.closed_at)} by {story.closed_by or NOT_RECORDED}", story.closed)
        if story.closed_at
        else fact("Closed", "not yet"),
        fact("Cause", story.cause, story.cause_entry) if story.cause else fact("Cause", "not established"),
        *([fact("Part of", f"incident {story.merged_into}")] if story.merged_into else []),
        *([fact("Channels", ", ".join(c.shown for c in story.channels))] if story.channels else []),
        _step("Time to acknowledge", "opened → first act of a person", took.acknowledge),
        _step("Time to diagnose", "opened → first diagnosis", took.diagnose),
        _step("Time to approve", "first proposal → first approval", took.approve),
        _step("Time to mitigate", "opened → first verified remediation", took.mitigate),
        fact("People", ", ".join(_people(story)) or NOT_RECORDED),
        fact("Runs", _counted([run.state for run in story.runs])),
        fact("Proposals", _counted([proposal.state for proposal in story.proposals])),
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
    named += [note.by for note in story.notes if note.human]
    return list(dict.fromkeys(name for name in named if name))


def _counted(states: list[str]) -> str:
    if not states:
        return "none"
    return f"{len(states)}: " + ", ".join(f"{states.count(state)} {words(state)}" for state in dict.fromkeys(states))


def _prose(story: IncidentStory) -> list[Block]:
    """What people wrote of it afterwards, section by section."""
    blocks: list[Block] = []
    for told in story.prose:
        by = (Span("Written by "), Span(told.by, "strong"), Span(f", {moment(told.at)}"), Proof(told.entry))
        text_cell = CellStory(f"postmortem-{told.section}", Stage.TEXT, told.text)
        blocks += [Heading(2, text(told.section.capitalize())), Paragraph(by), Prose(text_cell)]
    return blocks


def _timeline(story: IncidentStory) -> list[Block]:
    if not story.items:
        return [Heading(2, text("Timeline")), Paragraph(text("Nothing was recorded."))]
    rows = tuple(
        (
            text(moment(item.at)),
            text(words(item.kind), "dim"),
            (Span(item.text), Proof(item.entry)),
            text(item.by),
        )
        for item in story.items
    )
    return [Heading(2, text("Timeline")), Grid(("Time", "What", "Told", "Who"), rows, stacks=True)]


def _notes(story: IncidentStory) -> list[Block]:
    if not story.notes:
        return []
    blocks: list[Block] = [Heading(2, text("Notes"))]
    for note in story.notes:
        wrote = f" pinned what {note.author} wrote" if note.author else ""
        changed = f", changed by {note.edited_by or note.by}, {moment(note.edited_at)}" if note.edited_at else ""
        blocks += [
            Paragraph((Span(note.by, "strong"), Span(f"{wrote}, {moment(note.at)}{changed}"), Proof(note.entry))),
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

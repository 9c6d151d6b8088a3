"""What of a run's story may leave the pages where it reached restricted connections: that and when, not what it saw."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runbooks_app.core.incident import AskStory, FindingStory, ProposalStory, RunStory
    from runbooks_app.core.people import Person


def stays_on_pages(person: Person, *, restricted: bool) -> bool:
    """Whether what is `restricted` is not told to this person by the API.

    What an agent reads goes on to whoever runs its model, as what is told in a chat goes to whoever runs that.
    """
    return restricted and bool(person.agent)


def shareable(run: RunStory) -> RunStory:
    """The run without what its cells printed, its evidence, inputs, and the system's own words on what happened.

    Severities, one-sentence summaries, titles, people, times and entries stay, as they do in messages.
    """
    if not run.restricted:
        return run
    return replace(
        run,
        reason="",
        cells=(),
        findings=_findings(run.findings),
        proposals=tuple(_proposal(proposal) for proposal in run.proposals),
    )


def shareable_ask(ask: AskStory) -> AskStory:
    """The ask without the words of who asked, on what they saw: that it was asked and concluded stays, and by whom."""
    if not ask.run.restricted:
        return ask
    on_page = f"its words stay on its page, /runs/{ask.run.id}"
    run = replace(shareable(ask.run), title=on_page, parameters={}, findings=())
    return replace(ask, run=run, conclusion=on_page if ask.conclusion else "", withheld=True)


def _findings(found: Iterable[FindingStory]) -> tuple[FindingStory, ...]:
    return tuple(replace(finding, evidence=None) for finding in found)


def _proposal(proposal: ProposalStory) -> ProposalStory:
    done, verified = proposal.remediation, proposal.verification
    return replace(
        proposal,
        inputs={},
        reason="",
        closed_reason="",
        cell=replace(proposal.cell, outputs=(), reason=""),
        remediation=replace(done, reason="", cells=()) if done else None,
        verification=replace(verified, reason="", cells=(), findings=_findings(verified.findings))
        if verified
        else None,
    )

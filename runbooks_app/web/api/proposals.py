"""Proposals: read, sponsored, decided, withdrawn."""

from __future__ import annotations

from flask import g

from runbooks_app.actions import deciding
from runbooks_app.actions.proposing import revision
from runbooks_app.core.deciding import Unsigned, why_not
from runbooks_app.core.errors import Conflict, NotFound, Problem, Refused, RunbooksError
from runbooks_app.core.people import Permission
from runbooks_app.store import people
from runbooks_app.store import proposals as proposal_rows
from runbooks_app.store import runs as run_rows
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import Proposal
from runbooks_app.web.api import answers, asked
from runbooks_app.web.api.answers.proposals import proposal_fields
from runbooks_app.web.api.contract import blueprint, once, tells
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in


@blueprint.get("/proposals")
@guard(Permission.READ)
@tells(answers.Proposals, query=asked.ProposalsQuery)
def list_waiting(wanted: asked.ProposalsQuery) -> answers.Proposals:
    """Proposals that wait for a decision, those that expire first at the top."""
    with reading(service().engine) as tx:
        found = proposal_rows.waiting(tx, wanted.limit + 1, before=wanted.before)
    shown = found[: wanted.limit]
    return answers.Proposals(
        proposals=[answers.Proposal.of(proposal) for proposal in shown],
        next=shown[-1].id if len(found) > wanted.limit else None,
    )


@blueprint.get("/proposals/<proposal_id>")
@guard(Permission.READ)
@tells(answers.WholeProposal, problems=(NotFound,))
def get_proposal(proposal_id: str) -> answers.WholeProposal:
    """One proposal, with the cell that would run, who stands behind it, and why whoever asks may not decide, if so."""
    with reading(service().engine) as tx:
        found = proposal_rows.get(tx, proposal_id)
        behind = {subject: people.get(tx, subject) for subject in {*found.requesters, found.sponsor} - {""}}
        return answers.WholeProposal(
            **proposal_fields(found),
            source=_source(tx, found),
            names={subject: person.name for subject, person in behind.items() if person},
            why_not=why_not(found.asked, g.person, tx.now),
        )


@blueprint.post("/proposals/<proposal_id>/sponsor")
@guard(Permission.SPONSOR)
@tells(answers.Proposal, body=asked.Nothing, problems=(NotFound, Conflict))
def sponsor(proposal_id: str) -> answers.Proposal:
    """Answer for a proposal that no human asked for."""
    about = (service(), g.person, signed_in(), proposal_id)
    sponsored = once(lambda key: deciding.sponsor(*about, delivery=key), lambda _: as_it_stands(proposal_id))
    return answers.Proposal.of(sponsored)


@blueprint.post("/proposals/<proposal_id>/decisions")
@guard(Permission.DECIDE)
@tells(answers.Proposal, body=asked.NewDecision, problems=(NotFound, Conflict, Refused, Unsigned))
def decide(wanted: asked.NewDecision, proposal_id: str) -> answers.Proposal:
    """Approve or deny. What wants a signed decision is approved on its page alone: a browser signs in afresh there."""
    about = (service(), g.person, signed_in(), proposal_id)
    try:
        decided = once(
            lambda key: deciding.decide(*about, wanted.verdict, wanted.digest, wanted.reason, delivery=key),
            lambda _: as_it_stands(proposal_id),
        )
    except Unsigned as unsigned:
        page = f"{service().settings.public_url}/proposals/{proposal_id}"
        problem = Problem("verdict", "wants a signed decision.", f"Approve it at {page}")
        raise Unsigned(unsigned.message, problems=(problem,)) from unsigned
    return answers.Proposal.of(decided)


@blueprint.post("/proposals/<proposal_id>/withdraw")
@guard(Permission.READ)
@tells(answers.Proposal, body=asked.Nothing, problems=(NotFound, Conflict, Refused))
def withdraw(proposal_id: str) -> answers.Proposal:
    """Take a proposal back; the action knows who may: whoever asked for it."""
    about = (service(), g.person, signed_in(), proposal_id)
    withdrawn = once(lambda key: deciding.withdraw(*about, delivery=key), lambda _: as_it_stands(proposal_id))
    return answers.Proposal.of(withdrawn)


def as_it_stands(proposal_id: str) -> Proposal:
    """The proposal as it is stored now."""
    with reading(service().engine) as tx:
        return proposal_rows.get(tx, proposal_id)


def _source(tx: Transaction, proposal: Proposal) -> str | None:
    """The cell that the proposal would run; None where it can no longer be read, and so can only be denied."""
    try:
        section = revision(tx, service(), run_rows.get(tx, proposal.run_id).revision).section(proposal.gate)
    except RunbooksError:
        return None
    return section.cell.source if section else None

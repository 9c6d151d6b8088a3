"""The states that pages are looked at in: each scene makes some, and says who sees them, where, and by which steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from page_stories import INPUTS, SURFACE, stream

from runbooks_app.actions import asking as questions
from runbooks_app.actions import break_glass, deciding, incidents, people, running
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import CellState
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pages_journeys.site import Site
    from playwright.sync_api import Page

    from runbooks_app.core.people import Person

GATE = "terminate-session"
HYPOTHESIS = "The replica lags, since deploys hold locks on orders"
LAG = "%%sql orders-db\nSELECT now() - pg_last_xact_replay_timestamp() AS lag"


@dataclass(frozen=True)
class Seen:
    """Who sees a state of a page, at which address, and what they do there first."""

    person: Person
    path: str
    steps: Callable[[Page], None] = lambda _: None
    status: int = 200
    method: str = "GET"
    """By which they asked for what they see in the end: of a form that was not taken, POST."""


Scene = dict[str, Seen]


def new_installation(site: Site) -> Scene:
    """Nothing has happened."""
    return {
        "empty_now": Seen(site.anna, "/"),
        "empty_incidents": Seen(site.anna, "/incidents"),
        "empty_runbook": Seen(site.anna, "/runbooks/db-latency"),
        "empty_break_glass": Seen(site.audi, "/break-glass"),
        "empty_audit": Seen(site.audi, "/audit?event=run.requested"),
    }


def library(site: Site) -> Scene:
    """Runbooks, and the forms that start one and propose by hand."""
    run_id, _ = site.diagnosed()

    def refused_run(page: Page) -> None:
        page.get_by_label("slow after").fill("99")
        page.get_by_role("button", name="Start the diagnosis").click()
        page.get_by_text("It did not start").wait_for()

    def refused_proposal(page: Page) -> None:
        page.get_by_role("button", name="Propose it").click()
        page.get_by_text("It was not proposed").wait_for()

    by_hand = f"/runs/{run_id}/propose/cancel-query"
    return {
        "search": Seen(site.anna, "/?q=latency"),
        "search_without_result": Seen(site.anna, "/?q=kafka"),
        "broken_runbook": Seen(site.anna, "/runbooks/broken"),
        "now": Seen(site.anna, "/"),
        "now_of_viewer": Seen(site.vera, "/"),
        "now_of_approver": Seen(site.dev, "/"),
        "runbook": Seen(site.anna, "/runbooks/db-latency"),
        "runbook_of_viewer": Seen(site.vera, "/runbooks/db-latency"),
        "runbook_refused": Seen(site.anna, "/runbooks/db-latency", refused_run),
        "connections": Seen(site.anna, "/connections"),
        "propose": Seen(site.anna, by_hand),
        "propose_refused": Seen(site.anna, by_hand, refused_proposal),
    }


def some_runs(site: Site) -> Scene:
    """Runs from their place in line to each of their ends."""
    story = site.story
    queued, going, failed, cancelled, part = (story.request(site.anna) for _ in range(5))
    claim = story.claim(going)
    for cell in ("parameters", "setup", "latency"):
        story.end(going, cell)
    story.begin(going, "activity")
    story.claim(failed)
    story.end(failed, "parameters", CellState.FAILED, "ValueError: invalid literal for int() with base 10")
    story.finish(failed, "The parameters could not be set.")
    running.cancel_run(story.service, site.anna, SURFACE, cancelled)
    story.diagnose(part, wrong={
        "blocking-tree": (CellState.FAILED, "OperationalError: canceling statement due to statement timeout"),
        "locks": (CellState.SKIPPED, "needs blockers of blocking-tree"),
        "chart": (CellState.TIMED_OUT, "It took longer than 60 s."),
    })  # fmt: skip
    run_id, proposal_id = site.diagnosed()
    story.approve(proposal_id, site.dev)
    story.mend(proposal_id)
    attempt = f"/runs/{run_id}/cells/{story._claims[run_id][0].attempt.id}"

    def printing(page: Page) -> None:
        told = {"kind": "output", "attempt": claim.attempt.id, "cell": "activity", "output": stream("looking …\n")}
        site.voice.publish(going, told)
        page.get_by_text("looking …").wait_for()

    return {
        "run_queued": Seen(site.anna, f"/runs/{queued}"),
        "run_going": Seen(site.anna, f"/runs/{going}", printing),
        "run_failed": Seen(site.anna, f"/runs/{failed}"),
        "run_cancelled": Seen(site.anna, f"/runs/{cancelled}"),
        "run_in_part": Seen(site.anna, f"/runs/{part}"),
        "run": Seen(site.anna, f"/runs/{run_id}"),
        "whole_output": Seen(site.anna, f"{attempt}/locks/full"),
        "one_output": Seen(site.anna, f"{attempt}/chart/0/full"),
    }


def some_proposals(site: Site) -> Scene:
    """The approval page in each state, and as those see it who may decide, may not, or may alone."""
    story = site.story
    run_id, waits = site.diagnosed()
    approved, executing, applied, failed, unknown, stale = (site.approved("Seen it") for _ in range(6))
    for proposal_id in (executing, failed, unknown):
        story.recheck(proposal_id)
    story.mend(applied)
    story.remediate(failed, ProposalState.FAILED, "OperationalError: permission denied")
    story.remediate(unknown, ProposalState.UNKNOWN, "The worker went away while it executed.")
    site.write("UPDATE proposals SET state = 'executing' WHERE id = :id", id=executing)
    story.recheck(stale, inputs={**INPUTS, "pid": 4999})
    _, denied = site.diagnosed()
    deciding.decide(story.service, site.dev, SURFACE, denied, "deny", site.proposal(denied).digest, "Not now")
    _, expired = site.diagnosed()
    past = datetime.now(UTC) - timedelta(seconds=1)
    site.write("UPDATE proposals SET expires_at = :at WHERE id = :id", at=past, id=expired)
    _, withdrawn = site.diagnosed()
    deciding.withdraw(story.service, site.anna, SURFACE, withdrawn)
    _, nobodys = site.diagnosed()
    site.write("UPDATE proposals SET requesters = '[]' WHERE id = :id", id=nobodys)
    by_hand = deciding.propose_by_hand(
        story.service, site.anna, SURFACE, run_id, GATE, {**INPUTS, "pid": 4712}, "It holds the till up as well"
    )

    def given_away(page: Page) -> None:
        page.get_by_label("Reason").fill("The deploy with ghp_" + "a1B2" * 9)
        page.get_by_role("button", name="Deny").click()
        page.get_by_text("looks like a GitHub token").wait_for()

    def nothing_ticked(page: Page) -> None:
        page.get_by_label("Reason").fill("All of them")
        page.get_by_role("button", name="Deny").click()
        page.get_by_text("0 are chosen.").wait_for()

    states = {
        "waits": waits, "approved": approved, "executing": executing, "applied": applied, "failed": failed,
        "unknown": unknown, "stale": stale, "denied": denied, "expired": expired, "withdrawn": withdrawn,
        "nobodys": nobodys, "by_hand": by_hand.id, "successor": story.proposals(site.proposal(stale).run_id)[-1],
    }  # fmt: skip
    return {
        **{f"proposal_{name}": Seen(site.dev, f"/proposals/{proposal_id}") for name, proposal_id in states.items()},
        "proposal_of_requester": Seen(site.anna, f"/proposals/{waits}"),
        "proposal_break_glass": Seen(site.bea, f"/proposals/{waits}"),
        "proposal_refused": Seen(site.dev, f"/proposals/{waits}", given_away, method="POST"),
        "deciding_several": Seen(site.dev, f"/incidents/{site.incident_of(run_id)}/decide"),
        "deciding_refused": Seen(site.dev, f"/incidents/{site.incident_of(run_id)}/decide", nothing_ticked),
    }


def some_incidents(site: Site) -> Scene:
    """An incident with its note and its postmortem, and one that is closed."""
    story = site.story
    run_id, proposal_id = site.diagnosed()
    story.approve(proposal_id, site.dev, "Go")
    story.mend(proposal_id)
    number = site.incident_of(run_id)
    incident = f"/incidents/{number}"
    early = incidents.add_note(story.service, site.anna, SURFACE, number, "Checkout felt slow in the evening already.")
    with transaction(story.service.engine) as tx:
        tx.execute("UPDATE notes SET at = at - interval '1 day' WHERE id = :id", id=early.id)
    incidents.add_note(story.service, site.anna, SURFACE, number, "The migration was ours; the release is stopped.")
    closed = incidents.open_incident(story.service, site.anna, SURFACE, "The till prints nothing")
    incidents.close_incident(story.service, site.anna, SURFACE, closed.id, "Paper was out")
    with reading(story.service.engine) as tx:
        note = tx.execute("SELECT max(id) FROM notes WHERE incident_id = :id", id=number).scalar_one()
    soon = incidents.open_incident(story.service, site.anna, SURFACE, "The till prints twice")

    def closed_meanwhile(page: Page) -> None:
        page.get_by_label("what was the cause").fill("Its driver was set up twice")
        incidents.close_incident(story.service, site.anna, SURFACE, soon.id, "Two drivers")
        page.get_by_role("button", name="Close the incident").click()
        page.get_by_text("is closed already").wait_for()

    def one_saved(page: Page) -> None:
        page.get_by_label("Impact, in Markdown").fill("Nobody could pay for 6 min.")
        page.get_by_label("Lessons, in Markdown").fill("A migration needs a `lock_timeout`.")
        page.get_by_role("button", name="Save the impact").click()
        page.get_by_text("is not saved yet").wait_for()

    return {
        "incidents": Seen(site.anna, "/incidents"),
        "incident": Seen(site.anna, incident),
        "incident_refused": Seen(site.anna, f"/incidents/{soon.id}", closed_meanwhile, method="POST"),
        "closed": Seen(site.anna, f"/incidents/{closed.id}"),
        "note": Seen(site.anna, f"{incident}/notes/{note}"),
        "postmortem": Seen(site.anna, f"{incident}/postmortem"),
        "postmortem_in_part": Seen(site.anna, f"{incident}/postmortem", one_saved, method="POST"),
        "ask_of_run": Seen(site.anna, f"/runs/{run_id}/ask"),
        "ask_of_incident": Seen(site.anna, f"{incident}/ask"),
    }


def asking(site: Site) -> Scene:
    """A question in cells of one's own, from its form to what it showed."""
    story = site.story
    run_id, _ = site.diagnosed()
    with reading(story.service.engine) as tx:
        incident = f"/incidents/{runs.get(tx, run_id).incident_id}"
    showed = questions.ask_of_run(story.service, site.anna, SURFACE, run_id, LAG, HYPOTHESIS).id
    for cell in story.claim(showed).cells:
        story.end(showed, cell.id, outputs=[stream("lag  0 s\n")] if cell.id == "ask-2" else [])
    story.finish(showed)

    def ask(page: Page, cells: str) -> None:
        page.get_by_label("What do you believe?").fill(HYPOTHESIS)
        page.get_by_label("Cells").fill(cells)
        page.get_by_role("button", name="Ask", exact=True).click()

    def refused(page: Page) -> None:
        ask(page, f"{LAG}\n# %%\nif:")
        page.get_by_text("It cannot be read in cell 2").wait_for()

    def going(page: Page) -> None:
        ask(page, LAG)
        page.get_by_text("It has not ended yet").wait_for()

    def concluded(page: Page) -> None:
        page.get_by_label("Conclusion").fill("It does not lag.")
        page.get_by_role("button", name="Write it down").click()
        page.get_by_text("It does not lag.").first.wait_for()

    return {
        "ask": Seen(site.anna, f"/runs/{run_id}/ask"),
        "ask_refused": Seen(site.anna, f"/runs/{run_id}/ask", refused),
        "ask_going": Seen(site.anna, f"/runs/{run_id}/ask", going),
        "ask_concluded": Seen(site.anna, f"/runs/{showed}", concluded),
        "ask_again": Seen(site.anna, f"/runs/{run_id}/ask?again={showed}"),
        "asks": Seen(site.anna, f"{incident}/ask"),
        "ask_timeline": Seen(site.anna, incident),
    }


def trail(site: Site) -> Scene:
    """What the trail tells, with something that one person did alone."""
    _, proposal_id = site.diagnosed()
    digest = site.proposal(proposal_id).digest
    service, alone = site.story.service, {"surface": "web", "auth_time": int(time.time())}
    reason = "Nobody of the database team answers and the till stands still."
    break_glass.use(service, site.bea, alone, proposal_id, digest, reason, without_provider=True)
    return {
        "proposal_glass_broken": Seen(site.dev, f"/proposals/{proposal_id}"),
        "audit": Seen(site.audi, "/audit"),
        "entry": Seen(site.audi, "/audit/2"),
        "break_glass": Seen(site.audi, "/break-glass"),
    }


def others(site: Site) -> Scene:
    """What else there is."""
    code = people.offer_chat_link(site.story.service, "T1", "U0ANNA", "anna")
    other = people.offer_chat_link(site.story.service, "T1", "U0VERA", "vera")

    def linked(page: Page) -> None:
        page.get_by_role("button", name="is me").click()
        page.get_by_text("Linked").wait_for()

    return {
        "health": Seen(site.anna, "/health"),
        "api": Seen(site.anna, "/api"),
        "styleguide": Seen(site.anna, "/styleguide"),
        "link": Seen(site.anna, f"/link/{code}"),
        "linked": Seen(site.vera, f"/link/{other}", linked),
        "signed_out": Seen(site.anna, "/signed-out"),
        "missing": Seen(site.anna, "/runs/nosuchrun", status=404),
        "refused": Seen(site.anna, "/audit", status=403),
    }

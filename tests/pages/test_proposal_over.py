"""An approval page on which nothing can be decided any more says what became of it, by whom and when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from page_stories import ANNA, SURFACE

from runbooks_app.actions import deciding, remediating, starting
from runbooks_app.actions.diagnosing import Said
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store.database import transaction

pytestmark = pytest.mark.pages


def expire(story, proposal_id: str) -> datetime:
    """Let its time be up; no worker has looked since."""
    past = datetime.now(UTC) - timedelta(seconds=70)
    with transaction(story.service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = :at WHERE id = :id", at=past, id=proposal_id)
    return past


def test_one_whose_time_is_up_is_expired_also_before_a_worker_has_entered_that(story, dev):
    _, proposal_id = story.diagnosed()
    past = expire(story, proposal_id)
    page = dev.get(f"/proposals/{proposal_id}")
    assert page.title.startswith("– expired — ")  # noqa: RUF001 -- the symbol of what did not come about
    assert f"expired . It expired at {past:%H:%M:%S} UTC. Nothing was executed." in page.text
    assert re.search(rf"Expired \d\d s ago · {past:%d %b %Y %H:%M:%S} UTC", page.text)
    assert "waits for a decision" not in page.text


def test_one_that_was_withdrawn_says_by_whom_and_when(story, dev):
    _, proposal_id = story.diagnosed()
    ended = deciding.withdraw(story.service, ANNA, SURFACE, proposal_id).ended_at
    page = dev.get(f"/proposals/{proposal_id}").text
    at = f"Withdrawn by Anna Weber at {ended:%H:%M:%S} UTC."
    assert f"{at} Nothing was executed." in page
    assert "Expires" not in page
    assert f"It can no longer be decided. {at}" in page


def test_one_that_failed_before_its_cell_began_claims_no_effect(story, dev):
    _, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.recheck(proposal_id)
    started = starting.start_remediation(story.service, proposal_id, story.worker, story.checked(proposal_id))
    why = "Nothing was executed: Vault gives no credential."
    remediating.finish_remediation(story.service, started.claim, proposal_id, Said(), ProposalState.FAILED, why)
    page = dev.get(f"/proposals/{proposal_id}").text
    assert why in page
    assert "part of its effect may have happened" not in page


def test_one_whose_outcome_is_unknown_says_once_what_happened(story, dev):
    _, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.recheck(proposal_id)
    why = "worker-1 went away while it executed; whether it took effect is not known."
    story.remediate(proposal_id, ProposalState.UNKNOWN, why)
    page = dev.get(f"/proposals/{proposal_id}").text
    assert page.count("went away while it executed") == 1
    assert "It is never tried again. Look at orders-db before anybody proposes more." in page


def test_a_run_that_ended_before_it_began_promises_no_worker(story, anna):
    run_id = story.request()
    anna.post(f"/runs/{run_id}/cancel")
    page = anna.get(f"/runs/{run_id}").text
    assert "it ended before it began" in page
    assert "A worker will take this run" not in page
    assert "The cells below" not in page

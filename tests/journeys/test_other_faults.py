"""`db-latency` against a fault that it was not written around, and against a database that has none."""

from __future__ import annotations

import pytest
from whole_stage import until


@pytest.fixture
def traffic(stage):
    """The shop at work."""
    running = stage.shop.traffic()
    yield
    running.stop()


def diagnosed(person, **parameters):
    answer = person.ask("/runs", runbook="db-latency", parameters={"database": "orders-db", **parameters})
    assert answer.status_code == 201, answer.text
    run = person.run(answer.json()["id"])
    assert (run["state"], run["in_part"]) == ("diagnosed", False), run
    return run


def test_a_healthy_database_gives_nothing_above_info_and_no_proposal(stage, ana, traffic):
    run = diagnosed(ana, slow_after=20.0, blocked_after=60.0)  # the machine may be slow, the database is not
    assert {finding["severity"] for finding in run["findings"]} <= {"info"}, run["findings"]
    assert run["proposals"] == []


def test_a_session_that_idles_with_a_row_lock_is_ended_once_approved_and_verified(stage, story, ana, ben, traffic):
    fault = stage.shop.inject("idle-row-lock")
    try:
        pid = until("the session", lambda: story.blocker("support-console"))
        run = until("a proposal", lambda: (seen := diagnosed(ana, blocked_after=0.5))["proposals"] and seen)
        (proposal,) = run["proposals"]
        assert (proposal["gate"], proposal["inputs"]["pid"]) == ("terminate-session", pid)
        assert ben.decision(proposal).is_success
        assert ben.verified(proposal["id"])["verification"] == "verified"
        assert story.blocker("support-console") is None
    finally:
        fault.stop()

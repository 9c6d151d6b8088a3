"""What the API and the chat's commands say of a run that waits its turn."""

from __future__ import annotations

import pytest

from runbooks_app.actions.diagnosing import claim_run
from runbooks_app.store.database import reading

pytestmark = pytest.mark.kernels


@pytest.fixture
def settings(settings):
    return {**settings, "runs_per_person": 1}


def ask(browser) -> str:
    return browser.post("/api/v1/runs", {"runbook": "disk-full"}).json["id"]


def test_a_run_that_a_quota_holds_tells_its_place_and_why_and_one_that_goes_does_not(sign_in_as, service):
    anna = sign_in_as("responder", name="Anna")
    first, second, third = (ask(anna) for _ in range(3))
    assert claim_run(service, first, "w1")
    why = "1 of Anna's runs is going, which is the most at a time"
    assert anna.get(f"/api/v1/runs/{third}").json["waiting"] == {"place": 2, "why": why}
    assert anna.get(f"/api/v1/runs/{first}").json["waiting"] is None
    listed = {run["id"]: run["waiting"] for run in anna.get("/api/v1/runs?limit=10").json["runs"]}
    assert (listed[first], listed[second]) == (None, {"place": 1, "why": why})
    incident = anna.get(f"/api/v1/runs/{second}").json["incident"]
    of_incident = anna.get(f"/api/v1/incidents/{incident}").json["runs"]
    assert [run["waiting"] for run in of_incident if run["id"] == second] == [{"place": 1, "why": why}]


def test_a_run_that_only_wants_a_worker_says_so(sign_in_as):
    anna = sign_in_as("responder")
    waiting = anna.get(f"/api/v1/runs/{ask(anna)}").json["waiting"]
    assert waiting["place"] >= 1
    assert waiting["why"] == "a worker takes it as soon as one is free"


def test_the_status_in_a_channel_tells_the_place_of_what_waits(slack, linked, service):
    person = linked("responder")
    for limit in (1, 2, 3):
        slack.command(f"disk-full limit={limit}")
    with reading(service.engine) as tx:
        first = tx.execute("SELECT id FROM runs WHERE channel = :c ORDER BY requested_at LIMIT 1", c=slack.channel)
        run_id = first.scalar_one()
    assert claim_run(service, run_id, "w1")
    told = slack.command("status").get_data(as_text=True)
    assert "waiting for" in told
    for place in ("1st in line", "2nd in line"):
        assert f"{place}; 1 of {person.name}'s runs is going, which is the most at a time" in told

"""A run that waits its turn: its page says in which place and why, and follows as it moves up."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from page_stories import VERA

from runbooks_app.actions import running
from runbooks_app.core.people import Person
from runbooks_app.store import people
from runbooks_app.store.database import transaction
from runbooks_app.web import live

pytestmark = pytest.mark.kernels

_numbers = itertools.count(1)


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"runs_per_person": 2}


@pytest.fixture
def mia(service) -> Person:
    """A responder of whom nothing goes yet."""
    person = Person(f"https://id.example#mia{next(_numbers)}", "Mia Roth", roles=frozenset({"responder"}))
    with transaction(service.engine) as tx:
        people.remember(tx, person)
    return person


@pytest.fixture
def asked(story, mia) -> list[str]:
    """Five runs of hers, of which two go and three wait."""
    run_ids = [story.request(mia) for _ in range(5)]
    for run_id in run_ids[:2]:
        story.claim(run_id)
    return run_ids


def test_the_page_tells_its_person_the_place_and_what_it_waits_for(browser, mia, asked):
    page = browser(mia).get(f"/runs/{asked[4]}")
    assert (
        "Waiting: 3rd in line; 2 of your runs are going, which is the most at a time. It begins by itself." in page.text
    )
    assert "when its turn has come" in page.text
    assert page.title == "○ 3rd in line — db-latency"


def test_others_read_whose_runs_are_going(browser, asked):
    assert "2 of Mia Roth's runs are going" in browser(VERA).get(f"/runs/{asked[2]}").text


def test_a_run_that_goes_or_has_ended_waits_for_nothing(story, browser, mia, asked):
    story.finish(asked[0])
    for run_id in asked[:2]:
        assert "Waiting" not in browser(mia).get(f"/runs/{run_id}").text


def test_home_tells_places_beside_the_runs_that_wait(browser, mia, asked):
    page = browser(mia).get("/")
    at = page.html.index(f"/runs/{asked[3]}")
    assert "2nd in line" in page.html[at : at + 400]


def test_a_live_page_follows_as_its_run_moves_up_and_begins(story, browser, mia, asked, monkeypatch, service):
    monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)
    events = browser(mia).stream(f"/runs/{asked[3]}/events")
    events.until(lambda _, data: "2nd in line" in data)
    running.cancel_run(service, mia, {"surface": "web"}, asked[2])
    events.until(lambda _, data: "1st in line" in data)
    story.finish(asked[0])
    story.claim(asked[3])
    _, begun = events.until(lambda _, data: "diagnosing" in data)
    assert "in line" not in begun
    events.close()

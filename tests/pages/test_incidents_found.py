"""The list of incidents: searched, and a page at a time."""

from __future__ import annotations

import re

import pytest

from runbooks_app.actions import incidents
from runbooks_app.web.pages import incident as page

pytestmark = pytest.mark.pages
ANIMALS = {
    "test_words_of_title_and_cause_find_incidents_the_open_ones_first": "Walrus",
    "test_closed_ones_come_a_page_at_a_time": "Heron",
}
"""Of each test, since all share a database."""
WEB = {"surface": "web", "auth_time": None}


@pytest.fixture
def past(story, service, anna, request) -> list[int]:
    """Three that are closed, and one that is open."""
    opened = [
        incidents.open_incident(service, anna.person, WEB, f"{ANIMALS[request.node.name]} {n}").id for n in range(4)
    ]
    for number, cause in zip(opened[:3], ("a lock", "a full disk", "a lock again"), strict=True):
        incidents.close_incident(service, anna.person, WEB, number, cause)
    return opened


def listed(told) -> list[int]:
    return [int(number) for number in re.findall(r'class="lead" href="/incidents/(\d+)"', told.html)]


def test_words_of_title_and_cause_find_incidents_the_open_ones_first(past, anna):
    first, second, third, still_open = past
    assert listed(anna.get("/incidents?q=walrus")) == [still_open, third, second, first]
    assert listed(anna.get("/incidents?q=WALRUS+1+a+full")) == [second]
    assert "No incident has these words" in anna.get("/incidents?q=no-such-animal").text


def test_closed_ones_come_a_page_at_a_time(past, anna, monkeypatch):
    monkeypatch.setattr(page, "PAGE", 2)
    first, second, third, still_open = past
    told = anna.get("/incidents?q=heron")
    assert listed(told) == [still_open, third, second]
    further = re.search(r'href="(/incidents\?[^"]*before=\d+)">Earlier', told.html)
    assert further
    assert listed(anna.get(further[1].replace("&amp;", "&"))) == [first]
    assert anna.get("/incidents?before=odd").status == 200

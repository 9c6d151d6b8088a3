"""The security headers of every answer: each route and method, with objects that are there, for nobody and for all."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from page_stories import ANNA

from runbooks_app.core.people import PLAIN_ROLES
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.web.headers import HEADERS, KEPT, POLICY

pytestmark = pytest.mark.pages

ORIGIN = "http://127.0.0.1:8080"
EVERYBODY = replace(ANNA, roles=frozenset(PLAIN_ROLES))


@pytest.fixture
def addresses(app, story) -> list[tuple[str, str]]:
    """Each method of each route, at an address that leads to something wherever the story holds such a thing."""
    run_id, proposal_id = story.diagnosed()
    with reading(story.service.engine) as tx:
        attempt = runs.attempts(tx, run_id)[0].id
        incident_id = runs.get(tx, run_id).incident_id
    there = {
        "run_id": run_id,
        "proposal_id": proposal_id,
        "incident_id": str(incident_id),
        "attempt_id": str(attempt),
        "cell_id": "chart",
        "name": "db-latency",
        "gate": "terminate-session",
        "filename": "app.css",
        "seq": "1",
    }
    found = []
    for rule in app.url_map.iter_rules():
        address = re.sub(r"<(?:\w+:)?(\w+)>", lambda part: there.get(part[1], "0"), rule.rule)
        found += [(method, address) for method in sorted(rule.methods or ())]
    return found


def wrong_in(answer: Any, address: str) -> list[str]:
    """What an answer's headers lack."""
    headers = answer.headers
    policy = headers.get("Content-Security-Policy", "")
    lacking = [name for name, value in HEADERS.items() if headers.get(name) != value]
    if policy == POLICY:
        lacking += [] if headers.get("X-Frame-Options") == "DENY" else ["X-Frame-Options"]
    else:  # what a notebook displayed, in a frame of ours
        sealed = "sandbox" in policy and "default-src 'none'" in policy and "unsafe-eval" not in policy
        lacking += [] if sealed and headers.get("X-Frame-Options") == "SAMEORIGIN" else [f"policy {policy}"]
    if len(headers.getlist("Content-Security-Policy")) != 1:
        lacking.append("one policy")
    kept = headers.get("Cache-Control", "")
    if kept != "no-store" and not (address.startswith("/static/") or "private" in kept):
        lacking.append(f"Cache-Control {kept}")
    return lacking


def test_every_answer_of_every_route_carries_them(app, browser, addresses):
    wrong = []
    for person in (None, EVERYBODY):
        for method, address in addresses:
            one = browser(person) if person else None
            client = one.client if one else app.test_client()
            headers = {"Origin": ORIGIN, "X-CSRF-Token": one.csrf if one else ""}
            answer = client.open(address, method=method, headers=headers, buffered=False)
            if lacking := wrong_in(answer, address):
                wrong.append((method, address, answer.status_code, lacking))
            answer.close()
    assert wrong == []


def test_a_file_under_the_mark_of_its_content_is_kept_and_without_one_asked_for_anew(anna):
    marked = re.search(r'href="(/static/app\.css\?v=\w+)"', anna.get("/").html)[1]
    for address, kept in ((marked, KEPT), ("/static/app.css", "no-cache"), ("/static/nothing.css?v=1", None)):
        with anna.client.get(address) as answer:
            assert (address, answer.headers.get("Cache-Control")) == (address, kept)

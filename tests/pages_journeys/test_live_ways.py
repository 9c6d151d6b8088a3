"""Now and an incident's page while they are looked at: they follow what happens; the reader stays where they are."""

from __future__ import annotations

import re

import pytest
from journeys.windows import STAY, stayed
from page_stories import SURFACE
from playwright.sync_api import expect

from runbooks_app.actions import deciding, incidents, running


def places(page) -> dict[str, float]:
    """How far down the parts of the page Now stand that somebody may be about to touch."""
    shown = {
        name: page.locator(f"#{name}").bounding_box() for name in ("notify", "search", "found", "now-going", "now-open")
    }
    return {name: round(box["y"]) for name, box in shown.items() if box}


@pytest.fixture
def calm(site) -> None:
    """Nothing goes on, and nothing waits."""
    site.write("UPDATE proposals SET state = 'expired' WHERE state = 'proposed'")
    site.write("UPDATE runs SET state = 'cancelled' WHERE state IN ('queued', 'diagnosing')")


def test_now_follows_a_run_and_its_proposal_and_nothing_moves_under_who_types(site, visit, calm, look):
    page = visit(site.dev, **look)
    expect(page.locator("#now-mine")).to_contain_text("Nothing at the moment")
    page.get_by_role("searchbox").press_sequentially("kaf")
    page.evaluate(STAY)
    expect(page.locator("#found")).to_contain_text("No runbook has")
    before = places(page)
    run_id = site.story.request(site.anna)
    expect(page.locator(f"#going-{run_id}")).to_contain_text("queued")
    expect(page).to_have_title(re.compile("^● 1 going"))
    assert places(page) == pytest.approx(before, abs=2), "the first run that goes on has its place already"
    site.story.diagnose(run_id)
    (proposal_id,) = site.story.proposals(run_id)
    mine = page.locator(f"#mine-{proposal_id}")
    expect(mine.get_by_role("link", name="Decide")).to_be_visible()
    expect(page).to_have_title(re.compile("^◇ 1 to decide"))
    expect(page.locator("#icon")).to_have_attribute("href", re.compile(r"icons/waits\.svg"))
    expect(page.locator(f"#recent-{run_id}")).to_contain_text("diagnosed")
    assert places(page) == pytest.approx(before, abs=2), "the first proposal that waits has its place already"
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("ka")
    expect(page.get_by_role("searchbox")).to_have_value("kafka")
    deciding.decide(
        site.story.service, site.dev, SURFACE, proposal_id, "deny", site.proposal(proposal_id).digest, "From the chat"
    )
    expect(mine).to_have_count(0)
    expect(page).to_have_title("Runbooks")
    assert stayed(page)


HIDE = """() => {
    Object.defineProperty(document, "hidden", { get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_run_in_a_hidden_tab_says_in_its_title_how_it_ended_and_now_rests_there(site, visit, look):
    run_id = site.story.request(site.anna)
    now, page = visit(site.anna, **look), visit(site.anna, f"/runs/{run_id}", **look)
    expect(page).to_have_title(re.compile("^○ queued"))
    with now.expect_event("requestfailed", lambda request: request.url.endswith("/now/events")):
        now.evaluate(HIDE)
    page.evaluate(HIDE)
    site.story.diagnose(run_id)
    expect(page).to_have_title(re.compile("^◇ waits for a decision"))


def test_an_incident_follows_what_others_do_and_what_is_being_written_stays(site, visit, look):
    service = site.story.service
    incident = incidents.open_incident(service, site.anna, SURFACE, "The till prints nothing").id
    page = visit(site.dev, f"/incidents/{incident}", **look)
    expect(page).to_have_title(f"● #{incident} The till prints nothing")
    page.evaluate(STAY)
    field = page.get_by_label("Note", exact=True)
    field.press_sequentially("Paper is ")
    top = field.bounding_box()["y"]
    run = running.request_run(
        service, site.anna, SURFACE, "db-latency", {"database": "orders-db"}, incident_id=incident
    )
    site.story.diagnose(run.id)
    incidents.add_note(service, site.anna, SURFACE, incident, "I am at the till.")
    expect(page.locator("#incident-timeline")).to_contain_text("I am at the till.")
    expect(page.locator("#incident-timeline")).to_contain_text("blocks 37 others")
    expect(page.get_by_role("link", name="1 proposal waits for you: decide")).to_be_visible()
    assert abs(field.bounding_box()["y"] - top) < 2, "the field moved away under who types"
    expect(field).to_be_focused()
    page.keyboard.type("out.")
    expect(field).to_have_value("Paper is out.")
    incidents.close_incident(service, site.anna, SURFACE, incident, "A jam")
    expect(page.locator("#incident-head")).to_contain_text("A jam")
    expect(page).to_have_title(f"✓ #{incident} The till prints nothing")
    assert stayed(page)


def test_without_script_both_are_read_and_lead_on(site, visit, look):
    run_id, proposal_id = site.diagnosed()
    page = visit(site.dev, **look, java_script_enabled=False)
    page.locator(f"#mine-{proposal_id}").get_by_role("link", name="Decide").click()
    expect(page.locator("#decide")).to_be_visible()
    page.goto(f"{site.address}/incidents/{site.incident_of(run_id)}")
    expect(page.locator("#incident-timeline")).to_contain_text("blocks 37 others")
    expect(page.get_by_role("link", name="1 proposal waits for you: decide")).to_be_visible()

"""People's ways through the pages, in each look: signing in, running, watching, deciding, proving."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from journeys.windows import STAY, fits, in_order, stayed, tabs_to
from page_stories import INPUTS, SURFACE, stream
from playwright.sync_api import expect

from runbooks_app.actions import deciding


def told_as_it_happens(page) -> None:
    """From here on a reload would be noticed."""
    page.evaluate(STAY)


def test_somebody_signs_in_finds_by_typing_is_told_what_is_wrong_and_starts_it(site, visit, look):
    site.signs_in_as(site.anna)
    page = visit(None, "/", **look)
    expect(page).to_have_url(f"{site.address}/")
    expect(page.locator("header")).to_contain_text("Anna Weber")

    page.get_by_role("searchbox").fill("latency")
    expect(page.locator("#found li:visible")).to_have_count(1)
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_url("**/runbooks/db-latency")

    page.get_by_label("slow after").fill("99")
    page.get_by_role("button", name="Start the diagnosis").click()
    page.get_by_text("It did not start").wait_for()
    wrong = page.get_by_label("slow after")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_have_value("99")
    assert fits(page)
    page.get_by_label("database").select_option("orders-db")
    wrong.fill("0.2")
    page.get_by_role("button", name="Start the diagnosis").click()
    page.wait_for_url("**/runs/*")
    expect(page).to_have_title(re.compile("db-latency"))


def test_a_run_is_watched_cell_by_cell_without_a_reload(site, visit, look):
    story = site.story
    run_id = story.request(site.anna)
    page = visit(site.anna, f"/runs/{run_id}", **look)
    told_as_it_happens(page)
    claim = story.claim(run_id)
    for cell in ("parameters", "setup"):
        story.end(run_id, cell)
    story.begin(run_id, "latency")
    site.goes_on(run_id)
    told = {"kind": "output", "attempt": claim.attempt.id, "cell": "latency", "output": stream("reading orders\n")}
    live = page.locator(f"#cell-{claim.attempt.id}-latency")
    expect(live).to_be_visible()
    site.voice.publish(run_id, told)
    expect(live).to_contain_text("reading orders")

    for cell in (cell.id for cell in claim.cells if cell.id not in {"parameters", "setup"}):
        story.end(run_id, cell)
        site.goes_on(run_id)
    expect(page.locator("#run-findings")).to_contain_text("blocks 37 others")
    story.finish(run_id)
    site.goes_on(run_id)
    expect(page.locator("#run-head")).to_contain_text("diagnosed")
    expect(page.locator("#run-proposals")).to_contain_text("Look and decide")
    expect(page).to_have_title(re.compile(r"^\S .*db-latency"))
    assert stayed(page), "it filled in without a reload"
    assert fits(page)


def test_an_approver_decides_signs_afresh_and_sees_what_comes_of_it(site, visit, look):
    run_id, proposal_id = site.diagnosed()
    site.signs_in_as(site.dev)
    page = visit(site.dev, f"/proposals/{proposal_id}", **look)
    assert in_order(page, "h1", "#where", "#inputs", "#evidence", "#code", "#asked", "#decide")
    assert fits(page)
    expect(page.locator("section[aria-labelledby=evidence]")).to_contain_text("As the diagnosis saw it")
    page.get_by_role("link", name="to the decision").click()
    expect(page.locator("#decide")).to_be_in_viewport()
    for button in ("Approve", "Deny"):
        box = page.get_by_role("button", name=button, exact=True).bounding_box()
        assert box["height"] >= 44, f"{button} is {box['height']} pixels high: too low for a thumb"
    signed = site.provider.asked.count("/token")
    page.get_by_label("Reason").fill("Seen it")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_text("Approved by Dev Patel")).to_be_visible()
    assert site.provider.asked.count("/token") == signed + 1
    told_as_it_happens(page)
    site.story.recheck(proposal_id)
    site.goes_on(run_id)
    expect(page.get_by_text("Checked once more: still proposed")).to_be_visible()
    site.story.remediate(proposal_id)
    site.story.verify(proposal_id)
    site.goes_on(run_id)
    expect(page.locator("#proposal-state .note")).to_contain_text("applied, verified")
    expect(page.locator("#proposal-decide")).to_contain_text("can no longer be decided")
    expect(page).to_have_title(re.compile("^✓ applied, verified"))
    assert stayed(page)
    assert fits(page)


def test_what_can_no_longer_be_decided_says_why(site, visit, look):
    story = site.story
    _, denied = site.diagnosed()
    deciding.decide(story.service, site.dev, SURFACE, denied, "deny", site.proposal(denied).digest, "During the sale")
    _, expired = site.diagnosed()
    past = datetime.now(UTC) - timedelta(minutes=1)
    site.write("UPDATE proposals SET expires_at = :at WHERE id = :id", at=past, id=expired)
    stale = site.approved()
    story.recheck(stale, inputs={**INPUTS, "pid": 4999})
    done = site.approved()
    story.mend(done)
    _, withdrawn = site.diagnosed()
    deciding.withdraw(story.service, site.anna, SURFACE, withdrawn)
    page = visit(site.dev, **look)
    for proposal_id, why in (
        (denied, "It was denied by Dev Patel at "),
        (expired, "It expired at"),
        (stale, "It went stale at "),
        (withdrawn, "Withdrawn by Anna Weber at "),
        (done, "It was approved by Dev Patel at "),
    ):
        page.goto(f"{site.address}/proposals/{proposal_id}")
        decide = page.locator("#proposal-decide")
        expect(decide).to_contain_text("can no longer be decided")
        expect(decide).to_contain_text(why)
        expect(decide.get_by_role("button")).to_have_count(0)
        assert fits(page)
    page.goto(f"{site.address}/proposals/{stale}")
    page.get_by_role("link", name="The diagnosis now proposes this instead").click()
    expect(page.locator("h1")).to_contain_text("4999")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()


def test_an_answer_to_what_has_been_decided_meanwhile_is_told_so_and_changes_nothing(site, visit, look):
    _, proposal_id = site.diagnosed()
    page = visit(site.dev, f"/proposals/{proposal_id}", **look)
    page.route("**/events*", lambda route: route.abort())  # this phone has lost its live connection
    page.reload()
    digest = site.proposal(proposal_id).digest
    deciding.decide(site.story.service, site.dev, SURFACE, proposal_id, "deny", digest, "From the desk")
    with page.expect_response(lambda answer: answer.status == 409):
        page.get_by_role("button", name="Deny", exact=True).click()
    expect(page.locator("#proposal-state")).to_contain_text("From the desk")
    expect(page.locator("#proposal-decide")).to_contain_text("can no longer be decided")
    assert fits(page)
    assert len(site.proposal(proposal_id).decisions) == 1
    visit.complaints.clear()  # that nothing comes live


def test_an_auditor_finds_an_entry_and_its_proof(site, visit, look):
    run_id, _ = site.diagnosed()
    page = visit(site.audi, "/audit", **look)
    page.get_by_label("Event", exact=True).select_option("run.requested")
    page.get_by_role("button", name="Search").click()
    row = page.locator("tbody tr").first
    expect(row.locator(f"a[href='/runs/{run_id}']")).to_be_visible()
    row.locator("a").first.click()
    expect(page.get_by_text("It is the SHA-256 of the envelope below.")).to_be_visible()
    expect(page.get_by_text("It follows from the entry before.")).to_be_visible()
    assert fits(page)


def test_by_keyboard_alone_somebody_starts_a_run_and_somebody_denies_what_it_proposes(site, visit, look):
    page = visit(site.anna, **look)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("latency")
    expect(page.locator("#found li:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/runbooks/db-latency")
    tabs_to(page, page.get_by_label("database"))
    page.keyboard.type("orders")
    tabs_to(page, page.get_by_role("button", name="Start the diagnosis"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    run_id = urlsplit(page.url).path.rpartition("/")[2]
    site.story.diagnose(run_id)
    site.goes_on(run_id)
    beside = page.locator("#run-proposals").get_by_role("link", name="Look and decide")
    expect(beside).to_be_visible()
    tabs_to(page, beside)

    (proposal_id,) = site.story.proposals(run_id)
    page = visit(site.dev, f"/proposals/{proposal_id}", **look)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tabs_to(page, page.get_by_label("Reason"))
    page.keyboard.type("Let it finish")
    tabs_to(page, page.get_by_role("button", name="Deny", exact=True))
    page.keyboard.press("Enter")
    expect(page.locator("#proposal-state")).to_contain_text("Let it finish")


def test_without_script_all_is_read_found_and_decided(site, visit, look):
    run_id, proposal_id = site.diagnosed()
    site.signs_in_as(site.dev)
    page = visit(site.dev, "/?q=latency", **look, java_script_enabled=False)
    expect(page.locator("#found li")).to_have_count(1)
    page.goto(f"{site.address}/runs/{run_id}")
    expect(page.locator("#run-findings")).to_contain_text("blocks 37 others")
    page.locator("#run-proposals").get_by_role("link", name="Look and decide").click()
    expect(page.locator("section[aria-labelledby=evidence]")).to_contain_text("blocks 37 others")
    page.get_by_label("Reason").fill("No script here")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator("#proposal-state")).to_contain_text("No script here")
    assert site.proposal(proposal_id).state == "approved"

"""Ways that people take besides the straight one: live output, the channel, too late, not theirs, without script."""

from __future__ import annotations

import re

import pytest
from journeys.windows import DESKTOP, PHONE, STAY, fits, stayed
from playwright.sync_api import expect
from whole_stage import DIAGNOSIS, until


def test_a_run_fills_in_while_its_cells_print(visitor, drill, ana):
    window = visitor(DESKTOP)
    page = window.page()
    with drill.held(DIAGNOSIS):
        run_id, word = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        window.signs_in(page, "ana", f"/runs/{run_id}")
        page.evaluate(STAY)
        expect(page.locator("article.cell", has_text="hold")).to_contain_text("running")
        expect(page.locator(".live", has_text=f"waits at {DIAGNOSIS}")).to_be_visible()
        expect(page.locator("#run-findings")).to_contain_text("Nothing so far")
        expect(page.locator("#run-head")).to_contain_text("diagnosing")
    expect(page.locator("#run-findings")).to_contain_text(f"{word} does not stand there yet")
    expect(page.locator("#run-head")).to_contain_text("diagnosed")
    expect(page.locator("article.cell", has_text="hold")).to_contain_text(f"went on from {DIAGNOSIS}")
    expect(page.locator("#run-proposals")).to_contain_text(f"Write {word} on orders-db")
    assert stayed(page)


def test_a_run_that_is_stopped_says_so_and_leaves_nothing_running(visitor, drill, ana):
    window = visitor(PHONE)
    page = window.page()
    with drill.held(DIAGNOSIS):
        run_id, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        window.signs_in(page, "ana", f"/runs/{run_id}")
        page.get_by_role("button", name="Stop this run").tap()
        expect(page.locator("#run-head")).to_contain_text("cancelled")
        until("its cell to be gone from the database", lambda: not drill.waiting(DIAGNOSIS))
    assert fits(page)
    until("its role to be gone", lambda: not drill.minted())


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_command_typed_in_the_channel_is_one_message_that_leads_to_the_approval(visitor, stage, story, linked, width):
    window = visitor(width)
    channel = window.page()
    channel.goto(f"{stage.slack_url}/?as=U0ANA")
    word = f"channel-{width}"
    channel.get_by_label("Message or command").fill(f"/runbook drill database=orders-db word={word}")
    channel.keyboard.press("Enter")
    channel.evaluate(STAY)
    message = channel.locator("#messages > article", has=channel.get_by_text(f"{word} does not stand there yet"))
    expect(message).to_have_count(1)
    expect(message).to_contain_text("diagnosed")
    assert fits(channel)
    with window.context.expect_page() as opened:
        message.get_by_role("link", name=re.compile("Review and decide")).first.click()
    page = window.watch(opened.value)
    page.locator("button[name=sub][value=ben]").click()
    page.wait_for_url(f"{stage.url}/proposals/*")
    expect(page.locator("h1")).to_have_text(f"Write {word} on orders-db")
    page.get_by_role("button", name="Deny").click()
    expect(page.locator("#proposal-state")).to_contain_text("denied")
    expect(message).to_contain_text("denied")
    expect(message).to_contain_text("(updated)")
    assert stayed(channel), "the message was updated in place"


def test_a_proposal_that_expires_under_the_readers_eyes_says_so(visitor, drill, ana):
    window = visitor(PHONE)
    page = window.page()
    window.signs_in(page, "ben")
    run_id, _ = drill.start(ana, "orders-drill")
    (proposal,) = ana.run(run_id)["proposals"]
    page.goto(f"{window.stage.url}/proposals/{proposal['id']}")
    page.evaluate(STAY)
    expect(page.locator("#proposal-decide")).to_contain_text("can no longer be decided")
    expect(page.locator("#proposal-state")).to_contain_text("Nobody decided in time.")
    assert page.get_by_role("button", name="Approve").count() == 0
    assert stayed(page)
    assert fits(page)


def test_a_proposal_decided_by_somebody_else_says_by_whom_and_when(visitor, drill, ana, cat):
    window = visitor(PHONE)
    page = window.page()
    proposal, _ = drill.proposed(ana)
    window.signs_in(page, "ben", f"/proposals/{proposal['id']}")
    page.evaluate(STAY)
    assert cat.decision(proposal, "deny", "not tonight").status_code == 200
    expect(page.locator("#proposal-state")).to_contain_text("Denied by Cat (second approver): “not tonight”")
    expect(page.locator("#proposal-state")).to_contain_text("UTC")
    expect(page.locator("#proposal-decide")).to_contain_text("can no longer be decided")
    assert page.get_by_role("button", name="Approve").count() == 0
    assert stayed(page)


def test_nobody_is_offered_to_approve_what_they_asked_for(visitor, drill, ben):
    window = visitor(PHONE)
    page = window.page()
    proposal, _ = drill.proposed(ben)
    window.signs_in(page, "ben", f"/proposals/{proposal['id']}")
    expect(page.locator("#proposal-decide")).to_contain_text("You cannot decide this")
    assert page.get_by_role("button", name="Approve").count() == 0
    assert fits(page)


def test_a_viewer_reads_everything_and_is_offered_nothing(visitor, drill, ana):
    window = visitor(DESKTOP)
    page = window.page()
    proposal, _ = drill.proposed(ana)
    window.signs_in(page, "vera", f"/proposals/{proposal['id']}")
    expect(page.locator("#proposal-decide")).to_contain_text("You cannot decide this")
    page.goto(f"{window.stage.url}/runs/{proposal['run']}")
    assert page.get_by_role("button", name="Run again").count() == 0
    page.goto(f"{window.stage.url}/runbooks/drill")
    assert page.get_by_role("button", name="Start the diagnosis").count() == 0
    assert page.get_by_role("link", name="Audit").count() == 0


def test_without_script_everything_can_be_read_and_decided(visitor, drill, ana):
    window = visitor(PHONE, java_script_enabled=False)
    page = window.page()
    window.signs_in(page, "ben")
    run_id, word = drill.start(ana)
    (proposal,) = ana.run(run_id)["proposals"]
    page.goto(f"{window.stage.url}/")
    page.locator("a", has_text=f"Write {word} on orders-db").first.click()
    page.get_by_text("The code that runs").first.wait_for()
    page.get_by_label("Reason").fill("read it all")
    window.approves(page, "ben")
    expect(page.locator("#proposal-state")).to_contain_text("Approved by Ben")
    expect(page.locator("#proposal-state .steps")).to_contain_text(re.compile(r"\bverified", re.IGNORECASE))
    page.goto(f"{window.stage.url}/runs/{run_id}")
    expect(page.locator("#run-findings")).to_contain_text(f"{word} does not stand there yet")
    assert drill.written(word) == 1
    assert ana.proposal(proposal["id"], "applied")["verification"] == "verified"


def test_without_script_a_person_runs_a_runbook(visitor, drill):
    window = visitor(DESKTOP, java_script_enabled=False)
    page = window.page()
    window.signs_in(page, "ana", "/runbooks/drill")
    page.get_by_label("word").fill("scriptless")
    page.get_by_role("button", name="Start the diagnosis").click()
    expect(page.locator("#run-findings")).to_contain_text("scriptless does not stand there yet")

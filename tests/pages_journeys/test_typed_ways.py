"""What somebody types and has not sent: the browser asks before it is lost, and a form that led nowhere works again."""

from __future__ import annotations

import pytest
from page_stories import SURFACE
from playwright.sync_api import expect

from runbooks_app.actions import deciding, incidents


@pytest.fixture
def number(site) -> int:
    """An incident in which nothing has run."""
    return incidents.open_incident(site.story.service, site.anna, SURFACE, "Checkout is slow").id


@pytest.fixture
def asked():
    """`asked(page)`: what the browser asks before it leaves the page; each time the answer is to stay."""

    def listen(page) -> list[str]:
        questions: list[str] = []

        def stay(dialog) -> None:
            questions.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", stay)
        return questions

    return listen


@pytest.mark.parametrize("java_script_enabled", [True, False], ids=["with script", "without script"])
def test_what_was_typed_in_all_sections_is_saved_one_after_the_other(site, visit, number, java_script_enabled):
    page = visit(site.anna, f"/incidents/{number}/postmortem", java_script_enabled=java_script_enabled)
    for name in ("Summary", "Impact", "Lessons", "Actions"):
        page.get_by_label(f"{name}, in Markdown").fill(f"{name} of mine")
    for name, left in (("Impact", 3), ("Actions", 2), ("Summary", 1), ("Lessons", 0)):
        page.get_by_role("button", name=f"Save the {name.lower()}").click()
        expect(page.locator(f"#{name.lower()} .prose")).to_have_text(f"{name} of mine")
        expect(page.get_by_text("What you typed here is not saved yet.")).to_have_count(left)
    assert page.url.endswith("/postmortem#lessons")


def test_a_note_is_not_added_over_a_typed_cause_unasked(site, visit, number, asked):
    page = visit(site.anna, f"/incidents/{number}")
    questions = asked(page)
    page.get_by_label("what was the cause").press_sequentially("A migration")
    page.get_by_label("Note", exact=True).press_sequentially("It goes on")
    with page.expect_download():
        page.get_by_role("button", name="Markdown", exact=True).click()
    assert questions == []
    add = page.get_by_role("button", name="Add it to the timeline")
    with page.expect_event("dialog"):
        add.click()
    page.wait_for_timeout(300)
    assert questions == ["beforeunload"]
    expect(page.get_by_label("what was the cause")).to_have_value("A migration")
    page.get_by_label("what was the cause").fill("")
    add.click()
    expect(page.locator("#incident-timeline")).to_contain_text("It goes on")
    assert questions == ["beforeunload"]


def test_a_form_whose_sending_led_nowhere_can_be_sent_again(site, visit, number):
    def nowhere(route) -> None:
        sent.append(route.request.method)
        route.fulfill(status=204)  # the browser stays where it is, as when one stops it

    page = visit(site.anna, f"/incidents/{number}")
    page.clock.install()
    page.goto(site.address + f"/incidents/{number}")
    sent = []
    page.route("**/notes", nowhere)
    page.get_by_label("Note", exact=True).fill("It goes on")
    add = page.get_by_role("button", name="Add it to the timeline")
    with page.expect_request("**/notes"):
        add.evaluate("button => { button.click(); button.click(); }")
    page.wait_for_timeout(300)
    assert sent == ["POST"]
    page.unroute("**/notes")
    page.clock.run_for(11_000)
    add.click()
    expect(page.locator("#incident-timeline")).to_contain_text("It goes on")


def test_a_clash_has_the_focus(site, visit, number):
    note = incidents.add_note(site.story.service, site.anna, SURFACE, number, "Rolled back").id
    for address, field, button in (
        (f"/incidents/{number}/notes/{note}", "Your note", "Save"),
        (f"/incidents/{number}/postmortem", "Summary, in Markdown", "Save the summary"),
    ):
        first, second = (visit(site.anna, address) for _ in range(2))
        for page, text in ((first, "At first"), (second, "At second")):
            page.get_by_label(field).fill(text)
            page.get_by_role("button", name=button, exact=True).click()
        expect(second.get_by_role("alert")).to_be_focused()
        expect(second.get_by_label(field)).to_have_value("At second")


def test_a_reason_that_was_not_taken_stays_while_the_page_goes_on(site, visit):
    _, proposal_id = site.diagnosed()
    page = visit(site.dev, f"/proposals/{proposal_id}")
    token = "ghp_" + "a1B2" * 9
    page.get_by_label("Reason").fill(token)
    page.get_by_role("button", name="Deny").click()
    reason = page.get_by_label("Reason")
    expect(reason).to_be_focused()
    expect(page.locator("#reason-error")).to_contain_text("looks like a GitHub token")
    page.get_by_role("heading", name="Decide").click()
    reason.blur()
    site.story.approve(proposal_id, site.dev)
    expect(page.get_by_text("Your approval counts.")).to_be_visible()
    expect(reason).to_have_value(token)
    expect(page.locator("#reason-error")).to_be_visible()
    deciding.decide(site.story.service, site.dev, SURFACE, proposal_id, "deny", site.proposal(proposal_id).digest)
    expect(page.get_by_text("It can no longer be decided.")).to_be_visible()


def test_what_is_looked_for_stands_in_the_address_and_the_incident_that_it_is_for_stays(site, visit, number):
    page = visit(site.anna, f"/?incident={number}&q=disk")
    page.get_by_label("Search runbooks").fill("latency")
    page.wait_for_url(f"**/?incident={number}&q=latency")
    page.get_by_label("Search runbooks").fill("")
    page.wait_for_url(f"**/?incident={number}")
    page.reload()
    expect(page.get_by_text("What you choose is run for")).to_be_visible()

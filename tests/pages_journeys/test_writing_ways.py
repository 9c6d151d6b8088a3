"""What people write, in each look: notes, the postmortem by two at once, what is taken along."""

from __future__ import annotations

import json

import nbformat
import pytest
from journeys.windows import fits, tabs_to
from playwright.sync_api import expect


@pytest.fixture
def incident(site) -> str:
    """The address of an incident that was mended."""
    run_id, proposal_id = site.diagnosed()
    site.story.approve(proposal_id, site.dev, "Go")
    site.story.mend(proposal_id)
    return f"/incidents/{site.incident_of(run_id)}"


def take_along(page, words: str) -> None:
    """Take the postmortem in each of its forms: these words stand in it."""
    for button, kind in (("Notebook", "ipynb"), ("HTML", "html"), ("Markdown", "md")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button, exact=True).click()
        text = download.value.path().read_text()
        assert download.value.suggested_filename.endswith(f".{kind}")
        assert words in text, kind
        if kind == "ipynb":
            nbformat.validate(nbformat.from_dict(json.loads(text)))


def test_a_note_is_written_and_changed_and_the_postmortem_with_it_is_taken_along(site, visit, incident, look):
    page = visit(site.anna, incident, **look)
    page.get_by_label("Note", exact=True).fill("The release is stoped.")
    page.get_by_role("button", name="Add it to the timeline").click()
    line = page.locator("#incident-timeline li", has_text="The release is stoped.")
    expect(line).to_be_visible()
    assert fits(page)
    line.get_by_role("link", name="change it").click()
    page.get_by_label("Your note").fill("The release is stopped.")
    page.get_by_role("button", name="Save").click()
    line = page.locator("#incident-timeline li", has_text="The release is stopped.")
    expect(line).to_be_in_viewport()
    line.get_by_role("link", name="changed").click()
    expect(page.locator("section[aria-labelledby=before]")).to_contain_text("The release is stoped.")
    assert fits(page)
    page.goto(site.address + incident)
    take_along(page, "The release is stopped.")


def test_of_two_who_write_the_same_section_the_second_is_shown_what_the_first_wrote_and_loses_nothing(
    site, visit, incident, look
):
    first, second = (visit(person, f"{incident}/postmortem", **look) for person in (site.anna, site.dev))
    first.get_by_label("Summary, in Markdown").fill("A migration held a lock on **orders**.")
    first.get_by_role("button", name="Save the summary").click()
    expect(first.locator("#summary .prose strong")).to_have_text("orders")

    second.get_by_label("Summary, in Markdown").fill("Checkout stood still for 6 min.")
    second.get_by_role("button", name="Save the summary").click()
    clash = second.get_by_role("alert")
    expect(clash).to_contain_text("Anna Weber changed it since you opened it")
    expect(clash).to_contain_text("A migration held a lock on **orders**.")
    field = second.get_by_label("Summary, in Markdown")
    expect(field).to_have_value("Checkout stood still for 6 min.")
    assert fits(second)
    field.fill("A migration held a lock on **orders**. Checkout stood still for 6 min.")
    second.get_by_role("button", name="Save the summary").click()
    expect(second.locator("#summary .prose")).to_have_text(
        "A migration held a lock on orders. Checkout stood still for 6 min."
    )
    expect(second.locator("#summary")).to_contain_text("Dev Patel")
    second.goto(site.address + incident)
    take_along(second, "Checkout stood still for 6 min.")


def test_by_keyboard_alone_a_note_is_written_and_changed_and_a_proof_is_read(site, visit, incident, look):
    page = visit(site.anna, incident, **look)
    tabs_to(page, page.get_by_label("Note", exact=True))
    page.keyboard.type("The relase is stopped.")
    tabs_to(page, page.get_by_role("button", name="Add it to the timeline"))
    page.keyboard.press("Enter")
    line = page.locator("#incident-timeline li", has_text="The relase is stopped.")
    expect(line).to_be_visible()
    tabs_to(page, line.get_by_role("link", name="change it"))
    page.keyboard.press("Enter")
    field = page.get_by_label("Your note")
    tabs_to(page, field)
    page.keyboard.press("Control+A")
    page.keyboard.type("The release is stopped.")
    tabs_to(page, page.get_by_role("button", name="Save"))
    page.keyboard.press("Enter")
    expect(page.locator("#incident-timeline")).to_contain_text("The release is stopped.")
    tabs_to(page, page.get_by_role("button", name="Markdown", exact=True))
    with page.expect_download():
        page.keyboard.press("Enter")

    page = visit(site.audi, "/audit?event=note.edited", **look)
    tabs_to(page, page.locator("tbody tr").first.locator("a").first)
    page.keyboard.press("Enter")
    expect(page.get_by_text("It follows from the entry before.")).to_be_visible()


def test_without_script_a_note_and_the_postmortem_are_written(site, visit, incident, look):
    page = visit(site.anna, incident, **look, java_script_enabled=False)
    page.get_by_label("Note", exact=True).fill("Seen without script.")
    page.get_by_role("button", name="Add it to the timeline").click()
    expect(page.locator("#incident-timeline")).to_contain_text("Seen without script.")
    page.get_by_role("link", name="Write it", exact=True).click()
    page.get_by_label("Impact, in Markdown").fill("Nobody could pay.")
    page.get_by_role("button", name="Save the impact").click()
    expect(page.locator("#impact .prose")).to_have_text("Nobody could pay.")

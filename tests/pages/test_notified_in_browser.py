"""What waits for somebody, told by their own browser: once, after a click, and not what stood there before."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import chromium
import pytest
import serving
from page_stories import Story, service_on
from playwright.sync_api import BrowserContext, Page, expect
from whole_stage import until

from runbooks_app.core.people import Person
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.app import create_app

pytestmark = [pytest.mark.chat, pytest.mark.journey]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
_numbers = itertools.count(1)


@pytest.fixture
def served(pages_engine, tmp_path, settings):
    """The app on a port of its own: its story and address."""
    with serving.served() as place:
        service = service_on(pages_engine, tmp_path, public_url=place.address, **settings)
        place.app = create_app(service, secret_key=b"a key for tests, and for nothing else at all")
        yield Story(service), place.address


RECORDED = """
window.told = [];
const Real = window.Notification;
window.Notification = class extends Real {
  constructor(title, options) {
    super(title, options);
    window.told.push([title, options.body, options.tag]);
    console.info(`told: ${title}`);
  }
};
"""
ENDED = "event: end\ndata:\n\n"


def complains(said: Any) -> bool:
    """Whether the console tells of a defect; that an answer was a 401 is none."""
    return said.type == "error" and "401 (UNAUTHORIZED)" not in said.text


@pytest.fixture(scope="module")
def browser():
    """Chromium, started once for all of these tests."""
    with chromium.started() as running:
        yield running


@pytest.fixture
def visit(browser, served):
    """`visit(person)` opens Now in a browser where notifications are allowed; the console may complain of nothing."""
    story, address = served
    complaints: list[str] = []
    opened: list[BrowserContext] = []

    def open_page(person: Person, viewport: dict[str, int] = PHONE, **how: Any) -> Page:
        context = browser.new_context(viewport=viewport, permissions=["notifications"], **how)
        opened.append(context)
        context.add_cookies([{"name": "runbooks", "value": story.sign_in(person)[0], "url": address}])
        context.add_init_script(RECORDED)
        # A page that is live keeps the network busy; this one is told at once that nothing more will come.
        context.route("**/now/events", lambda route: route.fulfill(content_type="text/event-stream", body=ENDED))
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if complains(said) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


@pytest.fixture
def dana():
    """An approver for whom nothing waits of earlier tests that she has not seen."""
    return Person(f"https://id.example#dana{next(_numbers)}", "Dana", roles=frozenset({"approver:database"}))


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like where somebody wants to see it."""
    if folder := os.environ.get("RUNBOOKS_TEST_PICTURES"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def look_again(page: Page) -> None:
    """What the page does by itself every 15 s; a page that is opened does it at once."""
    page.reload()
    page.wait_for_load_state("networkidle")


def test_something_new_is_told_once_after_a_click_and_not_before(served, visit, dana):
    story, _ = served
    story.diagnosed()
    page = visit(dana)
    look_again(page)
    assert page.evaluate("window.told") == []
    page.get_by_role("button", name="Notify me here").click()
    expect(page.get_by_role("button", name="Stop notifying me here")).to_be_visible()
    until("what stands there to be known", lambda: page.evaluate("localStorage.getItem('runbooks-notified')"))
    look_again(page)
    assert page.evaluate("window.told") == []  # what stood there already
    _, proposal_id = story.diagnosed()
    look_again(page)
    until("it to be told", lambda: page.evaluate("window.told.length"))
    ((title, body, tag),) = page.evaluate("window.told")
    assert (title, tag) == ("Waits for you", proposal_id)
    assert "4711" in body
    assert "(high risk)" in body
    look_again(page)
    assert page.evaluate("window.told") == []
    page.get_by_role("button", name="Stop notifying me here").click()
    expect(page.get_by_text("Switched off: nothing is told here.")).to_be_visible()
    story.diagnosed()
    look_again(page)
    assert page.evaluate("window.told") == []


def test_whoever_is_signed_out_meanwhile_is_told_so(served, visit, dana):
    story, _ = served
    page = visit(dana)
    page.get_by_role("button", name="Notify me here").click()
    page.clock.install()
    look_again(page)
    with transaction(story.service.engine) as tx:
        tx.execute("UPDATE sessions SET revoked_at = now() WHERE subject = :subject", subject=dana.subject)
    with page.expect_console_message(lambda said: said.text == "told: You are signed out"):
        page.clock.run_for(15_100)
    page.clock.run_for(60_000)
    titles = [title for title, _, _ in page.evaluate("window.told")]
    assert titles.count("You are signed out") == 1
    assert titles[-1] == "You are signed out"


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_offer_and_the_page_for_several_fit(served, visit, dana, viewport, scheme):
    story, address = served
    run_id, _ = story.diagnosed()
    page = visit(dana, viewport, color_scheme=scheme)
    picture(page, f"now-{viewport['width']}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    with reading(story.service.engine) as tx:
        incident_id = runs.get(tx, run_id).incident_id
    page.goto(f"{address}/incidents/{incident_id}/decide")
    expect(page.get_by_role("checkbox")).not_to_be_checked()
    picture(page, f"several-{viewport['width']}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]

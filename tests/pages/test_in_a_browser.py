"""The pages in Chromium: on a phone and on a desk, in the dark, live, and without script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import chromium
import pytest
import serving
from page_stories import ANNA, AUDI, DEV, INPUTS, SURFACE, Story, stream
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from runbooks_app.actions import deciding
from runbooks_app.core.people import Person
from runbooks_app.live import Live
from runbooks_app.main.embedded import Redis
from runbooks_app.store import proposals, runs
from runbooks_app.store.database import reading
from runbooks_app.web import live
from runbooks_app.web.app import create_app

pytestmark = pytest.mark.journey

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.started() as running:
        yield running


@pytest.fixture
def served(pages_engine, tmp_path, redis_server: Redis, idp, settings) -> Iterator[Any]:
    """The app on a port of its own, with a provider where Dev signs in afresh: its story and address."""
    from page_stories import service_on

    idp.user = {"sub": "dev", "name": "Dev Patel", "groups": ["approver:database"]}
    idp.forge = lambda claims: {**claims, "auth_time": claims["iat"]}
    with serving.served() as place:
        service = service_on(pages_engine, tmp_path, public_url=place.address, redis_url=redis_server.url, **settings)
        app = place.app = create_app(service, secret_key=b"a key for tests, and for nothing else at all")
        voice = Live(redis_server.url)
        yield Story(service, issuer=idp.url), place.address, voice
        voice.close()
        live.close(app)  # its streams end; the server waits for them when it stops


def complains(message: ConsoleMessage) -> bool:
    """Whether the console tells of a defect; that an answer was a 422, or the 503 of a full house, is none."""
    answers = ("422 (UNPROCESSABLE", "503 (Service Unavailable)")
    return message.type in {"error", "warning"} and not any(answer in message.text for answer in answers)


@pytest.fixture
def visit(browser: Browser, served) -> Iterator[Any]:
    """`visit(DEV, "/", PHONE)` opens a page as somebody; what the console complains of fails the test."""
    story, address, _ = served
    opened: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(person, path: str, viewport: dict[str, int], **how: Any) -> Page:
        context = browser.new_context(viewport=viewport, **how)
        opened.append(context)
        context.add_cookies([{"name": "runbooks", "value": story.sign_in(person)[0], "url": address}])
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if complains(m) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address + path)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


def sign_everybody_in(story: Story) -> None:
    for person in (ANNA, dev_of(story), AUDI):
        story.sign_in(person)


def dev_of(story: Story) -> Person:
    """Dev, as the provider knows him."""
    return replace(DEV, subject=f"{story.issuer}#dev")


def test_no_page_scrolls_sideways_on_a_phone(served, visit):
    story, address, _ = served
    sign_everybody_in(story)
    run_id, waiting = story.diagnosed()
    _, done = story.diagnosed()
    story.approve(done, dev_of(story))
    story.mend(done)
    with reading(story.service.engine) as tx:
        incident_id = runs.get(tx, run_id).incident_id
    paths = {
        ANNA: ["/", "/runbooks/db-latency", f"/runs/{run_id}", f"/runs/{run_id}/propose/cancel-query",
               "/incidents", f"/incidents/{incident_id}", "/connections"],
        dev_of(story): [f"/proposals/{waiting}", f"/proposals/{done}"],
        AUDI: ["/audit", "/audit/2", "/break-glass"],
    }  # fmt: skip
    wide = []
    for person, own in paths.items():
        page = visit(person, own[0], PHONE)
        for path in own:
            page.goto(address + path)
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > PHONE["width"]:
                wide.append((path, width))
            small = page.evaluate(
                "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
                ".filter((e) => parseFloat(getComputedStyle(e).fontSize) < 16).length"
            )
            assert small == 0, f"{path} would zoom in on a field"
    assert wide == []


def test_a_phone_approves_and_watches_it_done(served, visit):
    story, _, voice = served
    sign_everybody_in(story)
    run_id, proposal_id = story.diagnosed()
    page = visit(dev_of(story), f"/proposals/{proposal_id}", PHONE)
    page.get_by_label("Reason").fill("Seen it")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("It is about to run")).to_be_visible()
    story.recheck(proposal_id)
    voice.publish(run_id, {"kind": "changed"})
    expect(page.get_by_text("Checked once more: still proposed")).to_be_visible()
    story.remediate(proposal_id)
    story.verify(proposal_id)
    voice.publish(run_id, {"kind": "changed"})
    expect(page.locator("#proposal-state .note")).to_contain_text("applied, verified")
    expect(page).to_have_title(re.compile("^✓ applied, verified"))


def test_it_is_decided_without_script_too(served, visit):
    story, _, _ = served
    sign_everybody_in(story)
    _, proposal_id = story.diagnosed()
    page = visit(DEV, f"/proposals/{proposal_id}", PHONE, java_script_enabled=False)
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("It was denied by Dev Patel").first).to_be_visible()


def test_a_run_fills_in_as_it_prints_and_what_the_reader_opened_stays_open(served, visit):
    story, _, voice = served
    sign_everybody_in(story)
    run_id = story.request()
    claim = story.claim(run_id)
    for cell in ("parameters", "setup"):
        story.end(run_id, cell)
    page = visit(ANNA, f"/runs/{run_id}", DESK)
    story.begin(run_id, "latency")
    told = {"kind": "output", "attempt": claim.attempt.id, "cell": "latency"}
    voice.publish(run_id, {"kind": "changed"})
    voice.publish(run_id, {**told, "output": stream("reading <i>orders</i>\n")})
    printed = page.locator(f"#live-{claim.attempt.id}-latency")
    expect(printed).to_contain_text("reading <i>orders</i>")
    voice.publish(run_id, {**told, "output": stream("reading customers\n")})
    expect(printed.locator("pre")).to_have_text("reading <i>orders</i>\nreading customers\n")

    cell = page.locator(f"#cell-{claim.attempt.id}-latency")
    cell.get_by_text("Code", exact=True).click()
    expect(cell.locator(".code")).to_be_visible()
    story.end(run_id, "latency")
    voice.publish(run_id, {"kind": "changed"})
    expect(cell).to_contain_text("200 reads of 8 tables")
    expect(cell.locator(".code")).to_be_visible()
    expect(page).to_have_title("● 1 of 7 — db-latency")
    expect(page.locator("#run-findings")).to_contain_text("Reads are slow")


@pytest.mark.pages
def test_what_is_typed_and_focused_stays_while_the_page_around_it_changes(served, visit):
    story, _, voice = served
    sign_everybody_in(story)
    run_id, proposal_id = story.diagnosed()
    page = visit(dev_of(story), f"/proposals/{proposal_id}", PHONE)
    reason = page.get_by_label("Reason")
    reason.fill("Seen it")
    reason.evaluate("area => area.setSelectionRange(2, 4)")
    expect(page.locator("#icon")).to_have_attribute("href", re.compile("waits"))
    story.approve(proposal_id, dev_of(story))
    voice.publish(run_id, {"kind": "changed"})
    expect(page.locator("#proposal-state")).to_contain_text("It is about to run")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(reason).to_be_focused()
    expect(reason).to_have_value("Seen it")
    assert reason.evaluate("area => [area.selectionStart, area.selectionEnd]") == [2, 4]
    expect(page.locator("#icon")).to_have_attribute("href", re.compile("going"))


@pytest.mark.pages
def test_a_page_that_is_no_longer_live_says_so_and_comes_back(served, visit):
    story, address, _ = served
    sign_everybody_in(story)
    run_id = story.request()
    page = visit(ANNA, "/connections", DESK)
    page.route("**/events?*", lambda route: route.fulfill(status=503, body="<p id='run-head'>not this</p>"))
    with page.expect_event("console", lambda message: "503" in message.text):
        page.goto(f"{address}/runs/{run_id}")
    expect(page.get_by_text("Not live at the moment")).to_be_visible()
    expect(page.locator("#run-head")).not_to_contain_text("not this")
    page.unroute("**/events?*")
    expect(page.get_by_text("Not live at the moment")).to_be_hidden(timeout=15_000)
    story.diagnose(run_id)
    expect(page).to_have_title(re.compile("^◇"))


@pytest.mark.pages
def test_a_page_whose_scripts_come_slowly_is_live_all_the_same(served, visit):
    story, address, _ = served
    sign_everybody_in(story)
    run_id = story.request()
    page = visit(ANNA, "/connections", DESK)
    held = []
    page.route("**/vendor/hx-sse.min.js*", lambda route: held.append(route))  # noqa: PLW0108 -- playwright counts its arguments
    page.goto(f"{address}/runs/{run_id}", wait_until="commit")
    there = "new Promise((done) => setTimeout(() => setTimeout(() => done(typeof htmx === 'object'))))"
    while not page.evaluate(there):
        pass
    with page.expect_response(lambda response: "/events" in response.url):
        held[0].continue_()


@pytest.mark.pages
def test_who_leaves_a_live_page_and_comes_back_sees_it_live(served, visit):
    story, address, voice = served
    sign_everybody_in(story)
    run_id = story.request()
    page = visit(ANNA, f"/runs/{run_id}", DESK)
    page.goto(f"{address}/connections")
    with page.expect_response(lambda response: "/events" in response.url):
        page.go_back()
    story.diagnose(run_id)
    voice.publish(run_id, {"kind": "changed"})
    expect(page).to_have_title(re.compile("^◇"))


@pytest.mark.chat
@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
def test_two_proposals_of_an_incident_are_approved_on_a_phone_with_one_sign_in(served, visit, idp, script):
    story, address, _ = served
    sign_everybody_in(story)
    run_id, first = story.diagnosed()
    given = {**INPUTS, "pid": 4712}
    second = deciding.propose_by_hand(story.service, ANNA, SURFACE, run_id, "terminate-session", given, "it as well")
    with reading(story.service.engine) as tx:
        where = f"/incidents/{runs.get(tx, run_id).incident_id}/decide"
    page = visit(dev_of(story), where, PHONE, java_script_enabled=script)
    for proposal_id in (first, second.id):
        page.locator(f"#chosen-{proposal_id}").check()
    asked = len(idp.asked)
    page.get_by_label("Reason").fill("Both hold it")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(address + where)
    expect(page.get_by_text("Nothing waits for you here")).to_be_visible()
    expect(page.get_by_text("approved by Dev Patel: “Both hold it”")).to_have_count(2)
    assert idp.asked[asked:].count("/token") == 1
    with reading(story.service.engine) as tx:
        assert [proposals.get(tx, one).state for one in (first, second.id)] == ["approved", "approved"]
    for one in (first, second.id):  # what a worker makes of what the provider signed
        checked = story.checked(one)
        assert (checked.doubts, list(checked.groups)) == ((), [dev_of(story).subject])


def test_everything_of_the_library_is_reached_by_keyboard(served, visit):
    story, address, _ = served
    sign_everybody_in(story)
    page = visit(ANNA, "/", DESK)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("kafka")
    expect(page.get_by_text("No runbook has “kafka”")).to_be_visible()
    page.locator("#search").fill("latency")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/runbooks/db-latency")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()


def test_the_first_field_at_fault_has_the_focus(served, visit):
    story, _, _ = served
    sign_everybody_in(story)
    page = visit(ANNA, "/incidents", DESK)
    with page.expect_response(lambda response: response.status == 422):
        page.get_by_role("button", name="Open an incident").click()
    expect(page.get_by_label("What is wrong?")).to_be_focused()

"""What waits for somebody: found behind a great many of others, asked for by their browser, told once."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from page_stories import ANNA, DEV, VERA, Story, service_on
from playwright.sync_api import Page, expect
from werkzeug.serving import make_server

from runbooks_app.chat.messages import run_message
from runbooks_app.core.people import Person
from runbooks_app.store import proposals, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.app import create_app
from runbooks_app.web.pages.now import waits_for
from runbooks_app.worker.views import run_told

pytestmark = pytest.mark.chat

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
_numbers = itertools.count(1)


def rewrite(tx: Any, proposal_id: str, **columns: Any) -> None:
    for name, value in columns.items():
        tx.execute(f"UPDATE proposals SET {name} = :value WHERE id = :id", value=value, id=proposal_id)


def test_what_the_database_finds_for_somebody_is_what_the_rules_say(story):
    """Many proposals that differ in all that counts: each is looked at by the rules, and looked for by the query."""
    dice = random.Random(7)  # noqa: S311 -- tests may be predictable, and this one has to be
    approvers = [[], [["database"]], [["payments"]], [["database"], ["payments", "sre"]], [["sre"], ["database"]]]
    _, first = story.diagnosed()
    made = [story.diagnosed()[1] for _ in range(60)]
    with transaction(story.service.engine) as tx:
        policy = proposals.get(tx, first).policy
        for proposal_id in made:
            asked = dice.choice([[], [ANNA.subject], [DEV.subject], [ANNA.subject, DEV.subject]])
            risk = dice.choice(["low", "medium", "high"])
            rewrite(
                tx,
                proposal_id,
                requesters=asked,
                sponsor=dice.choice(["", "", DEV.subject, VERA.subject]),
                policy={**policy, "risk": risk, "approvals": 2, "approvers": dice.choice(approvers)},
                state=dice.choice(["proposed", "proposed", "proposed", "approved", "denied"]),
                expires_at=tx.now + timedelta(seconds=dice.choice([-5, 900, 1_000])),
            )
            if dice.random() < 0.2:
                tx.execute(
                    """INSERT INTO decisions (proposal_id, digest, subject, name, verdict, signed_in, break_glass)
                       VALUES (:id, '', :subject, 'D', 'approve', '{}', :glass)""",
                    id=proposal_id,
                    subject=dice.choice([DEV.subject, VERA.subject]),
                    glass=dice.random() < 0.3,
                )
    people = [DEV, *(Person(DEV.subject, "Dev", roles=frozenset(f"approver:{g}" for g in groups)) for groups in (
        ["payments"], ["sre"], ["database", "payments"], ["database", "sre", "payments"], ["other"],
    ))]  # fmt: skip
    with reading(story.service.engine) as tx:
        every = {proposal_id: proposals.get(tx, proposal_id) for proposal_id in made}
        counts = []
        for person in people:
            found = proposals.waiting_for(tx, person.subject, person.approver_groups, 10_000)
            by_rules = {one.id for one in every.values() if one.state == "proposed" and waits_for(one, person, tx.now)}
            assert {one.id for one, _ in found} & set(made) == by_rules
            assert all(runs.get(tx, one.run_id).incident_id == incident_id for one, incident_id in found)
            counts.append(len(by_rules))
    assert len(set(counts)) > 3  # the people differ, and so does what they may decide


@pytest.fixture
def other_crowd(story):
    """250 proposals that expire before all others, and that somebody else decides."""
    _, model = story.diagnosed()
    with transaction(story.service.engine) as tx:
        known = "SELECT column_name FROM information_schema.columns WHERE table_name = 'proposals'"
        columns = list(tx.execute(known).scalars())
        given = {
            "id": "'crowd' || lpad(n::text, 11, '0')",
            "policy": 'policy || \'{"approvers": [["nobody"]]}\'',
            "expires_at": "now() + interval '60 s'",
        }
        picked = ", ".join(given.get(name, f'"{name}"') for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        tx.execute(
            f"INSERT INTO proposals ({names}) SELECT {picked} FROM proposals, generate_series(1, 250) n WHERE id = :id",
            id=model,
        )
        tx.execute("UPDATE proposals SET state = 'expired' WHERE id = :id", id=model)
    yield
    with transaction(story.service.engine) as tx:
        tx.execute("UPDATE proposals SET state = 'expired' WHERE id LIKE 'crowd%'")


def test_mine_is_found_behind_a_great_many_of_others(story, dev, other_crowd):
    _, proposal_id = story.diagnosed()
    page = dev.get("/").html
    mine = page[page.index("Waits for you") : page.index(">Runbooks</h2>")]
    assert f"/proposals/{proposal_id}" in mine
    told = json.loads(dev.get("/waiting").html)["waiting"]
    assert proposal_id in {one["id"] for one in told}
    assert not any(one["id"].startswith("crowd") for one in told)


def test_who_decides_nothing_is_told_of_nothing(story, anna):
    story.diagnosed()
    assert json.loads(anna.get("/waiting").html) == {"waiting": []}
    assert "notify.js" not in anna.get("/").html


def test_several_of_an_incident_are_offered_together(story, dev, anna):
    run_id, _ = story.diagnosed()
    with reading(story.service.engine) as tx:
        incident_id = runs.get(tx, run_id).incident_id
    where = f"/incidents/{incident_id}/decide"
    assert where not in dev.get("/").html
    inputs = {"pid": "4712", "backend_start": "2026-11-22 03:06:11.482913+00", "xact_start": "2026-11-22 03:06:12+00"}
    form = {f"p.{name}": value for name, value in inputs.items()}
    form |= {"p.application": "checkout", "p.username": "shop", "p.blocked": "1", "reason": "it blocks as well"}
    told = anna.post(f"/runs/{run_id}/propose/terminate-session", **form)
    assert told.status == 303, told.text
    page = dev.get("/")
    assert where in page.html
    assert f'href="{where}">2 proposals wait for you: decide</a>' in dev.get(f"/incidents/{incident_id}").html
    assert where not in anna.get(f"/incidents/{incident_id}").html
    with reading(story.service.engine) as tx:
        told = run_message(run_told(tx, story.service, runs.get(tx, run_id)))
    assert f"{where}|Decide several of them together" in json.dumps(told.blocks)
    assert f"Decide all 2 of incident #{incident_id} together" in page.text


# ---- in a browser


@pytest.fixture
def served(pages_engine, tmp_path, settings):
    """The app on a port of its own: its story and address."""
    held: dict[str, Any] = {}

    def late(*request: Any) -> Any:
        return held["app"](*request)  # made when the port is known

    server = make_server("127.0.0.1", 0, late, threaded=True)
    address = f"http://127.0.0.1:{server.server_port}"
    service = service_on(pages_engine, tmp_path, public_url=address, **settings)
    held["app"] = create_app(service, secret_key=b"a key for tests, and for nothing else at all")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Story(service), address
    server.shutdown()
    thread.join()
    server.server_close()


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


def complains(said: Any) -> bool:
    """Whether the console tells of a defect; that an answer was a 401 is none."""
    return said.type == "error" and "401 (UNAUTHORIZED)" not in said.text


@pytest.fixture
def visit(served):
    """`visit(person)` opens Now in a browser where notifications are allowed; the console may complain of nothing."""
    import chromium

    story, address = served
    complaints: list[str] = []
    with chromium.started() as browser:

        def open_page(person: Person, viewport: dict[str, int] = PHONE, **how: Any) -> Page:
            context = browser.new_context(viewport=viewport, permissions=["notifications"], **how)
            context.add_cookies([{"name": "runbooks", "value": story.sign_in(person)[0], "url": address}])
            context.add_init_script(RECORDED)
            page = context.new_page()
            page.on("console", lambda said: complaints.append(said.text) if complains(said) else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(address)
            return page

        yield open_page
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
    look_again(page)
    assert page.evaluate("window.told") == []  # what stood there already
    _, proposal_id = story.diagnosed()
    look_again(page)
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

"""Every page, light and dark, at a desk and on a phone: it fits, nothing complains; PNGs to look at are in `build/`."""

from __future__ import annotations

from pathlib import Path

import pytest
from journeys.windows import DESKTOP, PHONE, fits
from whole_stage import DIAGNOSIS, until

FOLDER = Path(__file__).parents[2] / "build" / "screenshots"


@pytest.fixture(scope="module")
def pages(stage, story, drill, linked, traffic, ana, ben):
    """Addresses by name, of a stage on which everything has happened once."""
    fault = stage.shop.inject("migration")
    until("the blocker", story.blocker)
    try:
        run = until("a proposal of the diagnosis", lambda: _diagnosed(ana))
    finally:
        fault.stop()
    open_one = run["proposals"][0]["id"]
    applied, _ = drill.proposed(ana)
    ben.decision(applied)
    ben.verified(applied["id"])
    denied, _ = drill.proposed(ana)
    ben.decision(denied, "deny", "not during the sale")
    expired, _ = drill.proposed(ana, "orders-drill")
    ben.proposal(expired["id"], "expired")
    ana.ask(f"/incidents/{run['incident']}/notes", text="The migration was ours; the release is stopped.")
    return {
        "now": "/",
        "now-nothing-found": "/?q=nothing+of+the+kind",
        "runbook": "/runbooks/db-latency",
        "run": f"/runs/{run['id']}",
        "run-drill": f"/runs/{applied['run']}",
        "propose-by-hand": f"/runs/{run['id']}/propose/cancel-query",
        "approval-open": f"/proposals/{open_one}",
        "approval-applied": f"/proposals/{applied['id']}",
        "approval-denied": f"/proposals/{denied['id']}",
        "approval-expired": f"/proposals/{expired['id']}",
        "connections": "/connections",
        "incidents": "/incidents",
        "incident": f"/incidents/{run['incident']}",
    }


def _diagnosed(ana):
    answer = ana.ask("/runs", runbook="db-latency", parameters={"database": "orders-db"})
    run = ana.run(answer.json()["id"])
    return run if run["proposals"] else None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_every_page_fits_and_nothing_complains(visitor, stage, drill, ana, pages, width, scheme):
    FOLDER.mkdir(parents=True, exist_ok=True)

    def shoot(page, name):
        page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)
        if not fits(page):
            too_wide.append(name)

    too_wide: list[str] = []
    ben, otto = visitor(width, color_scheme=scheme), visitor(width, color_scheme=scheme)
    page = ben.page()
    ben.signs_in(page, "ben")
    for name, path in pages.items():
        page.goto(stage.url + path)
        shoot(page, name)
    with drill.held(DIAGNOSIS):
        run_id, _ = drill.start(ana)
        drill.comes_to(DIAGNOSIS)
        page.goto(f"{stage.url}/runs/{run_id}")
        page.locator(".live", has_text="waits at").wait_for()  # the cell before may still show its own
        shoot(page, "run-going")
        page.goto(f"{stage.url}/")
        shoot(page, "now-going")
    page.goto(f"{stage.url}/runbooks/db-latency")
    page.get_by_label("slow after").fill("99")
    page.get_by_role("button", name="Start the diagnosis").click()
    page.get_by_text("It did not start").wait_for()
    shoot(page, "runbook-refused")
    page.goto(f"{stage.slack_url}/?as=U0BEN")
    shoot(page, "channel")
    page = otto.page()
    otto.signs_in(page, "otto", "/audit")
    shoot(page, "audit")
    page.locator("tbody tr a").first.click()
    page.get_by_text("Envelope").first.wait_for()
    shoot(page, "entry")
    for person in (ben, otto):
        assert person.complaints == []
    page.goto(f"{stage.url}/runs/nosuchrun")
    shoot(page, "error")
    otto.complaints.clear()  # the browser itself remarks on the 404
    assert too_wide == []

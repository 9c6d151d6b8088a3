"""Anna wants to know more than the runbook tells: she asks, watches, concludes, asks again, and makes a draft of it."""

from __future__ import annotations

import re

from journeys.windows import STAY, fits, stayed
from page_stories import stream
from playwright.sync_api import expect
from typer.testing import CliRunner

from runbooks_app.main.cli import app

SQL = "%%sql orders-db\nSELECT count(*) FROM pg_stat_replication"
PYTHON = 'print("replicas", 2)'
ASK = re.compile(r"/runs/([a-z2-7]{16})$")


def send(page, cells: str) -> str:
    """Ask; the id of the run that answers."""
    page.get_by_label("Cells").fill(cells)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url(ASK)
    return ASK.search(page.url)[1]


def watch(site, page, run_id: str) -> None:
    """See what its second cell prints while it prints it, and the end, without a reload."""
    story = site.story
    claim = story.claim(run_id)
    story.begin(run_id, "ask-3")
    site.goes_on(run_id)
    cell = page.locator(f"#cell-{claim.attempt.id}-ask-3")
    expect(cell).to_contain_text("running")
    page.evaluate(STAY)
    told = {"kind": "output", "attempt": claim.attempt.id, "cell": "ask-3", "output": stream("replicas 2\n")}
    site.voice.publish(run_id, told)
    expect(cell).to_contain_text("replicas 2")
    expect(page).to_have_title("● 0 of 2 — A replica lags")
    for one in claim.cells:
        story.end(run_id, one.id, outputs=[stream("replicas 2\n")] if one.id == "ask-3" else [])
    story.finish(run_id)
    site.goes_on(run_id)
    expect(page.locator("#run-head")).to_contain_text("answered")
    expect(page).to_have_title("✓ answered — A replica lags")
    assert stayed(page), "it filled in without a reload"


def conclude(page) -> None:
    """First with nothing, then with what it showed; neither is lost."""
    conclusion, write = page.get_by_label("Conclusion"), page.get_by_role("button", name="Write it down")
    conclusion.fill("   ")
    write.click()
    expect(page.get_by_text("It is empty. Say what it showed")).to_be_visible()
    expect(conclusion).to_have_attribute("aria-invalid", "true")
    assert fits(page)
    conclusion.fill("Both replicas are there.")
    write.click()
    expect(page.locator("#ask strong")).to_have_text("Both replicas are there.")
    expect(conclusion).to_be_hidden()
    page.get_by_text("Change it").click()
    expect(conclusion).to_have_value("Both replicas are there.")


def make_draft(page, folder, *asks: str) -> None:
    """Choose asks on the incident's page, and take the runbook of them away: it passes the check."""
    for run_id in asks:
        page.locator(f"#ask-{run_id}").check()
    page.get_by_label("Make a runbook of those chosen").fill("Does a replica lag?")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the draft").click()
    assert download.value.suggested_filename == "does-a-replica-lag.ipynb"
    download.value.save_as(folder / "does-a-replica-lag.ipynb")
    checked = CliRunner().invoke(app, ["check", "--library", str(folder)])
    assert (checked.exit_code, checked.output) == (0, "1 checked, 0 with errors\n")


def test_somebody_asks_watches_concludes_asks_again_and_takes_a_draft_away(site, visit, tmp_path, look):
    run_id, _ = site.diagnosed()
    page = visit(site.anna, f"/runs/{run_id}", **look)
    page.get_by_role("link", name="Ask something").click()
    page.get_by_label("What do you believe?").fill("A replica lags")
    page.get_by_label("Cells").fill(f"{SQL}\n# %%\nif:")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("It cannot be read in cell 2, line 1")).to_be_visible()
    expect(page.get_by_label("What do you believe?")).to_have_value("A replica lags")
    assert fits(page)

    first = send(page, f"{SQL}\n# %%\n{PYTHON}")
    expect(page.locator("h1")).to_have_text("A replica lags")
    watch(site, page, first)
    conclude(page)
    assert fits(page)

    page.get_by_role("link", name="Ask again").click()
    expect(page.get_by_label("Cells")).to_have_value(f"{SQL}\n# %%\n{PYTHON}")
    second = send(page, SQL)
    expect(page.get_by_role("link", name="an earlier run")).to_have_attribute("href", f"/runs/{first}")
    site.story.diagnose(second)

    page.goto(f"{site.address}/incidents/{site.incident_of(run_id)}/ask")
    make_draft(page, tmp_path, first, second)
    assert fits(page)

"""A run of a thousand cells in a browser: a line for each, opened where it stands, by script and without."""

from __future__ import annotations

import pytest
from page_stories import THOUSAND_CELLS
from playwright.sync_api import Locator, Page, expect

from runbooks_app.store import runs
from runbooks_app.store.database import reading


@pytest.fixture(scope="module")
def long_run(site) -> tuple[str, int]:
    """Ids of the run, and of its attempt."""
    run_id, _ = site.diagnosed()
    with reading(site.story.service.engine) as tx:
        attempt = runs.attempts(tx, run_id)[0].id
    site.write(THOUSAND_CELLS, attempt=attempt, state="ok", text="printed\n" * 20)
    return run_id, attempt


def cell(page: Page, attempt: int, number: int):
    return page.locator(f"#cell-{attempt}-many-{number}")


def opens(line: Locator, number: int) -> None:
    """Wait until a cell shows what it printed.

    Not by `expect`: where what it expects is not there at its first look, Playwright describes all of the page for its
    error, which takes a page of a thousand cells seconds in which nothing else happens there.
    """
    line.locator("pre", has_text=f"{number} printed").first.wait_for()


def test_a_line_opens_where_it_stands(site, visit, long_run):
    run_id, attempt = long_run
    page = visit(site.anna, f"/runs/{run_id}")
    line = cell(page, attempt, 300)
    expect(line).to_have_class("cell read folded")
    line.get_by_role("link").click()
    opens(line, 300)
    expect(line).to_have_class("cell read")
    expect(line.locator(".anchor")).to_be_focused()
    assert page.url.endswith(f"/runs/{run_id}")


def test_a_line_is_opened_by_the_keyboard(site, visit, long_run):
    run_id, attempt = long_run
    page = visit(site.anna, f"/runs/{run_id}")
    line = cell(page, attempt, 301)
    line.get_by_role("link").focus()
    page.keyboard.press("Enter")
    opens(line, 301)


def test_without_script_the_page_comes_again_with_that_cell_open(site, visit, long_run):
    run_id, attempt = long_run
    page = visit(site.anna, f"/runs/{run_id}", phone=True, java_script_enabled=False)
    line = cell(page, attempt, 300)
    line.get_by_role("link").click()
    opens(line, 300)
    expect(line).to_be_in_viewport()


def test_who_was_signed_out_meanwhile_signs_in_and_finds_it_open(site, visit, long_run):
    run_id, attempt = long_run
    site.signs_in_as(site.anna)
    page = visit(site.anna, f"/runs/{run_id}")
    page.context.clear_cookies()
    cell(page, attempt, 302).get_by_role("link").click()
    opens(cell(page, attempt, 302), 302)
    assert f"?cell={attempt}-many-302" in page.url


def test_it_fits_a_phone(site, visit, long_run):
    run_id, _ = long_run
    page = visit(site.anna, f"/runs/{run_id}", phone=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

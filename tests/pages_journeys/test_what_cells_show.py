"""What cells show, in a browser: tables that sort, JSON that opens, images in full size, the line that failed."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from page_stories import chart, shown, stream
from pages_journeys import axe_core
from pages_journeys.conftest import PHONE
from playwright.sync_api import expect

PICTURES = os.environ.get("RUNBOOKS_TEST_PICTURES")
TRACEBACK = "Cell In[3], line 2\n      1 x\n----> 2 y\n\nZeroDivisionError: division by zero"
SESSIONS = pd.DataFrame(
    {
        "application": ["checkout", "deploy-migration", "reports", "billing"],
        "seconds": [9.5, 371.0, float("nan"), 40.25],
        "blocked": ["1,204", "37", "0", "12"],
    }
)
COLOURS = "".join(f"\x1b[{code}m{code:>4}\x1b[0m" for code in (*range(30, 38), *range(40, 48), *range(90, 98), 1, 2, 7))


@pytest.fixture(scope="module")
def run_id(site) -> str:
    """A run whose cells show one of each kind."""
    story = site.story
    run_id = story.request(site.anna)
    story.claim(run_id)
    data = {"text/html": SESSIONS._repr_html_(), "text/plain": str(SESSIONS)}
    table = {"output_type": "display_data", "metadata": {}, "data": data}
    tree = {"replicas": [{"name": f"replica-{n}", "lag": n / 10, "up": True} for n in range(6)], "primary": None}
    failure = {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero"}
    long = {**shown("text/html", pd.DataFrame({"n": range(300), "m": range(300)}).to_html())}
    story.end(run_id, "latency", outputs=[table, stream(f"{COLOURS}\x1b[38;2;0;200;90m24 bits\x1b[38;5;201m 256\n")])
    story.end(run_id, "activity", outputs=[shown("application/json", tree)])
    story.end(run_id, "blocking-tree", outputs=[{**failure, "traceback": TRACEBACK.split("\n")}])
    story.end(run_id, "locks", outputs=[shown("application/vnd.plotly.v1+json", {"data": [{"y": [1, 2]}]}), long])
    story.end(run_id, "chart", outputs=[chart()])
    story.finish(run_id)
    return run_id


def test_a_table_sorts_up_down_and_as_the_cell_had_it_by_mouse_and_keyboard(site, visit, run_id):
    page = visit(site.anna, f"/runs/{run_id}")
    table = page.locator("table[data-sorts]").first
    names = table.locator("tbody tr td:nth-child(2)")
    button = table.get_by_role("button", name="Sort by seconds")
    head = table.locator("th", has_text="seconds")
    asmade = ["checkout", "deploy-migration", "reports", "billing"]
    button.click()
    expect(names).to_have_text(["checkout", "billing", "deploy-migration", "reports"])
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#said")).to_have_text("Sorted by seconds, ascending")
    page.keyboard.press("Enter")
    expect(names).to_have_text(["deploy-migration", "billing", "checkout", "reports"])
    page.keyboard.press("Enter")
    expect(names).to_have_text(asmade)
    table.get_by_role("button", name="Sort by blocked").click()
    expect(names).to_have_text(["reports", "billing", "deploy-migration", "checkout"])
    table.get_by_role("button", name="Sort by application").click()
    expect(names).to_have_text(sorted(asmade))
    assert page.evaluate("getComputedStyle(document.querySelector('td.num')).textAlign") == "right"


def test_the_line_that_failed_is_marked_in_the_code_and_the_code_stands_open(site, visit, run_id):
    page = visit(site.vera, f"/runs/{run_id}", java_script_enabled=False)
    failing = page.locator("tr.failing")
    expect(failing).to_be_visible()
    expect(failing.locator(".no")).to_have_text("✗ 2")
    expect(failing).to_contain_text("It failed in this line:")


def test_without_script_a_tree_opens_an_image_leads_to_its_full_size_and_no_dead_button_stands(site, visit, run_id):
    page = visit(site.vera, f"/runs/{run_id}", java_script_enabled=False)
    assert page.locator(".sort").first.is_hidden()
    lag = page.locator(".tree").get_by_text("replica-3")
    assert lag.is_hidden()
    page.locator(".tree summary", has_text="replicas").click()
    expect(lag).to_be_visible()
    page.get_by_role("link", name="in full size").click()
    image = page.locator("img.natural")
    expect(image).to_be_visible()
    assert image.bounding_box()["width"] == 700
    page.get_by_role("link", name="Back to the run").click()
    page.get_by_role("link", name="on a page of their own").click()
    expect(page.locator("tbody tr")).to_have_count(300)


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_cells_show_is_legible_and_fits(site, visit, run_id, axe, phone, dark):
    page = visit(site.vera, f"/runs/{run_id}", phone=phone, dark=dark)
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    if PICTURES:
        look = f"cells-{'phone' if phone else 'desk'}-{'dark' if dark else 'light'}"
        for name in ("latency", "activity", "blocking-tree", "locks", "chart"):
            page.locator(f".cell[id$='-{name}']").screenshot(path=Path(PICTURES) / f"{look}-{name}.png")
    assert axe_core.violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= (PHONE["width"] if phone else 1280)
    page.goto(f"{site.address}{page.locator('.enlarge').get_attribute('href')}")
    assert axe_core.violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= (PHONE["width"] if phone else 1280)

"""People's whole ways through the product, in a real browser, on the one running stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import chromium
import pytest
from journeys.windows import DESKTOP, PHONE
from whole_stage import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

    from runbooks_app.main.demo.stage import Stage


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.journey)
            item.add_marker(pytest.mark.timeout(240))


@dataclass
class Visitor:
    """One person's browser window. What its console complains about on our pages fails the test at the end."""

    stage: Stage
    context: BrowserContext
    width: int
    complaints: list[str] = field(default_factory=list)

    def page(self) -> Page:
        """A new tab."""
        return self.watch(self.context.new_page())

    def watch(self, page: Page) -> Page:
        """Listen to what the browser complains about on this tab."""
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        return page

    def signs_in(self, page: Page, sub: str, place: str = "/") -> None:
        """Open a page and sign in at the provider on the way."""
        page.goto(self.stage.url + place)
        page.locator(f"button[name=sub][value={sub}]").click()
        page.wait_for_url(self.stage.url + place)

    def approves(self, page: Page, sub: str) -> None:
        """Press Approve, and sign in once more where high risk leads to."""
        back = page.url
        page.get_by_role("button", name="Approve").click()
        page.locator(f"button[name=sub][value={sub}]").click()
        page.wait_for_url(back)

    def _heard(self, said: ConsoleMessage) -> None:
        ours = {urlsplit(self.stage.url).netloc, urlsplit(self.stage.slack_url).netloc}
        if "422 (UNPROCESSABLE ENTITY)" in said.text:
            return  # the browser's own remark on a form that comes back with its mistakes marked
        where = urlsplit(said.location.get("url", ""))
        if said.type in {"error", "warning"} and (not where.netloc or where.netloc in ours):
            self.complaints.append(f"{where.path}: {said.text}")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with chromium.started() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, stage: Stage) -> Iterator[Any]:
    """Opens windows: `visitor(width=390)`; at the end none of them may have complained."""
    opened: list[Visitor] = []

    def visit(width: int = DESKTOP, **options: Any) -> Visitor:
        shape = {"width": width, "height": 844 if width == PHONE else 900}
        context = browser.new_context(viewport=shape, has_touch=width == PHONE, accept_downloads=True, **options)
        opened.append(Visitor(stage, context, width))
        return opened[-1]

    yield visit
    complaints = [complaint for each in opened for complaint in each.complaints]
    for each in opened:
        each.context.close()
    assert complaints == []


@pytest.fixture(scope="package")
def traffic(stage: Stage) -> Iterator[None]:
    """The shop is busy."""
    running = stage.shop.traffic()
    yield
    running.stop()

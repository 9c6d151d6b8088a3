"""Browser windows onto a running service: at a desk and on a phone, light and dark, with script and without."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chromium
import psycopg
import pytest
from pages_journeys import axe_core
from pages_journeys import site as sites
from service_database import APP_PASSWORD

from runbooks_app.store.database import connect
from runbooks_app.web import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
    from sqlalchemy import Engine

    from runbooks_app.core.people import Person
    from runbooks_app.main.embedded import Postgres, Redis

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.pages)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with chromium.started() as running:
        yield running


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return axe_core.source()


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, postgres_server: Postgres, migrated_template: str) -> Iterator[Engine]:
    """A database for the tests of a file."""
    name = "runbooks_" + re.sub(r"\W", "_", request.path.stem)
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    engine = connect(postgres_server.url("runbooks_app", name, APP_PASSWORD), APP_PASSWORD)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory, redis_server: Redis) -> Iterator[sites.Site]:
    """The service, for the tests of a file."""
    with pytest.MonkeyPatch.context() as patch:  # everybody comes from one address
        patch.setattr(limits, "LIMITS", dict.fromkeys(limits.LIMITS, "1000000 per minute"))
        with sites.opened(
            engine, tmp_path_factory.mktemp("site"), redis_server, break_glass="session", styleguide="on"
        ) as running:
            yield running


@dataclass
class Visits:
    """Windows of several people; what their consoles complain of is kept."""

    site: sites.Site
    browser: Browser
    opened: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(
        self, person: Person | None, path: str = "/", *, phone: bool = False, dark: bool | None = None, **how: Any
    ) -> Page:
        """A page as somebody who is signed in (None: as nobody). A desk is light and a phone dark, if not said."""
        dark = phone if dark is None else dark
        shape = {"viewport": PHONE, "has_touch": True} if phone else {"viewport": DESK}
        context = self.browser.new_context(**shape, color_scheme="dark" if dark else "light", **how)
        self.opened.append(context)
        if person:
            secret, _ = self.site.story.sign_in(person)
            context.add_cookies([{"name": "runbooks", "value": secret, "url": self.site.address}])
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.goto(self.site.address + path)
        return page

    def _heard(self, said: ConsoleMessage) -> None:
        # That an answer was an error is the browser's own remark, and what the test asked for.
        if said.type in {"error", "warning"} and "Failed to load resource" not in said.text:
            self.complaints.append(f"{said.location.get('url', '')}: {said.text}")


@pytest.fixture(params=["light desk", "dark desk", "light phone", "dark phone"])
def look(request: pytest.FixtureRequest) -> dict[str, bool]:
    """`visit(site.dev, "/", **look)`: each look of the pages, one after the other."""
    return {"phone": "phone" in request.param, "dark": "dark" in request.param}


@pytest.fixture
def visit(site: sites.Site, browser: Browser) -> Iterator[Visits]:
    """`visit(site.dev, "/", phone=True)` opens a page; what a console complains of fails the test."""
    visits = Visits(site, browser)
    yield visits
    for context in visits.opened:
        context.close()
    assert visits.complaints == []

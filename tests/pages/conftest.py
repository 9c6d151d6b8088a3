"""The pages over a real database, with the library's own runbook and browsers in which somebody is signed in."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile_provider
import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from page_stories import ANNA, AUDI, DEV, VERA, Story, service_on
from service_database import APP_PASSWORD
from signing import ROLES
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from runbooks_app.actions.context import Service
from runbooks_app.core.people import Person
from runbooks_app.main.embedded import Postgres
from runbooks_app.store import people
from runbooks_app.store.database import connect, transaction
from runbooks_app.web import live
from runbooks_app.web.app import create_app

ORIGIN = "http://127.0.0.1:8080"


@pytest.fixture(scope="session")
def pages_engine(postgres_server: Postgres, migrated_template: str) -> Iterator[Engine]:
    """One database for all of these tests: each makes incidents, runs and proposals of its own."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE runbooks_pages TEMPLATE {migrated_template}")
    engine = connect(postgres_server.url("runbooks_app", "runbooks_pages", APP_PASSWORD), APP_PASSWORD)
    yield engine
    engine.dispose()


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings that a test may change before it asks for the app."""
    return {}


@pytest.fixture
def idp(settings: dict[str, Any]) -> Iterator[hostile_provider.Provider]:
    """A sign-in provider that the app goes to, where a test asks for it before it asks for the app."""
    with hostile_provider.serve() as provider:
        settings |= {"oidc_issuer": provider.url, "roles": ROLES}
        yield provider


@pytest.fixture
def service(pages_engine: Engine, tmp_path: Path, settings: dict[str, Any]) -> Service:
    return service_on(pages_engine, tmp_path, **settings)


@pytest.fixture
def story(service: Service) -> Story:
    with transaction(service.engine) as tx:
        for person in (ANNA, DEV, VERA, AUDI):
            people.remember(tx, person)
    return Story(service)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Templates, compiled once for the many apps of these tests."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def app(service: Service, compiled: FileSystemBytecodeCache) -> Iterator[Flask]:
    app = create_app(service, secret_key=b"a key for tests, and for nothing else at all")
    app.jinja_env.bytecode_cache = compiled
    yield app
    live.close(app)


@dataclass
class Page:
    """A page as it came, and as a reader sees it: `text` is without markup, on one line."""

    status: int
    html: str
    headers: Any

    @property
    def text(self) -> str:
        plain = re.sub(r"<(script|style|title)\b.*?</\1>|<[^>]+>", " ", self.html, flags=re.DOTALL)
        return " ".join(html.unescape(plain).split())

    @property
    def title(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self.html, re.DOTALL)
        return html.unescape(found[1]) if found else ""

    def field(self, name: str) -> str:
        """Value of a form's field."""
        found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', self.html)
        assert found, f"there is no field {name}"
        return html.unescape(found[1])


@dataclass
class Browser:
    """Somebody's browser: it sends forms as their pages do."""

    client: FlaskClient
    csrf: str
    person: Person

    def get(self, path: str) -> Page:
        return _page(self.client.get(path))

    def post(self, path: str, **form: str) -> Page:
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        return _page(self.client.post(path, data={"csrf": self.csrf, **form}, headers=headers))

    def stream(self, path: str) -> Stream:
        return Stream(self.client.get(path, buffered=False))


class Stream:
    """Server-sent events, one by one."""

    def __init__(self, response: TestResponse) -> None:
        self.status = response.status_code
        self._response = response
        self._text = (part.decode() for part in response.iter_encoded())
        self._left = ""

    def next(self) -> tuple[str, str]:
        """Name and data of the next event; comments are passed over. `("", "")` at the end."""
        while True:
            while "\n\n" not in self._left:
                more = next(self._text, None)
                if more is None:
                    return "", ""
                self._left += more
            event, _, self._left = self._left.partition("\n\n")
            lines = [line.partition(": ") for line in event.split("\n")]
            names = [value for field, _, value in lines if field == "event"]
            if names:
                return names[0], "\n".join(value for field, _, value in lines if field == "data")

    def until(self, fits: Callable[[str, str], bool], most: int = 40) -> tuple[str, str]:
        """The next event that fits."""
        for _ in range(most):
            event = self.next()
            assert event != ("", ""), "the stream ended before it came"
            if fits(*event):
                return event
        raise AssertionError(f"it was not among {most} events")

    def close(self) -> None:
        self._response.close()


def _page(response: TestResponse) -> Page:
    return Page(response.status_code, response.get_data(as_text=True), response.headers)


@pytest.fixture
def browser(app: Flask, story: Story) -> Callable[[Person], Browser]:
    """`browser(DEV)` is a browser in which Dev has signed in."""

    def open_browser(person: Person) -> Browser:
        secret, csrf = story.sign_in(person)
        client = app.test_client()
        client.set_cookie("runbooks", secret)
        return Browser(client, csrf, person)

    return open_browser


@pytest.fixture
def anna(browser) -> Browser:
    """On call: a responder, who asks for every run of these stories."""
    return browser(ANNA)


@pytest.fixture
def dev(browser) -> Browser:
    """An approver for `database`."""
    return browser(DEV)


@pytest.fixture
def vera(browser) -> Browser:
    """A viewer."""
    return browser(VERA)


@pytest.fixture
def audi(browser) -> Browser:
    """An auditor."""
    return browser(AUDI)

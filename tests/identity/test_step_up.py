"""Fresh sign-ins at an independent provider, from a page that wants one: by hand over HTTP, and in Chromium."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import chromium
import httpx
import node_provider
import pytest
import serving
from flask import make_response, render_template_string

from runbooks_app.actions.context import Service
from runbooks_app.library import Library
from runbooks_app.settings import Settings
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.web import client as client_module
from runbooks_app.web import stepup
from runbooks_app.web.app import create_app
from runbooks_app.web.guards import guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

pytestmark = pytest.mark.identity

SECRET = "the client's own secret"
FORM = """{% extends "base.html" %}{% block main %}<form method="post">
<input type="hidden" name="csrf" value="{{ csrf }}"><button>Do it</button></form>{% endblock %}"""
DONE = '{% extends "base.html" %}{% block main %}<h1>It is done.</h1>{% endblock %}'


@dataclass
class Served:
    """An app on a loopback port, with one page that wants a fresh sign-in, and what was done there."""

    url: str
    done: list[dict] = field(default_factory=list)

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=20, follow_redirects=False)

    def sign_in(self, browser, provider, sub, **how):
        sent = browser.get("/login?next=/thing")
        return browser.get(provider.sign_in(browser, sent.headers["Location"], sub, **how))

    def begin(self, browser):
        csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/thing").text).group(1)
        return browser.post("/thing", data={"csrf": csrf}, headers={"Origin": self.url})

    def sign(self, browser, provider, sub, **how):
        sent = self.begin(browser)
        assert sent.status_code == 303, sent.text
        return browser.get(provider.sign_in(browser, sent.headers["Location"], sub, **how))


@pytest.fixture
def served(database, node, servers_folder, tmp_path, monkeypatch) -> Iterator[Served]:
    with serve(node, database, servers_folder, tmp_path, monkeypatch) as made:
        yield made


@contextmanager
def serve(provider, database, servers_folder, library, monkeypatch, **settings) -> Iterator[Served]:
    with serving.served() as place:
        made = Served(place.address)
        told = Settings(
            public_url=made.url,
            oidc_issuer=provider.issuer,
            oidc_scopes="openid profile email groups",
            roles={"sre": ["responder"], "dba": ["approver:database"]},
            **settings,
        )
        service = Service(database.engine, Library(library), {}, told, Artifacts("file://artifacts", servers_folder))
        app = place.app = create_app(service, secret_key=b"x" * 32, oidc_client_secret=SECRET)
        with_the_thing(app, made, monkeypatch)
        provider.service(made.url, secret=SECRET, client_id="runbooks")
        yield made


def with_the_thing(app: Flask, made: Served, monkeypatch) -> None:
    def finish(ref, id_token, claims):
        made.done.append({"ref": ref, **claims})
        return make_response(render_template_string(DONE))

    monkeypatch.setitem(stepup.FINISHERS, "thing", finish)
    app.add_url_rule("/thing", "look", guard()(lambda: render_template_string(FORM)))
    begin = guard()(lambda: stepup.begin("thing", "the-ref", "the-nonce", "/thing"))
    app.add_url_rule("/thing", "thing", begin, methods=["POST"])


def test_who_is_signed_in_at_the_provider_signs_in_there_again(served, node):
    with served.browser() as browser:
        assert served.sign_in(browser, node, "ben").status_code == 303
        begun = time.time()
        told = served.sign(browser, node, "ben")
        assert "It is done." in told.text
        assert browser.get("/api/v1/me").json()["subject"] == f"{node.issuer}#ben"
    (seen,) = served.done
    assert (seen["ref"], seen["sub"], seen["nonce"], seen["groups"]) == ("the-ref", "ben", "the-nonce", ["dba"])
    assert int(begun) <= seen["auth_time"] <= time.time()


def test_without_being_asked_to_the_provider_has_nobody_sign_in_again(served, node):
    """So it is by what the request asks for that the test above passes."""
    with served.browser() as browser:
        served.sign_in(browser, node, "ben")
        assert not node.asks(browser, browser.get("/login").headers["Location"])
        assert node.asks(browser, served.begin(browser).headers["Location"])


def test_another_account_at_the_provider_finishes_nothing(served, node):
    with served.browser() as browser:
        served.sign_in(browser, node, "ana")
        told = served.sign(browser, node, "ben")
        # The provider signs Ana out before it lets Ben in, and tells us so by the back channel.
        assert told.status_code == 403
        assert "Your session has ended in the meantime" in told.text
        assert browser.get("/api/v1/me").status_code == 401
    assert served.done == []


def test_turning_back_at_the_provider_finishes_nothing(served, node):
    with served.browser() as browser:
        served.sign_in(browser, node, "ana")
        told = served.sign(browser, node, "ana", cancel=True)
        assert (told.status_code, "access_denied" in told.text) == (403, True)
    assert served.done == []


@pytest.fixture
def strict(database, node, servers_folder, tmp_path, monkeypatch) -> Iterator[Served]:
    with serve(node, database, servers_folder, tmp_path, monkeypatch, step_up_acr="urn:test:strong") as made:
        yield made


def test_a_password_alone_is_not_enough_where_more_is_asked_for(strict, node):
    with strict.browser() as browser:
        strict.sign_in(browser, node, "ben")
        told = strict.sign(browser, node, "ben")
        assert told.status_code == 403
        assert "urn:test:strong" in told.text
        assert strict.done == []
        assert strict.sign(browser, node, "ben", code=node_provider.CODE).status_code == 200
    assert strict.done[0]["acr"] == "urn:test:strong"


def test_who_lost_a_group_at_the_provider_comes_back_without_its_role(served, node):
    node.person("dora", name="Dora", groups=["dba"])
    with served.browser() as browser:
        served.sign_in(browser, node, "dora")
        assert browser.get("/api/v1/me").json()["roles"] == ["approver:database"]
        node.person("dora", name="Dora", groups=[])
        served.sign(browser, node, "dora")
        assert browser.get("/api/v1/me").json()["roles"] == []


def test_while_the_provider_is_away_people_go_on_and_afterwards_sign_in_under_its_new_keys(
    database, servers_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(client_module, "FRESH", 0)
    with node_provider.running() as first:
        first.person("ana", name="Ana", groups=["sre"])
        with serve(first, database, servers_folder, tmp_path, monkeypatch) as served, served.browser() as browser:
            assert served.sign_in(browser, first, "ana").status_code == 303
            first.stop()
            assert browser.get("/api/v1/me").json()["roles"] == ["responder"]
            away = browser.get("/login")
            assert away.status_code == 503
            assert "nobody signs in or approves high risk; all else goes on" in away.text
            assert served.begin(browser).status_code == 503
            with node_provider.running(int(first.issuer.rpartition(":")[2])) as second:
                second.person("ana", name="Ana", groups=["sre"])
                second.service(served.url, secret=SECRET)
                assert served.sign(browser, second, "ana").status_code == 200


def test_a_form_leads_through_the_provider_and_back_in_chromium(served, node):
    with chromium.started() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        for _ in ("to sign in", "to sign in afresh"):
            page.goto(served.url + "/thing")
            if page.get_by_role("button", name="Do it").is_visible():
                page.get_by_role("button", name="Do it").click()
            page.get_by_label("Name").fill("ben")
            page.get_by_label("Password").fill(node_provider.PASSWORD)
            page.get_by_role("button", name="Sign in").click()
        page.get_by_text("It is done.").wait_for()
        # Signing out leads through the provider as well, which asks.
        page.goto(served.url + "/thing")
        page.get_by_role("button", name="Sign out").click()
        assert page.url.startswith(node.issuer)
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(served.url + "/signed-out")
        assert page.get_by_role("heading", name="Signed out").is_visible()
        assert complaints == []

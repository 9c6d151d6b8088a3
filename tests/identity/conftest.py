"""The whole service with an independent provider, each started once per pytest process, and people who sign in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import httpx
import node_provider
import pytest
from node_provider import NodeProvider
from whole_stage import Drill, Person, library_with_drill

from runbooks_app.main.demo.stage import Stage
from runbooks_app.main.demo.story import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_ADDRESSES = itertools.cycle(range(1, 255))


class Colleague(Person):
    """Somebody who signs in at the independent provider."""

    def __init__(self, stage: Stage, sub: str, node: NodeProvider) -> None:
        super().__init__(stage, sub)
        self.client.close()
        # From an address of their own, as people come: of each address only so many sign in a minute.
        transport = httpx.HTTPTransport(local_address=f"127.0.1.{next(_ADDRESSES)}")
        self.client = httpx.Client(transport=transport, follow_redirects=True, timeout=PATIENCE, trust_env=False)
        self.node = node

    def sign_in(self, place: str = "/") -> httpx.Response:
        """Through the provider's own page."""
        sent = self.client.get(f"{self.stage.url}/login", params={"next": place}, follow_redirects=False)
        answer = self.client.get(self.node.sign_in(self.client, sent.headers["Location"], self.sub))
        me = self.client.get(f"{self.stage.url}/api/v1/me")
        self.csrf = me.json()["csrf"] if me.status_code == 200 else ""
        return answer

    def send(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form of ours without following where its answer leads: to the provider, for what wants a signature."""
        fields["csrf"] = self.csrf
        headers = {"Origin": self.stage.url}
        return self.client.post(self.stage.url + path, data=fields, headers=headers, follow_redirects=False)

    def sign(self, sent: httpx.Response, **how: Any) -> httpx.Response:
        """Sign in afresh where an answer sent this browser; what the service says in the end."""
        assert sent.status_code == 303, sent.text
        return self.client.get(self.node.sign_in(self.client, sent.headers["Location"], self.sub, **how))


@pytest.fixture(scope="session")
def node() -> Iterator[NodeProvider]:
    """The provider, with the people of the demo's story."""
    with node_provider.running() as provider:
        provider.person("ana", name="Ana", email="ana@example.com", email_verified=True, groups=["sre"])
        provider.person("ben", name="Ben", email="ben@example.com", email_verified=True, groups=["dba"])
        provider.person("cat", name="Cat", email="cat@example.com", email_verified=True, groups=["dba"])
        provider.person("otto", name="Otto", groups=["audit"])
        yield provider


@pytest.fixture(scope="session")
def company(servers_folder: Path, postgres_programs: Path, node: NodeProvider) -> Iterator[Stage]:
    """The running demo, whose people sign in at the independent provider."""
    library = library_with_drill(servers_folder / "company-library")
    settings = {"oidc_issuer": node.issuer, "oidc_scopes": "openid profile email groups"}
    folder = servers_folder / "company"
    with Stage(folder, lambda _: None, usual_ports=False, library=library, settings=settings) as started:
        node.service(started.url, secret=started.secret("oidc_client"))
        yield started


@pytest.fixture(scope="session")
def company_drill(company: Stage) -> Iterator[Drill]:
    """The drill of the company's stage, with its table in the shop."""
    made = Drill(company)
    yield made
    made.shop.close()


@pytest.fixture
def colleague(company: Stage, node: NodeProvider) -> Iterator[Any]:
    """`colleague("ben")` signs somebody in, in a browser of their own."""
    browsers: list[Colleague] = []

    def sign_in(sub: str) -> Colleague:
        browsers.append(Colleague(company, sub, node))
        assert browsers[-1].sign_in().status_code == 200
        return browsers[-1]

    yield sign_in
    for browser in browsers:
        browser.client.close()

"""The service as browsers meet it: the real app on a port, its database, Redis and a provider, and its people.

What workers would do is done by `page_stories.Story`, through the same actions, when a test says so.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import hostile_provider
import serving
from page_stories import ANNA, AUDI, DEV, LIBRARY, VERA, Story, service_on
from signing import ROLES
from sqlalchemy import text

from runbooks_app.core.people import Person
from runbooks_app.live import Live
from runbooks_app.store import people, proposals, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.web import live
from runbooks_app.web.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask
    from hostile_provider import Provider
    from sqlalchemy import Engine

    from runbooks_app.main.embedded import Redis
    from runbooks_app.store.records import Proposal

BEA = Person("https://id.example#bea", "Bea Duarte", "bea@example.com", frozenset({"break-glass"}))
GROUPS = {**ROLES, "viewer": ["viewer"], "auditor": ["auditor"], "admin": ["admin"]}


@dataclass(frozen=True)
class Site:
    """A running service: where it is, how its story goes on, and how watching pages are told that it did."""

    story: Story
    address: str
    voice: Live
    provider: Provider
    app: Flask

    def person(self, like: Person) -> Person:
        """Somebody of the stories as this site's provider knows them."""
        return replace(like, subject=f"{self.provider.url}#{like.subject.partition('#')[2]}")

    @property
    def anna(self) -> Person:
        """On call; she asks for all that these stories tell."""
        return self.person(ANNA)

    @property
    def dev(self) -> Person:
        """An approver for `database`."""
        return self.person(DEV)

    @property
    def vera(self) -> Person:
        """She may look."""
        return self.person(VERA)

    @property
    def audi(self) -> Person:
        """An auditor."""
        return self.person(AUDI)

    @property
    def bea(self) -> Person:
        """Who may break the glass."""
        return self.person(BEA)

    def signs_in_as(self, person: Person) -> None:
        """Whom the provider vouches for from here on: just now, and with the groups that make the person's roles."""
        self.provider.user = {
            "sub": person.subject.partition("#")[2],
            "name": person.name,
            "email": person.email,
            "groups": sorted(person.roles),
        }

    def diagnosed(self) -> tuple[str, str]:
        """Ids of a run of Anna's and of its proposal."""
        return self.story.diagnosed(self.anna)

    def approved(self, reason: str = "") -> str:
        """A proposal that Dev has approved."""
        _, proposal_id = self.diagnosed()
        self.story.approve(proposal_id, self.dev, reason)
        return proposal_id

    def goes_on(self, run_id: str) -> None:
        """Tell who watches that something about this run has changed."""
        self.voice.publish(run_id, {"kind": "changed"})

    def proposal(self, proposal_id: str) -> Proposal:
        """A proposal as the database has it."""
        with reading(self.story.service.engine) as tx:
            return proposals.get(tx, proposal_id)

    def incident_of(self, run_id: str) -> int:
        """The incident that a run belongs to."""
        with reading(self.story.service.engine) as tx:
            return runs.get(tx, run_id).incident_id

    def write(self, statement: str, **values: Any) -> None:
        """Change what only time would change."""
        with self.story.service.engine.begin() as session:
            session.execute(text(statement), values)


@contextmanager
def opened(engine: Engine, folder: Path, redis: Redis, **settings: Any) -> Iterator[Site]:
    """A site over a migrated database; its library has one runbook more, which cannot be read."""
    library = folder / "library"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    (library / "broken.ipynb").write_text("{")
    with hostile_provider.serve() as provider, serving.served() as place:
        provider.forge = lambda claims: {**claims, "auth_time": claims["iat"]}
        given = {"oidc_issuer": provider.url, "roles": GROUPS, "redis_url": redis.url, "library": library, **settings}
        service = service_on(engine, folder, public_url=place.address, **given)
        app = place.app = create_app(service, secret_key=b"a key for tests, and for nothing else at all")
        site = Site(Story(service, issuer=provider.url), place.address, Live(redis.url), provider, app)
        with transaction(engine) as tx:
            for person in (site.anna, site.dev, site.vera, site.audi, site.bea):
                people.remember(tx, person)
        yield site
        site.voice.close()
        live.close(app)  # its streams end; the server waits for them when it stops

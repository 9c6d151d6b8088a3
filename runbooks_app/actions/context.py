"""What every action stands on, and how actors are named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from runbooks_app.alerting import EMPTY, Alerting
from runbooks_app.connections import Connection
from runbooks_app.core.people import Actor, Person
from runbooks_app.library import Library
from runbooks_app.oncall import NOBODY, OnCall
from runbooks_app.settings import Settings
from runbooks_app.store.artifacts import Artifacts


@dataclass(frozen=True)
class Service:
    """The service as actions see it: truth, runbooks, connections' public side, settings. No secret is in it."""

    engine: Engine
    library: Library
    connections: dict[str, Connection]
    settings: Settings
    artifacts: Artifacts
    alerting: Alerting = EMPTY
    oncall: OnCall = NOBODY


def person_actor(person: Person, signed_in: dict[str, Any]) -> Actor:
    """A person, or an agent of theirs, as the audit trail keeps them; `signed_in` tells by which surface, how fresh."""
    return Actor("agent" if person.agent else "person", person.subject, person.name, signed_in)


def worker_actor(worker: str) -> Actor:
    """A worker acting on a job."""
    return Actor("worker", f"worker:{worker}", "worker")


TIMER = Actor("timer", "timer", "timer")
"""The sweep: expiry and lost workers."""

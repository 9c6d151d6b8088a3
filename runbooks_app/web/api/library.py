"""Who asks, what may be run, and on what systems: `/me`, `/runbooks`, `/connections`."""

from __future__ import annotations

from flask import g

from runbooks_app.actions import connections
from runbooks_app.core.errors import BrokenRunbook, NotFound
from runbooks_app.core.people import Permission
from runbooks_app.store.database import reading
from runbooks_app.web.api import answers
from runbooks_app.web.api.contract import blueprint, tells
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard


@blueprint.get("/me")
@guard()
@tells(answers.Me)
def me() -> answers.Me:
    """Who is signed in and until when; with a session, also the token that its requests with effect carry."""
    person = g.person
    return answers.Me(
        subject=person.subject,
        name=person.name,
        roles=sorted(person.roles),
        agent=person.agent,
        expires_at=(g.session or g.token).expires_at,
        **({"csrf": g.session.csrf} if g.session else {}),
    )


@blueprint.get("/runbooks")
@guard(Permission.READ)
@tells(answers.Runbooks)
def list_runbooks() -> answers.Runbooks:
    """All runbooks, and the notebooks that cannot serve as such, with their problems."""
    library = service().library
    return answers.Runbooks(
        runbooks=[answers.Runbook.of(found) for found in library.runbooks().values()],
        broken=[
            answers.BrokenRunbook(name=name, message=error.message, problems=[str(p) for p in error.problems])
            for name, error in library.broken().items()
        ],
    )


@blueprint.get("/runbooks/<name>")
@guard(Permission.READ)
@tells(answers.Runbook, problems=(NotFound, BrokenRunbook))
def get_runbook(name: str) -> answers.Runbook:
    """One runbook with the JSON Schema of its parameters."""
    return answers.Runbook.of(service().library.get(name))


@blueprint.get("/connections")
@guard(Permission.READ)
@tells(answers.Connections)
def list_connections() -> answers.Connections:
    """The systems that runbooks may reach, what binds approval there, and what the latest test of each proved."""
    with reading(service().engine) as tx:
        found = connections.seen(tx, service().connections)
    return answers.Connections(connections=[answers.Connection.of(seen) for seen in found.values()])

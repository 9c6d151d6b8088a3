"""Asking for a run, and stopping one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runbooks_app.actions import incidents, waiting
from runbooks_app.actions.context import Service, person_actor
from runbooks_app.actions.delivering import Delivery, made, once
from runbooks_app.actions.telling import tell
from runbooks_app.connections import Connection
from runbooks_app.core import parameters as params
from runbooks_app.core import requesting
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import InvalidInput, Problem, Refused
from runbooks_app.core.people import ROLES_COME_FROM, Actor, Permission, Person
from runbooks_app.core.run import ENDED, RunState
from runbooks_app.core.runbook import Runbook
from runbooks_app.store import incidents as incident_rows
from runbooks_app.store import revisions, runs
from runbooks_app.store.database import Transaction, new_id, transaction
from runbooks_app.store.records import Run


@dataclass(frozen=True)
class Wanted:
    """What is to be run: a runbook as it stands now, and values that fit its parameters."""

    runbook: Runbook
    notebook: dict[str, Any]
    values: dict[str, Any]


def usable_connections(service: Service, person: Person) -> dict[str, str]:
    """Names and kinds of the connections on which this person may diagnose."""
    return usable_by(service.connections, person.roles)


def usable_by(connections: Mapping[str, Connection], roles: Iterable[str]) -> dict[str, str]:
    """Names and kinds of those connections on which one of these roles may diagnose."""
    held = set(roles)
    return {
        name: connection.kind for name, connection in connections.items() if not held.isdisjoint(connection.diagnosers)
    }


def request_run(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    runbook_name: str,
    given: dict[str, Any],
    *,
    channel: str = "",
    channel_name: str = "",
    incident_id: int | None = None,
    joins: bool = True,
    rerun_of: str | None = None,
    delivery: Delivery | None = None,
) -> Run:
    """Write the run, its entry and its job in one transaction; acknowledged means durable.

    `given` are parameters as typed by people (text) or as JSON. A run in a channel joins the channel's open
    incident, or opens one; unless it `joins`, it opens one in any case. `channel_name` is what the chat calls it.
    `rerun_of` is the run that it repeats, whose requesters stand behind it as well. `delivery` is a key of the chat's
    delivery: a second one raises `Taken`.
    """
    person.require(Permission.RUN)
    found = wanted(service, runbook_name, given, usable_connections(service, person))
    actor = person_actor(person, signed_in)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        if channel_name:
            incident_rows.name_channel(tx, channel, channel_name)
        requesters = requesting.requesters(person, found.runbook.id, earlier(tx, rerun_of))
        run = request(
            tx,
            service,
            actor,
            requesters,
            found,
            channel=channel,
            incident_id=incident_id,
            joins=joins,
            rerun_of=rerun_of,
        )
        made(tx, delivery, run.id)
        return run


def wanted(service: Service, runbook_name: str, given: Mapping[str, Any], usable: dict[str, str]) -> Wanted:
    """What somebody who may diagnose on these connections can run of this; raises with every problem otherwise."""
    runbook, notebook = service.library.revision(runbook_name)
    values = params.validate(runbook.parameters, given, usable)
    connections_usable(service, runbook.name, runbook.connections_used(values), usable)
    return Wanted(runbook, notebook, values)


def request(
    tx: Transaction,
    service: Service,
    actor: Actor,
    requesters: Iterable[str],
    asked: Wanted,
    *,
    channel: str = "",
    incident_id: int | None = None,
    joins: bool = True,
    rerun_of: str | None = None,
    ask: dict[str, Any] | None = None,
) -> Run:
    """Write the run, its entry and its job in this transaction; `requesters` are the humans behind it, if any are.

    `ask` is what its entry tells where it is one; no channel is told of those.
    """
    runbook, behind = asked.runbook, sorted(requesters)
    title = _incident_title(runbook, asked.values)
    incident = incidents.for_run(tx, service, actor, title, channel, incident_id, joins=joins)
    revisions.keep(tx, runbook.digest, runbook.id, runbook.name, asked.notebook)
    run_id = new_id()
    told_in = "" if ask else channel or incident.channel
    runs.insert(
        tx,
        {
            "id": run_id,
            "incident_id": incident.id,
            "runbook": runbook.name,
            "revision": runbook.digest,
            "parameters": asked.values,
            "purpose": "ask" if ask else "diagnosis",
            "rerun_of": rerun_of,
            "requested_by": actor.as_json(),
            "requesters": behind,
            "channel": told_in,
            "state": str(RunState.QUEUED),
        },
    )
    tx.audit(
        actor,
        Event.RUN_REQUESTED,
        {"run": run_id, "incident": incident.id},
        {
            "runbook": runbook.name,
            "runbook_digest": runbook.digest,
            "parameters": asked.values,
            "requesters": behind,
            **({"purpose": "ask", **ask} if ask else {}),
        },
    )
    tx.defer("diagnose", run_id=run_id, priority=10)
    tell_run(tx, run_id, told_in)
    return runs.get(tx, run_id)


def cancel_run(
    service: Service, person: Person, signed_in: dict[str, Any], run_id: str, *, delivery: Delivery | None = None
) -> Run:
    """Stop a run: at once while it is queued, else its worker interrupts the kernel, then kills it.

    `delivery` is a key of the chat's delivery: a second one raises `Taken`.
    """
    with transaction(service.engine) as tx:
        once(tx, delivery)
        run = runs.get(tx, run_id, lock=True)
        if person.subject not in {*run.requesters, run.requested_by["subject"]}:
            person.require(Permission.CANCEL)
        actor = person_actor(person, signed_in)
        if run.state in ENDED:
            return run
        tx.execute(
            "UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE id = :id",
            id=run_id,
        )
        tx.audit(actor, Event.RUN_CANCEL_REQUESTED, {"run": run_id, "incident": run.incident_id})
        if run.state is RunState.QUEUED:
            runs.move(
                tx,
                run,
                RunState.CANCELLED,
                reason=f"Cancelled by {person.name} before it began.",
            )
            tx.audit(
                actor,
                Event.RUN_ENDED,
                {"run": run_id, "incident": run.incident_id},
                {"state": "cancelled", "in_part": False},
            )
            tell_run(tx, run_id, run.channel)
            waiting.moved_up(tx, service)
        return runs.get(tx, run_id)


def tell_run(tx: Transaction, run_id: str, channel: str) -> None:
    """Have the run's message brought up to date, in its channel and wherever else it stands."""
    tell(tx, f"run:{run_id}", channel=channel)


def earlier(tx: Transaction, run_id: str | None) -> requesting.Earlier | None:
    """The run that is to be repeated, as the rule about requesters sees it."""
    if run_id is None:
        return None
    run = runs.get(tx, run_id)
    return requesting.Earlier(run.id, revisions.runbook_of(tx, run.revision), run.requesters)


def _incident_title(runbook: Runbook, values: dict[str, Any]) -> str:
    on = ", ".join(runbook.connections_used(values))
    return f"{runbook.title} on {on}" if on else runbook.title


def connections_usable(service: Service, what: str, used: Mapping[str, str], usable: Mapping[str, str]) -> None:
    """Raise unless all that `what` uses, names and kinds, is configured and usable by whoever asks for it."""
    problems = []
    for name, kind in used.items():
        if name not in service.connections:
            problems.append(Problem(name, "is not configured.", "The platform team adds it to the connections file."))
        elif service.connections[name].kind != kind:
            problems.append(Problem(name, f"is not a {kind} connection."))
        elif name not in usable:
            roles = " or ".join(service.connections[name].diagnosers)
            raise Refused(f"Diagnosing on {name} takes the role {roles}. {ROLES_COME_FROM}")
    if problems:
        raise InvalidInput(f"{what} cannot run with these connections.", problems=tuple(problems))

"""What each slash command does, for a person who is known: one action, one answer for their eyes alone."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from runbooks_app.actions import waiting
from runbooks_app.actions.delivering import first_delivery
from runbooks_app.actions.incidents import add_note
from runbooks_app.actions.running import cancel_run, request_run, usable_connections
from runbooks_app.chat import commands, replies
from runbooks_app.chat.commands import Command, Verb
from runbooks_app.chat.views import Message, RunbookTold, RunTold
from runbooks_app.core.errors import InvalidInput, NotFound, Refused
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.run import ENDED, CellState
from runbooks_app.core.runbook import Runbook, Stage
from runbooks_app.store import incidents, proposals, runs
from runbooks_app.store.database import Transaction, reading

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.core.quotas import Place
    from runbooks_app.store.records import Incident, Run


MOST_LOOKED_AT = 20
"""Runs of a channel whose cells are counted for its status; the answer shows no more than these."""


class From(Protocol):
    """Where a command comes from: its channel, and the key that every copy of the request shares."""

    @property
    def channel(self) -> str:
        """Id of the channel; empty where there is none."""

    @property
    def delivery(self) -> str:
        """The key under which the request is taken once."""


def answer(
    service: Service, person: Person, signed_in: dict[str, Any], sender: From, command: Command, typed: str
) -> Message:
    """Do what the command says; raises the core's errors for the caller to tell."""
    if command.verb is Verb.RUN:
        return _run(service, person, signed_in, sender, command)
    if not first_delivery(service, sender.delivery):
        return replies.done_reply("This was asked already.")
    if command.verb is Verb.HELP:
        return replies.help_reply(typed)
    if command.verb is Verb.CANCEL:
        return _cancel(service, person, signed_in, sender, command.text)
    if command.verb is Verb.NOTE:
        incident = _incident(service, person, sender.channel)
        add_note(service, person, signed_in, incident.id, command.text)
        return replies.done_reply("Noted.", url=_url(service, f"/incidents/{incident.id}"), label="The incident")
    person.require(Permission.READ)
    if command.verb is Verb.LIST:
        return _list(service, person, sender.channel, typed)
    if command.verb is Verb.STATUS:
        return _status(service, sender.channel, command.text)
    if command.verb is Verb.POSTMORTEM:
        incident = _incident(service, person, sender.channel, closed_too=True)
        url = _url(service, f"/incidents/{incident.id}")
        return replies.done_reply(f"The postmortem of {incident.title} is on its page.", url=url)
    if command.verb is Verb.FORM:
        runbook = service.library.get(command.runbook)
        url = _url(service, f"/runbooks/{runbook.name}")
        return replies.done_reply(f"The form for {runbook.name} is on its page.", url=url, label="Open the form")
    raise Refused(f"`{typed} {command.verb}` cannot be done from here.")


def corrected(service: Service, command: Command) -> str:
    """The command with what may have been meant: another runbook's name, other parameters' names; else empty."""
    if command.verb not in {Verb.RUN, Verb.FORM}:
        return ""
    known = service.library.runbooks()
    close = [command.runbook] if command.runbook in known else _close(command.runbook, known)
    if not close:
        return ""
    names = [parameter.name for parameter in known[close[0]].parameters]
    arguments: list[tuple[str, str]] = []
    for name, value in command.arguments:
        meant = [name] if name in names else _close(name, names)
        if not meant or meant[0] in dict(arguments):
            return ""
        arguments.append((meant[0], value))
    fixed = replace(command, runbook=close[0], arguments=tuple(arguments))
    return commands.tell(fixed) if fixed != command else ""


def _close(word: str, known: Any) -> list[str]:
    return difflib.get_close_matches(word[:60], list(known), n=1)


def _run(service: Service, person: Person, signed_in: dict[str, Any], sender: From, command: Command) -> Message:
    run = request_run(
        service,
        person,
        signed_in,
        command.runbook,
        command.given,
        channel=sender.channel,
        delivery=sender.delivery,
    )
    if run is None:
        return replies.asked_reply(command.runbook, _url(service, f"/runbooks/{command.runbook}"), again=True)
    return replies.asked_reply(run.runbook, _url(service, f"/runs/{run.id}"))


def _cancel(service: Service, person: Person, signed_in: dict[str, Any], sender: From, run_id: str) -> Message:
    if not run_id:
        with reading(service.engine) as tx:
            here = _going(tx, sender.channel)
        mine = [run for run in here if person.subject in run.requesters] or here
        if not mine:
            raise NotFound("Nothing is running for this channel, so there is nothing to cancel.")
        run_id = mine[-1].id
    run = cancel_run(service, person, signed_in, run_id)
    url = _url(service, f"/runs/{run.id}")
    if run.state in ENDED:
        return replies.done_reply(f"{run.runbook} is {str(run.state).replace('_', ' ')}.", url=url)
    return replies.done_reply(f"{run.runbook} is being cancelled.", url=url)


def _list(service: Service, person: Person, channel: str, typed: str) -> Message:
    usable = usable_connections(service, person)
    with reading(service.engine) as tx:
        here = incidents.open_in(tx, channel)
        ran = {run.runbook for run in runs.recent(tx, incident_id=here[0].id)} if here else set()
    told = tuple(
        RunbookTold(runbook.name, runbook.title, _usage(runbook), runbook.name in ran)
        for runbook in service.library.runbooks().values()
        if person.may(Permission.RUN) and _runnable(runbook, usable)
    )
    broken = len(service.library.broken())
    return replies.list_reply(told, typed, broken=broken, url=_url(service, "/runbooks"))


def _runnable(runbook: Runbook, usable: dict[str, str]) -> bool:
    wanted = {p.type.connection for p in runbook.parameters if p.type.kind == "connection"}
    return all(usable.get(n) == kind for n, kind in runbook.connections.items()) and wanted <= set(usable.values())


def _usage(runbook: Runbook) -> str:
    return " ".join(f"{parameter.name}=…" for parameter in runbook.parameters if parameter.required)


def _status(service: Service, channel: str, run_id: str) -> Message:
    with reading(service.engine) as tx:
        if run_id:
            run = runs.get(tx, run_id)
            line = waiting.line(tx, service)
            return replies.status_reply(
                (_told(tx, service, run, line),), url=_url(service, f"/incidents/{run.incident_id}")
            )
        going = _going(tx, channel)
        incident = next(iter(incidents.open_in(tx, channel)), None)
        undecided = 0
        if incident is not None:
            here = {proposal.id for proposal in proposals.of_incident(tx, incident.id)}
            undecided = sum(proposal.id in here for proposal in proposals.waiting(tx))
        url = _url(service, f"/incidents/{incident.id}") if incident else ""
        line = waiting.line(tx, service)
        told = tuple(_told(tx, service, run, line, look=at < MOST_LOOKED_AT) for at, run in enumerate(going))
        return replies.status_reply(told, undecided, url=url)


def _told(tx: Transaction, service: Service, run: Run, line: dict[str, Place], *, look: bool = True) -> RunTold:
    """A run in a line; without `look` its cells are not counted."""
    tries = [attempt for attempt in runs.attempts(tx, run.id) if attempt.stage == "diagnose"] if look else []
    cells = [c for c in runs.cells(tx, tries[-1].id) if c.stage == Stage.DIAGNOSTIC] if tries else []
    done = [c for c in cells if c.state not in {CellState.WAITING, CellState.RUNNING}]
    named = {str(value) for value in run.parameters.values() if isinstance(value, str)}
    return RunTold(
        run_id=run.id,
        runbook=run.runbook,
        url=_url(service, f"/runs/{run.id}"),
        state=run.state,
        requested_by=run.requested_by["name"],
        waiting=waiting.told(line.get(run.id), run),
        target=", ".join(sorted(named & set(service.connections))),
        cells_done=len(done),
        cells_total=len(cells),
        seconds=((run.ended_at or tx.now) - run.requested_at).total_seconds(),
    )


def _going(tx: Transaction, channel: str) -> list[Run]:
    """Runs of the channel's open incidents that have not ended, oldest first."""
    here = incidents.open_in(tx, channel)
    found = [run for incident in here for run in runs.recent(tx, incident_id=incident.id, limit=200)]
    return sorted((run for run in found if run.state not in ENDED), key=lambda run: run.requested_at)


def _incident(service: Service, person: Person, channel: str, *, closed_too: bool = False) -> Incident:
    """The channel's open incident; where that is enough, its latest."""
    person.require(Permission.READ)
    with reading(service.engine) as tx:
        found = incidents.latest_in(tx, channel)
    if found is None or (found.closed_at is not None and not closed_too):
        raise InvalidInput("No incident is open in this channel. Running a runbook here opens one.")
    return found


def _url(service: Service, path: str) -> str:
    return service.settings.public_url + path

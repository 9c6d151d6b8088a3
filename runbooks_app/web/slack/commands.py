"""What each command does, for a person who is known: one action, one answer.

In a thread that tells of a run, a command means that run and its incident; elsewhere, the channel's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from runbooks_app.actions import waiting
from runbooks_app.actions.delivering import Taken, fresh, once
from runbooks_app.actions.incidents import add_note
from runbooks_app.actions.running import cancel_run, request_run, usable_connections
from runbooks_app.chat import commands, replies
from runbooks_app.chat.commands import Command, Verb
from runbooks_app.chat.views import RunbookTold, RunTold
from runbooks_app.core.errors import InvalidInput, NotFound
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.run import ENDED, CellState
from runbooks_app.core.runbook import Runbook, Stage
from runbooks_app.store import incidents, proposals, runs
from runbooks_app.store.database import Transaction, reading, transaction
from runbooks_app.web.slack.asked import Answer, Asked, Kind

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.core.quotas import Place
    from runbooks_app.store.records import Incident, Run

VerbHandler = Callable[["Service", Person, Asked, Command], Answer]

MOST_LOOKED_AT = 20
"""Runs of a channel whose cells are counted for its status; the answer shows no more than these."""


def run(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Ask for a run in this channel."""
    with reading(service.engine) as tx:
        here = run_of_thread(tx, asked)
    found = request_run(
        service,
        person,
        asked.signed_in(),
        command.runbook,
        command.given,
        channel=asked.channel,
        incident_id=here.incident_id if here else None,
        delivery=asked.delivery,
    )
    if found is None:
        raise Taken(f"{command.runbook} was already asked for by this.")
    return Answer(replies.asked_reply(found.runbook, url_of(service, f"/runs/{found.id}")))


def cancel(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Stop the run that is named, else that of the thread, else one's own latest here."""
    run_id = command.text
    if not run_id:
        with reading(service.engine) as tx:
            fresh(tx, asked.delivery)  # else a copy would find the next run
            of_thread = run_of_thread(tx, asked)
            here = [of_thread] if of_thread else _going(tx, asked.channel)
        mine = [one for one in here if person.subject in one.requesters] or here
        if not mine:
            raise NotFound("Nothing is running for this channel, so there is nothing to cancel.")
        run_id = mine[-1].id
    stopped = cancel_run(service, person, asked.signed_in(), run_id, delivery=asked.delivery)
    url = url_of(service, f"/runs/{stopped.id}")
    if stopped.state in ENDED:
        return Answer(replies.done_reply(f"{stopped.runbook} is {str(stopped.state).replace('_', ' ')}.", url=url))
    return Answer(replies.done_reply(f"{stopped.runbook} is being cancelled.", url=url))


def note(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Put a line on the incident's timeline."""
    incident = incident_here(service, person, asked)
    add_note(service, person, asked.signed_in(), incident.id, command.text, delivery=asked.delivery)
    url = url_of(service, f"/incidents/{incident.id}")
    return Answer(replies.done_reply("Noted.", url=url, label="The incident"))


def help_(service: Service, person: Person, asked: Asked, command: Command) -> Answer:  # noqa: ARG001 -- one shape
    """Say what can be typed."""
    _read(service, asked)
    return Answer(replies.help_reply(asked.command))


def list_(service: Service, person: Person, asked: Asked, command: Command) -> Answer:  # noqa: ARG001 -- one shape
    """Say what this person can run here; what fits the incident comes first."""
    person.require(Permission.READ)
    _read(service, asked)
    usable = usable_connections(service, person)
    with reading(service.engine) as tx:
        incident = _open_here(tx, asked)
        ran = {one.runbook for one in runs.recent(tx, incident_id=incident.id)} if incident else set()
    told = tuple(
        RunbookTold(runbook.name, runbook.title, _usage(runbook), runbook.name in ran)
        for runbook in service.library.runbooks().values()
        if person.may(Permission.RUN) and runnable(runbook, usable)
    )
    broken = len(service.library.broken())
    return Answer(replies.list_reply(told, asked.command, broken=broken, url=url_of(service, "/runbooks")))


def status(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Say what goes on here, or with one run."""
    person.require(Permission.READ)
    _read(service, asked)
    with reading(service.engine) as tx:
        line = waiting.line(tx, service)
        one = runs.get(tx, command.text) if command.text else run_of_thread(tx, asked)
        if one is not None:
            url = url_of(service, f"/incidents/{one.incident_id}")
            return Answer(replies.status_reply((_told(tx, service, one, line),), url=url))
        going = _going(tx, asked.channel)
        incident = _open_here(tx, asked)
        undecided = 0
        if incident is not None:
            here = {proposal.id for proposal in proposals.of_incident(tx, incident.id)}
            undecided = sum(proposal.id in here for proposal in proposals.waiting(tx))
        url = url_of(service, f"/incidents/{incident.id}") if incident else ""
        told = tuple(_told(tx, service, run_, line, look=at < MOST_LOOKED_AT) for at, run_ in enumerate(going))
        return Answer(replies.status_reply(told, undecided, url=url))


def postmortem(service: Service, person: Person, asked: Asked, command: Command) -> Answer:  # noqa: ARG001 -- one shape
    """Say where the incident's document is."""
    _read(service, asked)
    incident = incident_here(service, person, asked, closed_too=True)
    url = url_of(service, f"/incidents/{incident.id}")
    return Answer(replies.done_reply(f"The postmortem of {incident.title} is on its page.", url=url))


def form(service: Service, person: Person, asked: Asked, command: Command) -> Answer:  # noqa: ARG001 -- one shape
    """Say where the runbook's form is."""
    _read(service, asked)
    runbook = service.library.get(command.runbook)
    url = url_of(service, f"/runbooks/{runbook.name}")
    return Answer(replies.done_reply(f"The form for {runbook.name} is on its page.", url=url, label="Open the form"))


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


def runnable(runbook: Runbook, usable: dict[str, str]) -> bool:
    """Whether somebody who may use these connections can run this."""
    wanted = {p.type.connection for p in runbook.parameters if p.type.kind == "connection"}
    return all(usable.get(n) == kind for n, kind in runbook.connections.items()) and wanted <= set(usable.values())


def incident_here(service: Service, person: Person, asked: Asked, *, closed_too: bool = False) -> Incident:
    """The incident of the thread's run, else the channel's open one; where that is enough, its latest."""
    person.require(Permission.READ)
    with reading(service.engine) as tx:
        of_thread = run_of_thread(tx, asked)
        found = incidents.get(tx, of_thread.incident_id) if of_thread else incidents.latest_in(tx, asked.channel)
    if found is None or (found.closed_at is not None and not closed_too):
        raise InvalidInput("No incident is open in this channel. Running a runbook here opens one.")
    return found


def run_of_thread(tx: Transaction, asked: Asked) -> Run | None:
    """The run that the thread tells of."""
    return runs.told_in(tx, asked.channel, asked.thread_ts) if asked.thread_ts else None


def url_of(service: Service, path: str) -> str:
    """A page's whole address."""
    return service.settings.public_url + path


def _read(service: Service, asked: Asked) -> None:
    """A copy of what only reads is answered once too, where the answer is the acknowledgement."""
    if asked.kind is not Kind.MENTION:
        with transaction(service.engine) as tx:
            once(tx, asked.delivery)


def _close(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word[:60], list(known), n=1)


def _usage(runbook: Runbook) -> str:
    return " ".join(f"{parameter.name}=…" for parameter in runbook.parameters if parameter.required)


def _told(tx: Transaction, service: Service, run: Run, line: dict[str, Place], *, look: bool = True) -> RunTold:
    """A run in a line; without `look` its cells are not counted."""
    tries = [attempt for attempt in runs.attempts(tx, run.id) if attempt.stage == "diagnose"] if look else []
    cells = [c for c in runs.cells(tx, tries[-1].id) if c.stage == Stage.DIAGNOSTIC] if tries else []
    done = [c for c in cells if c.state not in {CellState.WAITING, CellState.RUNNING}]
    named = {str(value) for value in run.parameters.values() if isinstance(value, str)}
    return RunTold(
        run_id=run.id,
        runbook=run.runbook,
        url=url_of(service, f"/runs/{run.id}"),
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


def _open_here(tx: Transaction, asked: Asked) -> Incident | None:
    found = run_of_thread(tx, asked)
    if found is not None:
        return incidents.get(tx, found.incident_id)
    return next(iter(incidents.open_in(tx, asked.channel)), None)

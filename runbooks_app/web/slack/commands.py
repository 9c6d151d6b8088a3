"""What each command does, for a person who is known: one action, one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runbooks_app.actions import waiting
from runbooks_app.actions.delivering import fresh, once
from runbooks_app.actions.incidents import add_note
from runbooks_app.actions.running import cancel_run, request_run, usable_connections
from runbooks_app.chat import forms as chat_forms
from runbooks_app.chat import replies
from runbooks_app.chat.blocks import CANCEL_RUN
from runbooks_app.chat.commands import Command
from runbooks_app.chat.views import RunbookTold, RunTold
from runbooks_app.core.errors import InvalidInput, NotFound
from runbooks_app.core.people import ROLES_COME_FROM, Permission, Person
from runbooks_app.core.run import ENDED, CellState
from runbooks_app.core.runbook import Runbook, Stage
from runbooks_app.store import incidents, proposals, runs
from runbooks_app.store.database import Transaction, reading, transaction
from runbooks_app.web.slack import forms, here
from runbooks_app.web.slack.asked import Answer, Asked, Kind

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.core.quotas import Place
    from runbooks_app.store.records import Run

VerbHandler = Callable[["Service", Person, Asked, Command], Answer]

MOST_LOOKED_AT = 20
"""Runs of a channel whose cells are counted for its status; the answer shows no more than these."""


def run(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Ask for a run in this channel; where only something is left out that it must name, open its form."""
    try:
        found = request_run(
            service,
            person,
            asked.signed_in(),
            command.runbook,
            command.given,
            channel=asked.channel,
            channel_name=here.channel_name(asked),
            incident_id=here.open_incident_of_thread(service, asked),
            delivery=asked.delivery,
        )
    except InvalidInput:
        if forms.missing(service, person, command):
            return forms.form(service, person, asked, command)
        raise
    with reading(service.engine) as tx:
        several = len(incidents.open_in(tx, asked.channel)) > 1
        joined = here.named(incidents.get(tx, found.incident_id)) if several else ""
    return Answer(replies.asked_reply(found.runbook, here.url_of(service, f"/runs/{found.id}"), incident=joined))


def cancel(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Stop the run that is named, else that of the thread, else one's own latest here; those of others are offered.

    In the form of a message's shortcut it is asked which one.
    """
    run_id = command.text
    if not run_id:
        with reading(service.engine) as tx:
            fresh(tx, asked.delivery)  # else a copy would find the next run
            of_thread = here.run_of_thread(tx, asked)
            going = [of_thread] if of_thread else here.going(tx, asked.channel)
        if not going:
            raise NotFound("Nothing is running for this channel, so there is nothing to cancel.")
        mine = [one for one in going if of_thread or person.subject in one.requesters]
        if asked.kind is Kind.SUBMITTED:
            person.require(Permission.READ)
            ordered = [*reversed(mine), *(one for one in reversed(going) if one not in mine)]
            named = [(one.id, f"{one.runbook}, asked by {one.requested_by['name']}") for one in ordered]
            view = chat_forms.choice_form("Stop a run", "Which one?", named, CANCEL_RUN, submit="Stop it")
            return Answer(view=view)
        if not mine:
            return _others(service, person, asked, going)
        run_id = mine[-1].id
    return _cancelled(service, person, asked, run_id)


def submit_cancel(service: Service, person: Person, asked: Asked) -> Answer:
    """Stop the run that was chosen in the form."""
    return _cancelled(service, person, asked, chat_forms.chosen(asked.view)[0])


def _others(service: Service, person: Person, asked: Asked, going: list[Run]) -> Answer:
    """What others have going here, each with a button that stops it."""
    person.require(Permission.CANCEL)
    _read(service, asked)
    with reading(service.engine) as tx:
        told = tuple(_told(tx, service, one, {}, look=False) for one in reversed(going[-MOST_LOOKED_AT:]))
    return Answer(replies.cancel_reply(told))


def _cancelled(service: Service, person: Person, asked: Asked, run_id: str) -> Answer:
    stopped = cancel_run(service, person, asked.signed_in(), run_id, delivery=asked.delivery)
    url = here.url_of(service, f"/runs/{stopped.id}")
    if stopped.state in ENDED:
        return Answer(replies.done_reply(f"{stopped.runbook} is {str(stopped.state).replace('_', ' ')}.", url=url))
    return Answer(replies.done_reply(f"{stopped.runbook} is being cancelled.", url=url))


def note(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Put a line on the incident's timeline."""
    incident = here.incident(service, person, asked, command.incident)
    add_note(service, person, asked.signed_in(), incident.id, command.text, delivery=asked.delivery)
    url = here.url_of(service, f"/incidents/{incident.id}")
    return Answer(replies.done_reply(f"Noted on {here.named(incident)}.", url=url, label="The incident"))


def help_(service: Service, person: Person, asked: Asked, command: Command) -> Answer:  # noqa: ARG001 -- one shape
    """Say what can be typed."""
    _read(service, asked)
    return Answer(replies.help_reply(asked.command))


def list_(service: Service, person: Person, asked: Asked, command: Command) -> Answer:  # noqa: ARG001 -- one shape
    """Say what this person can run here; what fits the incident comes first."""
    person.require(Permission.READ)
    _read(service, asked)
    told = what_runs(service, person, asked)
    broken, url = len(service.library.broken()), here.url_of(service, "/")
    return Answer(replies.list_reply(told, asked.command, none=_why_none(service, person), broken=broken, url=url))


def status(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Say what goes on here, or with one run."""
    person.require(Permission.READ)
    _read(service, asked)
    with reading(service.engine) as tx:
        line = waiting.line(tx, service)
        one = runs.get(tx, command.text) if command.text else here.run_of_thread(tx, asked)
        if one is not None:
            url = here.url_of(service, f"/incidents/{one.incident_id}")
            return Answer(replies.status_reply((_told(tx, service, one, line),), url=url))
        going = here.going(tx, asked.channel)
        incident = here.open_incident(tx, asked)
        undecided = proposals.undecided(tx, incident.id) if incident else 0
        url = here.url_of(service, f"/incidents/{incident.id}") if incident else ""
        told = tuple(_told(tx, service, run_, line, look=at < MOST_LOOKED_AT) for at, run_ in enumerate(going))
        return Answer(replies.status_reply(told, undecided, url=url))


def postmortem(service: Service, person: Person, asked: Asked, command: Command) -> Answer:  # noqa: ARG001 -- one shape
    """Say where the incident's document is."""
    _read(service, asked)
    incident = here.incident(service, person, asked, closed_too=True)
    url = here.url_of(service, f"/incidents/{incident.id}")
    return Answer(replies.done_reply(f"The postmortem of {incident.title} is on its page.", url=url))


def what_runs(service: Service, person: Person, asked: Asked) -> tuple[RunbookTold, ...]:
    """The runbooks that this person can run; `fits` those that ran for the incident here."""
    if not person.may(Permission.RUN):
        return ()
    usable = usable_connections(service, person)
    with reading(service.engine) as tx:
        incident = here.open_incident(tx, asked)
        ran = {one.runbook for one in runs.recent(tx, incident_id=incident.id)} if incident else set()
    return tuple(
        RunbookTold(runbook.name, runbook.title, _usage(runbook), runbook.name in ran)
        for runbook in service.library.runbooks().values()
        if _runnable(runbook, usable)
    )


def _why_none(service: Service, person: Person) -> str:
    """Why there is nothing that this person can run, where that is so."""
    if not person.may(Permission.RUN):
        return f"Running takes the role responder, which you have not. {ROLES_COME_FROM}"
    if service.library.runbooks():
        return "No runbook here is of systems that you may diagnose. The page Connections tells which role each takes."
    return "There is no runbook here. Put one into the library: `runbooks new NAME`."


def _read(service: Service, asked: Asked) -> None:
    """A copy of what only reads is answered once too, where the answer is the acknowledgement."""
    if asked.kind is not Kind.MENTION:
        with transaction(service.engine) as tx:
            once(tx, asked.delivery)


def _runnable(runbook: Runbook, usable: dict[str, str]) -> bool:
    wanted = {p.type.connection for p in runbook.parameters if p.type.kind == "connection"}
    return all(usable.get(n) == kind for n, kind in runbook.connections.items()) and wanted <= set(usable.values())


def _usage(runbook: Runbook) -> str:
    return " ".join(f"{parameter.name}=…" for parameter in runbook.parameters if parameter.required)


def _told(tx: Transaction, service: Service, run: Run, line: dict[str, Place], *, look: bool = True) -> RunTold:
    """A run in a line; without `look` its cells are not counted."""
    tries = [attempt for attempt in runs.attempts(tx, run.id) if attempt.stage == "diagnose"] if look else []
    cells = [c for c, _ in runs.outlines(tx, tries[-1].id) if c.stage == Stage.DIAGNOSTIC] if tries else []
    done = [c for c in cells if c.state not in {CellState.WAITING, CellState.RUNNING}]
    named = {str(value) for value in run.parameters.values() if isinstance(value, str)}
    return RunTold(
        run_id=run.id,
        runbook=run.runbook,
        url=here.url_of(service, f"/runs/{run.id}"),
        state=run.state,
        requested_by=run.requested_by["name"],
        waiting=waiting.told(line.get(run.id), run),
        target=", ".join(sorted(named & set(service.connections))),
        cells_done=len(done),
        cells_total=len(cells),
        seconds=((run.ended_at or tx.now) - run.requested_at).total_seconds(),
    )

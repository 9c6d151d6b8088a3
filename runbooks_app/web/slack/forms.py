"""Forms: opened for a runbook whose parameters are missing, or by a message's shortcut; and what is sent off.

A form is made whole in here, from the library at hand, and a worker opens it within the trigger's three seconds. Should
that fail, the person has the link to the same form on its page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from runbooks_app.actions.running import request_run, usable_connections
from runbooks_app.actions.saying import open_form
from runbooks_app.chat import forms, replies
from runbooks_app.chat.commands import Command, Verb, parse, tell
from runbooks_app.chat.forms import Where
from runbooks_app.chat.mrkdwn import plain
from runbooks_app.core import parameters as params
from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.core.forms import fields
from runbooks_app.core.people import Permission, Person
from runbooks_app.web.slack import here
from runbooks_app.web.slack.asked import Answer, Asked, Kind, place, stamp

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service

ERROR = 200
"""Letters of what stands beside a field: more are not read on a phone."""


def form(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Open the form for a runbook's parameters, with what was given already; a mention is answered with a button."""
    person.require(Permission.RUN)
    runbook = service.library.get(command.runbook)
    usable = usable_connections(service, person)
    wrong = _problems(service, person, command)
    if wrong:
        raise InvalidInput("The parameters cannot be used.", problems=wrong)
    listed = fields(runbook.parameters, usable, command.given)
    where = Where(asked.channel, asked.thread_ts)
    page = here.url_of(service, f"/runbooks/{runbook.name}")
    if command.arguments:
        page += "?" + urlencode(command.given)
    if asked.kind is Kind.MENTION:
        typed = tell(replace(command, verb=Verb.FORM))
        return Answer(replies.form_reply(runbook.name, page, typed=typed))
    view = forms.run_form(runbook.name, runbook.title, listed, where)
    if asked.kind is Kind.SUBMITTED:
        return Answer(view=view)
    open_form(service, asked.trigger_id, view, at=asked.at, delivery=asked.delivery)
    return Answer(replies.form_reply(runbook.name, page)) if asked.kind is Kind.COMMAND else Answer()


def missing(service: Service, person: Person, command: Command) -> bool:
    """Whether nothing is wrong with a command but that it leaves out what a run must name."""
    known = service.library.runbooks().get(command.runbook)
    needed = {parameter.name for parameter in known.parameters if parameter.required} if known else set()
    return bool(needed - set(command.given)) and not _problems(service, person, command)


def pressed(service: Service, person: Person, asked: Asked) -> Answer:
    """Open the form that the answer to a mention offers; its button carries the command."""
    command = parse(asked.value)
    if command.verb is not Verb.FORM:
        raise InvalidInput("This button is from an older message. Mention the app again.")
    return form(service, person, asked, command)


def sent_off(service: Service, person: Person, asked: Asked) -> Answer:
    """Ask for a run with what was filled in; what cannot be used is told beside its field, and the form stays."""
    where = Where.read(asked.view)
    asked = replace(asked, channel=place(where.channel), thread_ts=stamp(where.thread_ts))
    runbook = service.library.get(where.runbook)
    listed = fields(runbook.parameters, usable_connections(service, person), {})
    try:
        request_run(
            service,
            person,
            asked.signed_in(),
            runbook.name,
            forms.given(listed, asked.view),
            channel=asked.channel,
            incident_id=here.open_incident_of_thread(service, asked),
            delivery=asked.delivery,
        )
    except InvalidInput as error:
        return _beside(error, asked.view)
    return Answer()  # the form closes, and the run's message stands in the channel


def _beside(error: InvalidInput, view: Mapping[str, Any]) -> Answer:
    """What is wrong, each beside its field; the rest beside the first one."""
    blocks = view.get("blocks")
    named = {b.get("block_id") for b in blocks if isinstance(b, Mapping)} if isinstance(blocks, list) else set()
    first = forms.first_block(view)
    if not first:
        raise error
    told: dict[str, str] = {}
    for problem in error.problems or (Problem("", error.message),):
        at = problem.where if problem.where in named else first
        lead = "" if at == problem.where or not problem.where else f"{problem.where}: "
        told.setdefault(at, plain(f"{lead}{problem.message} {problem.fix}", ERROR))
    return Answer(errors=told)


def _problems(service: Service, person: Person, command: Command) -> tuple[Problem, ...]:
    """What is wrong with what was given; what was left out is no problem yet."""
    runbook = service.library.get(command.runbook)
    try:
        params.validate(runbook.parameters, command.given, usable_connections(service, person))
    except InvalidInput as error:
        left_out = {parameter.name for parameter in runbook.parameters} - set(command.given)
        return tuple(problem for problem in error.problems if problem.where not in left_out)
    return ()

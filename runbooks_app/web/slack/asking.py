"""The shortcut of a message: what can be asked in its channel and thread, chosen from a list instead of typed.

Slash commands do not work in threads: this and the mention do. What is answered stands in the form itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from runbooks_app.actions.saying import open_form
from runbooks_app.chat import forms
from runbooks_app.chat.commands import Command, Verb, parse
from runbooks_app.chat.forms import Where
from runbooks_app.chat.mrkdwn import plain
from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.people import Permission, Person
from runbooks_app.web.slack import commands
from runbooks_app.web.slack.asked import Answer, Asked, place, stamp
from runbooks_app.web.slack.forms import ERROR
from runbooks_app.web.slack.incidents import as_read

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service

OFFERED = {
    Verb.STATUS: "What goes on here",
    Verb.NOTE: "Note this on the timeline",
    Verb.INCIDENT: "Open an incident with this title",
    Verb.ATTACH: "Attach the run to the incident of this number",
    Verb.CLOSE: "Close the incident with this cause",
    Verb.CANCEL: "Cancel the run",
    Verb.POSTMORTEM: "The incident's document",
}
"""What is offered besides the runbooks."""


def opened(service: Service, person: Person, asked: Asked) -> Answer:
    """Open the list."""
    person.require(Permission.READ)
    runbooks = sorted(commands.what_runs(service, person, asked), key=lambda runbook: not runbook.fits)
    verbs = {str(verb): does for verb, does in OFFERED.items()}
    view = forms.ask_form(runbooks, verbs, as_read(asked.text), Where(asked.channel, asked.thread_ts))
    open_form(service, asked.trigger_id, view, at=asked.at, delivery=asked.delivery)
    return Answer()


def sent_off(verbs: Mapping[Verb, commands.VerbHandler], service: Service, person: Person, asked: Asked) -> Answer:
    """Do what was chosen, as if it had been typed where the message stands; what is wrong with the text is told there.

    What ends something is asked once more: the text of the message stood in the form by itself.
    """
    where = Where.read(asked.view)
    what, text = forms.chosen(asked.view)
    asked = replace(asked, channel=place(where.channel), thread_ts=stamp(where.thread_ts))
    try:
        command = _command(what, text.strip())
        return verbs[command.verb](service, person, asked, command)
    except InvalidInput as error:
        points = [f"{problem.message} {problem.fix}".strip() for problem in error.problems]
        return Answer(errors={forms.TEXT: plain(" ".join([error.message, *points]), ERROR)})


def _command(what: str, text: str) -> Command:
    """What was chosen, as a command; a number is an incident's here, with or without its mark."""
    if what in {Verb.NOTE, Verb.INCIDENT, Verb.CLOSE}:
        return Command(Verb(what), text=text)
    if what == Verb.ATTACH:
        number = f"#{text}" if text.isascii() and text.isdigit() else text
        return parse(f"{what} {number}")
    return parse(what)

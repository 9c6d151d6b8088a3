"""Incidents from Slack: opening, listing, attaching and closing them, pinned messages, and which one is meant.

An incident is meant by its number; without one, by the thread, which tells of a run or of an incident; else it is the
newest that is open in the channel. Only closing asks which where several are.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runbooks_app.actions import incidents as actions
from runbooks_app.actions.delivering import Taken
from runbooks_app.actions.saying import open_form
from runbooks_app.chat import incidents as told
from runbooks_app.chat import replies
from runbooks_app.chat.commands import Command
from runbooks_app.chat.forms import MAX_OPTIONS, chosen
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound
from runbooks_app.core.people import Permission, Person
from runbooks_app.store import incidents, people
from runbooks_app.store.database import Transaction, reading
from runbooks_app.web.slack import here
from runbooks_app.web.slack.asked import Answer, Asked, Kind

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.store.records import Incident

_RUN = re.compile(r"[a-z2-7]{16}")
_MARKED = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")


def incident(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Open an incident in this channel; without a title, say which are open here."""
    if not command.text:
        person.require(Permission.READ)
        with reading(service.engine) as tx:
            found = [_told(tx, service, each) for each in incidents.open_in(tx, asked.channel)]
        return Answer(told.open_reply(found, asked.command))
    opened = actions.open_incident(
        service,
        person,
        asked.signed_in(),
        command.text,
        asked.channel,
        channel_name=here.channel_name(asked),
        delivery=asked.delivery,
    )
    said = f"Incident #{opened.id} is open: {opened.title}"
    return Answer(replies.done_reply(said, url=_url(service, opened), label="Open it"))


def attach(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Make a run part of an incident; with a number alone, the thread's run, else work that incident here too."""
    run_id = command.text
    if not run_id:
        with reading(service.engine) as tx:
            of_thread = here.run_of_thread(tx, asked)
        run_id = of_thread.id if of_thread else ""
    if run_id:
        target = here.incident(service, person, asked, command.incident)
        attached = actions.attach_run(
            service, person, asked.signed_in(), _run_id(run_id), target.id, delivery=asked.delivery
        )
        said = f"The run is part of #{attached.id} {attached.title}."
    else:
        assert command.incident is not None  # noqa: S101 -- parsing wants a run or a number
        attached = actions.attach_channel(
            service,
            person,
            asked.signed_in(),
            command.incident,
            asked.channel,
            channel_name=here.channel_name(asked),
            delivery=asked.delivery,
        )
        said = f"#{attached.id} {attached.title} is worked here too."
    return Answer(replies.done_reply(said, url=_url(service, attached), label="The incident"))


def close(service: Service, person: Person, asked: Asked, command: Command) -> Answer:
    """Close an incident with the cause that was typed; without one, or with one chosen in a form, by its own form."""
    person.require(Permission.MANAGE)
    with reading(service.engine) as tx:
        certain = command.incident is not None or here.incident_of_thread(tx, asked)
        several = [] if certain else incidents.open_in(tx, asked.channel)
        if len(several) > 1:
            choice = [_told(tx, service, each) for each in several]
            return Answer(told.which_reply(choice, asked.command, "close"))
    meant = here.incident(service, person, asked, command.incident)
    if not command.text or asked.kind is Kind.SUBMITTED:
        return _close_form(service, person, asked, meant, command.text)
    closed = actions.close_incident(service, person, asked.signed_in(), meant.id, command.text, delivery=asked.delivery)
    return Answer(replies.done_reply(f"#{closed.id} {closed.title} is closed.", url=_url(service, closed)))


def press_close(service: Service, person: Person, asked: Asked) -> Answer:
    """Open the form that closes an incident."""
    person.require(Permission.MANAGE)
    with reading(service.engine) as tx:
        meant = incidents.get(tx, _number(asked.value))
    _close_form(service, person, asked, meant)
    return Answer()


def submit_close(service: Service, person: Person, asked: Asked) -> Answer:
    """Close an incident as its form says; what is wrong stands beside the field."""
    try:
        number, channel, cause, postmortem = told.close_form_read(asked.view)
    except ValueError as error:
        raise InvalidInput("The form cannot be read. Open it afresh.") from error
    try:
        actions.close_incident(
            service,
            person,
            asked.signed_in(),
            number,
            cause,
            postmortem_to=channel if postmortem else "",
            delivery=asked.delivery,
        )
    except Taken:
        raise
    except (InvalidInput, Conflict) as error:
        points = [f"{problem.message} {problem.fix}".strip() for problem in error.problems]
        return Answer(errors={told.CAUSE: " ".join([error.message, *points])[:300]})
    return Answer()


def press_attach(service: Service, person: Person, asked: Asked) -> Answer:
    """Open the choice of an incident for an alert's run, over the chat of somebody who may read their titles."""
    person.require(Permission.MANAGE)
    run_id = _run_id(asked.value)
    with reading(service.engine) as tx:
        offered = [(each.id, each.title) for each in incidents.of_people(tx, most=MAX_OPTIONS)]
    if not offered:
        raise NotFound("No incident that people opened is open, so there is none to attach the run to.")
    open_form(service, asked.trigger_id, told.attach_form(run_id, offered), at=asked.at, delivery=asked.delivery)
    return Answer()


def submit_attach(service: Service, person: Person, asked: Asked) -> Answer:
    """Attach an alert's run to the incident that was chosen."""
    run_id, number = _run_id(str(asked.view.get("private_metadata", ""))), _number(chosen(asked.view)[0])
    attached = actions.attach_run(service, person, asked.signed_in(), run_id, number, delivery=asked.delivery)
    said = f"The run is part of #{attached.id} {attached.title}."
    return Answer(replies.done_reply(said, url=_url(service, attached), label="The incident"))


def pinned(service: Service, person: Person, asked: Asked) -> Answer:
    """Put a message that was pinned onto the timeline of the incident that is worked there."""
    stamp = asked.message.get("ts")
    if not asked.channel or not isinstance(stamp, str) or not re.fullmatch(r"[0-9]{1,12}\.[0-9]{1,9}", stamp):
        return Answer()  # a file or a comment
    wrote, text, thread = (asked.message.get(name) for name in ("user", "text", "thread_ts"))
    where = replace(asked, thread_ts=thread if isinstance(thread, str) else stamp)
    with reading(service.engine) as tx:
        meant = here.open_incident(tx, where)
        author = people.name_in_chat(tx, asked.team, str(wrote or ""))
    if meant is None:
        return Answer()
    message = actions.Pinned(
        source=f"{asked.channel}:{stamp}",
        author=author or str(wrote or "an app")[:40],
        text=as_read(text if isinstance(text, str) else "") or "(a message without text)",
        link=_permalink(asked.message.get("permalink")),
    )
    actions.pin(service, person, asked.signed_in(), meant.id, message, delivery=asked.delivery)
    return Answer()


def _close_form(service: Service, person: Person, asked: Asked, meant: Incident, cause: str = "") -> Answer:
    if meant.closed_at is not None:
        raise InvalidInput(f"Incident {meant.id} is closed already.")
    with reading(service.engine) as tx:
        worked = asked.channel in {each.channel for each in incidents.channels(tx, meant.id)}
        shown = _told(tx, service, meant)
    offered = worked and person.may(Permission.EXPORT)
    view = told.close_form(meant.id, meant.title, asked.channel, cause=cause, postmortem=offered)
    if asked.kind is Kind.SUBMITTED:  # chosen in the form of a message's shortcut: it stands in its place
        return Answer(view=view)
    open_form(service, asked.trigger_id, view, at=asked.at, delivery=asked.delivery)
    return Answer(told.close_reply(shown))


def _told(tx: Transaction, service: Service, found: Incident) -> told.IncidentTold:
    seconds = ((found.closed_at or tx.now) - found.opened_at).total_seconds()
    return told.IncidentTold(found.id, found.title, _url(service, found), found.opened_by["name"], seconds)


def _url(service: Service, found: Incident) -> str:
    return here.url_of(service, f"/incidents/{found.id}")


def _run_id(text: str) -> str:
    if not _RUN.fullmatch(text):
        raise InvalidInput("This is no run: copy its id, or its page's address, from its message.")
    return text


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput("This is no incident's number.")
    return int(text)


def _permalink(address: Any) -> str:
    """The address of a message, if it is the chat's own."""
    if not isinstance(address, str) or len(address) > 500:
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return address if parts.scheme == "https" and (parts.hostname or "").endswith(".slack.com") else ""


def as_read(text: str) -> str:
    """A message's text as people read it: without Slack's marks for people, channels and links."""

    def shown(mark: re.Match[str]) -> str:
        kind, said, label = mark[1], mark[2], mark[3]
        if kind:
            return {"@": "@", "#": "#", "!": "@"}[kind] + (label or said)
        return f"{label} ({said})" if label and label != said else said

    return html.unescape(_MARKED.sub(shown, text)).replace("\x00", "").strip()

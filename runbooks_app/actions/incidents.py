"""Incidents: opened, worked in several channels, runs moved between them, noted, closed, exported.

Several may be open in one channel, and one may be worked in several. A run that names none joins the newest that is
open where it was asked for, or opens one. An alert opens its own; once its runs belong to another it is closed as a
part of that one, and its alerts and notes are told there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.actions.delivering import Delivery, made, once
from runbooks_app.actions.story import incident_story
from runbooks_app.actions.telling import tell
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import Conflict, InvalidInput, Problem, Refused
from runbooks_app.core.incident import IncidentStory
from runbooks_app.core.people import ALERT, Actor, Permission, Person
from runbooks_app.core.restricted import stays_on_pages
from runbooks_app.core.writing import written
from runbooks_app.store import incidents, runs
from runbooks_app.store.database import Transaction, reading, transaction
from runbooks_app.store.records import Incident, Note

EXPORTS = ("ipynb", "html", "md")
_CHANNEL = re.compile(r"[CG][A-Z0-9]{1,39}")
"""Ids of a chat's channels; direct messages, whose ids begin with D, are none."""


MOST_OFFERED = 20
"""Runs of alerts whose messages are brought up to date when an incident opens that they may be attached to."""

MOST_TOLD = 5
"""Runs that are told in a channel in which their incident is worked from now on; its page tells them all."""


@dataclass(frozen=True)
class Pinned:
    """A message that somebody pinned: where it stands ("C1:1700000000.000100"), who wrote it, its address."""

    source: str
    author: str
    text: str
    link: str = ""


def open_incident(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    title: str,
    channel: str = "",
    *,
    channel_name: str = "",
    delivery: Delivery | None = None,
) -> Incident:
    """Open an incident before anything has run, and tell of it in its channel.

    `delivery`, here and below, is a key of the chat's delivery: a second one raises `Taken`. `channel_name` is what the
    chat calls the channel, if it told.
    """
    person.require(Permission.MANAGE)
    title = written("title", title, 200)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        if channel_name:
            incidents.name_channel(tx, channel, channel_name)
        channel = channel or service.settings.slack_channel
        incident = _opened(tx, person_actor(person, signed_in), title, channel)
        if channel:
            tell(tx, f"incident:{incident.id}", channel=channel)
        made(tx, delivery, incident.id)
        return incident


def open_for_alert(tx: Transaction, actor: Actor, title: str, channel: str = "") -> Incident:
    """Open the incident of a group of alerts, in the transaction that takes them; the title is cut where it must be."""
    return _opened(tx, actor, title.replace("\x00", "").strip()[:200] or "Alert", channel)


def for_run(
    tx: Transaction, service: Service, actor: Actor, title: str, channel: str, incident_id: int | None, *, joins: bool
) -> Incident:
    """The incident that a run belongs to: the one it names, else the newest open in its channel, else one it opens.

    Unless it `joins`, it opens one whatever is open in the channel.
    """
    if incident_id is not None:
        return still_open(incidents.get(tx, incident_id, lock=True), "run it for a new one.")
    channel = channel or service.settings.slack_channel
    if channel and joins:
        # Two commands at the same moment open one incident.
        tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(:channel, 7226101))", channel=channel)
        existing = incidents.open_in(tx, channel)
        if existing:
            return existing[0]
    return _opened(tx, actor, title, channel)


def attach_channel(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    channel: str,
    *,
    channel_name: str = "",
    delivery: Delivery | None = None,
) -> Incident:
    """Work an open incident in this channel too: it and its latest runs are told there."""
    person.require(Permission.MANAGE)
    if not _CHANNEL.fullmatch(channel):
        raise InvalidInput(
            "An incident is attached to a channel, and this is none.",
            problems=(Problem("channel", "is no channel's id.", "Type the command in the channel itself."),),
        )
    with transaction(service.engine) as tx:
        once(tx, delivery)
        if channel_name:
            incidents.name_channel(tx, channel, channel_name)
        incident = still_open(incidents.get(tx, incident_id, lock=True), _NOT_ATTACHED)
        actor = person_actor(person, signed_in)
        if incidents.attach(tx, incident_id, channel, actor.as_json()):
            tx.audit(actor, Event.INCIDENT_ATTACHED, {"incident": incident_id}, {"channel": channel})
            for about in (f"incident:{incident_id}", *_latest_runs(tx, incident_id)):
                tell(tx, about, channel=channel)
        return incident


def attach_run(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    run_id: str,
    incident_id: int,
    *,
    delivery: Delivery | None = None,
) -> Incident:
    """Have a run, with its alerts, belong to another open incident, and tell it where that one is worked.

    What an alert opened and has no run left is closed as a part of that incident.
    """
    person.require(Permission.MANAGE)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        incidents.rearrange(tx)
        run = runs.get(tx, run_id, lock=True)
        if run.purpose == "ask":
            raise Refused(f"Run {run_id} is an ask: attach the run that it was asked of, it goes along.")
        if run.purpose != "diagnosis":
            raise Refused(f"Run {run_id} re-checks a proposal: attach the run that made it.")
        # Always in the same order: two people who attach crosswise wait for each other and do not lock up.
        held = {each: incidents.get(tx, each, lock=True) for each in sorted({run.incident_id, incident_id})}
        before, incident = held[run.incident_id], still_open(held[incident_id], _NOT_ATTACHED)
        if before.id == incident.id:
            return incident
        actor = person_actor(person, signed_in)
        incidents.move_run(tx, run_id, incident.id)
        objects = {"run": run_id, "incident": incident.id, "from": before.id}
        tx.audit(actor, Event.RUN_ATTACHED, objects, {"runbook": run.runbook})
        tell(tx, f"run:{run_id}")  # its message names another incident now
        for place in incidents.channels(tx, incident.id):
            tell(tx, f"run:{run_id}", channel=place.channel)
        if before.closed_at is None and before.opened_by["kind"] == ALERT and not incidents.has_runs(tx, before.id):
            cause = f"Part of incident {incident.id}."
            incidents.merge(tx, before.id, incident.id, cause)
            body = {"cause": cause, "merged_into": incident.id}
            tx.audit(actor, Event.INCIDENT_CLOSED, {"incident": before.id}, body)
            tell(tx, f"incident:{before.id}")
        return incident


def close_incident(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    cause: str,
    *,
    postmortem_to: str = "",
    delivery: Delivery | None = None,
) -> Incident:
    """Close an incident with its cause; its channels are told.

    `postmortem_to` is the one of its channels that the postmortem is put into, as a file.
    """
    person.require(Permission.MANAGE)
    if postmortem_to:
        person.require(Permission.EXPORT)
    cause = written("cause", cause, 2_000)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        incidents.rearrange(tx)
        incident = incidents.get(tx, incident_id, lock=True)
        if incident.closed_at is not None:
            raise Conflict(f"Incident {incident_id} is closed already.")
        actor, objects = person_actor(person, signed_in), {"incident": incident_id}
        channels = [place.channel for place in incidents.channels(tx, incident_id)]
        incidents.close(tx, incident_id, cause)
        tx.audit(actor, Event.INCIDENT_CLOSED, objects, {"cause": cause})
        for channel in channels:
            tell(tx, f"incident:{incident_id}", channel=channel)
        if postmortem_to:
            if postmortem_to not in channels:
                raise Refused(f"Incident {incident_id} is not worked in this channel: its postmortem stays out of it.")
            tx.audit(actor, Event.POSTMORTEM_EXPORTED, objects, {"kind": "md", "channel": postmortem_to})
            tell(tx, f"postmortem:{incident_id}", channel=postmortem_to)
        return incidents.get(tx, incident_id)


def add_note(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    text: str,
    *,
    delivery: Delivery | None = None,
) -> Note:
    """Put a note on the timeline. `delivery` is a key of the chat's delivery: a second one raises `Taken`."""
    person.require(Permission.NOTE)
    text = written("text", text, 10_000)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        incidents.get(tx, incident_id)
        note = incidents.add_note(tx, incident_id, person.subject, person.name, text)
        tx.audit(
            person_actor(person, signed_in),
            Event.NOTE_ADDED,
            {"incident": incident_id, "note": note.id},
            {"text": text},
        )
        made(tx, delivery, note.id)
        return note


def pin(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    message: Pinned,
    *,
    delivery: Delivery | None = None,
) -> Note | None:
    """Put a message that this person pinned on the timeline; None where it is there already."""
    person.require(Permission.NOTE)
    text = written("text", message.text, 10_000)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        incidents.get(tx, incident_id)
        note = incidents.add_pinned(
            tx,
            incident_id,
            person.subject,
            person.name,
            text,
            source=message.source,
            author=message.author,
            link=message.link,
        )
        if note is not None:
            body = {"text": text, "source": message.source, "author": message.author}
            tx.audit(
                person_actor(person, signed_in), Event.NOTE_ADDED, {"incident": incident_id, "note": note.id}, body
            )
        return note


def export_postmortem(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    kind: str,
) -> IncidentStory:
    """The incident's story, for a postmortem that leaves the service; that it left is entered.

    An agent's has nothing in it that stays on pages.
    """
    person.require(Permission.EXPORT)
    if kind not in EXPORTS:
        raise InvalidInput(
            "A postmortem is ipynb, html or md.",
            problems=(Problem("kind", f"{kind[:20]!r} is none of them."),),
        )
    with reading(service.engine) as tx:  # one snapshot: nothing is told whose entry it does not see
        story = incident_story(tx, service, incident_id, shared=stays_on_pages(person, restricted=True))
    with transaction(service.engine) as tx:
        objects = {"incident": incident_id}
        tx.audit(person_actor(person, signed_in), Event.POSTMORTEM_EXPORTED, objects, {"kind": kind})
    return story


def _opened(tx: Transaction, actor: Actor, title: str, channel: str) -> Incident:
    incident = incidents.insert(tx, title, channel, actor.as_json())
    tx.audit(actor, Event.INCIDENT_OPENED, {"incident": incident.id}, {"title": title, "channel": channel})
    if actor.kind != ALERT:
        for run_id in incidents.runs_of_alerts(tx, MOST_OFFERED):
            tell(tx, f"run:{run_id}")  # their messages offer to attach them to this one
    return incident


def _latest_runs(tx: Transaction, incident_id: int) -> list[str]:
    """What the latest runs are told as, the oldest of them first."""
    return [f"run:{run.id}" for run in reversed(runs.recent(tx, incident_id=incident_id, limit=MOST_TOLD))]


_NOT_ATTACHED = "nothing is attached to it any more."


def still_open(incident: Incident, otherwise: str) -> Incident:
    """The incident; raises `Conflict` for a closed one, in which `otherwise` says what holds for it.

    Of one that became part of another it says to go on there.
    """
    if incident.merged_into is not None:
        into = incident.merged_into
        raise Conflict(f"Incident {incident.id} is closed as a part of incident {into}: go on there.")
    if incident.closed_at is not None:
        raise Conflict(f"Incident {incident.id} is closed: {otherwise}")
    return incident

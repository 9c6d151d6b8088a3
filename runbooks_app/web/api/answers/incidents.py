"""Incidents."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from runbooks_app.core.writing import Section
from runbooks_app.web.api.answers.base import Actor, Answer
from runbooks_app.web.api.answers.proposals import Proposal
from runbooks_app.web.api.answers.runs import AskedRun, Run

if TYPE_CHECKING:
    from runbooks_app.store import records, writing


class Incident(Answer):
    """An incident without what belongs to it."""

    id: int
    title: str
    channel: str
    opened_at: datetime
    opened_by: Actor
    closed_at: datetime | None
    cause: str
    merged_into: int | None
    """The incident that it became part of."""

    @classmethod
    def of(cls, found: records.Incident) -> Self:
        """An incident."""
        return cls(**incident_fields(found))


def incident_fields(found: records.Incident) -> dict[str, Any]:
    """The fields of `Incident`, for it and for what holds more."""
    return {**Incident.same(found, but={"opened_by"}), "opened_by": Actor.of(found.opened_by)}


class Note(Answer):
    """A note on an incident."""

    id: int
    by: str
    subject: str
    text: str
    version: int
    """Counted from 1; what it said before stays in the audit trail."""
    at: datetime
    edited_at: datetime | None
    edited_by: str
    """Under whose name it was changed last; empty where it was not."""

    @classmethod
    def of(cls, found: records.Note) -> Self:
        """A note."""
        return cls(**cls.same(found, but={"by"}), by=found.name)


class Notes(Answer):
    """A page of notes, newest first."""

    notes: list[Note]
    next: int | None
    """The cursor of the following page; null on the last."""


class Prose(Answer):
    """A section of a postmortem, in Markdown."""

    section: Section
    text: str
    version: int
    """0 where nobody has written it yet."""
    by: str
    at: datetime | None

    @classmethod
    def of(cls, section: Section, found: writing.Written | None) -> Self:
        """A section as it stands."""
        if found is None:
            return cls(section=section, text="", version=0, by="", at=None)
        return cls(section=section, text=found.text, version=found.version, by=found.name, at=found.at)


class Postmortem(Answer):
    """What people wrote about an incident, section by section."""

    sections: list[Prose]


class WholeIncident(Incident):
    """An incident with its latest runs and asks, newest first, and its latest proposals and notes, those in order."""

    runs: list[Run]
    asks: list[AskedRun]
    proposals: list[Proposal]
    notes: list[Note]


class Incidents(Answer):
    """A page of incidents, newest first."""

    incidents: list[Incident]
    next: int | None
    """The cursor of the following page; null on the last."""

"""The audit entries of one incident, and what is looked up in them."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from runbooks_app.core.audit import Entry, Event
from runbooks_app.core.incident import AuditRef, CredentialStory
from runbooks_app.store.records import DecisionRow

_About = tuple[Entry, dict[str, Any]]
"""An entry with what it is about."""

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
"""How entries hold times: as texts they are in the order of the times."""


class Trail:
    """The audit entries of one incident, found by event and object."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._actors: dict[int, str] = {}
        self._of_event: dict[str, list[_About]] = {}
        self._about: dict[tuple[str, object], list[_About]] = {}
        for entry in entries:
            self._actors[entry.seq] = entry.actor
            found = entry, json.loads(entry.objects)
            self._of_event.setdefault(entry.event, []).append(found)
            for named in found[1].items():  # ids: texts and numbers
                self._about.setdefault(named, []).append(found)

    def find(self, *events: Event, **objects: Any) -> Entry | None:
        """The last entry of these events about these objects."""
        every = [self._about.get(named, []) for named in objects.items()]
        for entry, about in reversed(min(every, key=len)):
            if entry.event in events and objects.items() <= about.items():
                return entry
        return None

    def ref(self, *events: Event, **objects: Any) -> AuditRef | None:
        """Number and hash of that entry."""
        entry = self.find(*events, **objects)
        return AuditRef(entry.seq, entry.hash) if entry else None

    def by_person(self, proof: AuditRef | None) -> bool:
        """Whether a person did what this entry proves: no agent of theirs, no alert, no part of the service."""
        return proof is not None and _is_person(self._actors[proof.seq])

    def decision(self, decision: DecisionRow) -> AuditRef | None:
        """The entry of one person's decision."""
        event = Event.PROPOSAL_APPROVED if decision.verdict == "approve" else Event.PROPOSAL_DENIED
        event = Event.BREAK_GLASS_USED if decision.break_glass else event
        for entry, _ in self._about.get(("proposal", decision.proposal_id), []):
            if entry.event == event and json.loads(entry.actor)["subject"] == decision.subject:
                return AuditRef(entry.seq, entry.hash)
        return None

    def alerts(self, event: Event) -> dict[str, list[Entry]]:
        """The entries of this event that name each alert, by fingerprint, in order; one entry names several."""
        found: dict[str, list[Entry]] = {}
        for entry, _, _ in self.every(event):
            for fingerprint in json.loads(entry.body).get("fingerprints", ()):
                found.setdefault(fingerprint, []).append(entry)
        return found

    def credentials(self, proposal_id: str, stage: str) -> tuple[CredentialStory, ...]:
        """The credentials that were given for this stage of a proposal: its verification has others."""
        found = []
        for entry, about in self._about.get(("proposal", proposal_id), []):
            body = json.loads(entry.body) if entry.event == Event.CREDENTIAL_ISSUED else {}
            if body.get("stage") == stage:
                found.append(CredentialStory(about["connection"], body["identity"], AuditRef(entry.seq, entry.hash)))
        return tuple(found)

    def prose(self, incident_id: int, section: str) -> AuditRef | None:
        """The last entry of a change to this section of this very incident's prose; its parts have their own."""
        found = self.every(Event.POSTMORTEM_EDITED)
        of_own = [entry for entry, about, _ in found if about["incident"] == incident_id]
        of_it = [entry for entry in of_own if json.loads(entry.body)["section"] == section]
        return AuditRef(of_it[-1].seq, of_it[-1].hash) if of_it else None

    def every(self, *events: Event) -> list[tuple[Entry, dict[str, Any], dict[str, Any]]]:
        """All entries of these events, in order, each with its objects and its actor."""
        found = [one for event in events for one in self._of_event.get(event, [])]
        return [(entry, about, json.loads(entry.actor)) for entry, about in sorted(found, key=lambda one: one[0].seq)]

    def at(self, *events: Event, **objects: Any) -> datetime | None:
        """When it was entered."""
        entry = self.find(*events, **objects)
        return moment(entry.at) if entry else None


@lru_cache(maxsize=1_000)
def _is_person(actor: str) -> bool:
    """Asked of every line of a timeline, whose actors are few."""
    return bool(json.loads(actor)["kind"] == "person")


def since(entries: Sequence[Entry], at: datetime | None) -> AuditRef | None:
    """The first of these, in order, that is not earlier than a row: its transaction began then, and entered it last."""
    if at is None:
        return None
    earlier = bisect_left(entries, at.astimezone(UTC).strftime(_TIME), key=lambda entry: entry.at)
    return next((AuditRef(entry.seq, entry.hash) for entry in entries[earlier : earlier + 1]), None)


def moment(text: str) -> datetime:
    """An entry's time."""
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)

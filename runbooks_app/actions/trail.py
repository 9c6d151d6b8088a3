"""The audit entries of one incident, and what is looked up in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from runbooks_app.core.audit import Entry, Event
from runbooks_app.core.incident import AuditRef
from runbooks_app.store.records import DecisionRow


class Trail:
    """The audit entries of one incident, found by event and object."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = [(entry, json.loads(entry.objects), json.loads(entry.actor)) for entry in entries]

    def find(self, *events: Event, **objects: Any) -> Entry | None:
        """The last entry of these events about these objects."""
        found = [
            entry
            for entry, about, _ in self._entries
            if entry.event in events and all(about.get(key) == value for key, value in objects.items())
        ]
        return found[-1] if found else None

    def ref(self, *events: Event, **objects: Any) -> AuditRef | None:
        """Number and hash of that entry."""
        entry = self.find(*events, **objects)
        return AuditRef(entry.seq, entry.hash) if entry else None

    def decision(self, decision: DecisionRow) -> AuditRef | None:
        """The entry of one person's decision."""
        event = Event.PROPOSAL_APPROVED if decision.verdict == "approve" else Event.PROPOSAL_DENIED
        event = Event.BREAK_GLASS_USED if decision.break_glass else event
        wanted = (event, decision.proposal_id, decision.subject)
        for entry, about, actor in self._entries:
            if (entry.event, about.get("proposal"), actor["subject"]) == wanted:
                return AuditRef(entry.seq, entry.hash)
        return None

    def alert(self, event: Event, fingerprint: str) -> AuditRef | None:
        """The first entry of this event that names an alert; one entry names several."""
        for entry, _, _ in self.every(event):
            if fingerprint in json.loads(entry.body).get("fingerprints", ()):
                return AuditRef(entry.seq, entry.hash)
        return None

    def every(self, *events: Event) -> list[tuple[Entry, dict[str, Any], dict[str, Any]]]:
        """All entries of these events, in order, each with its objects and its actor."""
        return [found for found in self._entries if found[0].event in events]

    def at(self, *events: Event, **objects: Any) -> datetime | None:
        """When it was entered."""
        entry = self.find(*events, **objects)
        return moment(entry.at) if entry else None


def moment(text: str) -> datetime:
    """An entry's time."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)

"""The audit trail: what an entry is, how entries are chained, and how anyone verifies the chain offline.

An entry's *envelope* is canonical JSON (RFC 8785) with exactly these members, which RFC 8785 sorts like this:

    {"actor":…,"at":…,"body":…,"event":…,"objects":…,"prev":…,"seq":…}

`prev` is the hash of the entry before it, in hex (64 zeros for the first), and the entry's hash is SHA-256
over the envelope. So each hash commits to all of history. The database function `audit_append` builds the
same bytes from texts that are canonical already; the service's own role can do nothing else to the table.

What a chain cannot show is a history that was rewritten as a whole, or cut off at its end together with the
head row: for this somebody else must have seen an earlier head.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import rfc8785

GENESIS = "0" * 64
"""`prev` of the first entry."""


class Event(StrEnum):
    """Every kind of entry. A test proves that each is emitted."""

    SIGNED_IN = "person.signed_in"
    SIGNED_OUT = "person.signed_out"
    CHAT_LINKED = "person.chat_linked"
    CHAT_UNTOLD = "chat.untold"
    ACCESS_REFUSED = "access.refused"
    REFUSALS_COUNTED = "access.refusals_counted"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CLOSED = "incident.closed"
    NOTE_ADDED = "note.added"
    NOTE_EDITED = "note.edited"
    POSTMORTEM_EDITED = "postmortem.edited"
    POSTMORTEM_EXPORTED = "postmortem.exported"
    AUDIT_EXPORTED = "audit.exported"
    INCIDENT_ATTACHED = "incident.attached"
    RUN_REQUESTED = "run.requested"
    RUN_ATTACHED = "run.attached"
    RUN_CLAIMED = "run.claimed"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    RUN_ENDED = "run.ended"
    RUN_LOST = "run.lost"
    ASK_CONCLUDED = "ask.concluded"
    RUNBOOK_DRAFTED = "runbook.drafted"
    ALERT_RECEIVED = "alert.received"
    ALERT_RESOLVED = "alert.resolved"
    ALERTS_HELD = "alerts.held"
    FINDING_MADE = "finding.made"
    PROPOSAL_MADE = "proposal.made"
    PROPOSAL_REFUSED = "proposal.refused"
    PROPOSAL_SPONSORED = "proposal.sponsored"
    PROPOSAL_APPROVED = "proposal.approved"
    PROPOSAL_DENIED = "proposal.denied"
    PROPOSAL_EXPIRED = "proposal.expired"
    PROPOSAL_WITHDRAWN = "proposal.withdrawn"
    PROPOSAL_STALE = "proposal.stale"
    APPROVER_WOKEN = "approver.woken"
    BREAK_GLASS_USED = "break_glass.used"
    BREAK_GLASS_REVIEWED = "break_glass.reviewed"
    REMEDIATION_STARTED = "remediation.started"
    REMEDIATION_ENDED = "remediation.ended"
    VERIFICATION_ENDED = "verification.ended"
    CREDENTIAL_ISSUED = "credential.issued"
    CREDENTIAL_RENEWED = "credential.renewed"
    CREDENTIAL_ENDED = "credential.ended"
    CONNECTION_TESTED = "connection.tested"
    GATEWAY_REFUSED = "gateway.refused"
    IDENTITY_KEY_PUBLISHED = "identity_key.published"
    IDENTITY_KEY_WITHDRAWN = "identity_key.withdrawn"


_OBJECT = re.compile(r"(?:^|[\s/])(?:(run|proposal|incident|note|finding)s?[ :/#]+)?#?([a-z2-7]{16}|\d{1,17})$")


def about(typed: str) -> tuple[dict[str, str | int], ...]:
    """What somebody may mean by an object that they typed: "run abc…", "incident 3", "#3", an address, an id alone.

    Each is as entries name their objects; none where it is no object.
    """
    found = _OBJECT.search(typed.strip().lower())
    if found is None:
        return ()
    kind, number = found[1], found[2].isdigit()
    kinds = (kind,) if kind else ("incident",) if number else ("run", "proposal")
    return tuple({kind: int(found[2]) if number else found[2]} for kind in kinds)


@dataclass(frozen=True)
class Entry:
    """One entry as stored: `actor`, `objects` and `body` are canonical JSON texts, hashes are hex."""

    seq: int
    at: str
    actor: str
    event: str
    objects: str
    body: str
    prev: str
    hash: str

    def envelope(self) -> bytes:
        """The bytes that the hash covers."""
        return (
            f'{{"actor":{self.actor},"at":{json.dumps(self.at)},"body":{self.body},'
            f'"event":{json.dumps(self.event)},"objects":{self.objects},'
            f'"prev":{json.dumps(self.prev)},"seq":{self.seq}}}'
        ).encode()

    def as_json(self) -> dict[str, Any]:
        """One line of an exported trail."""
        return {
            "actor": json.loads(self.actor),
            "at": self.at,
            "body": json.loads(self.body),
            "event": self.event,
            "hash": self.hash,
            "objects": json.loads(self.objects),
            "prev": self.prev,
            "seq": self.seq,
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Entry:
        """An entry from a line of an exported trail; its texts are canonicalised anew."""
        return cls(
            seq=line["seq"],
            at=line["at"],
            actor=canonical(line["actor"]),
            event=line["event"],
            objects=canonical(line["objects"]),
            body=canonical(line["body"]),
            prev=line["prev"],
            hash=line["hash"],
        )


@dataclass(frozen=True)
class Verdict:
    """What verification found: how many entries hold, the last good hash, and where it breaks first."""

    entries: int
    head: str
    broken_at: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the whole chain holds."""
        return self.broken_at is None


def canonical(value: Any) -> str:
    """RFC 8785 text of a JSON value."""
    return rfc8785.dumps(value).decode()


def entry_hash(entry: Entry) -> str:
    """SHA-256 of the envelope, in hex."""
    return hashlib.sha256(entry.envelope()).hexdigest()


def verify(entries: Iterable[Entry], head: tuple[int, str] | None = None) -> Verdict:
    """Verify a whole chain, in order of sequence, and say where it breaks first.

    `head` is the sequence and hash that the database's head row, or a witness, says is the last: with it,
    a chain that was cut off at its end is found too.
    """
    count, previous = 0, GENESIS
    for entry in entries:
        expected = count + 1
        if entry.seq != expected:
            return Verdict(
                count,
                previous,
                expected,
                f"Entry {expected} is missing; entry {entry.seq} stands in its place.",
            )
        if entry.prev != previous:
            return Verdict(count, previous, expected, f"Entry {expected} does not follow from entry {count}.")
        if entry_hash(entry) != entry.hash:
            return Verdict(
                count, previous, expected, f"Entry {expected} was altered: its hash does not fit its content."
            )
        count, previous = expected, entry.hash
    if head is not None and head != (count, previous if count else GENESIS):
        return Verdict(
            count,
            previous,
            count + 1,
            f"The trail ends at entry {count}, but its head says entry {head[0]} ({head[1][:16]}…).",
        )
    return Verdict(count, previous)

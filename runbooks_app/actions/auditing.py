"""The audit trail, searched and taken along; that it leaves is entered first, so that the copy says so itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.core.audit import Entry, Event, about
from runbooks_app.core.people import Permission, Person
from runbooks_app.store import audit
from runbooks_app.store.database import Transaction, reading, transaction

LOOKED_THROUGH = 20_000
"""Entries that one search looks through for words, the newest; the next goes on behind them."""
MOST_PEOPLE = 20
"""People of whom a search by a name finds what they did."""
AT_ONCE = 2_000
"""Entries that are read in one transaction: a slow download holds no session at the database."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for, all of it at once: each is left out where it is empty.

    `event` is one kind of entries by its whole name; `object` as people type one (`core.audit.about`), and what is none
    finds nothing; `person` a name, a part of one or a subject; `words` stand in actor, objects or body; `since` belongs
    to it, `until` does not.
    """

    event: str = ""
    object: str = ""
    person: str = ""
    words: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Found:
    """Entries, newest first. `further` is where to go on, None at the end: there may be more even behind none.

    `looked_through` are the first and the last entry in which words were looked for, where that was only a part.
    """

    entries: list[Entry]
    further: int | None = None
    looked_through: tuple[int, int] | None = None


def search(tx: Transaction, wanted: Wanted, before: int | None, limit: int) -> Found:
    """At most so many entries, all of them before that one."""
    objects = about(wanted.object)
    if wanted.object and not objects:
        return Found([])
    behind = min(before or 2**62, audit.head(tx)[0] + 1)
    if wanted.until is not None:
        behind = min(behind, audit.first_since(tx, _as_stored(wanted.until)))
    last_left_out = 0 if wanted.since is None else audit.first_since(tx, _as_stored(wanted.since)) - 1
    # What is about one object is few; all else could be the whole trail.
    after = max(behind - 1 - LOOKED_THROUGH, last_left_out) if wanted.words and not objects else last_left_out
    found = audit.search(
        tx,
        event=wanted.event,
        words=wanted.words,
        about=objects,
        by=audit.subjects(tx, wanted.person, MOST_PEOPLE) if wanted.person else (),
        before=behind,
        after=after,
        limit=limit + 1,
    )
    if len(found) > limit:
        return Found(found[:limit], found[limit - 1].seq)
    if after > last_left_out:
        return Found(found, after + 1, (after + 1, behind - 1))
    return Found(found)


def _as_stored(at: datetime) -> str:
    try:
        at = at.astimezone(UTC)
    except OverflowError:  # at the ends of the calendar, where no entry is
        at = at.replace(tzinfo=UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def export_trail(service: Service, person: Person, signed_in: dict[str, Any]) -> int:
    """Enter that this person takes the trail along; answers with the number of the last entry of their copy."""
    person.require(Permission.AUDIT)
    with transaction(service.engine) as tx:
        seq, digest = audit.head(tx)
        tx.audit(person_actor(person, signed_in), Event.AUDIT_EXPORTED, {}, {"entries": seq, "head": digest})
    with reading(service.engine) as tx:
        return audit.head(tx)[0]


def copy(service: Service, last: int) -> Iterator[Entry]:
    """The trail up to this entry, in order."""
    done = 0
    while done < last:
        with reading(service.engine) as tx:
            found = audit.following(tx, done, min(AT_ONCE, last - done))
        if not found:
            return
        yield from found
        done = found[-1].seq

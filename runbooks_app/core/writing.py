"""What people write down and may change later: notes, and the prose of a postmortem, in four sections.

A change says on which version it was made. Where somebody was quicker nothing is kept, and both texts are shown
(`Clash`). What a text said before stays as a version; versions are counted from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from runbooks_app.core.checking import SECRETS
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound, Problem, Refused
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.values import storable

if TYPE_CHECKING:
    from datetime import datetime

    from runbooks_app.core.incident import AuditRef

LONGEST_NOTE = 10_000
LONGEST_SECTION = 50_000
LONGEST_REASON = 2_000
"""Characters."""


class Section(StrEnum):
    """A section of a postmortem's prose, in the order in which it is told."""

    SUMMARY = "summary"
    IMPACT = "impact"
    LESSONS = "lessons"
    ACTIONS = "actions"

    @property
    def asks(self) -> str:
        """What somebody who writes it should answer."""
        return _ASKS[self]


_ASKS = {
    Section.SUMMARY: "What happened, in a few sentences, for somebody who was not there.",
    Section.IMPACT: "Who noticed, how much of what did not work, for how long.",
    Section.LESSONS: "What went well, what did not, where we were lucky.",
    Section.ACTIONS: "What is done so that it does not come again: by whom, until when.",
}


@dataclass(frozen=True)
class ProseStory:
    """A section as it stands: Markdown, of `by`, who wrote it last. The entry is that of this text."""

    section: Section
    text: str
    by: str
    at: datetime
    entry: AuditRef | None = None


class Clash(Conflict):
    """Somebody else has changed this text since you opened it; nothing of yours was kept. Compare the two."""


def section(name: str) -> Section:
    """The section of this name, or `NotFound`."""
    try:
        return Section(name)
    except ValueError:
        known = ", ".join(Section)
        raise NotFound(f"A postmortem has no section {name[:40]!r}; it has {known}.") from None


def require_own(person: Person, subject: str, name: str, author: str) -> None:
    """Raise `Refused` unless this person may change the note that `subject` wrote under that name.

    An agent has its person's subject, and changes only what stands under its own name. `author` is who wrote a pinned
    message, else empty.
    """
    if subject != person.subject or (person.agent and name != person.name):
        raise Refused(f"Only {name} may change this note; write one of your own beside it.")
    if author:
        raise Refused(f"It is what {author} wrote in the chat: write a note beside it.")


def require_prose(person: Person) -> None:
    """Raise `Refused` unless this person may write a postmortem's prose: what agents have to say are notes."""
    person.require(Permission.NOTE)
    if person.agent:
        raise Refused(f"{person.name} may not write a postmortem: an agent adds notes, people say what came of them.")


def unfit(where: str, text: str, limit: int) -> list[Problem]:
    """Why what people write is not kept, in a text or an ask; empty if it is. What is kept is in the trail for good."""
    if len(text) > limit:
        return [Problem(where, f"has {len(text):,} characters; {limit:,} are the most.")]
    if not storable(text):
        return [Problem(where, "holds a NUL or half a character.", "Remove it.")]
    return [
        Problem(where, f"holds what looks like {what}.", "Take it out, and have it changed where it is valid.")
        for what, form in SECRETS.items()
        if form.search(text)
    ]


def kept(where: str, given: str, limit: int) -> str:
    """The text to keep, which may be empty; raises `InvalidInput` for what cannot be kept."""
    text = given.replace("\r\n", "\n").strip()
    problems = unfit(where, text, limit)
    if problems:
        raise InvalidInput(f"The {where} cannot be kept.", problems=tuple(problems))
    return text


def written(where: str, given: str, limit: int, *, why: str = "is empty.") -> str:
    """The text to keep; raises `InvalidInput` for what cannot be kept, and where nothing was written, saying `why`."""
    text = kept(where, given, limit)
    if not text:
        raise InvalidInput(f"Write a {where}.", problems=(Problem(where, why),))
    return text


def changed(given: str, *, where: str, limit: int, based_on: int, version: int, before: str) -> str | None:
    """The text to keep as the next version, or None where it says what it said.

    `based_on` is the version that was changed, `version` the one that stands. Raises `Clash` where they differ, and
    `InvalidInput` for what cannot be kept.
    """
    text = kept(where, given, limit)
    if text == before:
        return None
    if based_on != version:
        raise Clash
    return text

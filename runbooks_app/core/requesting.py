"""Who answers for a run: the humans behind it, also behind the one that it repeats.

All of them are requesters, and no requester decides. A run that repeats another therefore has that one's requesters as
well as whoever asks: nobody gets round the rule by having somebody else ask again. They come with a genuine repetition
alone. Whoever could name any run would choose the requesters: a program that no human stands behind would have a human
answer for what it wants, and an approver would be kept from deciding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runbooks_app.core.errors import InvalidInput, Problem, Refused
from runbooks_app.core.people import Person


@dataclass(frozen=True)
class Earlier:
    """The run that is to be repeated: its id, the immutable id of its runbook, and who asked for it."""

    run: str
    runbook: str
    requesters: Iterable[str]


def requesters(person: Person, runbook: str, earlier: Earlier | None = None) -> frozenset[str]:
    """Subjects of all humans behind a run of the runbook with this id, that `person` asks for.

    Raises `Refused` where no human repeats `earlier`, and `InvalidInput` where it is of another runbook.
    """
    if earlier is None:
        return person.humans
    if not person.humans:
        raise Refused(
            f"No human stands behind {person.name}: it repeats no run, whose requesters would answer for this one. "
            "Ask for a run that repeats none."
        )
    if earlier.runbook != runbook:
        problem = Problem("rerun_of", "is a run of another runbook.", "Leave it out, or name that runbook.")
        raise InvalidInput(f"This does not repeat run {earlier.run}.", problems=(problem,))
    return person.humans | set(earlier.requesters)

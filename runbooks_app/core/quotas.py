"""Quotas of diagnoses: who may begin now, and who waits for what, in which place.

A run that would be one too many for its person or its runbook stays queued. Runs are looked at in the order in which
they were asked for, and each that fits takes its place; one that does not fit is passed over, so that a person at
their limit holds up nobody behind them. What is approved (remediations, verifications, re-checks) is never counted
and never held.

How many diagnoses one worker does at a time is no quota: it takes the next of the queue when it has a hand free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Quotas:
    """The most diagnoses at a time, of one person and of one runbook; 0 sets no limit."""

    per_person: int
    per_runbook: int

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.per_person or self.per_runbook)

    def enough(self, person: str) -> int | None:
        """How many queued runs of this person and one runbook decide who may begin: of more, the later ones never may.

        None where no quota applies.
        """
        return min((most for most in (person and self.per_person, self.per_runbook) if most), default=None)

    def all_fit(self, person: str, of_person: int, of_runbook: int) -> bool:
        """Whether every unfinished run of this person, and every one of a runbook, may go at the same time.

        Then nobody need be put in line to see who begins.
        """
        return (not person or not self.per_person or of_person <= self.per_person) and (
            not self.per_runbook or of_runbook <= self.per_runbook
        )


@dataclass(frozen=True)
class Unfinished:
    """A diagnosis that has not ended: going, or else queued. `person` is the subject of who asked; empty: no person."""

    id: str
    person: str
    runbook: str
    going: bool


class Waits(StrEnum):
    """What a queued run waits for."""

    WORKER = "worker"
    PERSON = "person"
    RUNBOOK = "runbook"


@dataclass(frozen=True)
class Place:
    """Where a queued run stands: `place` counts from 1 among those that wait for the same.

    Of a run that a quota holds: `going` is how many of that person or runbook go or are about to, `most` how many may.
    """

    place: int
    waits: Waits
    going: int = 0
    most: int = 0

    @property
    def may_begin(self) -> bool:
        """Whether no quota holds it: the next free worker takes it."""
        return self.waits is Waits.WORKER


def places(unfinished: Iterable[Unfinished], quotas: Quotas) -> dict[str, Place]:
    """The place of each queued run, by its id; `unfinished` and places come in the order of asking."""
    runs = list(unfinished)
    people = Counter(run.person for run in runs if run.going)
    runbooks = Counter(run.runbook for run in runs if run.going)
    held: Counter[tuple[Waits, str]] = Counter()
    free = 0
    found = {}
    for run in runs:
        if run.going:
            continue
        too_many_of_person = bool(run.person) and 0 < quotas.per_person <= people[run.person]
        too_many_of_runbook = 0 < quotas.per_runbook <= runbooks[run.runbook]
        if not too_many_of_person and not too_many_of_runbook:
            people[run.person] += 1
            runbooks[run.runbook] += 1
            free += 1
            found[run.id] = Place(free, Waits.WORKER)
            continue
        # Both lines count it, whichever holds it: of a run behind it, it is ahead in either.
        held[Waits.PERSON, run.person] += 1
        held[Waits.RUNBOOK, run.runbook] += 1
        if too_many_of_person:
            place = held[Waits.PERSON, run.person]
            found[run.id] = Place(place, Waits.PERSON, people[run.person], quotas.per_person)
        else:
            place = held[Waits.RUNBOOK, run.runbook]
            found[run.id] = Place(place, Waits.RUNBOOK, runbooks[run.runbook], quotas.per_runbook)
    return found


def said(place: Place, whose: str, runbook: str, *, rough: bool = False) -> str:
    """Where a run stands and what it waits for, without a full stop; for `whose` see `why`, for `rough` `roughly`."""
    return f"{(roughly if rough else in_line)(place.place)}; {why(place, whose, runbook)}"


def why(place: Place, whose: str, runbook: str) -> str:
    """What a run waits for, as the end of a sentence; `whose` is "your" or a name with its 's."""
    if place.may_begin:
        return "a worker takes it as soon as one is free"
    one = place.going == 1
    runs = "run" if one else "runs"
    whom = f"of {whose} runs" if place.waits is Waits.PERSON else f"{runs} of {runbook}"
    most = "which is the most at a time" if place.going == place.most else f"and {place.most} at a time is the most"
    return f"{place.going} {whom} {'is' if one else 'are'} going, {most}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    teen = number % 100 in {11, 12, 13}
    ending = "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


_STEPS = (3, 5, 10, 20, 50, 100, 200, 500, 1000)


def in_line(place: int) -> str:
    """The place to the number: "17th in line"."""
    return f"{ordinal(place)} in line"


def roughly(place: int) -> str:
    """The place in steps that grow, for where each change costs a message: it holds true while the run moves up."""
    if place <= _STEPS[0]:
        return in_line(place)
    for step in _STEPS[1:]:
        if place <= step:
            return f"among the next {step} in line"
    return f"more than {_STEPS[-1]} in line"

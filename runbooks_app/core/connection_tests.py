"""Tests of connections: whether a diagnosis reaches the system, and whether it is proved to only read there.

Each connection is tested once an hour by some worker, at once when it is new or configured anew, and sooner again when
it was away. What came of it is kept as the latest result; the audit trail is told when it changes, and once a day while
it does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

EVERY = timedelta(hours=1)
SPREAD = timedelta(minutes=10)
"""By up to so much a connection's turn comes sooner, each by its own: so that not all are tested in the same minute."""
AWAY_EVERY = timedelta(minutes=5)
"""A system that was away for a moment is not said to be away for the rest of the hour."""
AT_MOST_EVERY = timedelta(minutes=1)
"""Workers that are configured differently, as while a change is rolled out, take turns no faster."""
ENTERED_EVERY = timedelta(days=1)


class Standing(StrEnum):
    """How a connection stands by its latest test."""

    HOLDS = "holds"
    UNPROVED = "unproved"
    WRITES = "writes"
    AWAY = "away"
    UNTESTED = "untested"


@dataclass(frozen=True)
class Outcome:
    """What came of one test.

    `holds`: a diagnosis cannot write; None where that cannot be proved. `says` tells it with the mend, and changes only
    when the result does; `tried` is what was looked for. `configured` is a digest of the connection as it was tested.
    """

    configured: str
    reachable: bool
    holds: bool | None
    says: str
    tried: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """The result in a word."""
        if not self.reachable:
            return Standing.AWAY
        if self.holds is None:
            return Standing.UNPROVED
        return Standing.HOLDS if self.holds else Standing.WRITES


@dataclass(frozen=True)
class Tested:
    """The latest outcome, when it was found, and when the audit trail was last told of one."""

    outcome: Outcome
    tested_at: datetime
    entered_at: datetime


def due(tested: Tested | None, configured: str, name: str, now: datetime) -> bool:
    """Whether it is this connection's turn."""
    if tested is None:
        return True
    if tested.outcome.configured != configured:
        return now >= tested.tested_at + AT_MOST_EVERY
    if not tested.outcome.reachable:
        return now >= tested.tested_at + AWAY_EVERY
    share = hashlib.sha256(name.encode()).digest()[0] / 256
    return now >= tested.tested_at + EVERY - SPREAD * share


def worth_an_entry(before: Tested | None, outcome: Outcome, now: datetime) -> bool:
    """Whether the audit trail is told: of the first result, of every other one than before, and once a day."""
    if before is None or now >= before.entered_at + ENTERED_EVERY:
        return True
    was = before.outcome
    return (was.configured, was.standing, was.says) != (outcome.configured, outcome.standing, outcome.says)

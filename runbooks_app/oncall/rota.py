"""A rota: people who take turns, by the clock on the wall of one place.

A shift that begins at 09:00 begins at 09:00 there in summer and in winter: so the one over a change of the clocks is an
hour shorter or longer. A begin that the wall never shows is when the clocks jump over it; of one that it shows twice,
the first counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Rota:
    """Shifts of `every` from `begin` on (both as the wall of `zone` shows them); `people` are e-mail addresses."""

    begin: datetime
    every: timedelta
    zone: ZoneInfo
    people: tuple[str, ...]

    def who(self, now: datetime) -> str:
        """Whose shift it is; empty before the first one. `now` is in UTC."""
        shift = self._shift(now)
        return self.people[shift % len(self.people)] if shift >= 0 else ""

    def _shift(self, now: datetime) -> int:
        """Number of the shift at this moment, from 0; negative before the first."""
        # As the wall shows it, and then by real time: during an hour that the wall shows twice, it misleads.
        shown = now.astimezone(self.zone).replace(tzinfo=None)
        shift = (shown - self.begin) // self.every
        while self._begins(shift) > now:
            shift -= 1
        while self._begins(shift + 1) <= now:
            shift += 1
        return shift

    def _begins(self, shift: int) -> datetime:
        return (self.begin + shift * self.every).replace(tzinfo=self.zone).astimezone(UTC)

"""How the service itself does: the windows that are looked at, what is a share, and when a runbook rots."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median

from runbooks_app.core.run import RunState

MOST_RUNS = 500
"""Runs of a window that are looked at, the latest: medians and shares of so many say as much as of all."""

LOOKED_BACK = 100
"""Runs of one runbook among which its last good one is looked for."""

STALE_AFTER = timedelta(days=30)
"""A runbook without a good run for so long is no longer known to work."""

SECRETS_REDACTED = "secrets_redacted"
"""Name of the count of places in outputs where a secret was taken out."""


class Window(StrEnum):
    """How far back is looked."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    @property
    def lasts(self) -> timedelta:
        """How long it is."""
        return {Window.DAY: timedelta(hours=24), Window.WEEK: timedelta(days=7), Window.MONTH: timedelta(days=30)}[self]

    @property
    def step(self) -> timedelta:
        """What one bar of its charts stands for."""
        return {Window.DAY: timedelta(hours=1), Window.WEEK: timedelta(hours=6), Window.MONTH: timedelta(days=1)}[self]


def window(name: str) -> Window:
    """The window of this name; the shortest for any other."""
    return Window(name) if name in set(Window) else Window.DAY


def steps(of: Window, now: datetime) -> list[datetime]:
    """Where the bars of its charts begin, the oldest first: whole hours, quarters of days or days, in UTC."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    last = day + (now - day) // of.step * of.step
    return [last - of.step * back for back in range(of.lasts // of.step, -1, -1)]


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    good: int
    of: int

    @property
    def percent(self) -> str:
        """Rounded down, so that 100 % means all; empty where there were none."""
        if not self.of:
            return ""
        tenths = self.good * 1000 // self.of
        return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10:.1f} %"


@dataclass(frozen=True)
class Seen:
    """A run that is looked at: what became of its kernels and cells; times in seconds.

    A kernel was `lost` where a cell died with it, or where its worker went away. `ended` cells ran, `ok` ones ended
    well and `took` so long; `first` is from the request to the first result. `large` outputs were more than a page
    keeps; of `large_lost` the rest could not be kept.
    """

    runbook: str
    requested_at: datetime
    state: RunState
    in_part: bool = False
    kernels: int = 0
    lost: int = 0
    ended: int = 0
    ok: int = 0
    took: tuple[float, ...] = ()
    first: float | None = None
    large: int = 0
    large_lost: int = 0

    @property
    def good(self) -> bool:
        """Whether all of it was diagnosed."""
        return self.state is RunState.DIAGNOSED and not self.in_part


@dataclass(frozen=True)
class Step:
    """Runs that were asked for in one step of a window, by how they ended, and their median time to a first result."""

    at: datetime
    good: int
    part: int
    bad: int
    first: float | None


@dataclass(frozen=True)
class Sums:
    """What all the runs that are looked at come to; times are medians, None where there was nothing to measure."""

    kernels: Share
    cells: Share
    saves: Share
    took: float | None
    first: float | None


_BAD = (RunState.FAILED, RunState.TIMED_OUT, RunState.LOST)


def sums(runs: Sequence[Seen]) -> Sums:
    """The figures of these runs."""
    kernels, large = sum(run.kernels for run in runs), sum(run.large for run in runs)
    return Sums(
        kernels=Share(max(kernels - sum(run.lost for run in runs), 0), kernels),
        cells=Share(sum(run.ok for run in runs), sum(run.ended for run in runs)),
        saves=Share(large - sum(run.large_lost for run in runs), large),
        took=_median(took for run in runs for took in run.took),
        first=_median(run.first for run in runs if run.first is not None),
    )


def by_step(runs: Sequence[Seen], begins: Sequence[datetime]) -> list[Step]:
    """The runs by the steps of a window, which begin at these times, the oldest first."""
    within: list[list[Seen]] = [[] for _ in begins]
    for run in runs:
        within[max(bisect_right(begins, run.requested_at) - 1, 0)].append(run)
    return [
        Step(
            at=at,
            good=sum(run.good for run in found),
            part=sum(run.state is RunState.DIAGNOSED and run.in_part for run in found),
            bad=sum(run.state in _BAD for run in found),
            first=_median(run.first for run in found if run.first is not None),
        )
        for at, found in zip(begins, within, strict=True)
    ]


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


@dataclass(frozen=True)
class LastRuns:
    """How a runbook did lately: when its newest run ended, and its newest good one; None for neither.

    `failing` counts the newest runs in a row that were not good, as far back as was looked: those that failed and
    those that were diagnosed in part. Runs that somebody cancelled say nothing, and are none of them.
    """

    ended_at: datetime | None = None
    good_at: datetime | None = None
    failing: int = 0


def rots(last: LastRuns, now: datetime) -> str:
    """Why a runbook is not known to work, for people; empty where it is."""
    if last.ended_at is None:
        return "It never ran."
    if last.good_at is None:
        runs = f"{last.failing} runs were" if last.failing > 1 else "run was"
        return f"Its last {runs} not diagnosed in whole, and no good run of it is known."
    if last.failing > 1:
        return f"Its last {last.failing} runs were not diagnosed in whole."
    if now - last.good_at >= STALE_AFTER:
        return f"Its last good run is {(now - last.good_at).days} days old."
    return ""

"""`/health`: how the service itself does, which runbooks rot, and who uses it. Probes ask `/healthz` and `/readyz`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, render_template, request

from runbooks_app.core.health import (
    MOST_RUNS,
    SECRETS_REDACTED,
    LastRuns,
    Seen,
    Share,
    Step,
    Sums,
    Window,
    by_step,
    rots,
    steps,
    sums,
    window,
)
from runbooks_app.core.people import Permission
from runbooks_app.core.runbook import Runbook
from runbooks_app.store import health
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard
from runbooks_app.web.pages.words import told

blueprint = Blueprint("health_page", __name__)


@dataclass(frozen=True)
class Indicator:
    """One figure: `said` is empty where there was nothing to measure; `means` says what it is made of."""

    name: str
    said: str
    means: str


@dataclass(frozen=True)
class Bar:
    """One step of a chart: `parts`, the lowest first, each with its tone and its height; `said` tells it in words."""

    label: str
    parts: tuple[tuple[str, float], ...]
    said: str

    @property
    def height(self) -> float:
        """Of all parts together."""
        return sum(height for _, height in self.parts)


@blueprint.get("/health")
@guard(Permission.READ)
def show() -> str:
    """Show the indicators of a window, its charts, runbooks that rot, and use by team."""
    span = window(request.args.get("window", ""))
    library = service().library
    runbooks, broken = library.runbooks(), library.broken()
    with reading(service().engine) as tx:
        since, now = tx.now - span.lasts, tx.now
        seen = health.seen(tx, since)
        same, every = health.repeated(tx, since)
        refused, more_refused = health.refused(tx, since)
        redacted = health.counted(tx, SECRETS_REDACTED, since)
        last = health.last_runs(tx, runbooks)
    by = by_step(seen, steps(span, now))
    return render_template(
        "health.html",
        span=span,
        windows=list(Window),
        many=len(seen),
        oldest=seen[0].requested_at if len(seen) == MOST_RUNS else None,
        indicators=[
            *_of_runs(sums(seen)),
            Indicator("Secrets redacted", f"{redacted:,}", "places in outputs where a secret was taken out"),
            Indicator(
                "Refused accesses",
                f"{'at least ' if more_refused else ''}{refused:,}",
                "requests of people and programs, and of cells at the gateway",
            ),
            Indicator(
                "Reproducible runs",
                Share(same, every).percent,
                f"{same} of {every} re-checks and repeated runs with the same code and parameters"
                " found the same in the same cells",
            ),
        ],
        runs=[_runs(step, span) for step in by],
        first=[_first(step, span) for step in by],
        rotting=_rotting(runbooks, last, now),
        broken=sorted(broken),
        sound=len(runbooks),
        teams=_teams(seen, runbooks),
    )


def _of_runs(found: Sums) -> list[Indicator]:
    def of(share: Share, what: str) -> str:
        return f"{share.good:,} of {share.of:,} {what}"

    kernels, cells, saves = found.kernels, found.cells, found.saves
    return [
        Indicator("Kernel availability", kernels.percent, of(kernels, "kernels lived to the end")),
        Indicator("Cell success", cells.percent, of(cells, "cells that ran ended well")),
        Indicator("Median cell", told(found.took), "how long a cell that ended well took"),
        Indicator("First result", told(found.first), "median, from the request to the first diagnostic cell's end"),
        Indicator("Artifact saves", saves.percent, of(saves, "outputs too large for a page were kept")),
    ]


def _label(at: datetime, span: Window) -> str:
    return f"{at:%d %b}" if span is Window.MONTH else f"{at:%d %b %H:%M} UTC"


def _runs(step: Step, span: Window) -> Bar:
    parts = (("good", step.good), ("warn", step.part), ("bad", step.bad))
    return Bar(_label(step.at, span), parts, f"{step.good} good, {step.part} in part, {step.bad} not good")


def _first(step: Step, span: Window) -> Bar:
    return Bar(_label(step.at, span), (("going", step.first or 0),), told(step.first) or "no result")


def _rotting(
    runbooks: dict[str, Runbook], last: dict[str, LastRuns], now: datetime
) -> list[tuple[Runbook, LastRuns, str]]:
    """Runbooks that are not known to work, the longest without a good run first."""
    every = [(runbook, last.get(name, LastRuns())) for name, runbook in sorted(runbooks.items())]
    found = [(runbook, of, why) for runbook, of in every if (why := rots(of, now))]
    return sorted(found, key=lambda one: now - one[1].good_at if one[1].good_at else timedelta.max, reverse=True)


def _teams(seen: list[Seen], runbooks: dict[str, Runbook]) -> list[tuple[str, Share]]:
    """Runs by the team that owns the runbook, the most first; good ones of all."""
    runs: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for run in seen:
        owner = runbooks[run.runbook].owner if run.runbook in runbooks else "no longer in the library"
        runs[owner] += 1
        good[owner] += run.good
    return [(owner, Share(good[owner], many)) for owner, many in runs.most_common()]

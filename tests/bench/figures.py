"""One measured figure, and what is printed and written of all of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A figure: ours (`value`, `unit`), beside it a peer and how many times its value ours is, and the goal.

    `holds` is None where no goal is set. `note` says how it was measured, or why it could not be.
    """

    figure: str
    value: float | None
    unit: str
    peer: str = ""
    ratio: float | None = None
    goal: str = ""
    holds: bool | None = None
    note: str = ""


def at_most(figure: str, value: float, unit: str, limit: float, note: str = "") -> Figure:
    """A figure that must not be larger than `limit`."""
    return Figure(figure, round(value, 1), unit, goal=f"≤ {limit:g} {unit}", holds=value <= limit, note=note)


def at_least(figure: str, value: float, unit: str, limit: float, note: str = "") -> Figure:
    """A figure that must not be smaller than `limit`."""
    return Figure(figure, round(value, 1), unit, goal=f"≥ {limit:g} {unit}", holds=value >= limit, note=note)


def known(figure: str, value: float, unit: str, note: str = "") -> Figure:
    """A figure without a goal."""
    return Figure(figure, round(value, 1), unit, note=note)


def compared(
    figure: str, ours: Sequence[float], peer: str, theirs: Sequence[float], goal: float | None = None, note: str = ""
) -> Figure:
    """Medians of times in milliseconds: ours, and how many times longer the peer takes."""
    value, other = median(ours), median(theirs)
    ratio = other / value
    holds = None if goal is None else ratio >= goal
    told = f"{peer}: {other:.0f} ms, median of {len(theirs)}; ours of {len(ours)}{'; ' if note else ''}{note}"
    return Figure(
        figure, round(value, 1), "ms", peer, round(ratio, 1), f"≥ {goal:g} times" if goal else "", holds, told
    )


def missing(figure: str, peer: str, goal: str, why: str) -> Figure:
    """A figure that could not be measured does not hold."""
    return Figure(figure, None, "", peer, goal=goal, holds=False, note=why)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least so many per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -(-len(ordered) * percent // 100).__int__() - 1))]


def write(figures: Sequence[Figure], path: Path) -> None:
    """All of them as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=2, ensure_ascii=False) + "\n")


def table(title: str, figures: Sequence[Figure]) -> Table:
    """All of them for a terminal."""
    shown = Table(title=title, title_justify="left")
    for name, justify in (
        ("figure", "left"),
        ("ours", "right"),
        ("peer", "left"),
        ("ratio", "right"),
        ("goal", "left"),
    ):
        shown.add_column(name, justify=justify)
    shown.add_column("holds")
    shown.add_column("how", overflow="fold")
    for figure in figures:
        holds = {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}[figure.holds]
        value = "—" if figure.value is None else f"{figure.value:,.1f} {figure.unit}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:,.1f} times"
        shown.add_row(figure.figure, value, figure.peer, ratio, figure.goal, holds, figure.note)
    return shown

"""How times, spans of time and states are written in a postmortem."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOT_RECORDED = "not recorded"


def moment(at: datetime | None) -> str:
    """A time as it is written everywhere here: `2026-11-22 03:12:04 UTC`."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else NOT_RECORDED


def lasted(took: timedelta) -> str:
    """How long something took: `0.4 s`, `12 s`, `6 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = max(took.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def words(state: str) -> str:
    """A state as people say it."""
    return state.replace("_", " ")

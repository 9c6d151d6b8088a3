"""Whose shift it is, also when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runbooks_app.oncall import Rota

pytestmark = pytest.mark.chat

BERLIN = ZoneInfo("Europe/Berlin")
WEEK, DAY, HOUR = timedelta(weeks=1), timedelta(days=1), timedelta(hours=1)


def rota(*people: str, begin="2026-01-05T09:00", every=WEEK, zone=BERLIN) -> Rota:
    return Rota(datetime.fromisoformat(begin), every, zone, people or ("ana", "ben", "cat"))


def at(wall: str, zone=BERLIN, fold=0) -> datetime:
    """What the clock on the wall says, as the moment in UTC."""
    return datetime.fromisoformat(wall).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def test_people_take_turns_and_begin_anew():
    weeks = [rota().who(at(f"2026-01-{day:02}T12:00")) for day in (5, 12, 19, 26)]
    assert weeks == ["ana", "ben", "cat", "ana"]


def test_a_shift_ends_when_the_next_begins():
    assert rota().who(at("2026-01-12T09:00") - timedelta(seconds=1)) == "ana"
    assert rota().who(at("2026-01-12T09:00")) == "ben"


def test_before_the_first_shift_nobody_is_on_call():
    assert not rota().who(at("2026-01-05T08:59"))


def test_a_shift_begins_by_the_clock_on_the_wall_in_summer_and_in_winter():
    days = rota("ana", "ben", every=DAY)
    for day in ("2026-03-28", "2026-03-29", "2026-03-30", "2026-10-24", "2026-10-25", "2026-10-26"):
        before, after = days.who(at(f"{day}T08:59")), days.who(at(f"{day}T09:00"))
        assert {before, after} == {"ana", "ben"}, day


def test_a_shift_that_begins_while_clocks_jump_begins_when_they_do():
    days = rota("ana", "ben", begin="2026-03-28T02:30", every=DAY)
    jump = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 becomes 03:00
    assert days.who(jump - timedelta(minutes=1)) == "ana"
    assert days.who(jump + timedelta(minutes=30)) == "ben"


def test_nobody_gets_a_shift_back_in_the_hour_that_the_wall_shows_twice():
    days = rota("ana", "ben", begin="2026-10-24T02:30", every=DAY)
    assert days.who(at("2026-10-25T02:29")) == "ana"
    assert days.who(at("2026-10-25T02:30")) == "ben"
    assert days.who(at("2026-10-25T02:10", fold=1)) == "ben"
    assert days.who(at("2026-10-25T02:40", fold=1)) == "ben"


def test_day_and_night_shifts_keep_their_hours_over_the_change():
    shifts = rota("day", "night", begin="2026-01-05T08:00", every=12 * HOUR)
    for day in ("2026-03-29", "2026-07-01", "2026-10-25", "2026-12-24"):
        assert shifts.who(at(f"{day}T12:00")) == "day"
        assert shifts.who(at(f"{day}T23:00")) == "night"


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC")


@given(
    zone=st.sampled_from(ZONES),
    hours=st.integers(1, 24 * 14),
    begin=st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
    later=st.timedeltas(timedelta(), timedelta(days=900)),
)
@example("Europe/Berlin", 24, datetime(2026, 10, 24, 2, 30), timedelta(hours=24, minutes=40))  # noqa: DTZ001
@example("Pacific/Apia", 24, datetime(2011, 12, 29, 0, 0), timedelta(hours=25))  # noqa: DTZ001
def test_at_each_moment_the_shift_is_the_last_that_has_begun(zone, hours, begin, later):
    """Against a rota that is counted out from its first shift, one by one."""
    place, every = ZoneInfo(zone), hours * HOUR
    people = tuple(f"p{number}" for number in range(2000))
    now = begin.replace(tzinfo=place).astimezone(UTC) + later
    number, wall = 0, begin
    while (wall + every).replace(tzinfo=place).astimezone(UTC) <= now:
        number, wall = number + 1, wall + every
    assert Rota(begin, every, place, people).who(now) == people[number % len(people)]

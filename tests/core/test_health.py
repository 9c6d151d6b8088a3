"""How the service itself does: windows, shares, runbooks that rot."""

from datetime import UTC, datetime, timedelta

import pytest

from runbooks_app.core.health import LastRuns, Seen, Share, Window, by_step, rots, steps, sums, window
from runbooks_app.core.run import RunState

pytestmark = pytest.mark.pages
NOW = datetime(2026, 11, 23, 11, 30, 7, 5, tzinfo=UTC)


def test_an_unknown_window_is_the_shortest():
    assert window("7d") is Window.WEEK
    assert window("<b>") is Window.DAY


@pytest.mark.parametrize(
    ("of", "many", "first", "last"),
    [
        (Window.DAY, 25, datetime(2026, 11, 22, 11, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC)),
        (Window.WEEK, 29, datetime(2026, 11, 16, 6, tzinfo=UTC), datetime(2026, 11, 23, 6, tzinfo=UTC)),
        (Window.MONTH, 31, datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)),
    ],
)
def test_steps_are_whole_and_cover_the_window(of, many, first, last):
    found = steps(of, NOW)
    assert (len(found), found[0], found[-1]) == (many, first, last)
    assert found[0] <= NOW - of.lasts


def test_a_share_says_100_percent_of_all_alone():
    assert Share(0, 0).percent == ""
    assert Share(3, 3).percent == "100 %"
    assert Share(1999, 2000).percent == "99.9 %"
    assert Share(1, 2).percent == "50 %"


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (LastRuns(), "It never ran."),
        (LastRuns(NOW, None, 1), "Its last run was not diagnosed in whole, and no good run of it is known."),
        (LastRuns(NOW, None, 7), "Its last 7 runs were not diagnosed in whole, and no good run of it is known."),
        (LastRuns(NOW, NOW - timedelta(hours=1), 2), "Its last 2 runs were not diagnosed in whole."),
        (LastRuns(NOW, NOW - timedelta(hours=1), 1), ""),
        (LastRuns(NOW, NOW - timedelta(days=31), 0), "Its last good run is 31 days old."),
        (LastRuns(NOW, NOW - timedelta(days=29), 0), ""),
    ],
)
def test_a_runbook_rots_that_is_not_known_to_work(last, why):
    assert rots(last, NOW) == why


def seen(minutes_ago, state=RunState.DIAGNOSED, **how):
    return Seen("look", NOW - timedelta(minutes=minutes_ago), state, **how)


def test_the_figures_of_runs_are_shares_and_medians():
    runs = [
        seen(90, kernels=2, lost=1, ended=3, ok=2, took=(1.0, 3.0), first=2.0, large=2, large_lost=1),
        seen(20, kernels=1, ended=1, ok=1, took=(8.0,)),
        seen(10, RunState.QUEUED),
    ]
    told = sums(runs)
    assert (told.kernels, told.cells, told.saves) == (Share(2, 3), Share(3, 4), Share(1, 2))
    assert (told.took, told.first) == (3.0, 2.0)
    assert sums([]).took is None


def test_runs_stand_in_the_step_in_which_they_were_asked_for():
    begins = steps(Window.DAY, NOW)
    runs = [
        seen(24 * 60),
        seen(60, first=4.0),
        seen(50, in_part=True, first=2.0),
        seen(1, RunState.TIMED_OUT),
        seen(0, RunState.DIAGNOSING),
    ]
    told = by_step(runs, begins)
    assert [(s.at, s.good, s.part, s.bad, s.first) for s in told if s.good or s.part or s.bad] == [
        (begins[0], 1, 0, 0, None),
        (begins[-2], 1, 1, 0, 3.0),
        (begins[-1], 0, 0, 1, None),
    ]
    assert len(told) == len(begins)

"""How often the same thing is told, and how soon what failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runbooks_app.core.pacing import again_after, progress_from

pytestmark = pytest.mark.chat

NOW = datetime(2026, 7, 1, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(("age", "pace"), [(0, 1), (9.9, 1), (10, 3), (59, 3), (60, 10), (3600, 10)])
def test_progress_is_told_ever_more_seldom(age, pace):
    shown = NOW + timedelta(seconds=age)
    assert progress_from(NOW, shown) - shown == timedelta(seconds=pace)


@pytest.mark.parametrize(("tries", "wait"), [(0, 1), (1, 2), (5, 32), (6, 60), (10**6, 60)])
def test_what_fails_waits_longer_each_time_and_a_minute_at_most(tries, wait):
    assert again_after(tries) == timedelta(seconds=wait)

"""A signed time, by a clock that is held: five minutes before and after ours."""

from __future__ import annotations

import pytest

from runbooks_app.alerting.reading import Source
from runbooks_app.alerting.signatures import Unproven, by_signature, sign

pytestmark = pytest.mark.chat

NOW = 1_800_000_000
OWN = Source("own", "runbooks", ())


def told(at):
    """The key of a delivery that was signed at this time."""
    headers = {"X-Runbooks-Signature": f"v1={sign('secret', f'{at}:{{}}'.encode())}", "X-Runbooks-Timestamp": str(at)}
    return by_signature(OWN, ("secret",), headers.get, b"{}", now=NOW)


@pytest.mark.parametrize("late", [-300, 0, 300])
def test_a_time_within_five_minutes_of_ours_is_taken(late):
    assert told(NOW + late)


@pytest.mark.parametrize("late", [-301, 301])
def test_a_second_more_is_refused(late):
    with pytest.raises(Unproven):
        told(NOW + late)

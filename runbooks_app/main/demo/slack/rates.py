"""Slack's documented rate limits, as buckets that fill by time; whoever finds one empty is told how long to wait.

https://docs.slack.dev/apis/web-api/rate-limits: calls a minute by a method's tier, and one message a second in each
channel, of which Slack lets "short bursts" pass: here two.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

TIERS = {1: 1, 2: 20, 3: 50, 4: 100}
"""Calls a minute."""

METHODS = {
    "apps.connections.open": 1, "chat.update": 3, "conversations.history": 3, "conversations.replies": 3,
    "conversations.open": 3, "chat.postEphemeral": 4, "files.getUploadURLExternal": 4,
    "files.completeUploadExternal": 4, "views.open": 4, "views.update": 4,
}  # fmt: skip
"""Tier of each method; `auth.test` allows hundreds a minute, and `chat.postMessage` counts by channel."""

BURST = 2


class Rates:
    """How much of each limit is left. `now` gives seconds on a clock that only goes forward."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._left: dict[tuple[str, str], tuple[float, float]] = {}
        self._guard = threading.Lock()

    def wait(self, method: str, channel: str) -> int:
        """Take one call; 0, or the whole seconds after which it may be tried again."""
        if method == "chat.postMessage":
            return self._take((method, channel), 1.0, BURST)
        tier = METHODS.get(method)
        return self._take((method, ""), TIERS[tier] / 60, TIERS[tier]) if tier else 0

    def _take(self, name: tuple[str, str], a_second: float, most: int) -> int:
        with self._guard:
            now = self._now()
            left, at = self._left.get(name, (float(most), now))
            left = min(most, left + (now - at) * a_second)
            taken = left >= 1
            self._left[name] = (left - taken, now)
            return 0 if taken else math.ceil((1 - left) / a_second)

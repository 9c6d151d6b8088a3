"""How often a channel hears of the same thing, and how soon what failed is tried again. Pure.

A state that changed is told after LEAST at the earliest. Mere progress ("4 of 6 cells") is told more and more seldom:
Slack takes some 50 updates a minute in a whole workspace, and after a minute nobody watches each second.
"""

from __future__ import annotations

from datetime import datetime, timedelta

LEAST = timedelta(seconds=1)
"""Between two changes of one message, and between two messages in one channel: what Slack allows."""

_PROGRESS = ((timedelta(seconds=10), LEAST), (timedelta(minutes=1), timedelta(seconds=3)))
_SELDOM = timedelta(seconds=10)
_MOST = timedelta(minutes=1)


def progress_from(made_at: datetime, shown_at: datetime) -> datetime:
    """From when on progress may be told again: a second later for 10 s, then after 3 s, after a minute after 10 s."""
    age = shown_at - made_at
    return shown_at + next((pace for until, pace in _PROGRESS if age < until), _SELDOM)


def again_after(tries: int) -> timedelta:
    """How long what has failed so many times before waits for its next try: 1, 2, 4 … seconds, at most a minute."""
    return min(timedelta(seconds=2 ** min(tries, 6)), _MOST)

"""What the channel is told of alerts: of those behind a run, and in one line of those for which nothing ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import context, message, sections
from runbooks_app.chat.mrkdwn import count, day_and_moment, link, safe
from runbooks_app.core.alerts import OVER_BUDGET

if TYPE_CHECKING:
    from runbooks_app.chat.blocks import Block
    from runbooks_app.chat.views import Message

SHOWN = 10
"""Kinds that are named; the rest are counted together."""

OVER = f": {OVER_BUDGET}"
MEND = (
    "What lacks something runs nothing until the alerts file or the catalogue is mended: `runbooks doctor` says what."
    " Run it by hand: `/runbook NAME`."
)
AGAIN = "What still fires is looked at anew when its sender tells it again."


@dataclass(frozen=True)
class AlertsTold:
    """The alerts behind a run: how many there are and still fire, since when, and when the last of them was over.

    `owners` and `links` (addresses by their names) are what the catalogue says of their service.
    """

    count: int
    firing: int
    since: datetime
    resolved_at: datetime | None = None
    owners: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StormTold:
    """Alerts that are held back in a channel: how many of each kind (a rule, and why), and since when."""

    held: int
    kinds: Mapping[str, int]
    budget: str
    began_at: datetime
    ended_at: datetime | None = None


def alerts_line(told: AlertsTold) -> Block:
    """Whether they still fire, and where people look and ask next."""
    alerts = count(told.count, "alert")
    if told.resolved_at is not None:
        parts = [f"✅ {alerts}, resolved {day_and_moment(told.resolved_at)}"]
    else:
        some = "" if told.firing == told.count else f"{told.firing} still "
        parts = [f"🔔 {alerts}, {some}firing since {day_and_moment(told.since)}"]
    parts += [link(url, name, 100) for name, url in list(told.links.items())[:SHOWN]]
    if told.owners:
        parts.append(f"owned by {', '.join(safe(owner, 80) for owner in told.owners[:SHOWN])}")
    return context(" · ".join(parts))


def storm_message(told: StormTold) -> Message:
    """How many, of what, and what becomes of them."""
    over = f" It was over {day_and_moment(told.ended_at)}." if told.ended_at else ""
    alerts = count(told.held, "alert")
    most = sorted(told.kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    lines = [f"⏸️ *{alerts} without a diagnosis* since {day_and_moment(told.began_at)}.{over}"]
    lines += [f"• {safe(kind, 300)} ({number})" for kind, number in most[:SHOWN]]
    if rest := sum(number for _, number in most[SHOWN:]):
        lines.append(f"• others ({rest})")
    blocks: list[Block] = list(sections(lines))
    if not told.ended_at:
        over_budget = [kind.endswith(OVER) for kind in told.kinds]
        lines = [told.budget] if any(over_budget) else []
        lines += [] if all(over_budget) else [MEND]
        blocks.append(context(" ".join([*lines, AGAIN])))
    return message(f"⏸️ {alerts} without a diagnosis" + (", over" if told.ended_at else ""), blocks)

"""The one line of a channel that tells of alerts for which nothing ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import context, message, sections
from runbooks_app.chat.mrkdwn import count, moment, safe

if TYPE_CHECKING:
    from runbooks_app.chat.blocks import Block
    from runbooks_app.chat.views import Message

SHOWN = 10
"""Kinds that are named; the rest are counted together."""


@dataclass(frozen=True)
class StormTold:
    """Alerts that are held back in a channel: how many of each kind (a rule, and why), and since when."""

    held: int
    kinds: Mapping[str, int]
    budget: str
    began_at: datetime
    ended_at: datetime | None = None


def storm_message(told: StormTold) -> Message:
    """How many, of what, and what becomes of them."""
    over = f" It was over at {moment(told.ended_at)}." if told.ended_at else ""
    alerts = count(told.held, "alert")
    most = sorted(told.kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    lines = [f"⏸️ *{alerts} without a diagnosis* since {moment(told.began_at)}.{over}"]
    lines += [f"• {safe(kind, 300)} ({number})" for kind, number in most[:SHOWN]]
    if rest := sum(number for _, number in most[SHOWN:]):
        lines.append(f"• others ({rest})")
    blocks: list[Block] = list(sections(lines))
    if not told.ended_at:
        blocks.append(context(f"{told.budget} What still fires is looked at anew when its sender tells it again."))
    return message(f"⏸️ {alerts} without a diagnosis" + (", over" if told.ended_at else ""), blocks)

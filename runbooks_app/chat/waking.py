"""The direct message to somebody who is woken: what waits for them, in the words in which its channel is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import actions, button, context, message, section
from runbooks_app.chat.messages import proposal_message
from runbooks_app.chat.mrkdwn import link, moment, safe
from runbooks_app.core.proposal import ProposalState

if TYPE_CHECKING:
    from runbooks_app.chat.views import Message, ProposalTold

WAITS = "🔔 *This waits for you.* Perhaps nobody else is awake: please look at it now."
OFFER = (
    "If it cannot wait you may break the glass: it then starts on your word alone. That takes a sign-in and a reason; "
    "the channel is told at once, and somebody else has to review it."
)
OVER = "Nothing is left for you to do here."


def waking_message(told: ProposalTold) -> Message:
    """To somebody who may decide; once it is decided, that they need not."""
    waits = told.state is ProposalState.PROPOSED
    plain = proposal_message(told)
    title = safe(told.title, 300)
    if waits:
        return message(f"🔔 Waits for you: {title}", [section(WAITS), *plain.blocks])
    return message(plain.text, [*plain.blocks, context(OVER)])


def offer_message(told: ProposalTold) -> Message:
    """To somebody who may break the glass, once nobody has answered."""
    if told.state is not ProposalState.PROPOSED:
        return waking_message(told)
    until = f" It expires at {moment(told.expires_at)}." if told.expires_at else ""
    lines = [
        f"🔔 *Nobody has decided this yet:* {link(told.url, told.title, 300)}.{until}",
        OFFER,
    ]
    way = button("Look at it", "open_break_glass", url=f"{told.url}#glass-reason", style="danger")
    return message(
        f"🔔 Nobody has decided this yet: {safe(told.title, 300)}", [section("\n".join(lines)), actions([way])]
    )

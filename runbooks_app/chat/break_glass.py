"""The message that tells of a break-glass: one of its own, in the channel itself, in words that nobody overlooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import actions, button, context, header, message, section, sections
from runbooks_app.chat.mrkdwn import count, link, moment, safe

if TYPE_CHECKING:
    from runbooks_app.chat.blocks import Block
    from runbooks_app.chat.views import BreakGlassTold, Message


def break_glass_message(told: BreakGlassTold) -> Message:
    """What one person does alone, why, and that somebody else has to look at it; later, who has."""
    who, what = safe(told.name, 80), link(told.proposal_url, told.title, 300)
    had = f"It had {told.approvals_given} of {count(told.approvals_needed, 'approval')}"
    lines = [
        f"*{who}* has *{what}* run alone, on no word but their own. {had}.",
        f"Their reason: {safe(told.reason, 1_500)}",
    ]
    if told.requester:
        lines.append(f"{who} also asked for it.")
    if told.signed:
        lines.append(f"They signed in at the provider for just this at {moment(told.at)}.")
    else:
        lines.append("⚠️ *Not signed*: it went without the sign-in provider, by their session alone.")
    blocks: list[Block] = [header("🚨 BREAK-GLASS USED 🚨"), *sections(lines)]
    if told.reviewer:
        blocks.append(section(f"✅ *Reviewed* by {safe(told.reviewer, 80)}: {safe(told.review, 1_500)}"))
    else:
        blocks.append(section("*Open*: somebody who neither did it nor asked for it has to review it."))
        blocks.append(actions([button("Review it", "open_review", url=told.review_url, style="danger")]))
    blocks.append(context("Whoever wants to stop it denies it on its page until it starts."))
    standing = f"reviewed by {safe(told.reviewer, 80)}" if told.reviewer else "nobody has reviewed it yet"
    text = f"🚨 BREAK-GLASS: {who} runs {safe(told.title, 200)} alone; {standing}"
    return message(text, blocks, url=told.proposal_url)

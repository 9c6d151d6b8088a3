"""What is said elsewhere of a channel in which nothing can be told any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import context, message
from runbooks_app.chat.mrkdwn import safe

if TYPE_CHECKING:
    from runbooks_app.chat.views import Message


def untold_message(channel: str, why: str) -> Message:
    """Why this stands here and not there; `why` is what the client said, which may quote the chat."""
    shown = (
        f"<#{channel}>"
        if channel.isalnum() and channel.startswith(("C", "G")) and channel.isupper()
        else safe(channel, 80)
    )
    text = f"⚠️ This could not be told in {shown}, so it is told here. {safe(why, 500)}"
    return message(text, [context(text)])

"""Block Kit pieces that are within Slack's limits however long the text is that goes in.

https://docs.slack.dev/reference/block-kit/blocks: 50 blocks a message, 3,000 units a section, 150 a header,
75 a button's label, 2,000 its value, 3,000 its address, 10 elements a context, 25 an actions block.
Slack also refuses a message whose blocks are too long together (`msg_blocks_too_long`) without saying where
that begins: 9,597 characters were seen taken and 11,341 refused (slackapi/bolt-js#2867).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.chat.mrkdwn import clip, link, plain, units
from runbooks_app.chat.views import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_BLOCKS = 50
SECTION = 3000
TEXT = 4000
"""Units of a message's plain text: Slack takes 40,000 and advises at most 4,000."""
TOTAL = 9_000
"""Units of all blocks together: below what was seen taken."""
FIELDS = 10
FIELD = 2000
"""Fields of a section, and units of each."""
CANCEL_RUN = "cancel_run"
"""Action of the button that cancels a run; its value is the run's id."""
APPROVE, DENY = "approve_proposal", "deny_proposal"
"""Actions of the buttons that decide a proposal; their value is its id and the digest of what the message shows."""

Block = dict[str, object]


def mrkdwn(text: str, limit: int = SECTION) -> Block:
    """A text object; `verbatim` keeps Slack from making links and mentions of what looks like one.

    A text that is too long is cut, before a link rather than within one.
    """
    kept = clip(text, limit)
    if kept != text and kept.rfind("<") > kept.rfind(">"):
        kept = kept[: kept.rfind("<")] + "…"
    return {"type": "mrkdwn", "text": kept or " ", "verbatim": True}


def section(text: str, *, button: Block | None = None) -> Block:
    """A paragraph, with a button at its side."""
    block: Block = {"type": "section", "text": mrkdwn(text)}
    return {**block, "accessory": button} if button else block


def sections(lines: Iterable[str]) -> list[Block]:
    """Lines as few paragraphs as they fit into, never cut at a line's middle unless one alone is too long."""
    blocks: list[Block] = []
    held: list[str] = []
    room = SECTION
    for line in lines:
        if held and units(line) + 1 > room:
            blocks.append(section("\n".join(held)))
            held, room = [], SECTION
        held.append(line)
        room -= units(line) + 1
    if held:
        blocks.append(section("\n".join(held)))
    return blocks


def header(text: object) -> Block:
    """A heading."""
    return {"type": "header", "text": {"type": "plain_text", "text": plain(text, 150) or " ", "emoji": False}}


def fields(pairs: Sequence[tuple[str, str]]) -> Block:
    """Names and values beside each other; both mrkdwn, ten at most."""
    return {"type": "section", "fields": [mrkdwn(f"*{name}*\n{value}", FIELD) for name, value in pairs[:FIELDS]]}


def context(*texts: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [mrkdwn(text, 2000) for text in texts[:10]]}


def confirm(title: str, text: str, yes: str, *, style: str = "primary") -> Block:
    """What Slack asks once more before it sends a press: 100 units of title, 300 of text, 30 of either answer."""
    return {
        "title": {"type": "plain_text", "text": plain(title, 100) or " ", "emoji": False},
        "text": {"type": "plain_text", "text": plain(text, 300) or " ", "emoji": False},
        "confirm": {"type": "plain_text", "text": plain(yes, 30) or " ", "emoji": False},
        "deny": {"type": "plain_text", "text": "Not now", "emoji": False},
        "style": style,
    }


def button(
    label: str, action: str, *, value: str = "", url: str = "", style: str = "", asks: Block | None = None
) -> Block:
    """A button; `style` is primary, danger or nothing; `asks` is what is asked once more when it is pressed."""
    block: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": plain(label, 75) or " ", "emoji": False},
        "action_id": clip(action, 255),
    }
    if value:
        block["value"] = value[:1900]
    if url and units(url) <= 3000:
        block["url"] = url
    if asks:
        block["confirm"] = asks
    return {**block, "style": style} if style else block


def actions(buttons: Sequence[Block]) -> Block:
    """A row of buttons; their `action_id`s must differ."""
    return {"type": "actions", "elements": list(buttons[:25])}


def message(text: str, blocks: Sequence[Block], *, more: str = "", url: str = "") -> Message:
    """A message within all limits: what does not fit is left out and `more` (small print) stands for it.

    `text` is mrkdwn already escaped; it is what a notification and a screen reader say. `url` is the page that tells
    it whole.
    """
    kept: list[Block] = []
    room = TOTAL - 1200
    for block in blocks:
        size = _size(block)
        if len(kept) == MAX_BLOCKS - 1 or size > room:
            kept.append(context(more or "_There is more than fits into a message; see the page._"))
            break
        kept.append(block)
        room -= size
    return Message(clip(text, TEXT) or " ", tuple(kept), url)


def headline(told: Message) -> Message:
    """The same message where Slack takes no more of it than this: its text, and a link to its page."""
    where = f" {link(told.url, 'Slack did not take the rest of it: see the page.')}" if told.url else ""
    return Message(clip(told.text, TEXT - units(where)) + where)


def _size(value: object) -> int:
    """Units of all the texts in a block."""
    if isinstance(value, str):
        return units(value)
    if isinstance(value, dict):
        return sum(_size(part) for part in value.values())
    if isinstance(value, list | tuple):
        return sum(_size(part) for part in value)
    return 0

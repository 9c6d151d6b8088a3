"""Slack's documented limits on messages; what breaks one is refused with Slack's own error code.

https://docs.slack.dev/reference/block-kit/blocks and .../methods/chat.postMessage. Only the blocks that the
service sends are known; any other is refused, so that a typing error does not pass.
"""

from __future__ import annotations

from typing import Any

from runbooks_app.main.demo.slack.workspace import SlackError

MAX_TEXT = 40_000
MAX_BLOCKS = 50
MAX_TOGETHER = 13_200
"""Characters of all blocks together; Slack documents the error (`msg_blocks_too_long`) but not the number."""

Fault = str
"""What is wrong, with the JSON pointer of where."""


def check_message(text: object, blocks: object) -> tuple[str, list[dict[str, Any]]]:
    """The text and blocks of a message, or the error that Slack would answer."""
    if text is not None and not isinstance(text, str):
        raise SlackError("invalid_arguments")
    if text and _units(text) > MAX_TEXT:
        raise SlackError("msg_too_long")
    found = check_blocks(blocks)
    if not found and not (text or "").strip():
        raise SlackError("no_text")
    return text or "", found


def check_blocks(blocks: object, *, most: int = MAX_BLOCKS) -> list[dict[str, Any]]:
    """The blocks, or `invalid_blocks` naming each fault by its JSON pointer."""
    if blocks is None:
        return []
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    faults: list[Fault] = []
    if len(blocks) > most:
        faults.append(f"no more than {most} items allowed [json-pointer:/blocks]")
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        where = f"/blocks/{index}"
        known = _KINDS.get(str(block.get("type")))
        faults += known(block, where) if known else [f"unsupported type: {block.get('type')} [json-pointer:{where}]"]
        name = block.get("block_id")
        if name is not None:
            faults += _text_within(name, 255, f"{where}/block_id")
            if name in seen:
                faults.append(f"block_id already exists [json-pointer:{where}/block_id]")
            seen.add(str(name))
    if faults:
        messages = [f"[ERROR] {fault}" for fault in faults]
        raise SlackError("invalid_blocks", errors=faults, response_metadata={"messages": messages})
    if _together(blocks) > MAX_TOGETHER:
        raise SlackError("msg_blocks_too_long")
    return blocks


def _section(block: dict[str, Any], where: str) -> list[Fault]:
    faults: list[Fault] = []
    fields = block.get("fields")
    if block.get("text") is None and not fields:
        faults.append(f"missing required field: text [json-pointer:{where}]")
    if block.get("text") is not None:
        faults += _text(block["text"], 3000, f"{where}/text")
    if fields is not None:
        if not isinstance(fields, list) or not 1 <= len(fields) <= 10:
            return [*faults, f"must have 1 to 10 items [json-pointer:{where}/fields]"]
        for index, item in enumerate(fields):
            faults += _text(item, 2000, f"{where}/fields/{index}")
    accessory = block.get("accessory")
    if accessory is not None:
        faults += _element(accessory, f"{where}/accessory")
    return faults


def _header(block: dict[str, Any], where: str) -> list[Fault]:
    return _text(block.get("text"), 150, f"{where}/text", plain=True)


def _context(block: dict[str, Any], where: str) -> list[Fault]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
        return [f"must have 1 to 10 items [json-pointer:{where}/elements]"]
    return [
        fault
        for index, item in enumerate(elements)
        for fault in (
            _element(item, f"{where}/elements/{index}")
            if isinstance(item, dict) and item.get("type") == "image"
            else _text(item, 2000, f"{where}/elements/{index}")
        )
    ]


def _actions(block: dict[str, Any], where: str) -> list[Fault]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
        return [f"must have 1 to 25 items [json-pointer:{where}/elements]"]
    faults = [fault for i, item in enumerate(elements) for fault in _element(item, f"{where}/elements/{i}")]
    names = [item.get("action_id") for item in elements if isinstance(item, dict) and "action_id" in item]
    if len(names) != len(set(names)):
        faults.append(f"action_id already exists [json-pointer:{where}/elements]")
    return faults


def _image(block: dict[str, Any], where: str) -> list[Fault]:
    faults = _text_within(block.get("alt_text"), 2000, f"{where}/alt_text")
    if not block.get("image_url") and not block.get("slack_file"):
        faults.append(f"missing required field: image_url [json-pointer:{where}]")
    if block.get("image_url"):
        faults += _text_within(block["image_url"], 3000, f"{where}/image_url")
    if block.get("title") is not None:
        faults += _text(block["title"], 2000, f"{where}/title", plain=True)
    return faults


def _divider(_block: dict[str, Any], _where: str) -> list[Fault]:
    return []


_KINDS = {
    "section": _section, "header": _header, "context": _context, "actions": _actions, "image": _image,
    "divider": _divider,
}  # fmt: skip


def _element(item: object, where: str) -> list[Fault]:
    if not isinstance(item, dict):
        return [f"must be an object [json-pointer:{where}]"]
    if item.get("type") == "image":
        return _image(item, where)
    if item.get("type") != "button":
        return [f"unsupported type: {item.get('type')} [json-pointer:{where}]"]
    faults = _text(item.get("text"), 75, f"{where}/text", plain=True)
    for name, most in (("action_id", 255), ("value", 2000), ("url", 3000)):
        if name in item:
            faults += _text_within(item[name], most, f"{where}/{name}")
    if item.get("style", "primary") not in {"primary", "danger"}:
        faults.append(f"must be primary or danger [json-pointer:{where}/style]")
    return faults


def _text(item: object, most: int, where: str, *, plain: bool = False) -> list[Fault]:
    """A text object."""
    if not isinstance(item, dict) or item.get("type") not in ({"plain_text"} if plain else {"plain_text", "mrkdwn"}):
        return [f"must be a text object [json-pointer:{where}]"]
    if item["type"] == "mrkdwn" and "emoji" in item:
        return [f"emoji is only allowed in plain_text [json-pointer:{where}/emoji]"]
    if item["type"] == "plain_text" and "verbatim" in item:
        return [f"verbatim is only allowed in mrkdwn [json-pointer:{where}/verbatim]"]
    return _text_within(item.get("text"), most, f"{where}/text")


def _text_within(text: object, most: int, where: str) -> list[Fault]:
    if not isinstance(text, str):
        return [f"must be a string [json-pointer:{where}]"]
    if not text:
        return [f"must be more than 0 characters [json-pointer:{where}]"]
    if _units(text) > most:
        return [f"must be less than {most + 1} characters [json-pointer:{where}]"]
    return []


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _together(value: object) -> int:
    if isinstance(value, str):
        return _units(value)
    if isinstance(value, dict):
        return sum(_together(part) for part in value.values())
    return sum(_together(part) for part in value) if isinstance(value, list) else 0

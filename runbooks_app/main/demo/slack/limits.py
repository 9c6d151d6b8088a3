"""Slack's documented limits on messages and forms; what breaks one is refused with Slack's own error code.

https://docs.slack.dev/reference/block-kit and .../views and .../methods/chat.postMessage. Only the blocks and elements
that the service sends are known; any other is refused, so that a typing error does not pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from runbooks_app.main.demo.slack.workspace import SlackError

MAX_TEXT = 40_000
MAX_BLOCKS = 50
MAX_TOGETHER = 9_600
"""Characters of all blocks together; Slack documents the error (`msg_blocks_too_long`) but not the number. 9,597 were
seen taken, 11,341 refused (slackapi/bolt-js#2867)."""

MAX_VIEW = 100
"""Blocks of a form."""

Fault = str
"""What is wrong, with the JSON pointer of where."""

Check = Callable[[dict[str, Any], str], list[Fault]]
"""What is wrong with a block or an element that stands there."""


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


def check_view(view: object) -> dict[str, Any]:
    """A form, or the error that Slack would answer."""
    if not isinstance(view, dict) or view.get("type") != "modal":
        raise SlackError("invalid_arguments")
    faults = _text(view.get("title"), 24, "/view/title", plain=True)
    for name in ("submit", "close"):
        if name in view:
            faults += _text(view[name], 24, f"/view/{name}", plain=True)
    for name, most in (("private_metadata", 3000), ("callback_id", 255)):
        if view.get(name):
            faults += _text_within(view[name], most, f"/view/{name}")
    blocks = view.get("blocks")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    if any(block.get("type") == "input" for block in blocks) and "submit" not in view:
        faults.append("missing required field: submit [json-pointer:/view]")
    _refuse([*faults, *_blocks(blocks, MAX_VIEW, {**_KINDS, "input": _input})], "invalid_arguments")
    return view


def check_blocks(blocks: object) -> list[dict[str, Any]]:
    """The blocks of a message, or `invalid_blocks` naming each fault by its JSON pointer."""
    if blocks is None:
        return []
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    _refuse(_blocks(blocks, MAX_BLOCKS, _KINDS), "invalid_blocks")
    if _together(blocks) > MAX_TOGETHER:
        raise SlackError("msg_blocks_too_long")
    return blocks


def _refuse(faults: list[Fault], code: str) -> None:
    if faults:
        messages = [f"[ERROR] {fault}" for fault in faults]
        raise SlackError(code, errors=faults, response_metadata={"messages": messages})


def _blocks(blocks: list[dict[str, Any]], most: int, kinds: dict[str, Check]) -> list[Fault]:
    faults: list[Fault] = []
    if len(blocks) > most:
        faults.append(f"no more than {most} items allowed [json-pointer:/blocks]")
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        where = f"/blocks/{index}"
        known = kinds.get(str(block.get("type")))
        faults += known(block, where) if known else [f"unsupported type: {block.get('type')} [json-pointer:{where}]"]
        name = block.get("block_id")
        if name is not None:
            faults += _text_within(name, 255, f"{where}/block_id")
            if name in seen:
                faults.append(f"block_id already exists [json-pointer:{where}/block_id]")
            seen.add(str(name))
    return faults


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


def _input(block: dict[str, Any], where: str) -> list[Fault]:
    faults = _text(block.get("label"), 2000, f"{where}/label", plain=True)
    if "hint" in block:
        faults += _text(block["hint"], 2000, f"{where}/hint", plain=True)
    element = block.get("element")
    if isinstance(element, dict) and element.get("type") in {"button", "image"}:
        return [*faults, f"unsupported type: {element['type']} [json-pointer:{where}/element]"]
    return [*faults, *_element(element, f"{where}/element")]


_KINDS: dict[str, Check] = {
    "section": _section, "header": _header, "context": _context, "actions": _actions, "image": _image,
    "divider": _divider,
}  # fmt: skip


def _element(item: object, where: str) -> list[Fault]:
    if not isinstance(item, dict):
        return [f"must be an object [json-pointer:{where}]"]
    check = _ELEMENTS.get(str(item.get("type")))
    if check is None:
        return [f"unsupported type: {item.get('type')} [json-pointer:{where}]"]
    faults = check(item, where)
    for name, most in (("action_id", 255), ("value", 2000), ("url", 3000)):
        if name in item:
            faults += _text_within(item[name], most, f"{where}/{name}")
    if "placeholder" in item:
        faults += _text(item["placeholder"], 150, f"{where}/placeholder", plain=True)
    if "confirm" in item:
        faults += _confirm(item["confirm"], f"{where}/confirm")
    return faults


def _button(item: dict[str, Any], where: str) -> list[Fault]:
    faults = _text(item.get("text"), 75, f"{where}/text", plain=True)
    if item.get("style", "primary") not in {"primary", "danger"}:
        faults.append(f"must be primary or danger [json-pointer:{where}/style]")
    return faults


def _confirm(item: object, where: str) -> list[Fault]:
    if not isinstance(item, dict):
        return [f"must be an object [json-pointer:{where}]"]
    limits = (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30))
    faults = [
        fault for name, most in limits for fault in _text(item.get(name), most, f"{where}/{name}", plain=name != "text")
    ]
    if item.get("style", "primary") not in {"primary", "danger"}:
        faults.append(f"must be primary or danger [json-pointer:{where}/style]")
    return faults


def _select(item: dict[str, Any], where: str) -> list[Fault]:
    if "option_groups" not in item:
        return _options(item, where, 100)
    groups = item["option_groups"]
    if not isinstance(groups, list) or not 1 <= len(groups) <= 100:
        return [f"must have 1 to 100 items [json-pointer:{where}/option_groups]"]
    return [
        fault
        for index, group in enumerate(groups)
        for fault in (
            *_text(group.get("label"), 75, f"{where}/option_groups/{index}/label", plain=True),
            *_options(group, f"{where}/option_groups/{index}", 100),
        )
    ]


def _options(item: dict[str, Any], where: str, most: int) -> list[Fault]:
    options = item.get("options")
    if not isinstance(options, list) or not 1 <= len(options) <= most:
        return [f"must have 1 to {most} items [json-pointer:{where}/options]"]
    faults: list[Fault] = []
    for index, option in enumerate(options):
        at = f"{where}/options/{index}"
        faults += _text(option.get("text"), 75, f"{at}/text", plain=item.get("type") != "checkboxes")
        faults += _text_within(option.get("value"), 150, f"{at}/value")
        if "description" in option:
            faults += _text(option["description"], 75, f"{at}/description")
    begun = item.get("initial_options", [item["initial_option"]] if "initial_option" in item else [])
    if any(option not in options for option in begun):
        faults.append(f"must be one of the options [json-pointer:{where}/initial_option]")
    return faults


def _typed(item: dict[str, Any], where: str) -> list[Fault]:
    most = item.get("max_length", 3000)
    if not 1 <= most <= 3000:
        return [f"must be 1 to 3000 [json-pointer:{where}/max_length]"]
    return _text_within(item["initial_value"], most, f"{where}/initial_value") if "initial_value" in item else []


def _number(item: dict[str, Any], where: str) -> list[Fault]:
    if not isinstance(item.get("is_decimal_allowed"), bool):
        return [f"missing required field: is_decimal_allowed [json-pointer:{where}]"]
    names = ("initial_value", "min_value", "max_value")
    return [fault for name in names if name in item for fault in _text_within(item[name], 100, f"{where}/{name}")]


def _date(item: dict[str, Any], where: str) -> list[Fault]:
    given = item.get("initial_date", "2026-01-01")
    wrong = not isinstance(given, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", given)
    return [f"must be a date [json-pointer:{where}/initial_date]"] if wrong else []


_ELEMENTS: dict[str, Check] = {
    "button": _button, "image": _image, "static_select": _select, "plain_text_input": _typed, "number_input": _number,
    "datepicker": _date, "checkboxes": lambda item, where: _options(item, where, 10),
    "overflow": lambda item, where: _options(item, where, 5),
}  # fmt: skip


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

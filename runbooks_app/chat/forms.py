"""Forms over the chat (modals), within Slack's limits: a runbook's parameters, what to do with a message, an answer.

A block's id is the parameter's name, so what is wrong with one stands beside it. `private_metadata` holds where the
form was asked for and for what. It gives nobody a right to anything: what is sent off is asked for by the person who
sends it, and checked like what they type.

https://docs.slack.dev/reference/views and https://docs.slack.dev/reference/block-kit/block-elements
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from runbooks_app.chat.blocks import Block, context, section
from runbooks_app.chat.mrkdwn import clip, plain, safe, units
from runbooks_app.core.errors import InvalidInput

if TYPE_CHECKING:
    from runbooks_app.chat.views import Message, RunbookTold
    from runbooks_app.core.forms import Field

RUN_FORM = "run_form"
"""`callback_id` of the form for a runbook's parameters."""

ASK_FORM = "ask_form"
"""`callback_id` of the form that a message's shortcut opens."""

WHAT, TEXT = "what", "text"
"""Blocks of that form."""

MAX_FIELDS = 95
"""Fields of a form; a modal has at most 100 blocks."""

MAX_OPTIONS = 100
MAX_TYPED = 3000
"""Units that a field of text takes."""


@dataclass(frozen=True)
class Where:
    """Where a form was asked for, and for which runbook."""

    channel: str = ""
    thread_ts: str = ""
    runbook: str = ""

    def written(self) -> str:
        """As `private_metadata` keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, view: Mapping[str, Any]) -> Where:
        """Of a form that was sent off; nowhere if it cannot be read."""
        try:
            told = json.loads(view.get("private_metadata") or "{}")
            found = {name: told[name] for name in ("channel", "thread_ts", "runbook") if isinstance(told[name], str)}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls()
        return cls(**found)


def run_form(runbook: str, title: str, fields: Sequence[Field], where: Where) -> dict[str, Any]:
    """The form for a runbook's parameters; raises `InvalidInput` for one that Slack cannot show."""
    if len(fields) > MAX_FIELDS:
        raise InvalidInput(f"{runbook} has more parameters than a form in Slack can hold. Fill them in on its page.")
    empty = [field for field in fields if field.required and field.control == "select" and not field.options]
    if empty:
        raise InvalidInput(f"{runbook} needs a {empty[0].label} that you may use, and there is none. Ask for one.")
    named = Where(where.channel, where.thread_ts, runbook)
    about = [section(f"*{safe(title or runbook, 200)}*"), context("It only reads, and says what it found.")]
    return _modal("Run a runbook", [*about, *map(_block, fields)], RUN_FORM, submit="Run", metadata=named.written())


def ask_form(runbooks: Iterable[RunbookTold], verbs: Mapping[str, str], text: str, where: Where) -> dict[str, Any]:
    """What can be asked of a message: one of `verbs` (with what it does), or a runbook; `text` is the message's own."""
    groups = [
        ("This incident", [(verb, does) for verb, does in verbs.items()]),
        ("Run a runbook", [(f"{book.name} ?", book.title or book.name) for book in runbooks]),
    ]
    select: Block = {
        "type": "static_select",
        "action_id": WHAT,
        "placeholder": _plain("Choose", 150),
        "option_groups": [
            {
                "label": _plain(label, 75),
                "options": [{"text": _plain(shown, 75), "value": value} for value, shown in some[:MAX_OPTIONS]],
            }
            for label, some in groups
            if some
        ],
    }
    note: Block = {"type": "plain_text_input", "action_id": TEXT, "multiline": True, "max_length": MAX_TYPED}
    if kept := plain(text, MAX_TYPED, lines=True):
        note["initial_value"] = kept
    blocks = [_input(WHAT, "What to do", select), _input(TEXT, "Note, title, cause or number", note, optional=True)]
    return _modal("Runbooks", blocks, ASK_FORM, submit="Go on", metadata=where.written())


def choice_form(
    title: str, label: str, choices: Iterable[tuple[str, str]], callback_id: str, *, submit: str, metadata: str = ""
) -> dict[str, Any]:
    """One of these has to be chosen, each a value and what is shown of it; `chosen` reads which. The first is."""
    options = [{"text": _plain(shown, 75), "value": value} for value, shown in choices][:MAX_OPTIONS]
    select: Block = {"type": "static_select", "action_id": WHAT, "options": options, "initial_option": options[0]}
    return _modal(title, [_input(WHAT, label, select)], callback_id, submit=submit, metadata=metadata)


def said(message: Message) -> dict[str, Any]:
    """A message in the place of the form that asked for it."""
    return _modal("Runbooks", list(message.blocks))


def chosen(view: Mapping[str, Any]) -> tuple[str, str]:
    """What was chosen in the form of a message's shortcut, or in another choice, and its text."""
    return _filled_in(view, WHAT), _filled_in(view, TEXT)


def given(fields: Iterable[Field], view: Mapping[str, Any]) -> dict[str, Any]:
    """What the person filled in, by parameter; what is not in the form is left out, and its default holds.

    An option that is not offered, or not any more, stays what was sent: no choice fits it.
    """
    found: dict[str, Any] = {}
    for field in fields:
        state = _state(view, field.name)
        if not state:
            continue
        filled = _filled_in(view, field.name)
        if field.control == "checkbox":
            found[field.name] = bool(state.get("selected_options"))
        elif _is_menu(field):
            if filled:
                found[field.name] = _option(field, filled)
        elif filled or (field.control == "text" and units(field.value) <= MAX_TYPED):
            found[field.name] = filled
    return found


def first_block(view: Mapping[str, Any]) -> str:
    """The first block that can hold an error; empty where there is none."""
    blocks = view.get("blocks")
    for block in blocks if isinstance(blocks, list) else []:
        if isinstance(block, Mapping) and block.get("type") == "input":
            return str(block.get("block_id", ""))
    return ""


def _modal(
    title: str, blocks: list[Block], callback_id: str = "", *, submit: str = "", metadata: str = ""
) -> dict[str, Any]:
    view: dict[str, Any] = {"type": "modal", "title": _plain(title, 24), "blocks": blocks}
    view["close"] = _plain("Cancel" if submit else "Close", 24)
    if submit:
        view |= {"submit": _plain(submit, 24), "callback_id": callback_id, "private_metadata": metadata}
    return view


def _block(field: Field) -> Block:
    return _input(field.name, field.label, _element(field), optional=not field.required, hint=field.help)


def _input(block_id: str, label: str, element: Block, *, optional: bool = False, hint: str = "") -> Block:
    block = {
        "type": "input",
        "block_id": block_id,
        "label": _plain(label, 2000),
        "element": element,
        "optional": optional,
    }
    return {**block, "hint": _plain(hint, 2000)} if plain(hint, 2000) else block


def _element(field: Field) -> Block:
    if field.control == "checkbox":
        option = {"text": _plain("Yes", 75), "value": "true"}
        element: Block = {"type": "checkboxes", "action_id": field.name, "options": [option]}
        return {**element, "initial_options": [option]} if field.checked else element
    if _is_menu(field):
        options = [{"text": _plain(choice or "(empty)", 75), "value": _value(choice)} for choice in field.options]
        element = {"type": "static_select", "action_id": field.name, "options": options}
        begin = [option for option in options if option["value"] == _value(field.value)]
        return {**element, "initial_option": begin[0]} if begin else element
    if field.control == "number":
        return _number(field)
    if field.control == "date":
        element = {"type": "datepicker", "action_id": field.name}
        return {**element, "initial_date": field.value} if field.value else element
    longest = max(1, min(MAX_TYPED if field.longest is None else field.longest, MAX_TYPED))
    element = {"type": "plain_text_input", "action_id": field.name, "max_length": longest}
    if field.value and units(field.value) <= longest:
        element["initial_value"] = field.value
    if field.example:
        element["placeholder"] = _plain(field.example, 150)
    return element


def _number(field: Field) -> Block:
    element: Block = {"type": "number_input", "action_id": field.name, "is_decimal_allowed": not field.whole}
    if field.least is not None:
        element["min_value"] = str(field.least)
    if field.most is not None:
        element["max_value"] = str(field.most)
    plainly = bool(field.value) and "e" not in field.value  # 1e-05 is no number to a form
    return {**element, "initial_value": field.value} if plainly else element


def _is_menu(field: Field) -> bool:
    """Whether a field's options fit into a menu; else its text is typed, and checked like all that is."""
    return field.control == "select" and 0 < len(field.options) <= MAX_OPTIONS


def _value(choice: str) -> str:
    """What stands for a choice: itself, or a digest of one that an option's value cannot hold."""
    return choice if 0 < units(choice) <= 150 else "sha256:" + hashlib.sha256(choice.encode()).hexdigest()


def _option(field: Field, value: str) -> str:
    found = next((choice for choice in field.options if _value(choice) == value), None)
    return value if found is None else found


def _state(view: Mapping[str, Any], block: str) -> Mapping[str, Any]:
    told: Any = view.get("state")
    for name in ("values", block, None):
        if not isinstance(told, Mapping):
            return {}
        told = next(iter(told.values()), None) if name is None else told.get(name)
    return told if isinstance(told, Mapping) else {}


def _filled_in(view: Mapping[str, Any], block: str) -> str:
    state = _state(view, block)
    option = state.get("selected_option")
    told = option.get("value") if isinstance(option, Mapping) else state.get("value") or state.get("selected_date")
    return told if isinstance(told, str) else ""


def _plain(text: object, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": plain(text, limit) or clip(" ", limit), "emoji": False}

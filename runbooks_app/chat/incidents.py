"""What is said of incidents, the form that closes one, and the form that attaches a run to one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbooks_app.chat.blocks import actions, button, context, message, section, sections
from runbooks_app.chat.forms import choice_form
from runbooks_app.chat.mrkdwn import count, duration, inline_code, link, plain, safe

if TYPE_CHECKING:
    from runbooks_app.chat.blocks import Block
    from runbooks_app.chat.views import Message

CLOSE = "close_incident"
"""Action of the button that opens the form, with the incident's number; `callback_id` of the form."""
ATTACH = "attach_run"
"""Action of the button that opens the choice of an incident, with a run's id; `callback_id` of the form."""
CAUSE, POSTMORTEM = "cause", "postmortem"
"""The form's fields."""

MOST_LISTED = 10
MOST_CAUSE = 2000


@dataclass(frozen=True)
class IncidentTold:
    """An incident as it is told. `seconds` is how long it has been open, or was; `part_of` names another's page."""

    number: int
    title: str
    url: str
    opened_by: str
    seconds: float = 0.0
    closed: bool = False
    closed_by: str = ""
    cause: str = ""
    part_of: str = ""


def incident_message(told: IncidentTold) -> Message:
    """The one message of an incident in a channel, as it stands."""
    name = _name(told)
    if told.part_of:
        text = f"🔗 *{name}* is part of {link(told.part_of, 'another incident')}"
    elif told.closed:
        text = f"✅ *{name}* — closed after {duration(told.seconds)}"
    else:
        text = f"🚨 *{name}* — open, opened by {safe(told.opened_by, 80)}"
    blocks = [section(text)]
    buttons = [button("Open the incident", "open_incident", url=told.url)]
    if not told.closed:
        buttons.append(button("Close…", CLOSE, value=str(told.number)))
    return message(f"Incident #{told.number} {safe(told.title, 200)}", [*blocks, actions(buttons)])


def closed_message(told: IncidentTold) -> Message:
    """Who closed it and with which cause: it stands in the thread, where those who worked on it hear of it."""
    by = f" by {safe(told.closed_by, 80)}" if told.closed_by else ""
    text = f"✅ Closed{by}. *Cause:* {safe(told.cause, 2000)}"
    return message(f"Incident #{told.number} is closed", [section(text)])


def postmortem_message(told: IncidentTold) -> Message:
    """That the postmortem is in the thread; its page has it with all evidence."""
    text = f"📄 *Postmortem of {_name(told)}* — in the thread, without restricted evidence."
    return message(f"Postmortem of incident #{told.number}", [section(text)])


def open_reply(told: Sequence[IncidentTold], command: str) -> Message:
    """Which incidents are open in a channel, newest first, and how another is opened."""
    lines = [f"• {_name(each)}, open for {duration(each.seconds)}" for each in told[:MOST_LISTED]]
    if len(told) > MOST_LISTED:
        lines.append(f"• and {len(told) - MOST_LISTED} more")
    how = f"{inline_code(f'{command} incident TITLE'.strip())} opens {'another' if told else 'one'}."
    lines = lines or ["No incident is open in this channel."]
    return message(count(len(told), "incident") + " open here", [*sections(lines), context(how)])


def which_reply(told: Sequence[IncidentTold], command: str, verb: str) -> Message:
    """Several are open in a channel and one has to be named, as each line shows."""
    lines = ["Several incidents are open in this channel. Which one?"]
    lines += [f"• {_name(each)}: {inline_code(f'{command} {verb} #{each.number}'.strip())}" for each in told]
    return message(lines[0], sections(lines[: MOST_LISTED + 1]))


def close_reply(told: IncidentTold) -> Message:
    """The form is on its way, or a press away; the page has one as well."""
    text = f"Closing {_name(told)} asks for its cause."
    buttons = [
        button("Close…", CLOSE, value=str(told.number), style="primary"),
        button("Close it on its page", "open_incident", url=told.url),
    ]
    return message(text, [section(text), actions(buttons)])


def close_form(number: int, title: str, channel: str, *, cause: str = "", postmortem: bool) -> dict[str, Any]:
    """The form that closes an incident: its `cause`, to be changed, and whether the postmortem goes into the channel.

    `postmortem`: there is a channel, and whoever closes it may take postmortems out.
    """
    about = {"type": "section", "text": {"type": "plain_text", "text": plain(f"#{number} {title}", 300)}}
    element = {"type": "plain_text_input", "action_id": CAUSE, "multiline": True, "max_length": MOST_CAUSE}
    if begun := plain(cause, MOST_CAUSE, lines=True):
        element["initial_value"] = begun
    asked = {
        "type": "input",
        "block_id": CAUSE,
        "label": {"type": "plain_text", "text": "What was the cause?"},
        "element": element,
    }
    into = {
        "type": "input",
        "block_id": POSTMORTEM,
        "optional": True,
        "label": {"type": "plain_text", "text": "Postmortem"},
        "element": {
            "type": "checkboxes",
            "action_id": POSTMORTEM,
            "options": [
                {
                    "text": {"type": "plain_text", "text": "Put it into this channel"},
                    "description": {"type": "plain_text", "text": "As a Markdown file, without restricted evidence"},
                    "value": "channel",
                }
            ],
        },
    }
    return {
        "type": "modal",
        "callback_id": CLOSE,
        "title": {"type": "plain_text", "text": f"Close incident {number}"[:24]},
        "submit": {"type": "plain_text", "text": "Close it"},
        "close": {"type": "plain_text", "text": "Cancel"},
        "private_metadata": f"{number}:{channel}",
        "blocks": [about, asked, *([into] if postmortem else [])],
    }


def close_form_read(view: Mapping[str, Any]) -> tuple[int, str, str, bool]:
    """Number, channel, cause and whether the postmortem is wanted there, as the form was sent off.

    Raises `ValueError` where it is none of ours. What it names gives nobody a right to it.
    """
    number, _, channel = str(view.get("private_metadata", "")).partition(":")
    try:
        values = view["state"]["values"]
        cause = values[CAUSE][CAUSE].get("value") or ""
        chosen = values.get(POSTMORTEM, {}).get(POSTMORTEM, {}).get("selected_options") or ()
        return int(number), channel, str(cause), bool(chosen)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(number) from error


def attach_button(run_id: str) -> Block:
    """Opens the choice of an incident: titles are for who may read them, and everybody sees the run's message."""
    return button("Attach to an incident…", ATTACH, value=run_id)


def attach_form(run_id: str, incidents: Iterable[tuple[int, str]]) -> dict[str, Any]:
    """The form in which one of these incidents, each by number and title, is chosen for a run."""
    choices = [(str(number), f"#{number} {title}") for number, title in incidents]
    return choice_form("Attach a run", "To which incident?", choices, ATTACH, submit="Attach it", metadata=run_id)


def _name(told: IncidentTold) -> str:
    return link(told.url, f"#{told.number} {told.title}", 200)

"""Forms over the chat: triggers that open one each, what stands open, and what people filled in.

https://docs.slack.dev/surfaces/modals, .../methods/views.open, .../methods/views.update. Not here: forms upon forms.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.main.demo.slack.limits import check_view
from runbooks_app.main.demo.slack.payloads import option_of
from runbooks_app.main.demo.slack.workspace import SlackError, Workspace

TRIGGER_LIFE = 3.0
"""Seconds for which a trigger opens a form, once."""

View = dict[str, Any]


@dataclass
class Trigger:
    """Who did what a form may follow."""

    user: str
    until: float
    used: bool = False


@dataclass
class OpenView:
    """A form that somebody has before them; `errors` by block as the app's last answer named them."""

    user: str
    view: View
    errors: dict[str, str] = field(default_factory=dict)


class Views:
    """The forms of one app in one workspace. Every method may be called from any thread."""

    def __init__(self, workspace: Workspace, team_id: str, app_id: str) -> None:
        """Changes are the workspace's, so that pages see them."""
        self._workspace = workspace
        self._own = {"team_id": team_id, "app_id": app_id, "bot_id": "B0RUNBOOKS"}
        self._triggers: dict[str, Trigger] = {}
        self.standing: dict[str, OpenView] = {}

    def trigger(self, user: str) -> str:
        """A new trigger, for what this person did just now."""
        name = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self._triggers[name] = Trigger(user, time.monotonic() + TRIGGER_LIFE)
        return name

    def open(self, trigger_id: str, given: object) -> View:
        """Open a form for whoever the trigger is of; raises `SlackError`."""
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.until < time.monotonic():
            raise SlackError("expired_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        view = check_view(given)
        trigger.used = True
        named = "V" + secrets.token_hex(5).upper()
        return self._stand(trigger.user, named, view)

    def update(self, view_id: str, given: object, known_hash: str = "") -> View:
        """Put another form in the place of one that stands open; raises `SlackError`."""
        standing = self.standing.get(view_id)
        if standing is None:
            raise SlackError("not_found")
        if known_hash and known_hash != standing.view["hash"]:
            raise SlackError("hash_conflict")
        return self._stand(standing.user, view_id, check_view(given))

    def answered(self, view_id: str, answer: Mapping[str, Any]) -> None:
        """What the app answered to a form that was sent off: errors, another form, or nothing, which closes it."""
        action = answer.get("response_action")
        if action == "errors":
            standing = self.standing[view_id]
            known = {block.get("block_id") for block in standing.view["blocks"] if block.get("type") == "input"}
            standing.errors = {block: str(said) for block, said in answer["errors"].items() if block in known}
            if not standing.errors:
                raise SlackError("invalid_response_action")
        elif action == "update":
            self._stand(self.standing[view_id].user, view_id, check_view(answer.get("view")))
        elif action in {None, "clear"}:
            self.close(view_id)
        else:
            raise SlackError("invalid_response_action")
        self._workspace.changed()

    def close(self, view_id: str) -> None:
        """The person closed it, or it is done with."""
        self.standing.pop(view_id, None)
        self._workspace.changed()

    def before(self, user: str) -> OpenView | None:
        """The form that this person has before them."""
        return next((one for one in reversed(self.standing.values()) if one.user == user), None)

    def _stand(self, user: str, view_id: str, view: View) -> View:
        shown = {
            "callback_id": "", "private_metadata": "", "external_id": "", "submit": None, "close": None,
            "clear_on_close": False, "notify_on_close": False, **view, **self._own,
            "id": view_id, "root_view_id": view_id, "previous_view_id": None, "state": {"values": {}},
            "hash": f"{time.time():.6f}.{secrets.token_hex(4)}",
        }  # fmt: skip
        self.standing[view_id] = OpenView(user, shown)
        self._workspace.changed()
        return shown


def values_of(view: Mapping[str, Any], given: Mapping[str, list[str]]) -> dict[str, Any]:
    """What was filled in, as `state.values` has it; `given` has each block's values as typed or chosen.

    Raises `SlackError` where Slack would not let the form be sent off: a field that is required stands empty.
    """
    found: dict[str, Any] = {}
    for block in view["blocks"]:
        if block.get("type") != "input":
            continue
        element, told = block["element"], [value for value in given.get(block["block_id"], []) if value]
        if not told and not block.get("optional"):
            raise SlackError("missing_input", block_id=block["block_id"])
        found[block["block_id"]] = {element["action_id"]: _state(element, told)}
    return found


def _state(element: Mapping[str, Any], told: list[str]) -> dict[str, Any]:
    first = told[0] if told else None
    kind = element["type"]
    if kind == "checkboxes":
        return {"type": kind, "selected_options": [found for value in told if (found := option_of(element, value))]}
    if kind == "static_select":
        return {"type": kind, "selected_option": option_of(element, first) if first else None}
    return {"type": kind, ("selected_date" if kind == "datepicker" else "value"): first}

"""The stand-in's limits are Slack's: its verdict on each boundary is the one of slack_sdk's own models."""

from __future__ import annotations

from typing import Any

import pytest
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from runbooks_app.chat.client import RateLimited, Slack
from runbooks_app.chat.views import Message
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.limits import check_blocks, check_message, check_view
from runbooks_app.main.demo.slack.rates import Rates
from runbooks_app.main.demo.slack.workspace import SlackError

pytestmark = pytest.mark.chat

TOKEN = "xoxb-a-token-that-no-log-may-hold"


def plain(length: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": "x" * length, "emoji": False}


def marked(length: int) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": "x" * length, "verbatim": True}


def options(count: int, text: int = 5, value: int = 5) -> list[dict[str, Any]]:
    return [{"text": plain(text), "value": str(number).rjust(value, "v")} for number in range(count)]


def button(**more: Any) -> dict[str, Any]:
    return {"type": "button", "text": plain(5), "action_id": "go", **more}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def select(**more: Any) -> dict[str, Any]:
    return {"type": "static_select", "action_id": "go", **more}


def confirm(title: int, text: int, answer: int) -> dict[str, Any]:
    return {"title": plain(title), "text": plain(text), "confirm": plain(answer), "deny": plain(answer)}


BOUNDARIES = {
    "section": lambda n: {"type": "section", "text": marked(3000 + n)},
    "fields": lambda n: {"type": "section", "fields": [marked(5)] * (10 + n)},
    "field": lambda n: {"type": "section", "fields": [marked(2000 + n)]},
    "header": lambda n: {"type": "header", "text": plain(150 + n)},
    "context": lambda n: {"type": "context", "elements": [marked(5)] * (10 + n)},
    "actions": lambda n: actions(*[button(action_id=f"go{m}") for m in range(25 + n)]),
    "block_id": lambda n: {"type": "divider", "block_id": "x" * (255 + n)},
    "button": lambda n: actions(button(text=plain(75 + n))),
    "value": lambda n: actions(button(value="x" * (2000 + n))),
    "url": lambda n: actions(button(url="https://x.example/" + "x" * (2982 + n))),
    "action_id": lambda n: actions(button(action_id="x" * (255 + n))),
    "confirm's title": lambda n: actions(button(confirm=confirm(100 + n, 300, 30))),
    "confirm's text": lambda n: actions(button(confirm=confirm(100, 300 + n, 30))),
    "confirm's answers": lambda n: actions(button(confirm=confirm(100, 300, 30 + n))),
    "options": lambda n: actions(select(options=options(100 + n))),
    "option's value": lambda n: actions(select(options=options(1, value=150 + n))),
    "option's text": lambda n: actions(select(options=options(1, text=75 + n))),
    "placeholder": lambda n: actions(select(options=options(1), placeholder=plain(150 + n))),
}  # fmt: skip


def models_take(block: dict[str, Any]) -> bool:
    try:
        (read,) = Block.parse_all([block])
        read.to_dict()
    except SlackObjectFormationError:
        return False
    return True


def stand_in_takes(block: dict[str, Any]) -> bool:
    try:
        check_blocks([block])
    except SlackError as error:
        return error.code != "invalid_blocks"
    return True


MODELS_DO_NOT_SAY = {"field", "option's text", "option's value"}
"""Boundaries of which the models of this release are silent beyond them; Slack's pages are not."""


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_block_at_its_limit_is_taken_and_one_beyond_it_is_not_as_by_the_models(boundary):
    at, beyond = BOUNDARIES[boundary](0), BOUNDARIES[boundary](1)
    assert (stand_in_takes(at), stand_in_takes(beyond)) == (True, False)
    assert models_take(at)
    assert models_take(beyond) == (boundary in MODELS_DO_NOT_SAY)


def modal(**more: Any) -> dict[str, Any]:
    element = {"type": "plain_text_input", "action_id": "a", "max_length": 3000}
    block = {"type": "input", "block_id": "a", "label": plain(5), "element": element}
    return {"type": "modal", "title": plain(24), "submit": plain(24), "close": plain(24), "blocks": [block], **more}


FORMS = {
    "title": lambda n: modal(title=plain(24 + n)),
    "submit": lambda n: modal(submit=plain(24 + n)),
    "close": lambda n: modal(close=plain(24 + n)),
    "private_metadata": lambda n: modal(private_metadata="x" * (3000 + n)),
    "callback_id": lambda n: modal(callback_id="x" * (255 + n)),
    "blocks": lambda n: modal(blocks=[{"type": "divider"}] * (100 + n)),
}


@pytest.mark.parametrize("boundary", FORMS)
def test_a_form_at_its_limit_is_taken_and_one_beyond_it_is_not_as_by_the_models(boundary):
    at, beyond = FORMS[boundary](0), FORMS[boundary](1)
    check_view(at)
    View(**at).to_dict()
    with pytest.raises(SlackError):
        check_view(beyond)
    with pytest.raises(SlackObjectFormationError):
        View(**beyond).to_dict()


def test_a_message_has_fifty_blocks_and_so_many_characters_together():
    check_blocks([{"type": "divider"}] * 50)
    with pytest.raises(SlackError, match="invalid_blocks"):
        check_blocks([{"type": "divider"}] * 51)
    fits = [{"type": "section", "text": marked(2990)}] * 3
    check_blocks(fits)
    with pytest.raises(SlackError, match="msg_blocks_too_long"):
        check_blocks([*fits, {"type": "section", "text": marked(2000)}])
    with pytest.raises(SlackError, match="msg_too_long"):
        check_message("x" * 40_001, None)


def test_one_message_a_second_goes_to_a_channel_after_a_short_burst_and_updates_have_a_limit_of_their_own():
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.wait("chat.postMessage", "C1") for _ in range(3)] == [0, 0, 1]
    assert rates.wait("chat.postMessage", "C2") == 0
    now[0] = 1.0
    assert [rates.wait("chat.postMessage", "C1") for _ in range(2)] == [0, 1]
    assert [rates.wait("chat.update", "C1") for _ in range(51)] == [0] * 50 + [2]


def test_whoever_is_too_fast_is_told_how_long_to_wait_and_nothing_is_posted():
    app = create_slack(SlackConfig(TOKEN, "the signing secret", "http://127.0.0.1:9"))
    with serve(app) as url:
        slack = Slack(TOKEN, base_url=f"{url}api/")
        for _ in range(2):
            slack.post("C0INCIDENTS", Message("hello"))
        with pytest.raises(RateLimited) as caught:
            slack.post("C0INCIDENTS", Message("hello"))
        assert caught.value.retry_after == 1
        assert len(app.extensions["slack_workspace"].messages) == 2

"""From the button in a message to the executed action: messages and presses as Slack carries them, a real worker."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from notebooks import cell, write
from slack_sdk.models.blocks import Block
from slack_signing import SIGNING_SECRET, signed
from stuck_orders import CHECK, FREE, LOOK
from worker.conftest import BEN, WEB

from runbooks_app.actions import people
from runbooks_app.chat.messages import proposal_message
from runbooks_app.core.policy import Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.store.database import reading
from runbooks_app.web.app import create_app
from runbooks_app.worker import views

pytestmark = pytest.mark.chat

TEAM, USER = "T0RUNBOOKS", "U0BEN"


@pytest.fixture
def house(house):
    """Where what is of low risk may be decided in Slack."""
    update = {"slack_decide": "low", "slack_team": TEAM}
    service = replace(house.service, settings=house.service.settings.model_copy(update=update))
    return replace(house, service=service, worker=replace(house.worker, service=service))


@pytest.fixture
def low(house, library_folder, stuck):
    """A proposal of low risk."""
    mild = FREE.replace('risk="high"', 'risk="low"')
    cells = (cell("look", LOOK, "diagnostic"), cell("free", mild, "remediation"), cell("freed", CHECK, "diagnostic"))
    write(library_folder, "stuck-orders", *cells)
    return house.diagnosed()


def message(house, run, proposal) -> list[dict]:
    """The proposal's message as slack_sdk's own models read it."""
    with reading(house.service.engine) as tx:
        told = proposal_message(views.proposal_told(tx, house.service, house.now(proposal), run))
    return [block.to_dict() for block in Block.parse_all(json.loads(json.dumps(told.blocks)))]


def buttons(blocks: list[dict]) -> dict[str, dict]:
    return {e["action_id"]: e for block in blocks if block["type"] == "actions" for e in block["elements"]}


def press(house, button: dict) -> int:
    """Press it as Ben does in Slack."""
    client = create_app(house.service, secret_key=b"x" * 32, slack_signing_secret=SIGNING_SECRET).test_client()
    payload = {
        "type": "block_actions", "team": {"id": TEAM}, "user": {"id": USER, "team_id": TEAM}, "channel": {"id": "C1"},
        "trigger_id": "1.2", "actions": [{"action_id": button["action_id"], "value": button["value"]}],
    }  # fmt: skip
    body = urlencode({"payload": json.dumps(payload)}).encode()
    form = "application/x-www-form-urlencoded"
    headers = signed(body, str(int(time.time())))
    return client.post("/slack/interactivity", data=body, headers=headers, content_type=form).status_code


def test_a_press_of_the_messages_own_button_has_it_executed(house, low, stuck):
    run, (proposal,) = low
    code = people.offer_chat_link(house.service, TEAM, USER, "ben")
    people.link_chat(house.service, BEN, WEB, code)
    shown = buttons(message(house, run, proposal))
    asked = shown["approve_proposal"]["confirm"]["text"]["text"]
    assert proposal.title in asked
    assert "orders-db as orders_operator" in asked
    assert press(house, shown["approve_proposal"]) == 200
    house.do_all()
    after = house.now(proposal)
    assert (after.state, after.verification) == (ProposalState.APPLIED, Verification.VERIFIED)
    assert stuck.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone()[0] == 0
    assert set(buttons(message(house, run, proposal))) == {"open_proposal"}


def test_buttons_that_decide_stand_under_what_may_be_decided_in_slack_alone(house, low):
    run, (proposal,) = low
    assert set(buttons(message(house, run, proposal))) == {"approve_proposal", "deny_proposal", "open_proposal"}
    for update in ({"slack_decide": "off"}, {"remediation": "off"}):
        settings = house.service.settings.model_copy(update=update)
        there = replace(house, service=replace(house.service, settings=settings))
        assert set(buttons(message(there, run, proposal))) == {"open_proposal"}
    connections = house.service.connections
    connections["orders-db"] = replace(connections["orders-db"], data_class="restricted")
    assert set(buttons(message(house, run, proposal))) == {"open_proposal"}


@pytest.mark.parametrize("risk", [Risk.MEDIUM, Risk.HIGH])
def test_more_than_low_risk_is_decided_on_its_page(house, library_folder, stuck, risk):
    other = FREE.replace('risk="high"', f'risk="{risk}"')
    write(library_folder, "stuck-orders", cell("look", LOOK, "diagnostic"), cell("free", other, "remediation"))
    run, (proposal,) = house.diagnosed()
    assert set(buttons(message(house, run, proposal))) == {"open_proposal"}

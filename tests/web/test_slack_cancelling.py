"""Cancelling runs from Slack, by command and by button: whose run is stopped, by whom, and how often."""

from __future__ import annotations

import json
import time
from urllib.parse import urlencode

import pytest

from runbooks_app.actions.diagnosing import claim_run
from runbooks_app.actions.running import request_run
from runbooks_app.store.database import reading

pytestmark = pytest.mark.chat

TEAM = "T0RUNBOOKS"


def said(told) -> str:
    assert told.status_code == 200, told.text
    return json.dumps(told.json, ensure_ascii=False)


def runs_in(service, channel: str) -> list:
    with reading(service.engine) as tx:
        return tx.execute("SELECT * FROM runs WHERE channel = :channel ORDER BY requested_at", channel=channel).all()


def test_cancel_stops_ones_own_latest_run_in_this_channel(slack, linked, service):
    linked("responder")
    assert "nothing to cancel" in said(slack.command("cancel"))
    slack.command("disk-full")
    slack.command("disk-full limit=2")
    assert "cancelled" in said(slack.command("cancel"))
    assert [run.state for run in runs_in(service, slack.channel)] == ["queued", "cancelled"]
    first = runs_in(service, slack.channel)[0].id
    said(slack.command(f"cancel {first}"))
    assert [run.state for run in runs_in(service, slack.channel)] == ["cancelled", "cancelled"]


def test_cancel_offers_the_runs_of_others_and_stops_none_of_them_by_itself(slack, linked, service):
    linked("responder")
    slack.command("disk-full")
    (run,) = runs_in(service, slack.channel)
    slack.user += "BEN"
    linked("responder")
    told = slack.command("cancel").json
    (button,) = [block["accessory"] for block in told["blocks"] if "accessory" in block]
    assert (button["action_id"], button["value"]) == ("cancel_run", run.id)
    assert "disk-full" in button["confirm"]["text"]["text"]
    assert runs_in(service, slack.channel)[0].state == "queued"
    slack.user += "X"
    linked("viewer")
    assert "may not" in said(slack.command("cancel"))
    assert runs_in(service, slack.channel)[0].state == "queued"


def test_the_cancel_button_stops_the_run_once_for_who_may(slack, linked, service):
    linked("responder")
    slack.command("disk-full")
    run = runs_in(service, slack.channel)[0]
    told = slack.press("cancel_run", run.id)
    assert (told.status_code, told.text) == (200, "")
    assert runs_in(service, slack.channel)[0].state == "cancelled"


def test_a_copy_of_a_pressed_button_asks_for_nothing_again(slack, linked, service):
    linked("responder")
    slack.command("disk-full")
    run = runs_in(service, slack.channel)[0]
    claim_run(service, run.id, "w1")
    payload = {
        "type": "block_actions", "team": {"id": TEAM}, "user": {"id": slack.user}, "channel": {"id": slack.channel},
        "actions": [{"action_id": "cancel_run", "value": run.id}],
    }  # fmt: skip
    body, at = urlencode({"payload": json.dumps(payload)}).encode(), str(int(time.time()))
    for _ in range(3):
        assert slack.send("/slack/interactivity", body, at=at).status_code == 200
    with reading(service.engine) as tx:
        asked = tx.execute(
            "SELECT count(*) FROM audit_entries WHERE event = 'run.cancel_requested' AND objects::jsonb @> :run",
            run={"run": run.id},
        )
        assert asked.scalar_one() == 1


def test_the_cancel_button_does_nothing_for_a_stranger_or_a_viewer(slack, linked, service, sign_in_as):
    anna = sign_in_as("responder")
    run = request_run(service, anna.person, {"surface": "web"}, "disk-full", {})
    assert slack.press("cancel_run", run.id).status_code == 200
    linked("viewer")
    assert slack.press("cancel_run", run.id).status_code == 200
    assert anna.get(f"/api/v1/runs/{run.id}").json["state"] == "queued"

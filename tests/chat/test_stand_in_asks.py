"""What the stand-in for Slack sends to the service beside commands and buttons: forms, shortcuts, mentions, pins."""

from __future__ import annotations

import json
import time

import pytest
import requests

from runbooks_app.chat.client import Rejected, Slack
from runbooks_app.chat.scopes import SHORTCUT
from runbooks_app.chat.signature import verify
from runbooks_app.chat.views import Message
from runbooks_app.main.demo.slack import delivery, views

pytestmark = pytest.mark.chat

SECRET = "the signing secret"


def plain(text):
    return {"type": "plain_text", "text": text}


def option(value):
    return {"text": plain(value.title()), "value": value}


FORM = {
    "type": "modal",
    "callback_id": "run_form",
    "private_metadata": "kept",
    "title": plain("Run a runbook"),
    "submit": plain("Run"),
    "blocks": [
        {"type": "section", "text": {"type": "mrkdwn", "text": "*db-latency*"}},
        {
            "type": "input", "block_id": "database", "label": plain("Database"),
            "element": {
                "type": "static_select", "action_id": "database", "options": [option("orders"), option("billing")],
            },
        },
        {
            "type": "input", "block_id": "limit", "label": plain("Rows"), "optional": True,
            "element": {"type": "number_input", "action_id": "limit", "is_decimal_allowed": False},
        },
        {
            "type": "input", "block_id": "deep", "label": plain("Deep"), "optional": True,
            "element": {"type": "checkboxes", "action_id": "deep", "options": [option("true")]},
        },
        {
            "type": "input", "block_id": "since", "label": plain("Since"), "optional": True,
            "element": {"type": "datepicker", "action_id": "since", "initial_date": "2026-11-23"},
        },
    ],
}  # fmt: skip
FILLED = {"database": "orders", "limit": "5", "deep": ["true"], "since": "2026-11-20"}
MENU = Message(
    "attach",
    (
        {
            "type": "actions", "block_id": "attach",
            "elements": [{"type": "static_select", "action_id": "attach", "options": [option("one"), option("two")]}],
        },
    ),
)  # fmt: skip


def trigger(stand_in):
    """A new trigger, as a command carries it to the service."""
    stand_in.control("command", channel="incidents", user="U0ANA", text="/runbook db-latency ?")
    return stand_in.service.form()["trigger_id"]


def interaction(stand_in):
    return json.loads(stand_in.service.form()["payload"])


def standing(stand_in):
    return requests.get(f"{stand_in.url}control/views", timeout=5).json()["views"]


@pytest.fixture
def opened(slack: Slack, stand_in):
    """A form that stands open before Ana."""
    slack.open_view(trigger(stand_in), FORM)
    return standing(stand_in)[0]["view"]


def refused(slack, trigger_id, view=FORM):
    with pytest.raises(Rejected) as caught:
        slack.open_view(trigger_id, view)
    return caught.value.slack_code


def test_a_trigger_opens_one_form_for_three_seconds(slack, stand_in, monkeypatch):
    used = trigger(stand_in)
    slack.open_view(used, FORM)
    assert refused(slack, used) == "exchanged_trigger_id"
    assert refused(slack, "1.2.guessed") == "invalid_trigger_id"
    monkeypatch.setattr(views, "TRIGGER_LIFE", -1)
    assert refused(slack, trigger(stand_in)) == "expired_trigger_id"


def test_a_form_that_slack_would_refuse_uses_up_no_trigger(slack, stand_in):
    fresh = trigger(stand_in)
    assert refused(slack, fresh, {**FORM, "title": plain("x" * 25)}) == "invalid_arguments"
    slack.open_view(fresh, FORM)


def test_a_form_sent_off_carries_what_was_filled_in_under_the_names_of_its_blocks(stand_in, opened):
    stand_in.control("submit", user="U0ANA", values=FILLED)
    told = interaction(stand_in)
    assert (told["type"], told["user"]["id"], told["team"]["id"]) == ("view_submission", "U0ANA", "T0DEMO")
    assert (told["view"]["id"], told["view"]["callback_id"]) == (opened["id"], "run_form")
    assert told["view"]["private_metadata"] == "kept"
    assert told["view"]["state"]["values"] == {
        "database": {"database": {"type": "static_select", "selected_option": option("orders")}},
        "limit": {"limit": {"type": "number_input", "value": "5"}},
        "deep": {"deep": {"type": "checkboxes", "selected_options": [option("true")]}},
        "since": {"since": {"type": "datepicker", "selected_date": "2026-11-20"}},
    }
    assert standing(stand_in) == []


def test_errors_stand_beside_their_fields_and_the_form_stays(stand_in, opened):
    errors = {"limit": "At most 100."}
    stand_in.service.answer = ({"response_action": "errors", "errors": errors}, 200)
    stand_in.control("submit", user="U0ANA", values=FILLED)
    assert standing(stand_in)[0]["errors"] == errors
    assert "At most 100." in requests.get(stand_in.url, params={"as": "U0ANA"}, timeout=5).text
    assert opened["id"] not in requests.get(stand_in.url, params={"as": "U0BEN"}, timeout=5).text


def test_an_answer_may_put_another_form_in_its_place(stand_in, opened):
    other = {"type": "modal", "title": plain("Done"), "blocks": []}
    stand_in.service.answer = ({"response_action": "update", "view": other}, 200)
    stand_in.control("submit", user="U0ANA", values=FILLED)
    (now,) = standing(stand_in)
    assert (now["view"]["id"], now["view"]["title"]["text"]) == (opened["id"], "Done")


def test_a_required_field_that_is_empty_is_not_sent_off(stand_in, opened):
    before = len(stand_in.service.requests)
    form = {"as": "U0ANA", "view": opened["id"], "block:limit": "5"}
    assert "complete this required field" in requests.post(f"{stand_in.url}submit", data=form, timeout=5).text
    assert len(stand_in.service.requests) == before


def test_the_page_shows_the_form_and_sends_it_off_without_a_script(stand_in, opened):
    page = requests.get(stand_in.url, params={"as": "U0ANA"}, timeout=5).text
    for shown in ('<option value="orders"', 'type="date"', 'type="checkbox"', ">Run</button>"):
        assert shown in page
    form = {"as": "U0ANA", "view": opened["id"], "block:database": "billing", "block:deep": "true"}
    assert requests.post(f"{stand_in.url}submit", data=form, timeout=5).status_code == 200
    values = interaction(stand_in)["view"]["state"]["values"]
    assert values["database"]["database"]["selected_option"]["value"] == "billing"
    assert [chosen["value"] for chosen in values["deep"]["deep"]["selected_options"]] == ["true"]


def test_a_service_that_does_not_take_a_form_leaves_it_open(stand_in, opened):
    stand_in.service.answer = ("boom", 500)
    stand_in.control("submit", user="U0ANA", values=FILLED)
    assert "trouble connecting" in standing(stand_in)[0]["errors"][""]


def test_a_form_is_closed_by_its_person(stand_in, opened):
    requests.post(f"{stand_in.url}submit", data={"as": "U0ANA", "view": opened["id"], "close": "1"}, timeout=5)
    assert standing(stand_in) == []


def test_a_form_that_was_changed_meanwhile_is_not_overwritten(slack, stand_in, opened):
    def update(**told):
        headers = {"Authorization": f"Bearer {stand_in.app.config['TOKEN']}"}
        return requests.post(f"{stand_in.url}api/views.update", json=told, headers=headers, timeout=5).json()

    assert update(view_id=opened["id"], view=FORM, hash="another")["error"] == "hash_conflict"
    assert update(view_id="V0", view=FORM)["error"] == "not_found"
    assert update(view_id=opened["id"], view=FORM, hash=opened["hash"])["ok"] is True


def test_a_shortcut_on_a_message_carries_the_message(slack, stand_in):
    posted = slack.post("C0INCIDENTS", Message("disk is full", ()))
    form = {"channel": "C0INCIDENTS", "as": "U0BEN", "ts": posted.ts}
    assert requests.post(f"{stand_in.url}shortcut", data=form, timeout=5).status_code == 200
    told = interaction(stand_in)
    assert (told["type"], told["callback_id"], told["user"]["id"]) == ("message_action", SHORTCUT, "U0BEN")
    assert (told["message_ts"], told["message"]["text"]) == (posted.ts, "disk is full")
    assert told["channel"]["id"] == "C0INCIDENTS"
    assert told["response_url"].startswith(stand_in.url)
    assert told["trigger_id"]


def test_a_menus_option_is_chosen(slack, stand_in):
    posted = slack.post("C0INCIDENTS", MENU)
    stand_in.control(
        "press", channel="incidents", ts=posted.ts, user="U0ANA", action_id="attach", block_id="attach", option="two"
    )
    (action,) = interaction(stand_in)["actions"]
    assert (action["type"], action["selected_option"]["value"]) == ("static_select", "two")
    assert '<option value="two">Two</option>' in requests.get(stand_in.url, timeout=5).text


def test_a_mention_in_a_thread_is_a_signed_event(slack, stand_in):
    posted = slack.post("C0INCIDENTS", Message("a run", ()))
    form = {"channel": "C0INCIDENTS", "as": "U0ANA", "text": "@runbooks status <now>", "thread_ts": posted.ts}
    page = requests.post(f"{stand_in.url}say", data=form, timeout=5).text
    assert "@Runbooks</span> status &lt;now&gt;" in page
    path, body, headers = stand_in.service.requests[-1]
    assert path == "events"
    assert verify(SECRET, body, headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"], now=time.time())
    told = json.loads(body)
    assert (told["type"], told["team_id"], told["event_id"][:2]) == ("event_callback", "T0DEMO", "Ev")
    event = told["event"]
    assert (event["type"], event["user"], event["thread_ts"]) == ("app_mention", "U0ANA", posted.ts)
    assert event["text"] == "<@U0RUNBOOKS> status &lt;now&gt;"
    assert told["authorizations"][0]["user_id"] == "U0RUNBOOKS"


def test_a_command_in_a_thread_reaches_no_app(slack, stand_in):
    posted = slack.post("C0INCIDENTS", Message("a run", ()))
    form = {"channel": "C0INCIDENTS", "as": "U0ANA", "text": "/runbook status", "thread_ts": posted.ts}
    assert "is not supported in threads" in requests.post(f"{stand_in.url}say", data=form, timeout=5).text
    assert stand_in.service.requests == []


def test_a_pin_is_an_event_with_the_message_and_its_permalink(slack, stand_in):
    posted = slack.post("C0INCIDENTS", Message("it was the deploy", ()))
    stand_in.control("pin", channel="incidents", ts=posted.ts, user="U0BEN")
    event = json.loads(stand_in.service.requests[-1][1])["event"]
    assert (event["type"], event["user"], event["channel_id"]) == ("pin_added", "U0BEN", "C0INCIDENTS")
    message = event["item"]["message"]
    assert (message["ts"], message["text"]) == (posted.ts, "it was the deploy")
    assert message["permalink"].endswith(f"#m{posted.ts}")


def test_an_event_that_is_not_taken_is_sent_three_times_more_each_signed_anew(stand_in, monkeypatch):
    monkeypatch.setattr(delivery, "EVENT_RETRIES", (0.0, 0.0, 1.1))
    stand_in.service.answer = ("away", 503)
    stand_in.control("say", channel="incidents", user="U0ANA", text="@runbooks list")
    end = time.monotonic() + 10
    while len(stand_in.service.requests) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    tries = stand_in.service.requests
    assert [headers.get("X-Slack-Retry-Num") for _, _, headers in tries] == [None, "1", "2", "3"]
    assert len({body for _, body, _ in tries}) == 1
    assert tries[3][2]["X-Slack-Signature"] != tries[0][2]["X-Slack-Signature"]


def test_the_address_of_events_is_the_services_if_it_gives_the_challenge_back(stand_in):
    assert stand_in.control("verify") == {"ok": False}
    path, body, headers = stand_in.service.requests[-1]
    told = json.loads(body)
    assert (path, told["type"]) == ("events", "url_verification")
    assert verify(SECRET, body, headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"], now=time.time())

"""The client against a server that behaves as Slack documents, over real HTTP."""

from __future__ import annotations

import json
import logging
import socket
import time
import traceback

import pytest
import requests

from runbooks_app.chat.client import Away, RateLimited, Rejected, Slack
from runbooks_app.chat.scopes import SCOPES
from runbooks_app.chat.views import FileTold, Message
from runbooks_app.core.errors import InvalidInput, Misconfigured

TOKEN = "xoxb-a-token-that-no-log-may-hold"
HELLO = Message("hello", ({"type": "section", "text": {"type": "mrkdwn", "text": "*hello*", "verbatim": True}},))
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xff\xff?\x00\x05\xfe\x02\xfe\xa75\x81\x84\x00\x00\x00\x00IEND\xaeB`\x82"
)


def test_the_token_says_whose_it_is_what_it_may_do_and_what_time_it_is(slack):
    told = slack.check()
    assert told.team_id == "T0DEMO"
    assert told.scopes == set(SCOPES)
    assert abs(told.at - time.time()) < 30


def test_a_message_is_posted_and_updated_in_place(slack, stand_in):
    posted = slack.post("incidents", HELLO)
    assert posted.channel == "C0INCIDENTS"
    slack.update(posted, Message("bye", HELLO.blocks))
    (standing,) = stand_in.messages()
    assert (standing["ts"], standing["text"], standing["edited"]) == (posted.ts, "bye", True)


def test_a_reply_stands_in_its_thread(slack, stand_in):
    posted = slack.post("C0INCIDENTS", HELLO)
    slack.post("C0INCIDENTS", HELLO, thread_ts=posted.ts)
    assert stand_in.messages()[1]["thread_ts"] == posted.ts


def test_a_chart_is_uploaded_into_the_thread_with_its_words(slack, stand_in):
    posted = slack.post("C0INCIDENTS", HELLO)
    chart = FileTold("p99.png", "p99", PNG, "a line that rises", "p99: <https://r.example/runs/r1#cell-p99|its cell>")
    file_id = slack.upload(chart)
    assert len(stand_in.messages()) == 1
    slack.share("C0INCIDENTS", file_id, chart, thread_ts=posted.ts)
    assert slack.has_file("C0INCIDENTS", file_id, oldest=0, thread_ts=posted.ts)
    reply = stand_in.messages()[1]
    assert reply["files"] == [file_id]
    assert reply["thread_ts"] == posted.ts
    page = requests.get(stand_in.url, timeout=5).text
    assert 'alt="a line that rises" width="1" height="1"' in page
    assert requests.get(f"{stand_in.url}files/{file_id}", timeout=5).content == PNG


def test_an_ephemeral_message_is_seen_by_one_person_alone(slack, stand_in):
    slack.ephemeral("C0INCIDENTS", "U0ANA", HELLO)
    assert stand_in.messages() == []
    assert stand_in.messages(viewer="U0BEN") == []
    assert [m["text"] for m in stand_in.messages(viewer="U0ANA")] == ["hello"]


def test_a_person_can_be_written_to_directly(slack, stand_in):
    channel = slack.open_dm("U0BEN")
    slack.post(channel, HELLO)
    assert [m["text"] for m in stand_in.messages(channel)] == ["hello"]


def test_a_form_is_opened(slack, stand_in):
    stand_in.control("command", channel="incidents", user="U0ANA", text="/runbook db-latency ?")
    trigger = stand_in.service.form()["trigger_id"]
    slack.open_view(trigger, {"type": "modal", "title": {"type": "plain_text", "text": "Run"}, "blocks": []})
    (standing,) = requests.get(f"{stand_in.url}control/views", timeout=5).json()["views"]
    assert (standing["user"], standing["view"]["title"]["text"]) == ("U0ANA", "Run")


def test_a_rate_limit_tells_how_long_to_wait(slack, stand_in):
    stand_in.control("faults", method="chat.postMessage", kind="ratelimited", retry_after=7)
    with pytest.raises(RateLimited) as caught:
        slack.post("C0INCIDENTS", HELLO)
    assert caught.value.retry_after == 7
    slack.post("C0INCIDENTS", HELLO)
    assert len(stand_in.messages()) == 1


def test_a_removed_channel_is_told_for_good_with_the_mend(slack, stand_in):
    stand_in.control("forget", channel="incidents")
    with pytest.raises(Rejected, match="Invite the app") as caught:
        slack.post("C0INCIDENTS", HELLO)
    assert (caught.value.slack_code, caught.value.permanent) == ("channel_not_found", True)


def test_an_archived_channel_is_told_for_good(slack, stand_in):
    stand_in.control("archive", channel="incidents")
    with pytest.raises(Rejected) as caught:
        slack.post("C0INCIDENTS", HELLO)
    assert (caught.value.slack_code, caught.value.permanent) == ("is_archived", True)


def test_a_deleted_message_cannot_be_updated_and_that_is_told(slack, stand_in):
    posted = slack.post("C0INCIDENTS", HELLO)
    stand_in.workspace.remove(posted.channel, posted.ts)
    with pytest.raises(Rejected) as caught:
        slack.update(posted, HELLO)
    assert caught.value.slack_code == "message_not_found"


@pytest.mark.parametrize("code", ["internal_error", "fatal_error", "service_unavailable"])
def test_slacks_own_trouble_passes(slack, stand_in, code):
    stand_in.control("faults", method="*", kind="error", code=code)
    with pytest.raises(Rejected) as caught:
        slack.post("C0INCIDENTS", HELLO)
    assert not caught.value.permanent


@pytest.mark.parametrize("kind", ["unavailable", "garbage"])
def test_an_outage_is_away(slack, stand_in, kind):
    stand_in.control("faults", method="*", kind=kind)
    with pytest.raises(Away):
        slack.post("C0INCIDENTS", HELLO)


def test_a_wrong_token_is_told_for_good(stand_in):
    with pytest.raises(Rejected) as caught:
        Slack("xoxb-wrong", base_url=f"{stand_in.url}api/").post("C0INCIDENTS", HELLO)
    assert (caught.value.slack_code, caught.value.permanent) == ("invalid_auth", True)


def test_blocks_that_slack_refuses_are_told_with_the_place(slack):
    wrong = Message("x", ({"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}},))
    with pytest.raises(Rejected, match=r"less than 3001 characters \[json-pointer:/blocks/0/text/text\]"):
        slack.post("C0INCIDENTS", wrong)


def test_nobody_listening_means_that_nothing_was_done():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Away) as caught:
        Slack(TOKEN, base_url=f"http://127.0.0.1:{port}/api/").post("C", HELLO)
    assert not caught.value.maybe_done


def test_a_message_whose_answer_was_lost_is_found_again_and_not_posted_twice(slack, stand_in):
    before = time.time() - 5
    stand_in.control("faults", method="chat.postMessage", kind="lost_answer")
    with pytest.raises(Away) as caught:
        slack.post("C0INCIDENTS", HELLO, key="run-1")
    assert caught.value.maybe_done
    found = slack.find("C0INCIDENTS", "run-1", oldest=before)
    (standing,) = stand_in.messages()
    assert found is not None
    assert found.ts == standing["ts"]
    assert slack.find("C0INCIDENTS", "run-2", oldest=before) is None


def test_a_reply_is_found_in_its_thread_beyond_the_first_page(slack, stand_in):
    posted = slack.post("C0INCIDENTS", HELLO)
    for number in range(230):
        key = {"event_type": "runbook_message", "event_payload": {"key": f"k{number}"}}
        stand_in.workspace.post("C0INCIDENTS", "U0RUNBOOKS", "x", [], thread_ts=posted.ts, metadata=key)
    assert slack.find("C0INCIDENTS", "k229", oldest=0, thread_ts=posted.ts) is not None


def test_a_slow_slack_is_given_up_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Away) as caught:
            Slack(TOKEN, base_url=f"http://127.0.0.1:{port}/", timeout=1).check()
    assert caught.value.maybe_done


def test_the_token_is_in_no_log_no_error_and_no_traceback(slack, stand_in, caplog):
    caplog.set_level(logging.DEBUG)
    stand_in.control("faults", method="*", kind="error", code="internal_error")
    with pytest.raises(Rejected) as caught:
        slack.post("C0INCIDENTS", HELLO)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(slack) + str(caught.value)
    assert TOKEN not in told


def test_a_client_without_token_or_address_is_refused():
    with pytest.raises(Misconfigured, match="RUNBOOKS_SLACK_BOT_TOKEN_FILE"):
        Slack(" ")
    with pytest.raises(Misconfigured, match="no http or https"):
        Slack(TOKEN, base_url="ftp://slack.example/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/respond/x",
        "https://evil.example/x",
        "https://slack.com.evil.example/",
        "http://hooks.slack.com/x",
        "https://evil.example#@hooks.slack.com/",
        "https://evil.example/.slack.com",
        "http://[",
        "file:///etc/passwd",
        "",
    ],
)
def test_an_answer_goes_nowhere_but_to_slack(slack, url):
    with pytest.raises(InvalidInput, match="not Slack"):
        slack.respond(url, HELLO)


def test_a_command_is_answered_through_its_response_url_five_times_at_most(slack, stand_in):
    stand_in.control("command", channel="incidents", user="U0ANA", text="/runbook list")
    url = stand_in.service.form()["response_url"]
    for _ in range(5):
        slack.respond(url, HELLO)
    with pytest.raises(Rejected) as caught:
        slack.respond(url, HELLO)
    assert caught.value.slack_code == "used_url"
    assert len(stand_in.messages(viewer="U0ANA")) == 5
    assert stand_in.messages() == []


def test_a_button_press_can_replace_its_message(slack, stand_in):
    button = {"type": "button", "text": {"type": "plain_text", "text": "Go"}, "action_id": "go", "value": "1"}
    posted = slack.post("C0INCIDENTS", Message("x", ({"type": "actions", "elements": [button]},)))
    stand_in.control("press", channel="incidents", ts=posted.ts, user="U0ANA", action_id="go")
    payload = json.loads(stand_in.service.form()["payload"])
    slack.respond(payload["response_url"], HELLO, replace=True)
    assert [m["text"] for m in stand_in.messages()] == ["hello"]

"""The stand-in for Slack: its page without JavaScript, what it sends to the service, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import requests

from runbooks_app.chat.commands import parse
from runbooks_app.chat.signature import verify
from runbooks_app.chat.views import Message
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.limits import check_blocks
from runbooks_app.main.demo.slack.rendering import mrkdwn
from runbooks_app.main.demo.slack.workspace import SlackError

APART = 'target="_blank" rel="noopener noreferrer"'
SECRET = "the signing secret"
TOKEN = "xoxb-a-token-that-no-log-may-hold"
LONG = {"type": "plain_text", "text": "x" * 76}
BUTTONS = Message(
    "x",
    (
        {
            "type": "actions",
            "elements": [
                {
                    "type": "button", "text": {"type": "plain_text", "text": "Cancel"},
                    "action_id": "cancel_run", "value": "r1",
                },
                {
                    "type": "button", "text": {"type": "plain_text", "text": "Open"},
                    "action_id": "open_run", "url": "https://runbooks.example/runs/1",
                },
            ],
        },
    ),
)  # fmt: skip


def say(stand_in, text, person="U0ANA", **headers):
    form = {"channel": "C0INCIDENTS", "as": person, "text": text}
    return requests.post(f"{stand_in.url}say", data=form, headers=headers, timeout=10)


def test_a_command_typed_on_the_page_reaches_the_service_signed_with_slacks_fields(stand_in):
    page = say(stand_in, "/runbook db-latency note=“a & b”")
    assert page.status_code == 200
    path, body, headers = stand_in.service.requests[-1]
    assert path == "commands"
    key = verify(SECRET, body, headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"], now=time.time())
    assert key
    form = stand_in.service.form()
    assert form["command"] == "/runbook"
    assert form["text"] == "db-latency note=“a &amp; b”"
    assert parse(form["text"]).given == {"note": "a & b"}
    assert (form["user_id"], form["channel_id"], form["team_id"]) == ("U0ANA", "C0INCIDENTS", "T0DEMO")
    assert form["channel_name"] == "incidents"
    assert form["response_url"].startswith(stand_in.url)
    assert {"trigger_id", "api_app_id", "user_name", "team_domain"} <= form.keys()


def test_the_services_answer_is_shown_to_its_author_alone(stand_in):
    stand_in.service.answer = ({"response_type": "ephemeral", "text": "*on its way*"}, 200)
    assert "<strong>on its way</strong>" in say(stand_in, "/runbook db-latency").text
    other = requests.get(stand_in.url, params={"as": "U0BEN"}, timeout=5).text
    assert "on its way" not in other


def test_an_answer_for_the_channel_is_shown_to_all(stand_in):
    stand_in.service.answer = ({"response_type": "in_channel", "text": "for all"}, 200)
    say(stand_in, "/runbook status")
    assert "for all" in requests.get(stand_in.url, params={"as": "U0BEN"}, timeout=5).text


def test_a_service_that_errs_or_is_late_is_told_as_slack_tells_it(stand_in, monkeypatch):
    stand_in.service.answer = ("boom", 500)
    assert "failed with the error <code>http_500</code>" in say(stand_in, "/runbook status").text
    monkeypatch.setattr("runbooks_app.main.demo.slack.delivery.DEADLINE", 0.2)
    stand_in.service.hold = threading.Event()
    try:
        assert "<code>operation_timeout</code>" in say(stand_in, "/runbook status").text
    finally:
        stand_in.service.hold.set()


def test_plain_words_go_into_the_channel_and_not_to_the_service(stand_in):
    page = say(stand_in, "is <b>anyone</b> looking? <!channel>").text
    assert "is &lt;b&gt;anyone&lt;/b&gt; looking? &lt;!channel&gt;" in page
    assert stand_in.service.requests == []
    assert "is not a valid command" in say(stand_in, "/giphy cat").text


def test_a_button_is_pressed_by_an_ordinary_form(slack, stand_in):
    slack.post("C0INCIDENTS", BUTTONS)
    page = requests.get(stand_in.url, params={"as": "U0BEN"}, timeout=5).text
    assert 'href="https://runbooks.example/runs/1"' in page
    form = re.search(r'<form method="post" action="/press">(.*?)</form>', page, re.DOTALL)
    assert form
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form.group(1)))
    told = requests.post(f"{stand_in.url}press", data=fields, timeout=5)
    assert told.status_code == 200
    payload = json.loads(stand_in.service.form()["payload"])
    assert payload["type"] == "block_actions"
    assert payload["user"]["id"] == "U0BEN"
    assert [(a["action_id"], a["value"]) for a in payload["actions"]] == [("cancel_run", "r1")]
    assert payload["container"]["message_ts"] == stand_in.messages()[0]["ts"]


def test_a_button_that_is_gone_is_told(slack, stand_in):
    posted = slack.post("C0INCIDENTS", BUTTONS)
    form = {"channel": "C0INCIDENTS", "as": "U0ANA", "ts": posted.ts, "action": "no_such", "block": ""}
    assert "no longer there" in requests.post(f"{stand_in.url}press", data=form, timeout=5).text
    assert stand_in.service.requests == []


def test_a_request_can_be_delivered_twice_byte_for_byte(stand_in):
    stand_in.control("command", channel="incidents", user="U0ANA", text="/runbook list")
    stand_in.control("redeliver")
    first, second = stand_in.service.requests
    assert first[1] == second[1]
    assert first[2]["X-Slack-Signature"] == second[2]["X-Slack-Signature"]


def test_a_form_from_another_site_is_refused(stand_in):
    assert say(stand_in, "/runbook list", Origin="https://evil.example").status_code == 403
    assert stand_in.service.requests == []


def test_the_page_loads_nothing_from_elsewhere(stand_in):
    told = requests.get(stand_in.url, timeout=5)
    assert "default-src 'none'" in told.headers["Content-Security-Policy"]
    assert "Nothing has been said here yet" in told.text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', told.text):
        assert requests.get(stand_in.url + path[1:], timeout=5).status_code == 200


def test_a_waiting_page_learns_of_a_change_at_once(slack, stand_in):
    before = requests.get(f"{stand_in.url}changes", params={"since": "-"}, timeout=5).json()["revision"]
    told = []
    waiting = threading.Thread(
        target=lambda: told.append(requests.get(f"{stand_in.url}changes?since={before}", timeout=15).json())
    )
    waiting.start()
    slack.post("C0INCIDENTS", BUTTONS)
    waiting.join(10)
    assert told
    assert told[0]["revision"] > before


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("*a* _b_ ~c~ `d*e*`", "<strong>a</strong> <em>b</em> <del>c</del> <code>d*e*</code>"),
        ("pg_stat_activity 2*3*4", "pg_stat_activity 2*3*4"),
        (
            "<https://x.example/?a=1&amp;b=2|x &amp; y>",
            f'<a href="https://x.example/?a=1&amp;b=2" {APART}>x &amp; y</a>',
        ),
        ("<javascript:alert(1)|x>", "&lt;javascript:alert(1)|x&gt;"),
        (
            '<https://x.example/"onmouseover=alert(1)|x>',
            f'<a href="https://x.example/&#34;onmouseover=alert(1)" {APART}>x</a>',
        ),
        ("&lt;script&gt;", "&lt;script&gt;"),
        ('"quoted"', "&#34;quoted&#34;"),
        ("```\n<b>&lt;x&gt;\n```", "<pre><code>&lt;b&gt;&lt;x&gt;</code></pre>"),
        ("<@U1> <!here>", '<span class="mention">@Ana</span> <span class="mention shout">@here</span>'),
        ("<!date^0^{time}|x>", '<time datetime="1970-01-01T00:00:00+00:00">00:00 UTC</time>'),
        ("a\n&gt; b", "a<br><blockquote>b</blockquote>"),
        ("\ue0000\ue001", "0"),
    ],
)  # fmt: skip
def test_markup_is_shown_and_never_becomes_html(written, shown):
    assert str(mrkdwn(written, {"U1": "Ana"}, {})) == shown


@pytest.mark.parametrize(
    ("blocks", "code"),
    [
        ([{"type": "divider"}] * 51, "invalid_blocks"),
        ([{"type": "marquee"}], "invalid_blocks"),
        ([{"type": "section"}], "invalid_blocks"),
        ([{"type": "section", "text": {"type": "mrkdwn", "text": ""}}], "invalid_blocks"),
        ([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], "invalid_blocks"),
        ([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}], "invalid_blocks"),
        ([{"type": "context", "elements": []}], "invalid_blocks"),
        ([{"type": "actions", "elements": [{"type": "button", "text": LONG}]}], "invalid_blocks"),
        ([{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}], "invalid_blocks"),
        ([{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}] * 5, "msg_blocks_too_long"),
        ("x", "invalid_blocks_format"),
    ],
)  # fmt: skip
def test_blocks_beyond_slacks_limits_are_refused(blocks, code):
    with pytest.raises(SlackError) as caught:
        check_blocks(blocks)
    assert caught.value.code == code


def test_a_call_without_token_a_text_too_long_and_an_unknown_method_are_refused(stand_in):
    def call(method, token=TOKEN, **body):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.post(f"{stand_in.url}api/{method}", json=body, headers=headers, timeout=5).json()

    assert call("chat.postMessage", token="")["error"] == "not_authed"
    assert call("chat.postMessage", channel="C0INCIDENTS", text="x" * 40_001)["error"] == "msg_too_long"
    assert call("chat.postMessage", channel="C0INCIDENTS")["error"] == "no_text"
    assert call("chat.delete")["error"] == "unknown_method"
    form = {"token": TOKEN, "channel": "C0INCIDENTS", "text": "by form", "blocks": json.dumps([{"type": "divider"}])}
    assert requests.post(f"{stand_in.url}api/chat.postMessage", data=form, timeout=5).json()["ok"] is True


def test_messages_outlive_the_process_when_a_file_keeps_them(tmp_path):
    config = SlackConfig(TOKEN, SECRET, "http://127.0.0.1:9/", state=tmp_path / "slack.json")
    create_slack(config).extensions["slack_workspace"].post("C0INCIDENTS", "U0ANA", "hello", [])
    again = create_slack(config)
    assert [m.text for m in again.extensions["slack_workspace"].seen("C0INCIDENTS")] == ["hello"]
    with serve(again) as url:
        assert "hello" in requests.get(url, timeout=5).text


def test_it_runs_as_a_process_of_its_own_and_ends_on_a_signal(tmp_path):
    for name in ("token", "secret"):
        (tmp_path / name).write_text(f"{name}\n")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "runbooks_app.main.demo.slack", "--service-url", "http://127.0.0.1:9/",
            "--token-file", str(tmp_path / "token"), "--signing-secret-file", str(tmp_path / "secret"),
            "--person", "U9=Zoë", "--channel", "C9=ops",
        ],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    with process:
        url = process.stdout.readline().strip()
        page = requests.get(url, timeout=5).text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "Zoë" in page
    assert "# ops" in page

"""What workers say to people and open for them, told to the stand-in for Slack."""

from __future__ import annotations

import logging
import re
import time

import pytest
import requests
from slack_signing import SIGNING_SECRET
from web.conftest import ORIGIN, TEAM

from runbooks_app.actions import people
from runbooks_app.chat import forms
from runbooks_app.chat.client import Slack
from runbooks_app.core.errors import Unavailable
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.workspace import Fault
from runbooks_app.store.database import reading
from runbooks_app.worker import answering
from runbooks_app.worker.context import Worker

pytestmark = pytest.mark.chat

TOKEN = "xoxb-a-token-that-no-log-may-hold"
SAID = {"text": "db-latency is on its way", "blocks": []}


@pytest.fixture
def way() -> str:
    """Requests come in by HTTP: what a worker says has nothing to do with it."""
    return "http"


@pytest.fixture
def workspace(app, slack):
    """A workspace with this test's channel and user, whose Slack calls the service at its address."""
    with serve(app) as url:
        config = SlackConfig(
            TOKEN, SIGNING_SECRET, url, people={slack.user: "Ana", "U0BEN": "Ben"}, channels={slack.channel: "inc"},
            team_id=TEAM, rates=False,
        )  # fmt: skip
        stand_in = create_slack(config)
        with serve(stand_in) as own:
            yield stand_in.extensions["slack_workspace"], own


@pytest.fixture
def worker(service, workspace) -> Worker:
    """A worker that has nothing but Slack at hand."""
    return Worker("w1", service, None, None, Slack(TOKEN, base_url=f"{workspace[1]}api/", timeout=5), None, None)


@pytest.fixture
def do(worker, said_later):
    """Do the jobs that say something; how many there were."""

    def work() -> int:
        jobs = said_later()
        for job in jobs:
            answering.answer(worker, **job)
        return len(jobs)

    return work


def place(slack, **changed) -> dict:
    return {
        "team": TEAM, "user": slack.user, "user_name": "ana", "channel": slack.channel, "thread_ts": "",
        "response_url": "", "alone": False, **changed,
    }  # fmt: skip


def test_a_mention_is_answered_in_its_thread_for_all_to_see(slack, linked, workspace, do):
    linked("responder")
    asked = workspace[0].post(slack.channel, slack.user, "<@U0BOT> status", [])
    slack.mention("status", ts=asked.ts)
    assert do() == 1
    told = workspace[0].seen(slack.channel, "U0BEN")[-1]
    assert (told.thread_ts, told.only_for) == (asked.ts, "")
    assert "Nothing is running" in told.text


def test_who_is_unknown_sees_a_link_that_nobody_else_sees_and_that_works(slack, workspace, service, do, sign_in_as):
    asked = workspace[0].post(slack.channel, "U0BEN", "orders are slow", [])
    slack.interact("message_action", callback_id="run_runbook", channel={"id": slack.channel}, message={"ts": asked.ts})
    do()
    assert [told.ts for told in workspace[0].seen(slack.channel, "U0BEN")] == [asked.ts]
    told = workspace[0].seen(slack.channel, slack.user)[-1]
    code = re.search(rf"{ORIGIN}/link/([\w-]+)", str(told.blocks))[1]
    anna = sign_in_as("responder")
    assert people.link_chat(service, anna.person, {"surface": "web"}, code) == "ana"
    assert people.person_of_chat(service, TEAM, slack.user).subject == anna.person.subject


def test_an_answer_whose_fate_is_unknown_is_looked_for_and_stands_once(slack, worker, workspace):
    asked = workspace[0].post(slack.channel, slack.user, "<@U0BOT> status", [])
    said = {
        "place": place(slack, thread_ts=asked.ts),
        "message": SAID,
        "key": f"k{slack.user}",
        "asked_at": time.time(),
    }
    workspace[0].faults.append(Fault("chat.postMessage", "lost_answer"))
    with pytest.raises(Unavailable):
        answering.answer(worker, **said)
    for _ in range(2):
        answering.answer(worker, **said)
    assert [told.text for told in workspace[0].seen(slack.channel, "")] == [asked.text, SAID["text"]]


def test_an_answer_waits_as_long_as_slack_asks(slack, worker, workspace, said_later):
    workspace[0].faults.append(Fault("chat.postMessage", "ratelimited", retry_after=30))
    said = {"place": place(slack), "message": SAID, "key": f"k{slack.user}", "asked_at": time.time()}
    answering.answer(worker, **said)
    with reading(worker.service.engine) as tx:
        waits = tx.execute(
            "SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs WHERE task_name = 'answer'"
        ).scalar_one()
    assert 29 < waits <= 31
    assert said_later() == [said]


@pytest.mark.parametrize("url", ["http://evil.example/", "file:///etc/passwd", "https://slack.com.evil.example/", "x"])
def test_an_address_that_is_not_slacks_is_never_called(slack, worker, workspace, caplog, url):
    with caplog.at_level(logging.DEBUG):
        answering.answer(worker, place=place(slack, response_url=url), message=SAID, key="k", asked_at=time.time())
    assert "not Slack" in caplog.text
    assert workspace[0].seen(slack.channel, slack.user) == []


def test_what_slack_refuses_for_good_is_not_tried_again(slack, worker, workspace):
    workspace[0].faults.append(Fault("chat.postEphemeral", "error", "user_not_in_channel"))
    answering.answer(worker, place=place(slack, alone=True), message=SAID, key="k", asked_at=time.time())
    assert workspace[0].seen(slack.channel, slack.user) == []


def test_after_half_an_hour_nobody_waits_for_an_answer(slack, worker, workspace):
    answering.answer(worker, place=place(slack), message=SAID, key="k", asked_at=time.time() - 1801)
    assert workspace[0].seen(slack.channel, slack.user) == []


@pytest.fixture
def act(workspace):
    """`act("command", …)`: do something in the workspace, as people do; `act("views")`: look at it."""

    def control(what: str, **told) -> dict:
        answer = requests.request("POST" if told else "GET", f"{workspace[1]}control/{what}", json=told, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return control


def test_a_form_opens_is_corrected_and_runs_all_within_slack(slack, linked, worker, said_later, act, service):
    linked("responder")
    act("command", channel="inc", user=slack.user, text="/runbook disk-full ? limit=5")
    (job,) = said_later("open_form")
    answering.open_form(worker, **job)
    (shown,) = act("views")["views"]
    assert shown["user"] == slack.user
    assert shown["view"]["callback_id"] == forms.RUN_FORM
    act("submit", user=slack.user, values={"database": "orders-db", "limit": "many", "note": "it was the log"})
    (shown,) = act("views")["views"]
    assert "whole number" in shown["errors"]["limit"]
    act("submit", user=slack.user, values={"database": "orders-db", "limit": "7", "note": "it was the log"})
    assert act("views")["views"] == []
    with reading(service.engine) as tx:
        run = tx.execute("SELECT * FROM runs WHERE channel = :channel", channel=slack.channel).one()
    assert run.parameters == {"database": "orders-db", "limit": 7, "note": "it was the log"}


def test_a_message_shortcut_leads_to_a_runs_form_and_the_run_within_slack(
    slack, linked, worker, said_later, act, workspace, service
):
    linked("responder")
    asked = workspace[0].post(slack.channel, "U0BEN", "orders are slow", [])
    act("shortcut", channel="inc", user=slack.user, ts=asked.ts)
    (job,) = said_later("open_form")
    answering.open_form(worker, **job)
    act("submit", user=slack.user, values={"what": "disk-full ?", "text": "orders are slow"})
    (shown,) = act("views")["views"]
    assert shown["view"]["callback_id"] == forms.RUN_FORM
    act("submit", user=slack.user, values={"database": "orders-db", "limit": "7"})
    assert act("views")["views"] == []
    with reading(service.engine) as tx:
        assert tx.execute("SELECT state FROM runs WHERE channel = :c", c=slack.channel).scalars().all() == ["queued"]


def test_a_form_is_opened_once_and_not_by_a_trigger_that_has_run_out(slack, linked, worker, said_later, act, caplog):
    linked("responder")
    act("command", channel="inc", user=slack.user, text="/runbook disk-full ?")
    (job,) = said_later("open_form")
    answering.open_form(worker, **{**job, "asked_at": job["asked_at"] - 2.5})
    assert act("views")["views"] == []
    for _ in range(2):  # a job may be handed out again
        answering.open_form(worker, **job)
    assert len(act("views")["views"]) == 1
    assert "exchanged_trigger_id" in caplog.text
    assert job["trigger_id"] not in caplog.text


def test_without_a_token_nothing_is_tried(slack, service):
    worker = Worker("w1", service, None, None, None, None, None)
    answering.answer(worker, place=place(slack), message=SAID, key="k", asked_at=time.time())
    answering.open_form(worker, trigger_id="t", view={}, asked_at=time.time())


def test_neither_what_is_said_nor_where_to_reaches_the_log(slack, worker, workspace, caplog):
    url = f"{workspace[1]}respond/a-capability"
    with caplog.at_level(logging.DEBUG):
        answering.answer(
            worker, place=place(slack, response_url=url), message={**SAID, "text": "hunter2"}, key="k",
            asked_at=time.time(),
        )  # fmt: skip
    assert "a-capability" not in "".join(r.getMessage() for r in caplog.records if "werkzeug" not in r.name)
    assert "hunter2" not in caplog.text
    assert TOKEN not in caplog.text

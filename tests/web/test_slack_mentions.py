"""Mentions of the app: what they ask, how they are answered in their thread, and whose events are taken."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from slack_signing import SIGNING_SECRET
from web.conftest import ORIGIN, TEAM

from runbooks_app.store.database import connect, reading, transaction
from runbooks_app.web.app import create_app

pytestmark = pytest.mark.chat

THREAD = "1700000000.000100"


def runs_in(service, channel: str) -> list:
    with reading(service.engine) as tx:
        return tx.execute("SELECT * FROM runs WHERE channel = :channel ORDER BY requested_at", channel=channel).all()


def stands(service, channel: str, run_id: str, ts: str) -> None:
    """The run's message stands in this channel."""
    with transaction(service.engine) as tx:
        tx.execute(
            "INSERT INTO chat_messages (key, channel, about, ts, digest) VALUES (:key, :channel, :key, :ts, '')",
            key=f"run:{run_id}",
            channel=channel,
            ts=ts,
        )


def words(job: dict) -> str:
    return json.dumps(job["message"], ensure_ascii=False)


def test_a_mention_runs_a_runbook_and_is_answered_in_its_thread_where_others_see_it(slack, linked, service, said_later):
    anna = linked("responder")
    told = slack.mention("disk-full limit=5", ts=THREAD)
    assert (told.status_code, told.text) == (200, "")
    (run,) = runs_in(service, slack.channel)
    assert (run.parameters["limit"], run.requesters) == (5, [anna.subject])
    (job,) = said_later()
    assert f"{ORIGIN}/runs/{run.id}" in words(job)
    place = job["place"]
    assert (place["channel"], place["thread_ts"], place["alone"]) == (slack.channel, THREAD, False)


@pytest.mark.parametrize(
    "text",
    [
        "<@U0BOT> status",
        "status <@U0BOT>",
        "<@U0BOT|runbooks>\nstatus",
        "hey <@U0ANNA>, <@U0BOT> status",
        "<@U0BOT>status",
    ],
)
def test_what_is_said_to_the_app_stands_behind_its_name_or_before(slack, linked, said_later, text):
    linked("responder")
    slack.event("app_mention", text=text, ts=THREAD)
    assert "Nothing is running" in words(said_later()[0])


def test_a_retry_that_slack_signed_anew_does_nothing_again_and_says_nothing_again(slack, linked, service, said_later):
    linked("responder")
    for _ in range(3):
        slack.mention("disk-full", event_id=f"Ev0RETRIED{slack.user}")
        slack.mention("note it was the log", event_id=f"Ev0NOTED{slack.user}")
        slack.mention("status", event_id=f"Ev0STATUS{slack.user}")
        slack.mention("disk-ful", event_id=f"Ev0WRONG{slack.user}")
    assert len(runs_in(service, slack.channel)) == 1
    with reading(service.engine) as tx:
        assert (
            tx.execute(
                "SELECT count(*) FROM notes WHERE incident_id = :id", id=runs_in(service, slack.channel)[0].incident_id
            ).scalar_one()
            == 1
        )
    assert len(said_later()) == 4


def test_what_a_process_did_that_died_before_it_said_so_is_said_by_the_retry(
    slack, linked, service, said_later, monkeypatch
):
    linked("responder")
    monkeypatch.setattr("runbooks_app.web.slack.answering.say", lambda *_, **__: None)
    slack.mention("disk-full", event_id=f"Ev0DIED{slack.user}")
    monkeypatch.undo()
    slack.mention("disk-full", event_id=f"Ev0DIED{slack.user}")
    assert len(runs_in(service, slack.channel)) == 1
    assert "asked already" in words(said_later()[0])


@pytest.mark.parametrize("way", ["http"])
def test_with_the_database_away_slack_is_asked_to_come_again(slack, service):
    engine = connect("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1)
    away = create_app(replace(service, engine=engine), secret_key=b"x" * 32, slack_signing_secret=SIGNING_SECRET)
    slack.client = away.test_client()
    assert slack.mention("disk-full").status_code == 503
    engine.dispose()


def test_in_the_thread_of_a_run_a_command_means_that_run_and_its_incident(slack, linked, service, said_later):
    linked("responder")
    slack.command("disk-full")
    (first,) = runs_in(service, slack.channel)
    with transaction(service.engine) as tx:  # so that the second opens an incident of its own
        tx.execute("UPDATE incidents SET closed_at = now(), cause = 'x' WHERE id = :id", id=first.incident_id)
    slack.command("disk-full limit=2")
    second = runs_in(service, slack.channel)[1]
    assert second.incident_id != first.incident_id
    stands(service, slack.channel, second.id, f"1800000000.{slack.user[1:]}")
    with transaction(service.engine) as tx:
        tx.execute("UPDATE incidents SET closed_at = NULL WHERE id = :id", id=first.incident_id)
        tx.execute("UPDATE incidents SET opened_at = opened_at - interval '1 d' WHERE id = :id", id=second.incident_id)
    thread = {"thread_ts": f"1800000000.{slack.user[1:]}"}
    slack.mention("note the second", **thread)
    slack.mention("status", **thread)
    slack.mention("disk-full limit=3", **thread)
    slack.mention("cancel", **thread)
    with reading(service.engine) as tx:
        notes = tx.execute("SELECT incident_id FROM notes WHERE text = 'the second' ORDER BY id DESC LIMIT 1")
        assert notes.scalar_one() == second.incident_id
    told = said_later()
    assert second.id in words(told[1])
    assert first.id not in words(told[1])
    found = runs_in(service, slack.channel)
    assert [run.incident_id for run in found] == [first.incident_id, second.incident_id, second.incident_id]
    assert [run.state for run in found] == ["queued", "cancelled", "queued"]


def test_somebody_unknown_is_told_to_type_the_command_once_because_a_mention_brings_no_name(slack, service, said_later):
    slack.mention("disk-full", ts=THREAD)
    (job,) = said_later()
    assert "Type `/runbook` once in the channel" in words(job)
    assert job["place"]["alone"]
    assert job["place"]["user"] == slack.user
    with reading(service.engine) as tx:
        assert tx.execute("SELECT count(*) FROM chat_links WHERE chat_user = :u", u=slack.user).scalar_one() == 0
    assert runs_in(service, slack.channel) == []


def test_what_a_mention_is_told_to_type_is_a_mention_too(slack, linked, said_later):
    linked("responder")
    for said, told in (("note", "`@runbooks note blocked"), ("disk-full x", "`@runbooks disk-full ?`"),
                       ("list all of it", "`@runbooks list`"), ("disk-ful", "Did you mean: `@runbooks disk-full`"),
                       ("help", "`@runbooks list`")):  # fmt: skip
        slack.mention(said)
        (job,) = said_later()
        assert told in words(job)
        assert "/runbook" not in words(job)
    assert job["message"]["text"].endswith("runbooks")


def test_a_mention_without_what_must_be_named_is_answered_with_a_button_for_its_form(slack, linked, said_later):
    linked("responder")
    slack.mention("disk-full ? limit=5")
    (job,) = said_later()
    buttons = {button["action_id"]: button for button in job["message"]["blocks"][-1]["elements"]}
    assert buttons["open_page"]["url"] == f"{ORIGIN}/runbooks/disk-full?limit=5"
    told = slack.press("open_form", buttons["open_form"]["value"])
    assert (told.status_code, told.text) == (200, "")
    (opened,) = said_later("open_form")
    limit = next(block for block in opened["view"]["blocks"] if block.get("block_id") == "limit")
    assert limit["element"]["initial_value"] == "5"


@pytest.mark.parametrize("name", ["\x00", "\ud800", "x" * 99_999, "../runs"])
def test_a_run_that_cannot_be_named_is_not_cancelled(slack, linked, service, said_later, name):
    linked("responder")
    slack.command("disk-full")
    assert slack.press("cancel_run", name, response_url="https://hooks.slack.com/x").status_code == 200
    assert "There is no run" in words(said_later()[0])
    assert [run.state for run in runs_in(service, slack.channel)] == ["queued"]


@pytest.mark.parametrize("value", ["", "cancel", "disk-full", "note x", "\x00 ?", "unheard-of ?", "x" * 9_000])
def test_a_forged_button_for_a_form_does_nothing(slack, linked, service, said_later, value):
    linked("responder")
    slack.command("disk-full")
    assert slack.press("open_form", value).status_code == 200
    assert said_later("open_form") == []
    assert [run.state for run in runs_in(service, slack.channel)] == ["queued"]


@pytest.mark.parametrize(
    "event",
    [
        {"bot_id": "B1"}, {"subtype": "message_changed"}, {"user": ""}, {"user_team": "T0OTHER"},
        {"source_team": "T0OTHER"}, {"team": "T0OTHER"}, {"user_team": 5},
    ],
)  # fmt: skip
def test_bots_and_strangers_in_shared_channels_are_not_answered(slack, linked, held, said_later, event):
    linked("responder")
    before = held()
    assert slack.mention("disk-full", **event).status_code == 200
    assert held() == before


@pytest.mark.parametrize("team", ["T0OTHER", "", None, 5])
def test_an_event_of_another_workspace_is_refused(slack, linked, held, team):
    linked("responder")
    before = held()
    body = json.dumps({"team_id": team, "event_id": "Ev1", "event": {"type": "app_mention", "user": slack.user}})
    assert slack.send("/slack/events", body.encode()).status_code == 403
    assert held() == before


@pytest.mark.parametrize("way", ["http"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 50_000, b'{"event": 5}'])
def test_a_signed_event_that_cannot_be_read_is_refused(slack, held, body):
    before = held()
    assert slack.send("/slack/events", body).status_code in {403, 422}
    assert held() == before


@pytest.mark.parametrize("way", ["http"])
def test_the_address_for_events_proves_itself_to_slack_alone(slack):
    asked = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB10"}).encode()
    assert slack.send("/slack/events", asked).json == {"challenge": "3eZbrw1aB10"}
    assert slack.send("/slack/events", asked, secret="guessed").status_code == 403


def test_other_events_change_nothing(slack, linked, held, said_later):
    linked("responder")
    before = held()
    for kind in ("message", "reaction_added", "app_home_opened", ""):
        assert slack.event(kind, text="disk-full", ts=THREAD).status_code == 200
    assert held() == before


@pytest.mark.parametrize(
    "text", ["<!channel> *bold*", "<https://evil.example|click>", "`code`", "disk-full <!here>", "note"]
)
def test_markup_in_a_mention_comes_back_as_no_markup(slack, linked, said_later, text):
    linked("responder")
    slack.mention(text)
    told = words(said_later()[0])
    assert "<!channel>" not in told
    assert "<!here>" not in told
    assert "<https://evil" not in told


def test_no_text_of_a_mention_reaches_the_log(slack, linked, caplog):
    linked("responder")
    with caplog.at_level(logging.DEBUG, "runbooks_app"):
        slack.mention("disk-full note=hunter2")
        slack.mention("hunter2 hunter2")
        slack.mention("note hunter2")
    assert "hunter2" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("runbooks_app"))


def test_a_command_is_taken_once_however_slack_signs_it(slack, linked, service):
    linked("responder")
    form = {
        "team_id": TEAM, "user_id": slack.user, "channel_id": slack.channel, "command": "/runbook",
        "text": "disk-full", "trigger_id": f"1.2.{slack.user}",
    }  # fmt: skip
    for plus in (0, 1):
        slack.send("/slack/commands", urlencode(form).encode(), at=str(int(time.time()) - plus))
    assert len(runs_in(service, slack.channel)) == 1


@pytest.mark.parametrize("way", ["http"])
def test_what_a_process_did_not_get_done_before_it_died_is_done_by_the_retry(slack, linked, service, monkeypatch):
    linked("responder")
    slack.command("disk-full")
    incident = runs_in(service, slack.channel)[0].incident_id
    monkeypatch.setattr("runbooks_app.store.incidents.add_note", lambda *_, **__: 1 / 0)
    with contextlib.suppress(ZeroDivisionError):
        slack.mention("note it was the log", event_id=f"Ev0HALF{slack.user}")
    monkeypatch.undo()
    slack.mention("note it was the log", event_id=f"Ev0HALF{slack.user}")
    with reading(service.engine) as tx:
        assert tx.execute("SELECT count(*) FROM notes WHERE incident_id = :id", id=incident).scalar_one() == 1

"""Slack's forms: when one is opened, what it holds, and what becomes of what is sent off."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from urllib.parse import quote

import pytest
from slack_sdk.models.views import View
from web.conftest import ORIGIN, notebook

from runbooks_app.chat.scopes import SHORTCUT
from runbooks_app.library import Library
from runbooks_app.store.database import connect, reading
from runbooks_app.web.context import EXTENSION

pytestmark = pytest.mark.chat

PARAMETERS = """
from datetime import date, datetime, UTC
from typing import Literal
from runbook_library.kit import Connection

database: Connection["postgres"] = ""  # Whose orders are slow
size: Literal["small", "large"] = "small"  # How much to read
limit: int = 10  # Rows shown
share: float = 0.5  # Of all rows
every: bool = True  # Also those that ended
since: date = date(2026, 1, 31)  # First day
at: datetime = datetime(2026, 1, 31, 3, 12, tzinfo=UTC)  # The moment
names: list[str] = ["a", "b"]  # Only these
note: str = ""  # For the record
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Library:
    folder = tmp_path_factory.mktemp("library")
    (folder / "disk-full.ipynb").write_text(json.dumps(notebook()))
    told = notebook()
    told["metadata"]["runbook"] |= {
        "id": "9a1b3a52-7b7d-4a53-9a0e-5f3f5d3c9c12",
        "title": "Slow orders",
        "parameters": {"limit": {"minimum": 1, "maximum": 50}, "note": {"maxLength": 40}},
    }
    told["cells"][0]["source"] = PARAMETERS
    (folder / "slow-orders.ipynb").write_text(json.dumps(told))
    return Library(folder)


@pytest.fixture
def settings(settings) -> dict:
    return {**settings, "slack_login_days": 29}  # an app of its own: apps are kept by their settings


def runs_in(service, channel: str) -> list:
    with reading(service.engine) as tx:
        return tx.execute("SELECT * FROM runs WHERE channel = :channel ORDER BY requested_at", channel=channel).all()


def elements(view) -> dict:
    return {block["block_id"]: block["element"] for block in view["blocks"] if block["type"] == "input"}


def filled_in(view, **changed) -> dict:
    """What Slack sends of a form in which these fields were changed: everything else as it was at first."""
    states = {}
    for name, element in elements(view).items():
        first = element.get("initial_option")
        states[name] = {"type": element["type"], "value": element.get("initial_value")}
        if element["type"] == "static_select":
            states[name]["selected_option"] = first
        if element["type"] == "checkboxes":
            states[name]["selected_options"] = element.get("initial_options", [])
        if element["type"] == "datepicker":
            states[name]["selected_date"] = element.get("initial_date")
        states[name] |= changed.get(name, {})
    return states


@pytest.fixture
def opened(slack, linked, said_later):
    """The form of slow-orders, opened by somebody who may run it."""
    linked("responder")
    slack.command("slow-orders")
    (job,) = said_later("open_form")
    return job["view"]


def test_parameters_that_are_missing_are_asked_for_in_a_form_that_keeps_what_was_given(
    slack, linked, service, said_later
):
    linked("responder")
    before = time.time()
    told = slack.command('slow-orders limit=5 note="two words"', trigger_id=f"13345224609.{slack.user}")
    assert (
        f"{ORIGIN}/runbooks/slow-orders?limit=5&note={quote('two words').replace('%20', '+')}"
        in told.json["blocks"][1]["elements"][0]["url"]
    )
    assert runs_in(service, slack.channel) == []
    (job,) = said_later("open_form")
    assert job["trigger_id"] == f"13345224609.{slack.user}"
    assert before <= job["asked_at"] <= time.time()
    shown = elements(job["view"])
    assert (shown["limit"]["initial_value"], shown["note"]["initial_value"]) == ("5", "two words")


def test_a_form_has_an_input_of_the_parameters_own_type(opened):
    View(**opened).validate_json()
    shown = elements(opened)
    assert {name: element["type"] for name, element in shown.items()} == {
        "database": "static_select", "size": "static_select", "limit": "number_input", "share": "number_input",
        "every": "checkboxes", "since": "datepicker", "at": "plain_text_input", "names": "plain_text_input",
        "note": "plain_text_input",
    }  # fmt: skip
    assert shown["database"]["initial_option"]["value"] == "orders-db"  # the only one
    assert (shown["limit"]["min_value"], shown["limit"]["max_value"]) == ("1", "50")
    assert [shown[name]["is_decimal_allowed"] for name in ("limit", "share")] == [False, True]
    assert shown["since"]["initial_date"] == "2026-01-31"
    assert shown["note"]["max_length"] == 40
    optional = {block["block_id"]: block["optional"] for block in opened["blocks"] if block["type"] == "input"}
    assert [name for name, may_be_empty in optional.items() if not may_be_empty] == ["database"]


def test_a_form_is_opened_when_asked_for_with_values_also(slack, linked, said_later):
    linked("responder")
    slack.command("disk-full ? limit=7")
    (job,) = said_later("open_form")
    assert elements(job["view"])["limit"]["initial_value"] == "7"


def test_a_form_that_is_sent_off_asks_for_the_run_in_its_channel_and_closes(slack, opened, service):
    sent = filled_in(
        opened, limit={"value": "3"}, since={"selected_date": "2026-02-01"}, every={"selected_options": []},
        size={"selected_option": {"value": "large"}}, note={"value": None},
    )  # fmt: skip
    told = slack.submit(opened, sent)
    assert (told.status_code, told.text) == (200, "")
    (run,) = runs_in(service, slack.channel)
    assert run.parameters == {
        "database": "orders-db", "size": "large", "limit": 3, "share": 0.5, "every": False, "since": "2026-02-01",
        "at": "2026-01-31T03:12:00+00:00", "names": ["a", "b"], "note": "",
    }  # fmt: skip
    assert run.requested_by["signed_in"]["chat_user"] == slack.user


def test_what_cannot_be_used_is_told_beside_its_field_and_the_form_can_be_sent_off_again(slack, opened, service):
    sent = filled_in(opened, limit={"value": "51"}, at={"value": "noon"}, database={"selected_option": None})
    told = slack.submit(opened, sent, id=f"V0SAME{slack.user}").json
    assert told["response_action"] == "errors"
    assert set(told["errors"]) == {"limit", "at", "database"}
    assert "at most 50" in told["errors"]["limit"]
    assert "must be a time like" in told["errors"]["at"]
    assert runs_in(service, slack.channel) == []
    assert slack.submit(opened, filled_in(opened), id=f"V0SAME{slack.user}").text == ""
    assert len(runs_in(service, slack.channel)) == 1


def test_a_form_that_is_sent_off_twice_asks_for_one_run(slack, opened, service):
    for _ in range(2):
        told = slack.submit(opened, filled_in(opened), id=f"V{slack.user}")
    assert len(runs_in(service, slack.channel)) == 1
    assert "asked already" in json.dumps(told.json)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("slow-orders size=lage", "/runbook slow-orders size=large"),
        ("slow-orders large datbase=orders-d", "/runbook slow-orders size=large database=orders-db"),
    ],
)
def test_a_misspelt_value_is_corrected_too(slack, linked, said_later, typed, meant):
    linked("responder")
    assert f"Did you mean: `{meant}`" in json.dumps(slack.command(typed).json)
    assert said_later("open_form") == []


@pytest.mark.parametrize("value", ["prometheus", "orders-db2", "", "__import__('os')", "x" * 9_000, 5, ["orders-db"]])
def test_an_option_that_was_not_offered_is_refused(slack, opened, service, value):
    told = slack.submit(opened, filled_in(opened, database={"selected_option": {"value": value}})).json
    assert set(told["errors"]) == {"database"}
    assert runs_in(service, slack.channel) == []


@pytest.mark.parametrize(
    "metadata",
    ["", "{", "[]", "5", "null", '{"runbook": 5}', "[" * 5_000, '{"channel":"","thread_ts":"","runbook":"unheard-of"}'],
)
def test_a_form_that_names_nothing_known_starts_nothing(slack, opened, service, metadata):
    told = slack.submit(opened, filled_in(opened), private_metadata=metadata)
    assert told.status_code == 200
    assert told.json["response_action"] in {"errors", "update"}
    assert runs_in(service, slack.channel) == []


def test_what_a_form_carries_gives_no_right(slack, opened, linked, service):
    linked("viewer")  # who sends it off is another person now
    told = slack.submit(opened, filled_in(opened), private_metadata=json.dumps({
        "channel": slack.channel, "thread_ts": "", "runbook": "slow-orders", "roles": ["responder"], "user": "U1",
    }))  # fmt: skip
    assert "that takes the role responder" in json.dumps(told.json)
    assert runs_in(service, slack.channel) == []


@pytest.mark.parametrize("channel", ["../C1", "C1 C2", "<!channel>", "C" * 50])
def test_a_forged_channel_is_none(slack, opened, service, channel):
    slack.submit(opened, filled_in(opened), private_metadata=json.dumps({
        "channel": channel, "thread_ts": "", "runbook": "slow-orders",
    }))  # fmt: skip
    with reading(service.engine) as tx:
        assert tx.execute("SELECT count(*) FROM runs WHERE channel = :c", c=channel).scalar_one() == 0


def test_a_form_of_an_unknown_sender_gives_them_a_link_and_asks_for_nothing(slack, opened, service):
    slack.user += "X"
    assert "/link/" in json.dumps(slack.submit(opened, filled_in(opened)).json)
    assert runs_in(service, slack.channel) == []


@pytest.mark.parametrize("way", ["http"])  # through Socket Mode the service is the one at hand at its start
def test_with_the_database_away_a_form_stays_with_all_that_was_filled_in(slack, opened, service, app, monkeypatch):
    engine = connect("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1)
    held = app.extensions[EXTENSION]
    monkeypatch.setitem(app.extensions, EXTENSION, replace(held, service=replace(service, engine=engine)))
    told = slack.submit(opened, filled_in(opened))
    assert "nothing was changed" in json.dumps(told.json["errors"])
    engine.dispose()


def test_the_shortcut_of_a_message_offers_what_can_be_done_there(slack, linked, said_later):
    linked("responder")
    told = slack.interact(
        "message_action", callback_id=SHORTCUT, channel={"id": slack.channel}, message_ts="1700000000.000200",
        message={"ts": "1700000000.000200", "text": "p99 is at 4 s <!channel>"},
    )  # fmt: skip
    assert (told.status_code, told.text) == (200, "")
    (job,) = said_later("open_form")
    View(**job["view"]).validate_json()
    groups = elements(job["view"])["what"]["option_groups"]
    offered = [option["value"] for group in groups for option in group["options"]]
    assert {"status", "note", "incident", "attach", "close", "postmortem", "disk-full ?"} <= set(offered)
    assert {"cancel", "slow-orders ?"} <= set(offered)
    assert elements(job["view"])["text"]["initial_value"] == "p99 is at 4 s @channel"


@pytest.fixture
def shortcut(slack, linked, said_later):
    """The form of a message's shortcut, opened by a responder."""
    linked("responder")
    slack.interact(
        "message_action", callback_id=SHORTCUT, channel={"id": slack.channel},
        message={"ts": "1700000000.000200", "text": "it was the log"},
    )  # fmt: skip
    (job,) = said_later("open_form")
    return job["view"]


def test_a_messages_text_is_offered_as_people_read_it(slack, linked, said_later):
    linked("responder")
    text = "*<https://ci.example/7|db-latency>* p99 &gt; 4 s &amp; rising, ask <@U0BEN>"
    slack.interact(
        "message_action", callback_id=SHORTCUT, channel={"id": slack.channel}, message={"ts": "1.2", "text": text}
    )
    (job,) = said_later("open_form")
    read = "*db-latency (https://ci.example/7)* p99 > 4 s & rising, ask @U0BEN"
    assert elements(job["view"])["text"]["initial_value"] == read
    assert job["view"]["submit"]["text"] == "Go on"


def choose(slack, view, what: str, text: str | None = "it was the log"):
    return slack.submit(
        view, {"what": {"selected_option": {"value": what}}, "text": {"value": text}}, id=f"V{what}{slack.user}"
    )


def test_a_runbook_chosen_there_is_filled_in_in_the_same_form_and_then_runs(slack, shortcut, service):
    told = choose(slack, shortcut, "slow-orders ?").json
    assert told["response_action"] == "update"
    View(**told["view"]).validate_json()
    assert slack.submit(told["view"], filled_in(told["view"]), id=f"Vslow-orders ?{slack.user}").text == ""
    assert [run.runbook for run in runs_in(service, slack.channel)] == ["slow-orders"]


def test_a_message_is_noted_by_its_shortcut_once(slack, shortcut, service):
    slack.command("disk-full")
    incident = runs_in(service, slack.channel)[0].incident_id
    for _ in range(2):
        told = choose(slack, shortcut, "note")
    assert "asked already" in json.dumps(told.json)
    with reading(service.engine) as tx:
        notes = tx.execute("SELECT text FROM notes WHERE incident_id = :id", id=incident).scalars().all()
    assert notes == ["it was the log"]


def test_an_incident_is_closed_without_a_text_by_a_form_in_the_place_of_the_shortcuts(slack, shortcut, service):
    slack.command("disk-full")
    incident = runs_in(service, slack.channel)[0].incident_id
    told = choose(slack, shortcut, "close", None).json
    assert told["response_action"] == "update"
    View(**told["view"]).validate_json()
    cause = {name: {"type": "plain_text_input", "value": "a migration"} for name in elements(told["view"])}
    assert slack.submit(told["view"], cause, id=f"Vclose{slack.user}").text == ""
    with reading(service.engine) as tx:
        assert tx.execute("SELECT cause FROM incidents WHERE id = :id", id=incident).scalar_one() == "a migration"


def test_closing_and_cancelling_by_a_shortcut_are_asked_once_more(slack, shortcut, service):
    slack.command("disk-full")
    (run,) = runs_in(service, slack.channel)
    told = choose(slack, shortcut, "close").json
    (cause,) = [e for e in elements(told["view"]).values() if e["type"] == "plain_text_input"]
    assert cause["initial_value"] == "it was the log"
    with reading(service.engine) as tx:
        assert tx.execute("SELECT closed_at FROM incidents WHERE id = :id", id=run.incident_id).scalar_one() is None
    told = choose(slack, shortcut, "cancel").json
    View(**told["view"]).validate_json()
    assert "disk-full, asked by" in json.dumps(told["view"])
    assert [run.state for run in runs_in(service, slack.channel)] == ["queued"]
    said = slack.submit(told["view"], {"what": {"selected_option": {"value": run.id}}}, id=f"Vcancel{slack.user}")
    assert "disk-full is cancelled" in json.dumps(said.json)
    assert [run.state for run in runs_in(service, slack.channel)] == ["cancelled"]


@pytest.mark.parametrize(
    ("what", "text"), [("attach", "no run of ours"), ("attach", " "), ("note", " "), ("note", "no incident is open")]
)
def test_what_is_wrong_with_the_text_of_a_shortcut_stands_beside_it(slack, shortcut, what, text):
    told = choose(slack, shortcut, what, text).json
    assert told["response_action"] == "errors"
    assert set(told["errors"]) == {"text"}


def test_what_no_database_holds_is_noted_as_far_as_one_does(slack, shortcut, service):
    slack.command("disk-full")
    choose(slack, shortcut, "note", "half \ud800 and \0 none")
    with reading(service.engine) as tx:
        noted = tx.execute("SELECT text FROM notes ORDER BY id DESC LIMIT 1").scalar_one()
    assert noted == "half ? and \ufffd none"


def test_what_is_asked_by_the_shortcut_is_answered_in_its_form(slack, shortcut):
    told = choose(slack, shortcut, "status").json
    assert told["response_action"] == "update"
    View(**told["view"]).validate_json()
    assert "Nothing is running" in json.dumps(told["view"])


@pytest.mark.parametrize("what", ["", "approve", "../etc", "x" * 9_000, "note\x00"])
def test_a_forged_choice_does_nothing(slack, shortcut, service, held, what):
    before = held()
    told = choose(slack, shortcut, what)
    assert told.status_code == 200
    assert [name for name, digest in held().tables.items() if digest != before.tables[name]] in (
        [],
        ["chat_deliveries"],
    )


@pytest.mark.parametrize("user", [{"team_id": "T0OTHER"}, {"team_id": 5}])
def test_a_stranger_in_a_shared_channel_is_refused(slack, linked, held, user):
    linked("responder")
    before = held()
    told = slack.interact(
        "message_action", callback_id=SHORTCUT, channel={"id": slack.channel},
        user={"id": slack.user, "username": "ana", **user},
    )  # fmt: skip
    assert told.status_code == 403
    assert held() == before


@pytest.mark.parametrize("payload", [{"team": {"id": "T0OTHER"}}, {"team": None}, {"user": {}}, {"user": 5}])
def test_a_form_from_another_workspace_or_nobody_is_refused(slack, opened, held, payload):
    before = held()
    assert slack.interact("view_submission", view=opened, **payload).status_code == 403
    assert held() == before


def test_what_asks_nothing_is_acknowledged(slack, linked, held):
    linked("responder")
    before = held()
    for kind in ("view_closed", "block_suggestion", "dialog_submission", "", 5):
        told = slack.interact(kind, view={"callback_id": "run_form"})
        assert (told.status_code, told.text) == (200, "")
    assert slack.interact("view_submission", view={"callback_id": "unheard-of"}).status_code == 200
    assert slack.interact("message_action", callback_id="unheard-of").status_code == 200
    assert held() == before

"""Other chats by apprise, over real HTTP: what they are told, once and in order, and what never leaves with it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from notebooks import cell, write
from signing import approve
from worker.chats import ACT, ROWS, TOKEN, at_once, places, tell
from worker.conftest import ANA, BEN, CAT, WEB, while_working

from runbooks_app.actions import deciding, running
from runbooks_app.actions.alerting import end_storms
from runbooks_app.chat import elsewhere as chat
from runbooks_app.chat.elsewhere import read_places
from runbooks_app.core.audit import Event
from runbooks_app.core.people import Actor
from runbooks_app.store import alerts
from runbooks_app.store import chat as slack_rows
from runbooks_app.store.database import transaction
from runbooks_app.worker import elsewhere

pytestmark = [
    pytest.mark.chat,
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # one of apprise's services
]

SOURCE = Actor("alert", "alert:prod", "prod")


def test_an_ended_run_and_its_proposal_are_told_once_in_order_everywhere(told, mail, teams):
    run, (proposal,) = told.diagnosed(name="rows")
    tell(told)
    tell(told)
    for place in (mail, teams):
        assert [path for path, _ in place.got] == [f"/{TOKEN}"] * 2
        assert sorted(place.titles) == ["Do *\u200bit*: waits for approval", "rows on orders-db: diagnosed"]
    found = next(body["message"] for _, body in mail.got if "diagnosed" in body["title"])
    critical, info, *_ = found.splitlines()
    assert (critical.startswith("Critical: Session 7 blocks"), info) == (True, "Info: 3 rows")
    assert f"http://127.0.0.1:8080/runs/{run.id}" in found
    waits = next(body["message"] for _, body in mail.got if "waits" in body["title"])
    assert "for database" in waits
    assert f"http://127.0.0.1:8080/proposals/{proposal.id}" in waits
    deciding.decide(told.service, CAT, WEB, proposal.id, "deny", proposal.digest, "not now")
    tell(told)
    assert mail.titles[2:] == teams.titles[2:] == ["Do *\u200bit*: denied; nothing was changed"]
    assert "Denied by Cat" in mail.got[-1][1]["message"]


def test_nobody_is_called_and_nothing_is_a_link_but_our_own(told, mail):
    told.diagnosed(name="rows")
    tell(told)
    said = next(body["message"] for _, body in mail.got if "diagnosed" in body["title"])
    assert "@everyone" not in said
    assert "https://evil" not in said
    assert "<@U" not in said
    assert "jane@customer" not in said


def test_the_whole_way_to_applied_and_verified_is_told_by_its_end(told, mail, runbook, stuck):
    _, (proposal,) = told.diagnosed()
    approve(told.service, BEN, proposal)
    told.do_all()
    tell(told)
    assert [title.rpartition(": ")[2] for title in mail.titles] == ["diagnosed", "applied, verified"]


def test_what_a_restricted_connection_showed_stays_on_pages(told, mail, library_folder):
    connections = told.service.connections
    connections["orders-db"] = replace(connections["orders-db"], data_class="restricted")
    act = ACT.replace("SELECT 1", "SELECT 'jane@customer'::int")
    write(
        library_folder,
        "rows",
        cell("rows", ROWS, "diagnostic"),
        cell("act", act, "remediation"),
        connections={"orders-db": "postgres"},
    )
    _, (proposal,) = told.diagnosed(name="rows")
    deciding.decide(told.service, CAT, WEB, proposal.id, "approve", proposal.digest)
    told.do_all()
    tell(told)
    assert any("failed" in title for title in mail.titles)
    assert "jane" not in json.dumps(mail.got)
    assert "What happened stands on its page alone." in json.dumps(mail.got)


def test_why_a_restricted_proposal_was_made_and_what_went_wrong_stay_on_pages(told, mail, library_folder):
    connections = told.service.connections
    connections["orders-db"] = replace(connections["orders-db"], data_class="restricted")
    write(
        library_folder,
        "rows",
        cell("rows", ROWS.replace('"act"', '"act", reason="jane@customer waits"'), "diagnostic"),
        cell("more", "kit.propose('jane-customer')", "diagnostic"),
        cell("act", ACT, "remediation"),
        connections={"orders-db": "postgres"},
    )
    told.diagnosed(name="rows")
    tell(told)
    said = json.dumps(mail.got)
    assert "jane" not in said
    assert "Why: it stands on its page alone." in said
    assert "Went wrong: it stands on its page alone." in said


def test_a_place_that_is_new_hears_what_happens_from_then_on(told, mail, teams):
    told.diagnosed(name="rows")
    tell(told)
    more = read_places(f"{mail.address()}\n{teams.address('another')}")
    told = replace(told, worker=replace(told.worker, elsewhere=more))
    tell(told)
    assert len(mail.got) == 2
    told.diagnosed(name="rows")
    tell(told)
    assert [path for path, _ in teams.got].count("/another") == 2


def test_pictures_of_other_hosts_stay_out(mail):
    (place,) = read_places(f"mmost://127.0.0.1:{mail.port}/3ccdd113474722377935511fc85d3dd4")
    assert place.name == "Mattermost, line 1"
    assert chat.send(place, chat.Said("Title", "Text")) == ""
    ((_, body),) = mail.got
    assert "http" not in json.dumps(body)
    assert "Title" in body["text"]


def test_nobody_is_told_where_nothing_is_configured(house, mail):
    assert house.worker.elsewhere == ()
    elsewhere.tell_elsewhere(house.worker)
    assert places(house) == []


def test_a_storm_of_alerts_is_told_when_it_begins_and_when_it_is_over(told, mail):
    with transaction(told.service.engine) as tx:
        storm, first = alerts.hold(tx, "C1", {"slow-orders: budget": 3, "other": 1}, {})
        assert first
        tx.audit(SOURCE, Event.ALERTS_HELD, {"storm": storm.id}, {})
        tx.audit(SOURCE, Event.ALERTS_HELD, {}, {"maintenance": "patch night", "held": 7})
    tell(told)
    assert mail.titles == ["4 alerts without a diagnosis"]
    assert mail.got[0][1]["message"].startswith("slow-orders: budget (3)\nother (1)\nhttp")
    with transaction(told.service.engine) as tx:
        tx.execute("UPDATE alert_storms SET began_at = began_at - interval '1 h', last_at = last_at - interval '1 h'")
        tx.audit(SOURCE, Event.ALERTS_HELD, {"storm": storm.id}, {})
    assert end_storms(told.service) == 1
    tell(told)
    assert mail.titles[1:] == ["4 alerts without a diagnosis, over"]


def test_that_slack_takes_nothing_is_told_once_each_time_that_it_begins(told, mail, teams):
    teams.answers = 500
    for _ in range(2):
        with transaction(told.service.engine) as tx:
            slack_rows.hold_back(tx, "", timedelta(seconds=60), gone="The bot token is revoked (token_revoked).")
        for _ in range(2):
            tell(told)
        with transaction(told.service.engine) as tx:
            slack_rows.back(tx, "")
    assert mail.titles == ["Nothing can be told in Slack"] * 2
    assert "token_revoked" in mail.got[0][1]["message"]
    with transaction(told.service.engine) as tx:
        slack_rows.hold_back(tx, "", timedelta(seconds=60), gone="The bot token is revoked (token_revoked).")
    teams.answers = 200
    at_once(told)
    tell(told)
    assert teams.titles == ["Nothing can be told in Slack"]


def test_what_a_channel_could_not_be_told_is_told_here(told, mail):
    run, _ = told.diagnosed(name="rows")
    with transaction(told.service.engine) as tx:
        body = {"channel": "C1", "why": "The channel is archived.", "instead": ""}
        tx.audit(SOURCE, Event.CHAT_UNTOLD, {"run": run.id}, body)
    tell(told)
    assert mail.titles[-1] == "Slack's channel C1 takes nothing more"


def test_a_worker_tells_by_itself(told, mail):
    run = running.request_run(told.service, ANA, WEB, "rows", {})

    def wait() -> None:
        ends = time.monotonic() + 30
        while len(mail.got) < 2:
            assert time.monotonic() < ends, "nothing was told"
            time.sleep(0.05)

    while_working(told, wait)
    assert any(run.id in body["message"] for _, body in mail.got)

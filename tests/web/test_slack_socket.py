"""Socket Mode against a real server: what is acknowledged and when, and that the connection is kept.

What each command does is shown for both ways in by `test_slack.py`.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from slack_socket import APP_TOKEN, serve_socket_mode

from runbooks_app.chat.client import Slack
from runbooks_app.core.errors import Misconfigured
from runbooks_app.store.database import connect, reading, transaction
from runbooks_app.web.slack import socket
from runbooks_app.web.slack.socket import SocketMode

pytestmark = pytest.mark.chat

TEAM = "T0RUNBOOKS"


@pytest.fixture
def way():
    """The fixture `slack` only lends its user and channel here."""
    return "http"


@pytest.fixture
def server():
    with serve_socket_mode() as running:
        yield running


@pytest.fixture
def fetch(server, service, monkeypatch):
    """`fetch()` lets the service fetch its requests from the server, and try again soon where that fails."""
    monkeypatch.setattr(socket, "SHORTEST", 0.05)
    monkeypatch.setattr(socket, "OVERLAP", 0.5)
    begun = []

    def begin(token=APP_TOKEN, **changed):
        begun.append(SocketMode(replace(service, **changed), Slack(token, base_url=f"{server.url}api/")))
        begun[-1].start()
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()


@pytest.fixture
def command(slack, linked):
    """`command("list")` is what Slack sends when somebody who may start runs types that; a copy, with one trigger."""
    linked("responder")

    def typed(text, trigger="1", **more):
        return {
            "team_id": TEAM, "user_id": slack.user, "user_name": "ana", "channel_id": slack.channel,
            "command": "/runbook", "text": text, "trigger_id": f"{slack.user}.{trigger}", **more,
        }  # fmt: skip

    return typed


@pytest.fixture
def mention(slack):
    def said(text, event_id="1"):
        return {
            "type": "event_callback", "team_id": TEAM, "api_app_id": "A0", "event_id": f"Ev{slack.user}{event_id}",
            "authorizations": [{"team_id": TEAM, "user_id": "U0BOT", "is_bot": True}],
            "event": {
                "type": "app_mention", "user": slack.user, "text": f"<@U0BOT> {text}", "ts": "1700000000.000100",
                "channel": slack.channel, "event_ts": "1700000000.000100",
            },
        }  # fmt: skip

    return said


@pytest.fixture
def runs(service, slack):
    """How many runs were asked for in this channel."""

    def count():
        with reading(service.engine) as tx:
            return tx.execute("SELECT count(*) FROM runs WHERE channel = :c", c=slack.channel).scalar_one()

    return count


def test_a_command_is_acknowledged_with_the_words_for_its_author(server, fetch, command, runs):
    fetch()
    told = server.deliver("slash_commands", command("disk-full"), envelope_id="e-one")
    assert told["envelope_id"] == "e-one"
    assert told["payload"]["response_type"] == "ephemeral"
    assert runs() == 1


def test_nothing_is_acknowledged_before_it_is_committed(server, fetch, command, runs, service):
    fetch()
    with transaction(service.engine) as tx:
        tx.execute("LOCK TABLE runs IN SHARE MODE")
        assert server.deliver("slash_commands", command("disk-full"), envelope_id="e-held", patience=0.7) is None
    assert server.acknowledgement("e-held") is not None
    assert runs() == 1


def test_what_slack_sends_again_in_another_envelope_is_done_once(server, fetch, command, mention, runs):
    fetch()
    told = [server.deliver("slash_commands", command("disk-full")) for _ in range(2)]
    assert runs() == 1
    assert "asked already" in json.dumps(told[1])
    for again in range(3):
        assert server.deliver("events_api", mention("disk-full limit=3"), retry_attempt=again) is not None
    assert runs() == 2


def test_an_envelope_that_takes_no_answer_is_acknowledged_without_one(server, fetch, command, mention):
    fetch()
    told = server.deliver("slash_commands", command("list"), accepts_response_payload=False, envelope_id="e-bare")
    assert told == {"envelope_id": "e-bare"}
    assert server.deliver("events_api", mention("list"), envelope_id="e-event") == {"envelope_id": "e-event"}


@pytest.mark.parametrize("payload", [None, "text", [], {}, {"team_id": "T0OTHER"}, {"team_id": TEAM, "user_id": "../"}])
def test_what_names_no_workspace_or_cannot_be_read_is_not_acknowledged(server, fetch, command, held, payload):
    fetch()
    server.newest()
    before = held()
    # An event that nobody of the workspace caused asks nothing; that Slack may know.
    asks_nothing = {"events_api"} if isinstance(payload, dict) and payload.get("team_id") == TEAM else set()
    for kind in ("slash_commands", "interactive", "events_api", "hello_again", ""):
        server.newest().send(json.dumps({"type": kind, "payload": payload}))  # not even an envelope
        told = server.deliver(kind, payload, envelope_id=f"e-{kind}", patience=3 if kind in asks_nothing else 0.1)
        assert (told is not None) == (kind in asks_nothing)
    assert held().tables == before.tables
    assert server.deliver("slash_commands", command("help"), envelope_id="e-help") is not None
    assert set(server.acknowledged) == {"e-help", *(f"e-{kind}" for kind in asks_nothing)}
    assert len(server.connections) == 1


def test_without_a_workspace_in_the_settings_nothing_is_acknowledged(server, fetch, command, service):
    fetch(settings=service.settings.model_copy(update={"slack_team": ""}))
    assert server.deliver("slash_commands", command("help"), patience=0.5) is None
    with reading(service.engine) as tx:
        counted = "SELECT count FROM refusals WHERE reason = 'Socket Mode slash_commands: refused'"
        assert tx.execute(counted).scalar_one() > 0


def test_with_the_database_away_a_person_is_told_and_an_event_is_left_for_slack_to_repeat(
    server, fetch, command, mention
):
    fetch(engine=connect("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1))
    assert "nothing was changed" in json.dumps(server.deliver("slash_commands", command("list")))
    assert server.deliver("events_api", mention("list"), patience=0.5) is None


def test_a_connection_that_slack_wants_replaced_serves_beside_its_successor_until_slack_closes_it(
    server, fetch, command, runs, monkeypatch
):
    fetch()
    monkeypatch.setattr(socket, "OVERLAP", 60)
    first = server.newest()
    assert server.deliver("slash_commands", command("list", "0"), on=first) is not None  # it is in use by now
    server.disconnect("refresh_requested")
    second = server.newest(2)
    assert server.deliver("slash_commands", command("disk-full limit=2", "2"), on=second) is not None
    assert server.deliver("slash_commands", command("disk-full"), on=first) is not None
    first.close()
    assert server.left(first)
    assert second.connected
    assert runs() == 2


def test_a_connection_that_slack_wants_replaced_is_left_in_the_end(server, fetch):
    fetch()
    first = server.newest()
    server.disconnect("warning")
    assert server.left(first)
    assert server.newest(2).connected


@pytest.fixture
def at_once(monkeypatch):
    """A new connection is looked at when all that came behind its greeting has been read."""
    connect_to = socket._Connection.connect

    def connect_and_read(connection):
        connect_to(connection)
        assert connection.over.wait(10)
        monkeypatch.undo()

    monkeypatch.setattr(socket._Connection, "connect", connect_and_read)


@pytest.mark.pages
@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
def test_a_connection_that_slack_wants_replaced_as_soon_as_it_greeted_it_is_one_all_the_same(
    server, service, command, at_once, caplog, reason
):
    caplog.set_level(logging.INFO)
    server.farewells = [reason]
    fetching = SocketMode(service, Slack(APP_TOKEN, base_url=f"{server.url}api/"))
    fetching.start()
    first = server.newest()
    assert server.deliver("slash_commands", command("list", "0"), on=first) is not None
    assert server.newest(2).connected
    fetching.stop()
    assert "takes no connection" not in caplog.text
    assert f"is over ({reason})" in caplog.text


@pytest.mark.pages
def test_socket_mode_that_is_switched_off_is_told_with_the_next_step_though_slack_greets(
    server, service, at_once, caplog
):
    caplog.set_level(logging.WARNING)
    server.farewells = ["link_disabled"]
    fetching = SocketMode(service, Slack(APP_TOKEN, base_url=f"{server.url}api/"))
    fetching.start()
    server.newest(2)
    fetching.stop()
    assert "Slack takes no connection of Socket Mode. Switch Socket Mode on for the app again." in caplog.text


def test_a_connection_that_is_lost_without_a_word_is_made_anew_at_once(server, fetch, command):
    fetch()
    server.newest()
    for count in (2, 3, 4):
        server.drop()
        server.newest(count, patience=5)
    assert server.deliver("slash_commands", command("help")) is not None


def test_each_try_in_vain_is_followed_by_a_longer_pause(server, fetch, command):
    server.refusals = ["503", "internal_error", "503", "internal_error"]
    fetch()
    server.newest()
    pauses = [later - sooner for sooner, later in zip(server.opened, server.opened[1:], strict=False)]
    assert len(pauses) == 4
    assert all(pause > least for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4), strict=True))
    assert server.deliver("slash_commands", command("help")) is not None


def test_slack_that_asks_to_wait_is_given_that_time(server, fetch):
    server.refusals = ["429"]
    fetch()
    server.newest()
    assert server.opened[1] - server.opened[0] >= 1


def test_a_connection_that_is_not_greeted_is_not_trusted(server, fetch, command, monkeypatch):
    monkeypatch.setattr(socket, "GREETING", 1)
    server.mute = True
    fetch()
    server.newest()
    server.mute = False
    server.newest(2)
    assert server.deliver("slash_commands", command("help")) is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # slack_sdk forgets that socket
def test_a_handshake_that_is_refused_is_tried_again_with_a_new_ticket(server, fetch, command):
    server.unwelcome = 2
    fetch()
    server.newest()
    assert len(server.opened) == 3
    assert server.deliver("slash_commands", command("help")) is not None


def test_what_was_taken_is_acknowledged_before_the_process_leaves(server, fetch, command, service, runs):
    fetching = fetch()
    connection = server.newest()
    with ThreadPoolExecutor(1) as pool:
        with transaction(service.engine) as tx:
            tx.execute("LOCK TABLE runs IN SHARE MODE")
            assert server.deliver("slash_commands", command("disk-full"), envelope_id="e-last", patience=0.3) is None
            leaving = pool.submit(fetching.stop)
        leaving.result(10)
    assert server.acknowledgement("e-last") is not None
    assert server.left(connection)
    assert runs() == 1


def test_a_large_envelope_and_many_at_once_are_taken(server, fetch, command):
    fetch()
    message = {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}] * 200}
    assert server.deliver("slash_commands", command("help", message=message)) is not None
    with ThreadPoolExecutor(20) as pool:
        told = list(
            pool.map(lambda n: server.deliver("slash_commands", command("help", str(n)), patience=20), range(40))
        )
    assert all(told)


def test_neither_tokens_nor_tickets_nor_texts_reach_a_log(server, fetch, command, mention, caplog):
    caplog.set_level(logging.DEBUG)
    server.refusals = ["invalid_auth"]
    fetch()
    server.newest()
    server.deliver("slash_commands", command("disk-full hunter2"))
    server.deliver("slash_commands", {**command("hunter2"), "team_id": "T0OTHER"}, patience=0.3)
    server.deliver("events_api", mention("hunter2"))
    server.drop()
    server.newest(2)
    assert "Slack's requests cannot be fetched" in caplog.text
    # Werkzeug is Slack's side here.
    said = "\n".join(record.getMessage() for record in caplog.records if record.name != "werkzeug")
    for secret in (APP_TOKEN, "ticket", "hunter2", "xapp"):
        assert secret not in said


def test_a_token_that_slack_does_not_know_is_tried_again_and_told_with_the_next_step(server, fetch, caplog):
    caplog.set_level(logging.WARNING)
    fetching = fetch("xapp-another")
    server.asked(3)
    fetching.stop()
    assert "Slack refused to open a connection: invalid_auth." in caplog.text
    assert "xapp-another" not in caplog.text


@pytest.mark.parametrize(
    "address", ["ws://wss.slack.com/link/?ticket=1", "wss://wss.slack.com:8443/link/?ticket=1", ""]
)
def test_an_address_that_would_not_be_encrypted_is_not_used(monkeypatch, address):
    slack = Slack(APP_TOKEN, base_url="https://slack.com/api/")
    monkeypatch.setattr(slack, "_call", lambda *_, **__: {"ok": True, "url": address})
    with pytest.raises(Misconfigured, match="not encrypted"):
        slack.socket_address()


def test_a_proxy_of_the_environment_is_used_unless_the_host_is_excepted(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert socket.proxy_for("wss://wss.slack.com/link/?ticket=1") == "http://proxy.example:3128"
    assert socket.proxy_for("wss://wss.inside.example/link/?ticket=1") is None
    assert socket.proxy_for("ws://127.0.0.1:5000/link/") is None

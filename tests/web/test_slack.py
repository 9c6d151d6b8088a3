"""Slack: whose requests are taken, that each is taken once, and what each command does."""

from __future__ import annotations

import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from slack_signing import SIGNING_SECRET, signed

from runbooks_app.actions import people
from runbooks_app.actions.running import request_run
from runbooks_app.store.database import connect, reading
from runbooks_app.web.app import create_app

pytestmark = pytest.mark.chat
BY_HTTP_ALONE = pytest.mark.parametrize("way", ["http"], indirect=True)

ORIGIN = "http://127.0.0.1:8080"
TEAM = "T0RUNBOOKS"


def said(told) -> str:
    """Everything that an ephemeral answer says, its links included."""
    assert told.status_code == 200, told.text
    assert told.json["response_type"] == "ephemeral"
    return json.dumps(told.json, ensure_ascii=False)


def runs_in(service, channel: str) -> list:
    with reading(service.engine) as tx:
        return tx.execute("SELECT * FROM runs WHERE channel = :channel ORDER BY requested_at", channel=channel).all()


BODY = urlencode({"team_id": TEAM, "user_id": "U1", "command": "/runbook", "text": "help"}).encode()


def now(plus: int = 0) -> str:
    return str(int(time.time()) + plus)


FORGED = {
    "no signature": dict,
    "signature alone": lambda: {"X-Slack-Signature": signed(BODY, now())["X-Slack-Signature"]},
    "another secret": lambda: signed(BODY, now(), secret="guessed"),
    "an empty secret": lambda: signed(BODY, now(), secret=""),
    "another body": lambda: signed(BODY + b"&x=1", now()),
    "the body encoded anew": lambda: signed(BODY.replace(b"%2F", b"/"), now()),
    "stale": lambda: signed(BODY, now(-301)),
    "from the future": lambda: signed(BODY, now(+302)),
    "a timestamp that is no number": lambda: signed(BODY, "yesterday"),
    "a timestamp with a sign": lambda: signed(BODY, "-1"),
    "a fresh timestamp on an old signature": lambda: {**signed(BODY, now(-400)), "X-Slack-Request-Timestamp": now()},
    "a signature that is not ASCII": lambda: {**signed(BODY, now()), "X-Slack-Signature": "v0=\u00e9"},
}


@pytest.mark.parametrize("address", ["/slack/commands", "/slack/interactivity", "/slack/events"])
@pytest.mark.parametrize("forgery", FORGED)
def test_what_slack_did_not_sign_is_refused(client, held, address, forgery):
    before = held()
    told = client.post(address, data=BODY, headers=FORGED[forgery](), content_type="application/x-www-form-urlencoded")
    assert told.status_code == 403
    assert held() == before


@pytest.mark.parametrize("unset", ["", "   "])
def test_without_a_signing_secret_everything_is_refused(service, held, unset):
    client = create_app(service, secret_key=b"x" * 32, slack_signing_secret=unset).test_client()
    before = held()
    for secret in ("", "x", unset or "y"):
        told = client.post("/slack/commands", data=BODY, headers=signed(BODY, now(), secret=secret))
        assert told.status_code == 403
    assert held() == before


@pytest.mark.parametrize("team", ["T0OTHER", "", TEAM.lower()])
def test_another_workspace_is_refused(slack, linked, held, team):
    linked("responder")
    before = held()
    assert slack.command("disk-full", team_id=team).status_code == 403
    assert slack.press("cancel_run", "x", team={"id": team}).status_code == 403
    assert slack.press("cancel_run", "x", team=None).status_code == 403
    assert held() == before


@BY_HTTP_ALONE
def test_without_a_workspace_in_the_settings_everything_is_refused(slack, service):
    bare = replace(service, settings=service.settings.model_copy(update={"slack_team": ""}))
    slack.client = create_app(bare, secret_key=b"x" * 32, slack_signing_secret=SIGNING_SECRET).test_client()
    assert slack.command("help").status_code == 403
    assert slack.command("help", team_id="").status_code == 403


def test_refusals_of_strangers_are_counted_by_place_alone(client, service):
    client.post("/slack/commands", data=BODY)
    with reading(service.engine) as tx:
        counted = tx.execute("SELECT count FROM refusals WHERE reason = 'POST slack.command: refused'").scalar_one()
    assert counted >= 1


def test_a_session_is_no_way_in_and_slack_is_no_way_around_csrf(sign_in_as, held):
    anna = sign_in_as("responder")
    before = held()
    assert anna.post("/slack/commands", {"text": "disk-full"}).status_code == 403
    assert held() == before


def test_a_command_asks_for_a_run_in_its_channel_and_answers_with_its_page(slack, linked, service):
    anna = linked("responder")
    told = said(slack.command("disk-full limit=5"))
    run = runs_in(service, slack.channel)[0]
    assert f"{ORIGIN}/runs/{run.id}" in told
    assert run.parameters["limit"] == 5
    assert run.requesters == [anna.subject]
    how = run.requested_by["signed_in"]
    assert how == {"surface": "slack", "auth_time": None, "team": TEAM, "chat_user": slack.user}


def test_the_same_request_is_taken_once(slack, linked, service):
    linked("responder")
    body = urlencode({
        "team_id": TEAM, "user_id": slack.user, "channel_id": slack.channel, "command": "/runbook", "text": "disk-full",
    }).encode()  # fmt: skip
    at = now()
    told = [slack.send("/slack/commands", body, at=at) for _ in range(3)]
    assert len(runs_in(service, slack.channel)) == 1
    assert "asked already" in said(told[1])
    assert "asked already" in said(told[2])


def test_a_copy_of_any_other_command_tells_and_does_nothing(slack, linked, service, held):
    linked("responder")
    slack.command("disk-full")
    at = now()
    for text in ("note it was the log", "status", "list", "cancel"):
        body = urlencode({
            "team_id": TEAM, "user_id": slack.user, "channel_id": slack.channel, "command": "/runbook", "text": text,
        }).encode()  # fmt: skip
        slack.send("/slack/commands", body, at=at)
        before = held()
        assert "asked already" in said(slack.send("/slack/commands", body, at=at))
        assert held() == before


@BY_HTTP_ALONE
def test_a_body_that_arrives_encoded_otherwise_than_it_was_signed_is_refused(slack, linked, held):
    linked("responder")
    body = urlencode({"team_id": TEAM, "user_id": slack.user, "command": "/runbook", "text": "disk-full a=b"}).encode()
    before = held()
    for sent in (body.replace(b"+", b"%20"), body.replace(b"%2F", b"%2f"), body + b"&", body.lower()):
        assert sent != body
        assert slack.send("/slack/commands", body, sent=sent).status_code == 403
    assert held() == before


@BY_HTTP_ALONE
@pytest.mark.parametrize(
    "body",
    [
        b"team_id=" + TEAM.encode() + b"&team_id=" + TEAM.encode(),
        b"team_id=%FF",
        b"\xff",
        b"&".join(b"f%d=1" % n for n in range(200)),
        b"payload={",
        b"payload=[]",
        b'payload={"type":"block_actions","user":5}',
        b'payload={"type":"block_actions","user":{"id":"U1"},"actions":7}',
        b"payload=" + b"[" * 50_000,
    ],
)
def test_a_signed_body_that_cannot_be_read_is_refused(slack, held, body):
    before = held()
    assert slack.send("/slack/interactivity", body).status_code in {403, 422}
    assert slack.send("/slack/commands", body).status_code in {403, 422}
    assert held() == before


def test_somebody_unknown_gets_a_link_that_ties_the_account_once_they_sign_in(slack, sign_in_as, service):
    told = said(slack.command("disk-full"))
    assert runs_in(service, slack.channel) == []
    code = re.search(rf"{ORIGIN}/link/([\w-]+)", told)[1]
    anna, mallory = sign_in_as("responder"), sign_in_as("responder")
    for _ in range(2):  # looking uses nothing up
        page = anna.get(f"/link/{code}")
        assert page.status_code == 200
        assert "ana" in page.text
    assert people.person_of_chat(service, TEAM, slack.user) is None
    form = {"headers": {"Origin": ORIGIN}, "data": {"csrf": anna.csrf}}
    assert anna.client.post(f"/link/{code}", **form).status_code == 200
    assert people.person_of_chat(service, TEAM, slack.user).subject == anna.person.subject
    assert mallory.post(f"/link/{code}").status_code == 403
    assert mallory.get(f"/link/{code}").status_code == 404
    assert people.person_of_chat(service, TEAM, slack.user).subject == anna.person.subject
    assert "on its way" in said(slack.command("disk-full"))


def test_linking_wants_a_session_and_its_token(slack, client, sign_in_as, service):
    code = people.offer_chat_link(service, TEAM, slack.user, "ana")
    assert client.get(f"/link/{code}").location.startswith("/login?next=")
    assert client.post(f"/link/{code}", headers={"Origin": ORIGIN}).status_code == 401
    anna = sign_in_as()
    assert anna.post(f"/link/{code}", X_CSRF_Token=None).status_code == 403
    assert anna.post(f"/link/{code}", Origin="https://evil.example").status_code == 403
    assert people.person_of_chat(service, TEAM, slack.user) is None
    assert anna.get("/link/guessed").status_code == 404


def test_a_chat_name_on_the_page_is_escaped(slack, sign_in_as, service):
    code = people.offer_chat_link(service, TEAM, slack.user, "<img src=x>")
    assert "<img src=x>" not in sign_in_as("viewer").get(f"/link/{code}").text


def test_roles_are_those_of_the_linked_person_and_a_refusal_is_told_and_entered(slack, linked, service):
    ben = linked("viewer")
    told = said(slack.command("disk-full"))
    assert "that takes the role responder" in told
    assert runs_in(service, slack.channel) == []
    with reading(service.engine) as tx:
        entry = tx.execute(
            "SELECT body::jsonb AS body, actor::jsonb AS actor FROM audit_entries WHERE event = 'access.refused'"
            " AND objects::jsonb @> :who",
            who={"person": ben.subject},
        ).one()
    assert entry.body["what"] == "slack run"
    assert entry.actor["signed_in"]["surface"] == "slack"


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("viewer", "Running takes the role responder, which you have not."),
        ("responder", "No runbook here is of systems that you may diagnose."),
    ],
)
def test_who_can_run_nothing_is_told_why(slack, linked, service, monkeypatch, role, why):
    linked(role)
    for name, connection in service.connections.items():
        monkeypatch.setitem(service.connections, name, replace(connection, diagnosers=("admin",)))
    assert why in said(slack.command(""))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("disk-ful", "/runbook disk-full"),
        ("disk-full limt=5", "/runbook disk-full limit=5"),
        ('disk-fulll nota="two words" limit=5', '/runbook disk-full note="two words" limit=5'.replace('"', '\\"')),
        ("disk-ful ?", "/runbook disk-full ?"),
        ("disk-ful ? limt=5", "/runbook disk-full ? limit=5"),
        ("disk-full orders-db", "/runbook disk-full database=orders-db"),
        ("disk-full database=order-db", "/runbook disk-full database=orders-db"),
        ("statsu", "/runbook status"),
        ("nte it was the log", "/runbook note it was the log"),
        ("Disk-Ful limit=5", "/runbook disk-full limit=5"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_corrected_one(slack, linked, service, typed, meant):
    linked("responder")
    told = said(slack.command(typed))
    assert f"Did you mean: `{meant}`" in told
    assert runs_in(service, slack.channel) == []


@pytest.mark.parametrize("typed", ["zzz", "disk-full x=1 limit=many", "disk-full what", "disk-full limit=many", "\x00"])
def test_nothing_is_suggested_where_nothing_is_close_or_names_are_right(slack, linked, typed):
    linked("responder")
    assert "Did you mean: `" not in said(slack.command(typed))


def test_connections_that_a_person_may_not_use_are_not_suggested_to_them(slack, linked, service, monkeypatch):
    linked("responder")
    hidden = replace(service.connections["orders-db"], diagnosers=("admin",))
    monkeypatch.setitem(service.connections, "orders-db", hidden)
    assert "orders-db" not in said(slack.command("disk-full database=order-db"))


@pytest.mark.parametrize(
    "typed",
    ["disk-full limit=many", 'disk-full note="open', "disk-full wrong", "broken", "unheard-of", "note", "cancel a b"],
)
def test_what_cannot_be_done_is_told_to_who_typed_it(slack, linked, service, typed):
    linked("responder")
    assert "\u26a0" in said(slack.command(typed))
    assert runs_in(service, slack.channel) == []


@pytest.mark.parametrize(
    "text", ["<!channel> <@U1> *bold*", "<https://evil.example|click>", "`code`", "__import__('os')", "\u202e" * 50]
)
def test_markup_in_a_command_reaches_nobody_as_markup(slack, linked, text):
    linked("responder")
    told = said(slack.command(text))
    assert "<!channel>" not in told
    assert "<https://evil" not in told


def test_the_list_tells_what_this_person_can_run_here(slack, linked):
    linked("responder")
    for text in ("", "list", "  LIST "):
        assert "`/runbook disk-full`" in said(slack.command(text))
    assert "1 runbook cannot be read" in said(slack.command("list"))


def test_help_names_the_command_as_it_was_typed(slack, linked):
    linked("viewer")
    assert "/rb-test list" in said(slack.command("help", command="/rb-test"))


def test_a_form_is_on_the_runbooks_page(slack, linked):
    linked("responder")
    assert f"{ORIGIN}/runbooks/disk-full" in said(slack.command("disk-full ?"))


def test_status_tells_the_runs_of_this_channel(slack, linked, service):
    linked("responder")
    assert "Nothing is running" in said(slack.command("status"))
    slack.command("disk-full")
    run = runs_in(service, slack.channel)[0]
    assert run.id in said(slack.command("status"))
    assert run.id in said(slack.command(f"status {run.id}"))
    assert "There is no run" in said(slack.command("status nothing"))


def test_notes_and_the_postmortem_belong_to_the_channels_incident(slack, linked, service):
    linked("responder")
    assert "No incident is open" in said(slack.command("note hello"))
    assert "No incident is open" in said(slack.command("postmortem"))
    slack.command("disk-full")
    incident = runs_in(service, slack.channel)[0].incident_id
    assert "Noted" in said(slack.command("note it was <b>the log</b> & more"))
    with reading(service.engine) as tx:
        notes = tx.execute("SELECT text FROM notes WHERE incident_id = :id", id=incident).scalars().all()
    assert notes == ["it was <b>the log</b> & more"]
    assert f"{ORIGIN}/incidents/{incident}" in said(slack.command("postmortem"))


def test_a_command_outside_any_channel_runs_all_the_same(slack, linked, service):
    anna = linked("responder")
    said(slack.command("disk-full", channel_id=""))
    with reading(service.engine) as tx:
        assert tx.execute("SELECT count(*) FROM runs WHERE requesters @> :who", who=[anna.subject]).scalar_one() == 1


def test_who_presses_in_vain_is_told_why_by_a_job_of_a_worker(slack, linked, service, sign_in_as, said_later):
    url = "https://hooks.slack.com/actions/T0/1/x"
    run = request_run(service, sign_in_as("responder").person, {"surface": "web"}, "disk-full", {})
    told = slack.press("cancel_run", run.id, response_url=url)
    assert (told.status_code, told.text) == (200, "")
    (unknown,) = said_later()
    assert unknown["message"] is None  # the link is made where it is sent: it stands in no job
    assert unknown["place"]["response_url"] == url
    assert unknown["place"]["user"] == slack.user
    linked("viewer")
    slack.press("cancel_run", run.id, response_url=url)
    (refused,) = said_later()
    assert "that takes the role" in refused["message"]["text"]


@pytest.mark.parametrize("action", ["open_page", "approve", "cancel_run_", "", None])
def test_other_buttons_change_nothing(slack, linked, service, held, action):
    linked("responder", "approver:database")
    slack.command("disk-full")
    before = held()
    assert slack.press(action, runs_in(service, slack.channel)[0].id).status_code == 200
    assert slack.press("cancel_run", "x", type="view_submission").status_code == 200
    assert held() == before


@BY_HTTP_ALONE
def test_with_the_database_away_slack_is_told_so_in_words(service, slack):
    engine = connect("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1)
    away = create_app(replace(service, engine=engine), secret_key=b"x" * 32, slack_signing_secret=SIGNING_SECRET)
    slack.client = away.test_client()
    assert "nothing was changed" in said(slack.command("disk-full"))
    engine.dispose()


def test_no_text_of_a_command_reaches_the_log(slack, linked, caplog):
    linked("responder")
    with caplog.at_level(logging.DEBUG, "runbooks_app"):
        slack.command("disk-full note=hunter2")
        slack.command("disk-full hunter2")
        slack.command("note hunter2")
        slack.press("cancel_run", "hunter2")
    assert "hunter2" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("runbooks_app"))


def test_two_deliveries_of_one_request_at_once_start_one_run(slack, linked, service, app):
    linked("responder")
    body = urlencode({
        "team_id": TEAM, "user_id": slack.user, "channel_id": slack.channel, "command": "/runbook", "text": "disk-full",
    }).encode()  # fmt: skip
    headers = signed(body, now())
    form = "application/x-www-form-urlencoded"

    def deliver(_: int) -> int:
        told = app.test_client().post("/slack/commands", data=body, headers=headers, content_type=form)
        return told.status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(deliver, range(4))) == [200] * 4
    assert len(runs_in(service, slack.channel)) == 1

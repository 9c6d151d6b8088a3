"""Incidents from Slack: opened, listed, attached, closed by a form; and who may do none of it."""

from __future__ import annotations

import itertools
import json

import pytest
from slack_sdk.models.views import View

from runbooks_app.actions import incidents as actions
from runbooks_app.core.people import Actor
from runbooks_app.store import incidents, runs
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.chat

ORIGIN = "http://127.0.0.1:8080"
ALERT = Actor("alert", "alert:prod", "Alertmanager prod")
POSTMORTEM = {"type": "checkboxes", "selected_options": [{"value": "channel"}]}
_others = itertools.count(5000)


def words(cause: str) -> dict:
    return {"type": "plain_text_input", "value": cause}


def said(told) -> str:
    assert told.status_code == 200, told.text
    return json.dumps(told.json, ensure_ascii=False)


@pytest.fixture
def get(service):
    def look(incident_id: int):
        with reading(service.engine) as tx:
            return incidents.get(tx, incident_id)

    return look


@pytest.fixture
def alerted(service, slack):
    """An alert's incident in a channel of its own, and its run."""

    def fire(channel: str = ""):
        channel = channel or f"C0ALERTS{next(_others)}"
        with transaction(service.engine) as tx:
            incident = actions.open_for_alert(tx, ALERT, "DatabaseLatencyHigh", channel)
            run_id = f"{next(_others):a>16}".translate(str.maketrans("0189", "bcde"))
            row = tx.execute("SELECT * FROM runs LIMIT 1").first()
            assert row is not None
            tx.execute(
                """INSERT INTO runs (id, incident_id, runbook, revision, parameters, purpose, requested_by, requesters,
                     channel, state)
                   SELECT :id, :incident, runbook, revision, parameters, 'diagnosis', :by, '[]', :channel, 'diagnosed'
                   FROM runs WHERE id = :like""",
                id=run_id,
                incident=incident.id,
                by=ALERT.as_json(),
                channel=channel,
                like=row.id,
            )
        return incident, run_id

    return fire


def conversations(service, about: str) -> set[str]:
    """The channels in which this is told."""
    with reading(service.engine) as tx:
        return set(tx.execute("SELECT channel FROM chat_threads WHERE about = :about", about=about).scalars())


def stands(service, about: str, channel: str, ts: str) -> None:
    """A message of ours stands in the chat."""
    with transaction(service.engine) as tx:
        tx.execute(
            "INSERT INTO chat_messages (key, channel, ts, digest, about) VALUES (:about, :channel, :ts, '', :about)",
            about=about,
            channel=channel,
            ts=ts,
        )


def test_an_incident_is_opened_in_its_channel_and_told_there(slack, linked, service, here):
    linked("responder")
    told = said(slack.command("incident Checkout is slow", channel_name="inc-orders"))
    (incident,) = here()
    assert (incident.title, incident.channel) == ("Checkout is slow", slack.channel)
    assert f"{ORIGIN}/incidents/{incident.id}" in told
    assert f"Incident #{incident.id} is open" in told
    assert conversations(service, f"incident:{incident.id}") == {slack.channel}
    with reading(service.engine) as tx:
        assert [place.name for place in incidents.channels(tx, incident.id)] == ["inc-orders"]


def test_what_the_first_run_opens_knows_its_channels_name_where_slack_tells_one(slack, linked, here, service):
    linked("responder")
    for told, known in (("privategroup", ""), ("inc-orders", "inc-orders"), ("directmessage", "inc-orders")):
        slack.command("disk-full", channel_name=told)
        with reading(service.engine) as tx:
            assert [place.name for place in incidents.channels(tx, here()[0].id)] == [known]


def test_the_same_command_delivered_twice_opens_one(slack, linked, here):
    linked("responder")
    for _ in range(2):
        told = said(slack.command("incident Checkout is slow", trigger_id="t-same-" + slack.channel))
    assert "asked already" in told
    assert len(here()) == 1


def test_without_a_title_it_says_which_are_open(slack, linked):
    linked("responder")
    assert "No incident is open in this channel" in said(slack.command("incident"))
    for title in ("One", "Two <!channel>"):
        slack.command(f"incident {title}")
    told = said(slack.command("incident"))
    assert "2 incidents open here" in told
    assert "<!channel>" not in told


def test_of_several_a_note_goes_to_the_newest_unless_a_number_names_another(slack, linked, here, service):
    linked("responder")
    for title in ("One", "Two"):
        slack.command(f"incident {title}")
    two, one = here()
    assert f"Noted on #{two.id} Two" in said(slack.command("note for the second"))
    assert f"Noted on #{one.id} One" in said(slack.command(f"note #{one.id} for the first"))
    with reading(service.engine) as tx:
        assert [note.text for note in incidents.notes(tx, one.id)] == ["for the first"]


def test_a_run_joins_the_newest_and_the_answer_names_it(slack, linked, here):
    linked("responder")
    slack.command("incident One")
    assert "#" not in said(slack.command("disk-full")).partition("on its way")[2].partition("it tells")[0]
    slack.command("incident Two")
    assert f"on its way for #{here()[0].id} Two" in said(slack.command("disk-full"))


def test_in_the_thread_of_an_incident_its_own_is_meant(slack, linked, here, service, said_later):
    linked("responder")
    for title in ("One", "Two"):
        slack.command(f"incident {title}")
    one = here()[1]
    stands(service, f"incident:{one.id}", slack.channel, "1700000100.000100")
    slack.mention("note said in its thread", thread_ts="1700000100.000100", ts="1700000101.000100")
    with reading(service.engine) as tx:
        assert [note.text for note in incidents.notes(tx, one.id)] == ["said in its thread"]
    slack.mention("close a full disk", thread_ts="1700000100.000100", ts="1700000102.000100")
    assert [incident.title for incident in here()] == ["Two"]
    assert said_later()


def test_an_alerts_run_is_attached_to_the_channels_incident(slack, linked, here, service, get, alerted):
    linked("responder")
    slack.command("incident Checkout is slow")
    slack.command("disk-full")
    (incident,) = here()
    old, run_id = alerted()
    told = said(slack.command(f"attach {run_id}"))
    assert f"The run is part of #{incident.id} Checkout is slow" in told
    assert get(old.id).merged_into == incident.id
    assert slack.channel in conversations(service, f"run:{run_id}")


def test_an_incident_is_worked_in_a_second_channel(slack, linked, here, service, alerted):
    linked("responder")
    slack.command("disk-full")
    old, run_id = alerted()
    told = said(slack.command(f"attach #{old.id}", channel_name="inc-123"))
    assert f"#{old.id} DatabaseLatencyHigh is worked here too" in told
    assert old.id in [incident.id for incident in here()]
    assert slack.channel in conversations(service, f"run:{run_id}") & conversations(service, f"incident:{old.id}")


def chosen(number: object) -> dict:
    return {"what": {"type": "static_select", "selected_option": {"value": number}}}


def test_an_alerts_run_is_attached_by_a_form_that_offers_what_people_opened_and_once(
    slack, linked, here, service, get, alerted, said_later
):
    linked("responder")
    slack.command("incident Checkout <!channel> is slow")
    slack.command("disk-full")
    (incident,) = here()
    old, run_id = alerted()
    assert slack.press("attach_run", run_id).text == ""
    (job,) = said_later("open_form")
    View(**job["view"]).validate_json()
    offered = [option["value"] for option in job["view"]["blocks"][0]["element"]["options"]]
    assert str(incident.id) in offered
    assert str(old.id) not in offered
    told = [slack.submit(job["view"], chosen(str(incident.id)), id=f"V{run_id}").text for _ in range(2)]
    assert f"The run is part of #{incident.id}" in told[0]
    assert "asked already" in told[1]
    assert get(old.id).merged_into == incident.id
    with reading(service.engine) as tx:
        assert runs.get(tx, run_id).incident_id == incident.id


def test_closing_asks_which_where_several_are_open(slack, linked, here):
    linked("responder")
    for title in ("One", "Two"):
        slack.command(f"incident {title}")
    two, one = here()
    told = said(slack.command("close"))
    assert f"close #{one.id}" in told
    assert f"close #{two.id}" in told
    assert len(here()) == 2


@pytest.mark.parametrize("roles", [(), ("viewer",)])
def test_who_may_not_close_is_told_no_titles(slack, linked, service, said_later, roles):
    with transaction(service.engine) as tx:
        first, _ = (actions.open_for_alert(tx, ALERT, f"Secret merger {n}", slack.channel) for n in (1, 2))
    linked(*roles)
    told = said(slack.command("close"))
    assert "may not" in told
    assert "Secret merger" not in told
    for number in (first.id, 999_999_999):
        slack.press("close_incident", str(number), response_url="https://hooks.slack.com/x")
        assert "may not" in json.dumps(said_later())


def test_a_cause_that_is_typed_closes_it_at_once(slack, linked, here, get):
    linked("responder")
    slack.command("incident One")
    (one,) = here()
    assert "is closed" in said(slack.command("close a migration held a lock"))
    assert get(one.id).cause == "a migration held a lock"
    assert "is closed already" in said(slack.command(f"close #{one.id} again"))


def form(slack, said_later, *, press: int | None = None) -> dict:
    """The form that a command or a press has opened."""
    told = slack.press("close_incident", str(press)) if press else slack.command("close")
    assert told.status_code == 200
    return said_later("open_form")[-1]["view"]


def test_a_form_asks_for_the_cause_and_offers_the_postmortem(slack, linked, here, service, said_later, get):
    linked("responder")
    slack.command("incident One")
    (one,) = here()
    view = form(slack, said_later)
    View(**view).validate_json()
    assert "Close incident" in view["title"]["text"]
    told = slack.submit(view, {"cause": words("A full disk"), "postmortem": POSTMORTEM})
    assert told.status_code == 200
    assert get(one.id).cause == "A full disk"
    assert conversations(service, f"postmortem:{one.id}") == {slack.channel}
    with reading(service.engine) as tx:
        body = tx.execute(
            """SELECT body FROM audit_entries WHERE event = 'postmortem.exported' AND (objects::jsonb) @> :about""",
            about={"incident": one.id},
        ).scalar_one()
    assert json.loads(body) == {"kind": "md", "channel": slack.channel}


def test_the_form_opens_from_the_incidents_message_and_without_the_postmortem_where_none_is_wanted(
    slack, linked, here, service, said_later, get
):
    linked("responder")
    slack.command("incident One")
    (one,) = here()
    view = form(slack, said_later, press=one.id)
    slack.submit(view, {"cause": words("A full disk"), "postmortem": {"type": "checkboxes", "selected_options": []}})
    assert get(one.id).closed_at is not None
    assert conversations(service, f"postmortem:{one.id}") == set()


def test_what_is_wrong_stands_beside_the_field_and_closes_nothing(slack, linked, here, said_later, get):
    linked("responder")
    slack.command("incident One")
    (one,) = here()
    view = form(slack, said_later)
    told = slack.submit(view, {"cause": words("   ")})
    assert told.json["response_action"] == "errors"
    assert "cause" in told.json["errors"]
    assert get(one.id).closed_at is None
    slack.submit(view, {"cause": words("A full disk")})
    again = slack.submit(view, {"cause": words("Another")})
    assert "is closed already" in again.json["errors"]["cause"]
    assert get(one.id).cause == "A full disk"


def by_shortcut(slack, said_later, ts: str, what: str, text: str):
    """Choose this in the form that the shortcut of a message opens."""
    message = {"ts": ts, "text": "p99 is at 4 s"}
    slack.interact("message_action", callback_id="run_runbook", channel={"id": slack.channel}, message=message)
    view = said_later("open_form")[-1]["view"]
    return slack.submit(view, {"what": {"selected_option": {"value": what}}, "text": {"value": text}})


def test_the_shortcut_of_a_message_opens_attaches_and_closes(slack, linked, here, alerted, get, service, said_later):
    linked("responder")
    slack.command("disk-full")
    by_shortcut(slack, said_later, "1700000900.000100", "incident", "Checkout is slow")
    incident = here()[0]
    assert incident.title == "Checkout is slow"
    old, run_id = alerted(slack.channel)
    stands(service, f"run:{run_id}", slack.channel, "1700000901.000100")
    by_shortcut(slack, said_later, "1700000901.000100", "attach", f" {incident.id} ")
    assert get(old.id).merged_into == incident.id
    asked = by_shortcut(slack, said_later, "1700000901.000100", "close", "A full disk")
    assert get(incident.id).closed_at is None
    slack.submit(asked.json["view"], {"cause": words("A full disk, since monday")})
    assert get(incident.id).cause == "A full disk, since monday"
    assert "Say what is attached" in by_shortcut(slack, said_later, "1700000901.000100", "attach", " ").text


# What somebody tries.


@pytest.mark.parametrize("forged", ["999999999:C1", "x:C1", "", ":", "-1:C1", "1e3:C1"])
def test_a_form_that_names_what_there_is_not_closes_nothing(slack, linked, here, said_later, held, forged):
    linked("responder")
    slack.command("incident One")
    view = form(slack, said_later)
    before = held()
    told = slack.submit(view, {"cause": words("x")}, private_metadata=forged)
    assert told.status_code == 200
    assert held().tables["incidents"] == before.tables["incidents"]
    assert held().tables["chat_threads"] == before.tables["chat_threads"]


def test_a_postmortem_goes_into_no_channel_in_which_the_incident_is_not_worked(
    slack, linked, here, service, said_later, get
):
    linked("responder")
    slack.command("incident One")
    (one,) = here()
    view = form(slack, said_later)
    forged = f"{one.id}:C0GENERAL"
    slack.submit(view, {"cause": words("x"), "postmortem": POSTMORTEM}, private_metadata=forged)
    assert get(one.id).closed_at is None
    assert conversations(service, f"postmortem:{one.id}") == set()


def test_a_form_opened_elsewhere_offers_no_postmortem_there(slack, linked, here, said_later):
    linked("responder")
    slack.command("incident One")
    (one,) = here()
    slack.channel += "ELSE"
    assert "postmortem" not in [block.get("block_id") for block in form(slack, said_later, press=one.id)["blocks"]]


@pytest.mark.parametrize("roles", [(), ("viewer",), ("auditor",)])
def test_who_may_not_note_opens_attaches_and_closes_nothing(slack, linked, here, service, alerted, held, roles):
    with transaction(service.engine) as tx:
        mine = actions.open_for_alert(tx, ALERT, "One", slack.channel)
    linked(*roles)
    before = held()
    for typed in (
        "incident Two",
        f"attach #{mine.id}",
        f"attach {'a' * 16}",
        f"close #{mine.id} no",
        f"close #{mine.id}",
    ):
        assert "may not" in said(slack.command(typed))
    slack.press("close_incident", str(mine.id))
    slack.press("attach_run", "a" * 16)
    attaching = {"callback_id": "attach_run", "private_metadata": "a" * 16}
    slack.submit(attaching, chosen(str(mine.id)))
    after = held()
    assert {name for name in after.tables if after.tables[name] != before.tables[name]} <= {
        "chat_deliveries", "procrastinate_jobs", "procrastinate_events", "refusals"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("run_id", "number"),
    [("", ""), ("x", "1"), ("a" * 16, ""), ("a" * 16, "0x10"), ("../../x", "1"), ("a" * 5000, "1"), (5, 5)],
)
def test_a_forged_choice_attaches_nothing(slack, linked, held, run_id, number):
    linked("responder")
    before = held()
    assert slack.press("attach_run", run_id).status_code == 200
    told = slack.submit({"callback_id": "attach_run", "private_metadata": run_id}, chosen(number))
    assert told.status_code == 200
    assert held().tables["runs"] == before.tables["runs"]
    assert held().tables["incidents"] == before.tables["incidents"]


def test_a_direct_message_is_no_channel_to_attach_to(slack, linked, alerted, service, here):
    linked("responder")
    slack.command("disk-full")
    old, _ = alerted()
    slack.channel = "D0DIRECT"
    assert "is attached to a channel, and this is none" in said(slack.command(f"attach #{old.id}"))
    assert here() == []

"""An incident's page where it is worked in several channels, takes runs of another, and holds pinned messages."""

from __future__ import annotations

import json
from functools import partial

import pytest
from page_stories import ANNA, SURFACE, VERA

from runbooks_app.actions import incidents, running, writing
from runbooks_app.core.errors import Conflict, InvalidInput, Refused
from runbooks_app.core.people import Actor
from runbooks_app.core.writing import Section
from runbooks_app.store import incidents as rows
from runbooks_app.store import runs
from runbooks_app.store.database import new_id, reading, transaction

pytestmark = pytest.mark.chat

ALERT = Actor("alert", "alert:prod", "Alertmanager prod")


@pytest.fixture
def settings():
    return {"slack_team": "T0RUNBOOKS"}


@pytest.fixture
def place():
    """A channel of one's own: these tests share a database."""
    return "C" + new_id().upper()


def run_in(service, channel, **given):
    asked = {"database": "orders-db"}
    return running.request_run(service, ANNA, SURFACE, "db-latency", asked, channel=channel, **given)


def opened(service, title="Checkout is slow", channel=""):
    return incidents.open_incident(service, ANNA, SURFACE, title, channel)


def by_alert(service, channel):
    """An alert's incident, with the run that it asked for."""
    with transaction(service.engine) as tx:
        incident = incidents.open_for_alert(tx, ALERT, "DatabaseLatencyHigh", channel)
    return incident, run_in(service, channel, incident_id=incident.id)


def state(service, incident):
    with reading(service.engine) as tx:
        return rows.get(tx, incident.id)


def test_several_incidents_are_open_in_a_channel_and_a_run_joins_the_newest(service, story, place):
    first, second = opened(service, channel=place), opened(service, "Mails are late", channel=place)
    assert run_in(service, place).incident_id == second.id
    assert run_in(service, place, incident_id=first.id).incident_id == first.id
    with reading(service.engine) as tx:
        assert [incident.id for incident in rows.open_in(tx, place)] == [second.id, first.id]
        assert rows.open_in(tx, "") == []
    incidents.close_incident(service, ANNA, SURFACE, second.id, "The queue was full")
    assert run_in(service, place).incident_id == first.id


def test_an_incident_worked_in_a_second_channel_takes_the_runs_asked_for_there(service, story, place):
    incident, other = opened(service, channel=place), "C" + new_id().upper()
    incidents.attach_channel(service, ANNA, SURFACE, incident.id, other)
    assert run_in(service, other).incident_id == incident.id


def test_its_page_names_the_channels_and_leads_to_them(service, story, anna, place):
    incident = incidents.open_incident(service, ANNA, SURFACE, "Checkout is slow", place, channel_name="inc-<b>123")
    incidents.attach_channel(service, ANNA, SURFACE, incident.id, "C0ALERTS")
    page = anna.get(f"/incidents/{incident.id}")
    assert "Worked in #inc-<b>123 , C0ALERTS" in page.text
    assert "<b>123" not in page.html
    assert f'href="https://slack.com/app_redirect?team=T0RUNBOOKS&amp;channel={place}"' in page.html
    assert "Worked in C0ALERTS too" in page.text


def test_a_channel_that_the_settings_name_is_shown_by_its_name_and_leads_nowhere(service, story, anna):
    page = anna.get(f"/incidents/{opened(service, channel='incidents').id}")
    assert "Worked in #incidents" in page.text
    assert "app_redirect" not in page.html


def test_an_alerts_run_belongs_to_the_incident_that_it_is_attached_to_and_the_alerts_own_is_a_part_of_it(
    service, story, anna, place
):
    alerted, run = by_alert(service, "C0ALERTS")
    incidents.add_note(service, ANNA, SURFACE, alerted.id, "Looking")
    incident = opened(service, channel=place)
    incidents.attach_run(service, ANNA, SURFACE, run.id, incident.id)
    part = state(service, alerted)
    assert (part.merged_into, part.cause) == (incident.id, f"Part of incident {incident.id}.")
    page = anna.get(f"/incidents/{incident.id}").text
    for told in (
        f"Incident {alerted.id}, now part of this one, opened: DatabaseLatencyHigh",
        "db-latency requested",
        f"db-latency attached, which belonged to incident {alerted.id}",
        "Looking",
    ):
        assert told in page
    assert f"It is part of incident #{incident.id}" in anna.get(f"/incidents/{alerted.id}").text
    with pytest.raises(Conflict, match=f"closed as a part of incident {incident.id}"):
        incidents.attach_channel(service, ANNA, SURFACE, alerted.id, "C1")


@pytest.mark.pages
def test_prose_is_proved_by_its_own_incidents_entry_also_where_another_became_part_of_it(service, story, anna, place):
    alerted, run = by_alert(service, place)
    incident = opened(service)
    write = partial(writing.write_postmortem, service, ANNA, SURFACE)
    write(incident.id, Section.SUMMARY, 0, "A migration held a lock.")
    with reading(service.engine) as tx:
        entry = tx.execute("SELECT max(seq) FROM audit_entries WHERE event = 'postmortem.edited'").scalar_one()
    write(alerted.id, Section.SUMMARY, 0, "Latency rose.")
    incidents.attach_run(service, ANNA, SURFACE, run.id, incident.id)
    form = {"csrf": anna.csrf, "kind": "md"}
    told = anna.client.post(
        f"/incidents/{incident.id}/postmortem", data=form, headers={"Origin": "http://127.0.0.1:8080"}
    )
    (line,) = [line for line in told.text.splitlines() if line.startswith("Written by")]
    assert f"entry {entry}" in line, line


def test_what_a_person_opened_stays_open_when_its_last_run_is_attached_elsewhere_and_says_where_it_went(
    service, story, anna, place
):
    mine, incident = opened(service, "Mine", place), opened(service)
    run = run_in(service, place)
    incidents.attach_run(service, ANNA, SURFACE, run.id, incident.id)
    incidents.attach_run(service, ANNA, SURFACE, run.id, incident.id)  # twice is once
    assert state(service, mine).closed_at is None
    page = anna.get(f"/incidents/{mine.id}").text
    assert page.count(f"db-latency attached to incident {incident.id}") == 1


def test_an_alerts_incident_with_another_run_stays_open(service, story, place):
    alerted, run = by_alert(service, place)
    run_in(service, place, incident_id=alerted.id)
    incidents.attach_run(service, ANNA, SURFACE, run.id, opened(service).id)
    assert state(service, alerted).closed_at is None


def test_its_page_takes_a_run_of_another_open_incident(service, story, anna, vera, place):
    alerted, run = by_alert(service, place)
    page = f"/incidents/{opened(service).id}"
    shown = anna.get(page)
    assert f'<option value="{run.id}">' in shown.html
    assert f"#{alerted.id} DatabaseLatencyHigh" in shown.text
    assert vera.post(f"{page}/runs", run=run.id).status == 403
    assert anna.post(f"{page}/runs", run=run.id).status == 303
    assert state(service, alerted).merged_into is not None
    shown = anna.get(page)
    assert "db-latency attached, which belonged" in shown.text
    assert run.id not in shown.html.partition("Attach a run")[2]
    assert anna.post(f"{page}/runs", run="<b>").status == 404
    assert "Attach a run" not in vera.get(page).text


def test_parts_of_a_part_are_parts_of_the_whole(service, story, anna, place):
    first, run = by_alert(service, place)
    second, other = by_alert(service, place)
    incidents.attach_run(service, ANNA, SURFACE, run.id, second.id)
    whole = opened(service)
    for each in (run, other):
        incidents.attach_run(service, ANNA, SURFACE, each.id, whole.id)
    assert {state(service, part).merged_into for part in (first, second)} == {whole.id}
    assert anna.get(f"/incidents/{whole.id}").text.count("now part of this one") == 2


def test_rechecks_go_along_and_are_attached_by_no_one(service, story):
    run_id, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.mend(proposal_id)
    incident = opened(service)
    with reading(service.engine) as tx:
        recheck = tx.execute("SELECT id FROM runs WHERE proposal_id = :id", id=proposal_id).scalar_one()
    with pytest.raises(Refused, match="attach the run that made it"):
        incidents.attach_run(service, ANNA, SURFACE, recheck, incident.id)
    incidents.attach_run(service, ANNA, SURFACE, run_id, incident.id)
    with reading(service.engine) as tx:
        assert runs.get(tx, recheck).incident_id == incident.id


@pytest.mark.parametrize("channel", ["", "D0DIRECT", "#inc", "C0 ORDERS", "c0orders", "C" * 60, "T0RUNBOOKS"])
def test_what_is_no_channel_is_attached_to_nothing(service, story, channel):
    with pytest.raises(InvalidInput):
        incidents.attach_channel(service, ANNA, SURFACE, opened(service).id, channel)


def test_who_may_not_note_opens_attaches_and_pins_nothing(service, story, place):
    incident, run = by_alert(service, place)
    pinned = incidents.Pinned("C1:1.1", "Ben", "hm")
    for act in (
        lambda: incidents.open_incident(service, VERA, SURFACE, "no", place),
        lambda: incidents.attach_run(service, VERA, SURFACE, run.id, incident.id),
        lambda: incidents.attach_channel(service, VERA, SURFACE, incident.id, "C1"),
        lambda: incidents.pin(service, VERA, SURFACE, incident.id, pinned),
        lambda: incidents.close_incident(service, VERA, SURFACE, incident.id, "no"),
    ):
        with pytest.raises(Refused):
            act()


def test_nothing_is_attached_to_what_is_closed(service, story, place):
    closed, run = opened(service, channel=place), run_in(service, "C" + new_id().upper())
    incidents.close_incident(service, ANNA, SURFACE, closed.id, "Solved")
    with pytest.raises(Conflict, match="is closed"):
        incidents.attach_run(service, ANNA, SURFACE, run.id, closed.id)
    with pytest.raises(Conflict, match="is closed"):
        incidents.attach_channel(service, ANNA, SURFACE, closed.id, "C1")


def test_a_pinned_message_is_one_note_with_who_wrote_it_and_where_it_stands(service, story, anna, place):
    incident = opened(service, channel=place)
    link = "https://acme.slack.com/archives/C1/p1700000000000100"
    pinned = incidents.Pinned(f"{place}:1700000000.000100", "Ben", "Rolled <b>back</b>", link)
    assert incidents.pin(service, ANNA, SURFACE, incident.id, pinned) is not None
    assert incidents.pin(service, ANNA, SURFACE, incident.id, pinned) is None
    page = anna.get(f"/incidents/{incident.id}")
    assert page.text.count("Ben wrote: Rolled <b>back</b>") == 1
    assert f'href="{link}"' in page.html
    document = anna.client.post(
        f"/incidents/{incident.id}/postmortem",
        data={"csrf": anna.csrf, "kind": "md"},
        headers={"Origin": "http://127.0.0.1:8080"},
    ).get_data(as_text=True)
    assert "pinned what Ben wrote" in document


def test_an_alert_stands_on_the_timeline_when_it_fires_and_when_it_resolves(service, story, anna, place):
    incident, _ = by_alert(service, place)
    with transaction(service.engine) as tx:
        tx.execute(
            """INSERT INTO alerts (source, fingerprint, starts_at, group_key, status, labels, annotations, link,
                 outcome, incident_id, resolved_at)
               VALUES ('prod', :print, now(), 'g', 'resolved', :labels, :said, :link, 'run', :incident, now())""",
            print=place,
            labels={"alertname": "DatabaseLatencyHigh"},
            said={"summary": "p99 is <i>2 s</i>"},
            link="javascript:alert(1)",
            incident=incident.id,
        )
    page = anna.get(f"/incidents/{incident.id}")
    assert "Alert: DatabaseLatencyHigh: p99 is <i>2 s</i>" in page.text
    assert "Resolved: DatabaseLatencyHigh: p99 is <i>2 s</i>" in page.text
    assert "javascript:" not in page.html


def test_attaching_is_entered_with_where_it_came_from(service, story, place):
    alerted, run = by_alert(service, place)
    incident = opened(service)
    incidents.attach_run(service, ANNA, SURFACE, run.id, incident.id)
    incidents.attach_channel(service, ANNA, SURFACE, incident.id, place)
    with reading(service.engine) as tx:
        entries = tx.execute(
            """SELECT event, objects, body FROM audit_entries
               WHERE (objects::jsonb) @> :about AND event LIKE '%attached' ORDER BY seq""",
            about={"incident": incident.id},
        ).all()
    told = [(event, json.loads(objects), json.loads(body)) for event, objects, body in entries]
    about = {"from": alerted.id, "incident": incident.id, "run": run.id}
    assert told == [
        ("run.attached", about, {"runbook": "db-latency"}),
        ("incident.attached", {"incident": incident.id}, {"channel": place}),
    ]

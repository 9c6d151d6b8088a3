"""Alerts as their senders send them: written once, diagnosed by nobody's act, held back where they must be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alert_sender import Sender

from runbooks_app.actions import alerting, incidents
from runbooks_app.core.incident_steps import durations
from runbooks_app.store import alerts
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.chat


@pytest.fixture
def sender(service, tmp_path):
    return Sender(service, tmp_path)


def test_an_alert_brings_its_diagnosis_with_no_human_act(sender):
    assert sender.outcomes(sender.alert()) == ["run"]
    (run,) = sender.runs()
    assert run.parameters == {"database": "orders-db", "note": "", "limit": 10}
    assert run.requesters == []
    assert (run.requested_by["kind"], run.requested_by["subject"]) == ("alert", "alert:prod")
    assert run.requested_by["name"] == "alert LatencyHigh"
    (incident,) = sender.rows("SELECT * FROM incidents WHERE id = :id", id=run.incident_id)
    assert (incident.title, incident.channel) == ("LatencyHigh: p99 is 2 s", sender.channel)
    assert incident.opened_by["kind"] == "alert"
    jobs = sender.rows("SELECT 1 FROM procrastinate_jobs WHERE args ->> 'run_id' = :id", id=run.id)
    assert jobs
    threads = sender.rows("SELECT 1 FROM chat_threads WHERE about = :about", about=f"run:{run.id}")
    assert threads
    (entry,) = sender.entries("alert.received")
    assert (entry["outcome"], entry["alerts"], entry["names"]) == ("run", 1, ["LatencyHigh"])


def test_no_run_of_an_alert_counts_as_somebody_who_has_taken_it_up(sender, sign_in_as):
    sender.outcomes(sender.alert())
    (run,) = sender.runs()

    def acknowledged():
        with reading(sender.service.engine) as tx:
            return durations(incidents.incident_story(tx, sender.service, run.incident_id)).acknowledge

    assert acknowledged() is None
    person = sign_in_as("responder").person
    incidents.add_note(sender.service, person, {"surface": "web"}, run.incident_id, "I am looking.")
    assert acknowledged() is not None


def test_alerts_of_one_group_that_ask_for_the_same_run_bring_one(sender):
    assert sender.outcomes(sender.alert(pod="a"), sender.alert(pod="b"), sender.alert(pod="c")) == [
        "run", "joined", "joined",
    ]  # fmt: skip
    (run,) = sender.runs()
    assert {row.run_id for row in sender.kept()} == {run.id}
    assert {row.incident_id for row in sender.kept()} == {run.incident_id}


def test_a_group_whose_alerts_need_different_diagnoses_has_them_in_one_incident(sender):
    assert sender.outcomes(sender.alert(note="a"), sender.alert(note="b")) == ["run", "run"]
    first, second = sender.runs()
    assert first.incident_id == second.incident_id
    assert {run.parameters["note"] for run in (first, second)} == {"a", "b"}


def test_while_a_run_goes_or_just_began_the_same_alert_brings_no_second_one(sender):
    alert = sender.alert()
    assert sender.outcomes(alert) == ["run"]
    assert sender.outcomes(alert) == ["run"]  # what was told again is what it was
    (run,) = sender.runs()
    sender.end(run, ago=60)
    assert sender.outcomes(alert) == ["run"]
    assert len(sender.runs()) == 1
    (row,) = sender.kept()
    assert (row.seen, row.run_id) == (3, run.id)
    assert len(sender.entries("alert.received")) == 1


def test_an_alert_that_flaps_is_on_the_timeline_and_brings_no_second_run_within_its_window(sender):
    for minute in range(5):
        sender.outcomes(sender.alert(start=minute))
        sender.outcomes(sender.alert("resolved", start=minute))
    (run,) = sender.runs()
    rows = sender.kept()
    assert [row.outcome for row in rows] == ["run"] + ["joined"] * 4
    assert {row.status for row in rows} == {"resolved"}
    assert {row.incident_id for row in rows} == {run.incident_id}
    with reading(sender.service.engine) as tx:
        story = incidents.incident_story(tx, sender.service, run.incident_id)
    lines = [item.text for item in story.items if item.kind == "alert"]
    assert sum(line.startswith("Alert: LatencyHigh") for line in lines) == 5
    assert sum(line.startswith("Resolved: LatencyHigh") for line in lines) == 5
    assert len(sender.entries("alert.resolved")) == 5


def test_what_still_fires_after_the_window_is_diagnosed_anew_in_the_same_incident(sender):
    alert = sender.alert()
    sender.outcomes(alert)
    (run,) = sender.runs()
    sender.end(run, ago=1_801)
    assert sender.outcomes(alert) == ["run"]
    runs = sender.runs()
    assert len(runs) == 2
    assert len({one.incident_id for one in runs}) == 1


def test_of_an_alerts_long_past_only_those_that_are_told_are_read(sender):
    for minute in range(3):
        sender.outcomes(sender.alert(start=minute))
    past = sender.kept()
    with reading(sender.service.engine) as tx:
        (found,) = alerts.seen(tx, "prod", [(past[1].fingerprint, past[1].starts_at)]).values()
    assert found.id == past[1].id


def test_a_run_that_still_goes_is_joined_however_long_ago_its_alert_was_told(sender):
    sender.outcomes(sender.alert(pod="a"))
    with transaction(sender.service.engine) as tx:
        tx.execute("UPDATE alerts SET last_at = now() - interval '1 day' WHERE id = :id", id=sender.kept()[0].id)
    assert sender.outcomes(sender.alert(pod="b")) == ["joined"]
    assert len(sender.runs()) == 1


@pytest.mark.parametrize("state", ["lost", "failed", "timed_out", "cancelled"])
def test_an_alert_joins_no_run_that_is_over_for_ever_however_that_ended(sender, state):
    alert = sender.alert()
    sender.outcomes(alert)
    (run,) = sender.runs()
    sender.end(run, ago=1_801, state=state)
    assert sender.outcomes(alert) == ["run"]
    assert len(sender.runs()) == 2


def test_the_same_alert_by_another_way_through_the_sender_is_the_same(sender):
    alert = sender.alert()
    sender.outcomes(alert, group="by service")
    assert sender.outcomes(alert, group="by team") == ["run"]
    assert len(sender.runs()) == 1


def test_each_group_opens_an_incident_of_its_own_in_the_same_channel(sender):
    sender.outcomes(sender.alert(pod="a"), group="a")
    sender.outcomes(sender.alert(pod="b"), group="b")
    assert len({run.incident_id for run in sender.runs()}) == 2


def test_who_closed_the_incident_is_done_with_what_fired_then_and_not_with_what_begins_later(sender, sign_in_as):
    alert = sender.alert(start=-60)
    sender.outcomes(alert)
    (run,) = sender.runs()
    sender.end(run, ago=60)
    person = sign_in_as("responder").person
    incidents.close_incident(sender.service, person, {"surface": "web"}, run.incident_id, "It was a deploy.")
    assert sender.outcomes(alert) == ["run"]
    assert len(sender.runs()) == 1
    assert sender.outcomes(sender.alert(start=60)) == ["run"]
    again = sender.runs()[-1]
    assert again.incident_id != run.incident_id


def test_at_the_same_moment_ten_copies_bring_one_run(sender):
    alert = sender.alert()
    with ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda _: sender.outcomes(alert), range(10)))
    assert told == [["run"]] * 10
    assert len(sender.runs()) == 1


def test_beyond_the_budget_nothing_runs_and_one_line_counts_it(service, tmp_path):
    with transaction(service.engine) as tx:  # what other tests have started is long ago
        tx.execute("UPDATE runs SET requested_at = requested_at - interval '1 day'")
    sender = Sender(service, tmp_path, budget=2)
    fired = [sender.alert(note=str(n)) for n in range(5)]
    assert sender.outcomes(*fired) == ["run", "run", "storm", "storm", "storm"]
    assert len(sender.runs()) == 2
    sender.outcomes(sender.alert(note="one more"), group="another")
    assert sender.outcomes(*fired)[2:] == ["storm"] * 3  # told again: counted once
    (storm,) = sender.rows("SELECT * FROM alert_storms WHERE channel = :channel", channel=sender.channel)
    assert (storm.held, storm.rules) == (4, {f"latency {sender.number}: over the budget": 4})
    threads = sender.rows("SELECT channel FROM chat_threads WHERE about = :about", about=f"storm:{storm.id}")
    assert [row.channel for row in threads] == [sender.channel]
    held = "SELECT date_trunc('minute', at::timestamptz) AS minute FROM audit_entries WHERE event = 'alerts.held'"
    minutes = [row.minute for row in sender.rows(f"{held} AND body LIKE :own", own=f"%{sender.number}%")]
    assert len(minutes) == len(set(minutes)), "one a minute, however many are held"
    assert minutes


def test_what_one_source_sends_uses_up_no_budget_of_the_others(service, tmp_path):
    with transaction(service.engine) as tx:  # what other tests have started is long ago
        tx.execute("UPDATE runs SET requested_at = requested_at - interval '1 day'")
    sender = Sender(service, tmp_path, budget=1)
    own = [sender.alert(note=str(n)) for n in range(3)]
    told = sender.signed("own", {"alerts": own}).json["alerts"]
    assert [alert["outcome"] for alert in told] == ["run", "storm", "storm"]
    assert sender.outcomes(sender.alert(note="another")) == ["run"]


def test_a_rule_for_one_source_runs_nothing_for_another(sender):
    rules = tuple(replace(rule, source="prod") for rule in sender.service.alerting.rules)
    sender.use(replace(sender.service.alerting, rules=rules))
    told = sender.signed("own", {"alerts": [sender.alert()]}).json["alerts"]
    assert [alert["outcome"] for alert in told] == ["unmatched"]
    assert sender.outcomes(sender.alert()) == ["run"]


def test_a_storm_is_over_when_nothing_was_held_for_ten_minutes(service, tmp_path):
    sender = Sender(service, tmp_path, budget=0)
    sender.outcomes(sender.alert())
    assert alerting.end_storms(service) == 0
    with transaction(service.engine) as tx:
        tx.execute("UPDATE alert_storms SET last_at = now() - interval '11 minutes'")
    assert alerting.end_storms(service) >= 1
    sender.outcomes(sender.alert())
    first, second = sender.rows("SELECT * FROM alert_storms WHERE channel = :c ORDER BY id", c=sender.channel)
    assert first.ended_at is not None
    assert (second.ended_at, second.held) == (None, 1)


def test_a_maintenance_window_holds_runs_back_and_nothing_is_caught_up(sender):
    moving = sender.alert(moving="yes")
    assert sender.outcomes(moving, sender.alert(moving="yes", pod="b")) == ["maintenance", "maintenance"]
    sender.outcomes(moving)
    assert sender.runs() == []
    assert {row.why for row in sender.kept()} == {f"maintenance: move {sender.number}"}
    entry, *later = sender.entries("alerts.held")  # one a minute; a minute may have begun meanwhile
    assert entry["maintenance"] == f"maintenance: move {sender.number}"
    assert sum(each["held"] for each in (entry, *later)) == 2
    sender.use(replace(sender.service.alerting, maintenance=()))
    assert sender.outcomes(moving) == ["run"]  # it still fires when it is told again


def test_an_alert_of_which_no_rule_speaks_is_taken_and_kept(sender):
    assert sender.outcomes(sender.alert(name="Other")) == ["unmatched"]
    (row,) = sender.kept()
    assert (row.outcome, row.incident_id) == ("unmatched", None)


def test_what_belongs_to_no_incident_is_forgotten_after_a_month_and_the_rest_is_kept(sender):
    sender.outcomes(sender.alert(), sender.alert(name="Other"), sender.alert(name="Other", pod="b"))
    with transaction(sender.service.engine) as tx:
        tx.execute("UPDATE alerts SET last_at = now() - interval '31 days' WHERE labels ->> 'pod' IS NULL")
    assert alerting.forget(sender.service) >= 1
    assert {row.outcome for row in sender.kept()} == {"run", "unmatched"}
    assert len(sender.kept()) == 2


def test_what_a_rule_cannot_be_filled_from_is_told_and_not_guessed(sender):
    lacking = sender.alert(service="nope")
    broken = sender.alert(name="Broken")
    assert sender.outcomes(lacking, broken) == ["refused", "refused"]
    assert sender.runs() == []
    (storm,) = sender.rows("SELECT rules FROM alert_storms WHERE channel = :c", c=sender.channel)
    assert any("no service" in why and "nope" in why for why in storm.rules)
    assert any(why.startswith(f"broken {sender.number}: ") for why in storm.rules)


def test_the_end_that_comes_before_its_begin_is_no_alert(sender):
    """PagerDuty keeps no order."""
    assert sender.signed("pd", sender.pagerduty("incident.resolved")).status_code == 200
    told = sender.signed("pd", sender.pagerduty())
    assert told.json["alerts"][0]["outcome"] == "resolved"
    assert sender.runs() == []
    reopened = sender.signed("pd", sender.pagerduty("incident.reopened"))
    assert reopened.json["alerts"][0]["outcome"] == "run"

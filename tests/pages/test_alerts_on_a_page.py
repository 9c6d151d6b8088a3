"""Alerts on an incident's page: what is kept without an entry comes by itself, and each line has its own proof."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from page_stories import ANNA, SURFACE

from runbooks_app.actions import alerting, incidents
from runbooks_app.actions.context import Service
from runbooks_app.alerting import Alerting
from runbooks_app.core.alerts import FIRING, RESOLVED, Budget, Incoming, Maintenance, Rule
from runbooks_app.store.database import new_id, reading, transaction
from runbooks_app.web import live

pytestmark = pytest.mark.pages

MOVE = "maintenance: move"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Pages look ten times a second, and streams end when nothing comes."""
    monkeypatch.setattr(live, "POLL", 0.1)
    monkeypatch.setattr(live, "KEPT", 0.0)
    monkeypatch.setattr(live, "LONGEST", 5.0)


@dataclass
class Monitoring:
    """Sends alerts about one thing of its own: these tests share a database."""

    service: Service
    group: str
    began: datetime
    grouped: str = ""

    def tell(self, status: str = FIRING, *, start: int = 0, says: str = "p99 is 2 s", pod: str = "", moving: str = ""):
        labels = {"alertname": "LatencyHigh", "pod": pod}
        told = Incoming(
            source="prod",
            fingerprint=f"{self.group}{pod}",
            status=status,
            labels={**labels, "moving": moving} if moving else labels,
            annotations={"summary": says},
            starts_at=self.began + timedelta(seconds=start),
            ends_at=None,
            group_key=f"{self.group} {self.grouped}",
        )
        (became,) = alerting.receive(self.service, "prod", [told])
        return became

    def later(self, run_id: str) -> None:
        """The run has ended, and the window in which nothing runs again for the same has passed."""
        with transaction(self.service.engine) as tx:
            tx.execute(
                "UPDATE runs SET state = 'diagnosed', ended_at = now(), requested_at = now() - interval '1 hour'"
                " WHERE id = :id",
                id=run_id,
            )

    def moved(self) -> Monitoring:
        """The same while all that it tells of is in maintenance."""
        still = replace(self.service.alerting, maintenance=(Maintenance("move", {"alertname": "*"}),))
        return replace(self, service=replace(self.service, alerting=still))

    def entries(self, incident_id: int, event: str) -> list[int]:
        with reading(self.service.engine) as tx:
            found = tx.execute(
                "SELECT seq FROM audit_entries WHERE event = :event AND (objects::jsonb) @> :about ORDER BY seq",
                event=event,
                about={"incident": incident_id},
            )
            return list(found.scalars())


@pytest.fixture
def monitoring(service, story) -> Monitoring:
    rule = Rule("slow", {"alertname": "Latency*"}, "db-latency", parameters={"database": "orders-db"})
    while_moving = Maintenance("move", {"moving": "yes"})
    opted = {
        name: replace(connection, diagnosers=("responder", "alert")) for name, connection in service.connections.items()
    }
    alerts = Alerting(rules=(rule,), maintenance=(while_moving,), budget=Budget(1_000))
    return Monitoring(replace(service, connections=opted, alerting=alerts), new_id(), datetime.now(UTC))


def lines(page: str, begins: str) -> list[tuple[str, list[int]]]:
    """Lines of the timeline that begin so, each with the entries that it names."""
    every = re.findall(r"<li id=.*?</li>", page, re.DOTALL)
    told = [(re.sub(r"<[^>]+>", " ", line), [int(n) for n in re.findall(r"entry (\d+)", line)]) for line in every]
    return [(" ".join(text.split()), entries) for text, entries in told if begins in text]


def test_what_is_held_back_for_an_incident_comes_to_its_page_by_itself(monitoring, dev):
    incident = monitoring.tell().incident_id
    with closing(dev.stream(f"/incidents/{incident}/events")) as told:
        told.next()
        monitoring.tell(pod="b", moving="yes")
        told.until(lambda _, data: f"({MOVE})" in data)


def test_what_an_alert_says_when_it_is_told_again_comes_to_who_watches_and_who_opens_the_page(monitoring, anna, dev):
    incident = monitoring.tell().incident_id
    with closing(dev.stream(f"/incidents/{incident}/events")) as told:
        told.next()
        monitoring.tell(says="p99 is 9 s")
        assert "p99 is 9 s" in anna.get(f"/incidents/{incident}").text
        told.until(lambda _, data: "p99 is 9 s" in data)


def test_a_channels_name_comes_to_the_page_when_the_chat_has_told_it(service, story, dev):
    place = "C" + new_id().upper()
    incident = incidents.open_incident(service, ANNA, SURFACE, "Checkout is slow", place).id
    with closing(dev.stream(f"/incidents/{incident}/events")) as told:
        assert place in told.next()[1]
        incidents.open_incident(service, ANNA, SURFACE, "Another", place, channel_name="inc-checkout")
        told.until(lambda _, data: "#inc-checkout" in data)


def test_what_fires_again_after_its_incident_was_closed_stays_on_that_timeline_and_begins_another(monitoring, anna):
    first = monitoring.tell()
    monitoring.later(first.run_id)
    incidents.close_incident(monitoring.service, ANNA, SURFACE, first.incident_id, "It was a deploy")
    second = monitoring.tell(says="p99 is 9 s")
    assert second.incident_id != first.incident_id
    assert monitoring.tell(says="p99 is 9 s").run_id == second.run_id
    for became, says in ((first, "p99 is 2 s"), (second, "p99 is 9 s")):
        ((line, proof),) = lines(anna.get(f"/incidents/{became.incident_id}").html, "Alert:")
        assert says in line
        assert proof == monitoring.entries(became.incident_id, "alert.received")
    monitoring.tell(RESOLVED)
    for became in (first, second):
        ((_, proof),) = lines(anna.get(f"/incidents/{became.incident_id}").html, "Resolved:")
        assert proof == monitoring.entries(became.incident_id, "alert.resolved")


def test_what_reaches_another_incident_by_another_group_stays_on_the_timeline_of_the_first(monitoring, anna):
    first = monitoring.tell()
    monitoring.later(first.run_id)
    second = replace(monitoring, grouped="by team").tell()
    assert second.incident_id != first.incident_id
    for became in (first, second):
        assert len(lines(anna.get(f"/incidents/{became.incident_id}").html, "Alert:")) == 1


def test_what_is_held_back_after_its_incident_was_closed_stays_there_unless_its_group_has_another(monitoring, anna):
    first = monitoring.tell(pod="a")
    incidents.close_incident(monitoring.service, ANNA, SURFACE, first.incident_id, "It was a deploy")
    assert monitoring.moved().tell(pod="a").incident_id == first.incident_id
    ((line, _),) = lines(anna.get(f"/incidents/{first.incident_id}").html, "Alert:")
    assert MOVE not in line
    other = monitoring.tell(pod="b", start=60)
    assert other.incident_id != first.incident_id
    held = monitoring.moved().tell(pod="a")
    assert (held.incident_id, held.run_id) == (other.incident_id, None)
    assert monitoring.moved().tell(pod="a").incident_id == other.incident_id
    assert len(lines(anna.get(f"/incidents/{first.incident_id}").html, "Alert:")) == 1
    told = lines(anna.get(f"/incidents/{other.incident_id}").html, "Alert:")
    assert [(MOVE in line, bool(proof)) for line, proof in told] == [(False, True), (True, False)]


def test_an_alert_that_was_diagnosed_is_not_told_as_held_back_when_it_is_told_again(monitoring, anna):
    incident = monitoring.tell().incident_id
    for _ in range(2):
        assert monitoring.moved().tell().outcome == "maintenance"
    ((line, _),) = lines(anna.get(f"/incidents/{incident}").html, "Alert:")
    assert MOVE not in line


def test_what_was_held_back_and_runs_when_it_is_told_again_is_told_as_one_that_ran(monitoring, anna):
    incident = monitoring.tell(pod="a").incident_id
    monitoring.moved().tell(pod="b")
    assert [MOVE in line for line, _ in lines(anna.get(f"/incidents/{incident}").html, "Alert:")] == [False, True]
    assert monitoring.tell(pod="b").incident_id == incident
    assert [MOVE in line for line, _ in lines(anna.get(f"/incidents/{incident}").html, "Alert:")] == [False, False]


def test_each_line_of_an_alert_that_flaps_is_proved_by_its_own_entry(monitoring, anna):
    incident = monitoring.tell().incident_id
    monitoring.tell(RESOLVED)
    for start in (60, 120):
        monitoring.tell(start=start)
        monitoring.tell(RESOLVED, start=start)
    page = anna.get(f"/incidents/{incident}").html
    for begins, event in (("Alert:", "alert.received"), ("Resolved:", "alert.resolved")):
        proofs = [proof for _, proof in lines(page, begins)]
        assert proofs == [[seq] for seq in monitoring.entries(incident, event)]
        assert len(proofs) == 3


def test_what_was_never_diagnosed_is_proved_by_no_entry_of_a_later_firing(monitoring, anna):
    incident = monitoring.tell(pod="a").incident_id
    monitoring.moved().tell(pod="b")
    monitoring.tell(RESOLVED, pod="b")
    monitoring.tell(pod="b", start=60)
    _, (_, held), (_, ran) = lines(anna.get(f"/incidents/{incident}").html, "Alert:")
    assert held == []
    assert ran == monitoring.entries(incident, "alert.received")[-1:]

"""Content that would like to act, in what alerts say and people write: it acts on no page, and in no export's file.

Labels, annotations and summaries of alerts; hypotheses, cells and conclusions of asks; notes, a postmortem's prose and
causes; the inputs of a proposal by hand. The postmortem is downloaded as HTML and opened as a file, where no header of
the service protects who reads it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from documents.documents_hostile import MIMES, WRITABLE
from page_stories import SURFACE, shown, stream
from pages_journeys.watching import Watch

from runbooks_app.actions import alerting, asking, incidents, writing
from runbooks_app.alerting import Alerting
from runbooks_app.core.alerts import FIRING, RESOLVED, Budget, Incoming, Outcome, Rule
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.run import CellState
from runbooks_app.core.writing import Section

pytestmark = pytest.mark.timeout(600)  # many pages


@pytest.fixture
def watch(visit, site) -> Watch:
    """A window of Anna's, who may ask, note, propose and export."""
    return Watch(visit(site.anna, "/connections"), site.address)


def several(count: int) -> list[tuple[str, ...]]:
    """All payloads, so many at a time."""
    return [tuple(WRITABLE[at : at + count]) for at in range(0, len(WRITABLE), count)]


def opened(site, title: str) -> int:
    return incidents.open_incident(site.story.service, site.anna, SURFACE, title).id


def alert(number: int, payload: str, status: str = FIRING) -> Incoming:
    """An alert that says this wherever its sender may say something."""
    name = f"A{number}"
    return Incoming(
        source="prod",
        fingerprint=f"{number:016}",
        status=status,
        labels={"alertname": payload, "n": name, "service": payload, payload: payload},
        annotations={"summary": payload, "description": payload, payload: payload},
        starts_at=datetime(2026, 11, 22, 3, 12, tzinfo=UTC),
        ends_at=None if status == FIRING else datetime(2026, 11, 22, 3, 20, tzinfo=UTC),
        group_key=WRITABLE[number // 4 * 4],
        link="javascript:alert(1)" if number % 2 else f"https://prometheus.example/{payload}",
    )


def refused(watch: Watch) -> bool:
    """Send the form in which something was typed, and look at what comes back: whether that is a refusal."""
    with watch.page.expect_navigation() as came:
        watch.page.evaluate("document.querySelector('main form[method=post]').submit()")
    watch.look()
    return came.value.status == 422


def test_nothing_acts_in_what_alerts_say(site, watch, tmp_path):
    service = site.story.service
    orders = replace(service.connections["orders-db"], diagnosers=("responder", "alert"))
    rule = Rule("all", {"alertname": "*"}, "db-latency", parameters={"database": "orders-db"}, window=0)
    service = replace(
        service, connections={"orders-db": orders}, alerting=Alerting(rules=(rule,), budget=Budget(1_000, 600))
    )
    became = [alerting.receive(service, "prod", [alert(number, payload)])[0] for number, payload in enumerate(WRITABLE)]
    for number, payload in enumerate(WRITABLE[::2]):
        alerting.receive(service, "prod", [alert(2 * number, payload, RESOLVED)])
    assert {one.outcome for one in became} <= {Outcome.RUN, Outcome.JOINED}
    told = {one.incident_id for one in became}
    assert len(told) == len(several(4))
    for incident_id in told:
        watch.open(f"/incidents/{incident_id}")
    for path in ("/", "/incidents", f"/runs/{became[0].run_id}", "/health"):
        watch.open(path)
    for incident_id in sorted(told)[::4]:
        watch.export(incident_id, tmp_path)


def test_nothing_acts_in_what_is_asked_and_concluded(site, watch, tmp_path):
    service, story = site.story.service, site.story
    incident_id = opened(site, "Asked")
    asked = []
    for payload in WRITABLE:
        with suppress(RunbooksError):
            run = asking.ask_of_incident(service, site.anna, SURFACE, incident_id, repr(payload), payload)
            story.claim(run.id)
            story.end(run.id, "ask-2", outputs=[stream(payload)])
            story.finish(run.id)
            asking.conclude(service, site.anna, SURFACE, run.id, payload)
            asked.append(run.id)
    assert len(asked) > 60
    for run_id in asked:
        watch.open(f"/runs/{run_id}")
    watch.open(f"/incidents/{incident_id}")
    watch.open(f"/incidents/{incident_id}/ask?again={asked[0]}")
    assert "<script>alert(1)</script>" in watch.export(incident_id, tmp_path)


def test_nothing_acts_in_a_question_that_comes_back_with_what_was_typed(site, watch):
    incident_id = opened(site, "Typed")
    for payloads in several(8):
        watch.open(f"/incidents/{incident_id}/ask")
        watch.page.fill("[name=hypothesis]", "\n".join(payloads))
        watch.page.fill("[name=source]", "\n".join([*payloads, "if:"]))
        assert refused(watch)


def test_nothing_acts_in_inputs_that_are_proposed_by_hand(site, watch):
    run_id, _ = site.diagnosed()
    for payloads in several(8):
        inputs = dict.fromkeys(("backend_start", "xact_start", "application", "username"), " ".join(payloads))
        watch.open(f"/runs/{run_id}/propose/terminate-session?{urlencode(inputs)}")
        watch.page.fill("[name=reason]", "\n".join(payloads))
        assert refused(watch)


def test_nothing_acts_in_notes_and_in_a_postmortems_prose(site, watch, tmp_path):
    service = site.story.service
    for payloads in several(8):
        incident_id = opened(site, "Written")
        for payload in payloads:
            noted = incidents.add_note(service, site.anna, SURFACE, incident_id, f"before {payload}")
            writing.edit_note(service, site.anna, SURFACE, incident_id, noted.id, 1, payload)
        for place, section in enumerate(Section):
            text = "\n\n".join(payloads[2 * place : 2 * place + 2])
            writing.write_postmortem(service, site.anna, SURFACE, incident_id, section, 0, f"before {text}")
            writing.write_postmortem(service, site.anna, SURFACE, incident_id, section, 1, text)
        incidents.close_incident(service, site.anna, SURFACE, incident_id, "\n".join(payloads))
        watch.open(f"/incidents/{incident_id}/postmortem")
        watch.export(incident_id, tmp_path)


def test_nothing_acts_in_outputs_that_are_exported(site, watch, tmp_path):
    story = site.story
    for mime in MIMES:
        run_id = story.request(site.anna)
        story.claim(run_id)
        outputs: list[Any] = [shown(mime, payload, payload) for payload in WRITABLE]
        story.end(run_id, "latency", CellState.FAILED, WRITABLE[0], outputs=outputs)
        story.finish(run_id, WRITABLE[0])
        assert "latency" in watch.export(site.incident_of(run_id), tmp_path)

"""Now and an incident's page as streams: what changes comes by itself, and is read once for all who look."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing

import pytest
from page_stories import ANNA, DEV, SURFACE, VERA

from runbooks_app.actions import deciding, incidents, running
from runbooks_app.store import proposals
from runbooks_app.store.database import reading, transaction
from runbooks_app.web import live
from runbooks_app.web.pages import incident_view, now_view

pytestmark = pytest.mark.pages


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Pages look ten times a second."""
    monkeypatch.setattr(live, "POLL", 0.1)
    monkeypatch.setattr(live, "KEPT", 0.0)


@pytest.fixture(autouse=True)
def nothing_waits(service):
    """What other stories left behind would fill the lists."""
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET state = 'expired' WHERE state = 'proposed'")


@pytest.fixture
def incident(service) -> int:
    return incidents.open_incident(service, ANNA, SURFACE, "The till prints nothing").id


def test_now_tells_of_a_run_of_a_proposal_and_of_the_end_of_both(story, dev):
    with closing(dev.stream("/now/events")) as told:
        told.next()
        run_id = story.request()
        _, html = told.until(lambda _, data: f'id="going-{run_id}"' in data)
        assert "queued" in html
        story.diagnose(run_id)
        (proposal_id,) = story.proposals(run_id)
        _, html = told.until(lambda _, data: f'id="mine-{proposal_id}"' in data)
        assert 'data-title="◇ ' in html
        with reading(story.service.engine) as tx:
            digest = proposals.get(tx, proposal_id).digest
        deciding.decide(story.service, DEV, SURFACE, proposal_id, "deny", digest, "")
        told.until(lambda _, data: 'id="now-mine"' in data and f'id="mine-{proposal_id}"' not in data)


def test_an_incident_tells_of_runs_notes_and_of_what_waits_and_rests_when_it_is_closed(story, dev, service, incident):
    with closing(dev.stream(f"/incidents/{incident}/events")) as told:
        _, html = told.next()
        assert 'data-title="● #' in html
        note = incidents.add_note(service, ANNA, SURFACE, incident, "The <b>release</b> is stopped.")
        _, html = told.until(lambda _, data: f'id="note-{note.id}"' in data)
        assert "The &lt;b&gt;release&lt;/b&gt; is stopped." in html
        assert 'id="incident-head"' not in html, "only what changed is sent"
        given = {"database": "orders-db"}
        story.diagnose(running.request_run(service, ANNA, SURFACE, "db-latency", given, incident_id=incident).id)
        told.until(lambda _, data: "1 proposal waits for you: decide" in data)
        incidents.close_incident(service, ANNA, SURFACE, incident, "Paper was out")
        _, html = told.until(lambda _, data: "Paper was out" in data)
        assert 'data-title="✓ #' in html
        assert told.until(lambda name, _: name == "end") == ("end", "")


def test_nothing_is_sent_while_nothing_changes(anna, incident, monkeypatch):
    monkeypatch.setattr(live, "LONGEST", 1.0)
    for address in ("/now/events", f"/incidents/{incident}/events"):
        told = anna.stream(address)
        assert told.next()[0] == "parts"
        assert told.next() == ("", "")


def test_a_note_offers_its_change_to_who_wrote_it_alone(anna, dev, service, incident):
    incidents.add_note(service, ANNA, SURFACE, incident, "Stopped.")
    for reader, offered in ((anna, True), (dev, False)):
        with closing(reader.stream(f"/incidents/{incident}/events")) as told:
            assert ("change it" in told.next()[1]) is offered


def test_who_opens_the_page_sees_what_was_entered_though_those_who_watch_are_kept_waiting(
    anna, dev, service, incident, monkeypatch
):
    monkeypatch.setattr(live, "KEPT", 600.0)
    with closing(dev.stream(f"/incidents/{incident}/events")) as told:
        told.next()
        for text in ("The release is stopped.", "And started again."):
            incidents.add_note(service, ANNA, SURFACE, incident, text)
            assert text in anna.get(f"/incidents/{incident}").text


def test_a_stream_of_no_incident_is_none(anna):
    assert anna.get("/incidents/999999999/events").status == 404


def test_many_who_look_cost_one_look_a_second_and_an_incident_is_read_when_something_was_entered(
    app, story, service, incident, monkeypatch
):
    monkeypatch.setattr(live, "KEPT", 1.0)
    monkeypatch.setattr(live, "LONGEST", 2.0)
    counted: Counter[str] = Counter()

    def count(module, name):
        real = getattr(module, name)

        def counting(*given, **named):
            counted[name] += 1
            return real(*given, **named)

        monkeypatch.setattr(module, name, counting)

    count(now_view, "read")
    count(now_view, "mine_now")
    count(incident_view, "incident_story")
    cookies = [story.sign_in(person)[0] for person in (ANNA, DEV, VERA) for _ in range(10)]
    ready = threading.Barrier(2 * len(cookies))

    def look(cookie, address):
        client = app.test_client()
        client.set_cookie("runbooks", cookie)
        ready.wait(30)
        return client.get(address).text

    addresses = "/now/events", f"/incidents/{incident}/events"
    threads = [threading.Thread(target=look, args=(cookie, address)) for cookie in cookies for address in addresses]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    seconds = time.monotonic() - began
    assert counted["read"] <= seconds + 2, "each of thirty looks ten times a second"
    assert counted["incident_story"] == 1
    assert counted["mine_now"] == 0, "what waits for somebody stands in the look that all share"


def test_of_very_many_that_wait_each_is_told_theirs_whether_the_look_has_all_or_not(story, app, dev, monkeypatch):
    _, proposal_id = story.diagnosed()
    with reading(story.service.engine) as tx, app.app_context():
        among = now_view.mine_among(now_view.read(tx), DEV)
        mine = now_view.mine_now(tx, DEV)
    assert [(one.id, at) for one, at in among] == [(one.id, at) for one, at in mine] != []
    with closing(dev.stream("/now/events")) as told:
        whole = told.next()[1]
    monkeypatch.setattr(now_view, "MOST_OTHERS", 0)
    monkeypatch.setattr(now_view, "MOST_MINE", 1)
    _, second = story.diagnosed()
    with transaction(story.service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = now() + interval '20 s' WHERE id = :id", id=second)
    with reading(story.service.engine) as tx, app.app_context():
        assert now_view.mine_among(now_view.read(tx), DEV) is None
    with closing(dev.stream("/now/events")) as told:
        part = told.next()[1]
    assert f'id="mine-{proposal_id}"' in whole
    assert f'id="mine-{second}"' in part

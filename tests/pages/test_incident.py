"""`/incidents` and `/audit`: what happened, in order, with its proof."""

from __future__ import annotations

import hashlib
import json
import re

import nbformat
import pytest
from page_stories import ANNA, CRITICAL, SURFACE
from werkzeug.test import TestResponse

from runbooks_app.actions import incidents
from runbooks_app.core.errors import DatabaseAway
from runbooks_app.store import audit, runs
from runbooks_app.store.database import Transaction, reading, transaction


@pytest.fixture
def incident(story, service) -> str:
    """The page of an incident in which everything has happened."""
    run_id, proposal_id = story.diagnosed()
    story.approve(proposal_id, reason="Go")
    story.mend(proposal_id)
    with reading(service.engine) as tx:
        return f"/incidents/{runs.get(tx, run_id).incident_id}"


def export(browser, incident: str, kind: str) -> TestResponse:
    headers = {"Origin": "http://127.0.0.1:8080"}
    return browser.client.post(f"{incident}/postmortem", data={"csrf": browser.csrf, "kind": kind}, headers=headers)


def test_the_timeline_tells_all_in_order_with_the_entries_that_prove_it(incident, anna):
    told = anna.get(incident).text
    order = ["Incident opened", "db-latency requested", CRITICAL, "Proposed: End session 4711", "Dev Patel"]
    places = [told.index(part) for part in order]
    assert places == sorted(places)
    assert re.search(r"entry \d+", told)


def test_the_durations_are_told_and_what_did_not_happen_says_so(incident, anna, story, service):
    told = anna.get(incident).text
    for name in ("to acknowledge", "to diagnose", "to approve", "to mitigate"):
        assert name in told
    assert "not yet" not in told
    run_id = story.request()
    with reading(service.engine) as tx:
        fresh = f"/incidents/{runs.get(tx, run_id).incident_id}"
    assert "not yet" in anna.get(fresh).text


def test_a_note_goes_onto_the_timeline_as_text(incident, anna):
    assert anna.post(f"{incident}/notes", text="Rolled back <b>4.2</b>").status == 303
    page = anna.get(incident)
    assert "Rolled back <b>4.2</b>" in page.text.replace("  ", " ") or "&lt;b&gt;4.2&lt;/b&gt;" in page.html
    assert "<b>4.2</b>" not in page.html


def test_a_timeline_over_midnight_tells_each_day_once_above_its_first_line(incident, anna, service):
    number = int(incident.rpartition("/")[2])
    times = ("2020-02-28T23:59:50Z", "2020-02-29T00:00:10Z", "2020-02-29T00:00:20Z")
    for at in times:
        note = incidents.add_note(service, ANNA, SURFACE, number, "Seen")
        with transaction(service.engine) as tx:
            tx.execute("UPDATE notes SET at = :at WHERE id = :id", at=at, id=note.id)
    told = anna.get(incident).text
    begun = "28 Feb 2020 23:59:50 Seen note · Anna Weber · change it · entry"
    assert re.search(rf"{begun} \d+ 29 Feb 2020 00:00:10 Seen .*? \d+ 00:00:20 Seen", told)
    assert told.count("29 Feb 2020") == 1


def test_a_run_that_may_be_attached_is_offered_with_its_day(incident, anna, service):
    other = incidents.open_incident(service, ANNA, SURFACE, "Checkout is slow").id
    with reading(service.engine) as tx:
        (run,) = runs.recent(tx, incident_id=int(incident.rpartition("/")[2]), limit=1)
    offered = f"db-latency at {run.requested_at:%d %b %Y %H:%M:%S} UTC, #{run.incident_id} "
    assert offered in anna.get(f"/incidents/{other}").text


def test_what_cannot_be_kept_stands_beside_its_field(incident, anna):
    page = anna.post(f"{incident}/notes", text="   ")
    assert page.status == 422
    assert 'id="text-error"' in page.html
    page = anna.post(f"{incident}/close", cause="")
    assert page.status == 422
    assert 'id="cause-error"' in page.html
    page = anna.post(f"{incident}/notes", text="x" * 10_001)
    assert page.status == 422
    assert "x" * 10_001 in page.html


def test_closing_it_tells_the_cause_and_takes_the_form_away(incident, anna):
    assert anna.post(f"{incident}/close", cause="A migration held a lock").status == 303
    page = anna.get(incident)
    assert "A migration held a lock" in page.text
    assert "Close the incident" not in page.text
    assert anna.post(f"{incident}/close", cause="again").status == 409


def test_one_can_be_opened_before_anything_has_run(anna, vera):
    answer = anna.post("/incidents", title="Checkout is slow")
    assert answer.status == 303
    assert "Checkout is slow" in anna.get("/incidents").text
    assert "Nothing happened yet" not in anna.get(answer.headers["Location"]).text
    assert anna.post("/incidents", title="").status == 422
    assert vera.post("/incidents", title="no").status == 403


def test_the_postmortem_is_a_file_and_its_leaving_is_entered(incident, anna, service):
    notebook = export(anna, incident, "ipynb")
    assert notebook.status_code == 200
    assert re.search(r'attachment; filename="incident-\d+\.ipynb"', notebook.headers["Content-Disposition"])
    nbformat.validate(nbformat.from_dict(json.loads(notebook.data)))
    assert export(anna, incident, "html").content_type.startswith("text/html")
    assert "End session 4711" in export(anna, incident, "md").get_data(as_text=True)
    with reading(service.engine) as tx:
        left = tx.execute("SELECT count(*) FROM audit_entries WHERE event = 'postmortem.exported'").scalar_one()
    assert left >= 3


def test_whatever_happens_while_a_postmortem_is_read_it_tells_nothing_without_its_proof(
    incident, anna, service, monkeypatch
):
    read = audit.of_incident

    def and_meanwhile(tx, incident_id):
        found = read(tx, incident_id)
        incidents.add_note(service, ANNA, SURFACE, incident_id, "Rolled back meanwhile")
        return found

    monkeypatch.setattr(audit, "of_incident", and_meanwhile)
    told = export(anna, incident, "md").get_data(as_text=True)
    assert "End session 4711" in told
    assert "(no entry)" not in told
    monkeypatch.undo()
    assert "Rolled back meanwhile" in export(anna, incident, "md").get_data(as_text=True)


def test_a_postmortem_whose_leaving_cannot_be_entered_stays_here(incident, anna, monkeypatch):
    def refuse(_transaction):
        raise DatabaseAway

    monkeypatch.setattr(Transaction, "flush", refuse)
    answer = export(anna, incident, "md")
    assert answer.status_code == 503
    assert "End session 4711" not in answer.get_data(as_text=True)


def test_an_unknown_form_and_a_get_export_nothing(incident, anna, vera):
    assert export(anna, incident, "exe").status_code == 422
    assert export(vera, incident, "md").status_code == 403


def test_the_trail_is_searched_by_kind_and_by_words(incident, audi):
    page = audi.get("/audit?event=proposal.approved")
    assert "proposal.approved" in page.text
    assert "finding.made" not in re.sub(r"<select.*?</select>", "", page.html, flags=re.DOTALL)
    assert "No entry fits" in audi.get("/audit?words=nobody-wrote-this").text
    assert audi.get("/audit?event=%3Cb%3E&before=x").status == 200


def test_earlier_entries_are_a_link_away(incident, audi, story):
    for _ in range(6):
        story.diagnosed()
    page = audi.get("/audit")
    assert re.search(r"before=\d+", page.html)


def test_an_entry_shows_the_bytes_that_its_hash_covers(incident, audi):
    page = audi.get("/audit/2")
    envelope = re.search(r'<h3>Envelope</h3>\s*<div class="out"><pre[^>]*>(.*?)</pre>', page.html, re.DOTALL)
    assert envelope is not None
    import html

    text = html.unescape(envelope[1])
    assert json.loads(text)["seq"] == 2
    assert hashlib.sha256(text.encode()).hexdigest() in page.text
    assert "It is the SHA-256 of the envelope below" in page.text
    assert "It follows from the entry before" in page.text
    assert "runbooks audit verify" in page.text


def test_only_auditors_see_the_trail(incident, anna, audi):
    assert anna.get("/audit").status == 403
    assert "/audit" not in anna.get("/").html
    assert 'href="/audit"' in audi.get("/").html
    assert audi.get("/audit/999999").status == 404


def test_every_error_says_what_next(anna):
    page = anna.get("/runs/nothing")
    assert page.status == 404
    assert "There is no run" in page.text
    assert "To the start" in page.text

"""The audit trail by the API: who reads it, what each entry shows, and what is found in it."""

from __future__ import annotations

import json

import pytest

from runbooks_app.actions import auditing
from runbooks_app.core.audit import Entry, entry_hash

pytestmark = pytest.mark.pages


def test_the_trail_is_read_by_auditors_alone_and_each_entry_can_be_checked(sign_in_as):
    anna, auditor = sign_in_as("responder"), sign_in_as("auditor")
    for address in ("/api/v1/audit", "/api/v1/audit/1", "/api/v1/audit/head", "/api/v1/audit/verification"):
        assert anna.get(address).status_code == 403
    anna.post("/api/v1/incidents", {"title": "before it"})
    anna.post("/api/v1/incidents", {"title": "for the trail"})
    told = auditor.get("/api/v1/audit?event=incident.opened&limit=1").json
    line = told["entries"][0]
    assert line["body"]["title"] == "for the trail"
    assert told["next"] == line["seq"]
    assert entry_hash(Entry.from_json(line)) == line["hash"]
    one = auditor.get(f"/api/v1/audit/{line['seq']}").json
    assert json.loads(one["envelope"])["seq"] == line["seq"]
    head = auditor.get("/api/v1/audit/head").json
    verdict = auditor.get("/api/v1/audit/verification").json
    assert verdict["ok"] is True
    assert verdict["entries"] >= head["seq"]
    assert auditor.get("/api/v1/audit/999999").status_code == 404


@pytest.fixture
def trail(sign_in_as):
    """An auditor, and what they find with a query, page by page to the end."""
    audi = sign_in_as("responder", "auditor", name="Audi Thor")

    def find(**query) -> tuple[list[dict], int]:
        """Entries, and how many pages they came in."""
        entries, pages, cursor = [], 0, None
        while pages == 0 or cursor is not None:
            told = audi.get("/api/v1/audit", query_string=query | ({"before": cursor} if cursor else {}))
            assert told.status_code == 200, told.text
            entries += told.json["entries"]
            pages, cursor = pages + 1, told.json["next"]
        return entries, pages

    return audi, find


def test_words_are_looked_for_a_part_of_the_trail_at_a_time_to_its_beginning(trail, monkeypatch):
    audi, find = trail
    words = f"needle of {audi.person.subject}"
    first = audi.post("/api/v1/incidents", {"title": words}).json["id"]
    for number in range(7):
        audi.post("/api/v1/incidents", {"title": f"hay {number}"})
    newest = audi.get("/api/v1/audit/head").json["seq"]
    monkeypatch.setattr(auditing, "LOOKED_THROUGH", 3)
    told = audi.get("/api/v1/audit", query_string={"words": words}).json
    assert told == {"entries": [], "next": newest - 2}
    further = audi.get("/api/v1/audit", query_string={"words": words, "before": newest - 2}).json
    last = audi.get("/api/v1/audit", query_string={"words": words, "before": further["next"]}).json
    assert [entry["objects"]["incident"] for entry in last["entries"]] == [first]
    monkeypatch.setattr(auditing, "LOOKED_THROUGH", 20_000)
    assert find(words=words)[0] == last["entries"]


def test_entries_are_found_by_event_object_person_and_time_as_on_the_page(trail, sign_in_as):
    audi, find = trail
    anna = sign_in_as("responder", name=f"Anna {audi.person.subject}")
    incident = anna.post("/api/v1/incidents", {"title": "one"}).json["id"]
    anna.post(f"/api/v1/incidents/{incident}/notes", {"text": "a note"})
    anna.post("/api/v1/incidents", {"title": "two"})
    by_anna = find(person=anna.person.name.upper())[0]
    assert [entry["event"] for entry in by_anna] == [
        "incident.opened",
        "note.added",
        "incident.opened",
        "person.signed_in",
    ]
    assert find(person=anna.person.subject, event="note.added")[0] == by_anna[1:2]
    assert find(object=f"incident {incident}")[0] == by_anna[1:3]
    assert find(object="nothing of the kind") == ([], 1)
    assert find(person=anna.person.subject, since=by_anna[1]["at"])[0] == by_anna[:2]
    assert find(person=anna.person.subject, until=by_anna[1]["at"])[0] == by_anna[2:]
    assert find(person=anna.person.subject, since=by_anna[1]["at"], until=by_anna[0]["at"], limit=1) == (
        by_anna[1:2],
        1,
    )
    assert find(since="9999-12-31T23:59:59-12:00") == ([], 1)
    for unfit in (
        {"event": "incident"},
        {"event": ""},
        {"since": "2026-11-23T13:00:00"},
        {"until": "0"},
        {"object": "x" * 201},
    ):
        assert audi.get("/api/v1/audit", query_string=unfit).status_code == 422

"""`/audit`: searching the trail, and taking it along."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from runbooks_app.actions import auditing, incidents
from runbooks_app.core.audit import Entry, verify
from runbooks_app.store.database import reading
from runbooks_app.web.pages import audit as page

pytestmark = pytest.mark.pages
WEB = {"surface": "web", "auth_time": None}


@pytest.fixture
def incident(story, service, anna) -> int:
    found = incidents.open_incident(service, anna.person, WEB, "Checkout is slow").id
    incidents.add_note(service, anna.person, WEB, found, f"Looked at the checkout of {found}")
    return found


def rows(told) -> list[str]:
    return [re.sub(r"<[^>]+>", " ", row) for row in re.findall(r"<tr><td.*?</tr>", told.html, re.DOTALL)]


def test_what_is_about_an_object_is_found(incident, audi):
    found = rows(audi.get(f"/audit?object=incident+{incident}"))
    assert ["note.added" in row for row in found] == [True, False]
    assert "incident.opened" in found[1]
    assert rows(audi.get(f"/audit?object=%23{incident}&event=incident.opened")) == found[1:]
    assert "No entry fits" in audi.get("/audit?object=nothing-of-the-kind").text


def test_what_a_person_did_is_found_by_their_name(incident, audi, dev, service):
    incidents.open_incident(service, dev.person, WEB, "Another")
    assert all("Dev Patel" in row for row in rows(audi.get("/audit?person=dev+pat")))
    assert all("Anna Weber" in row for row in rows(audi.get(f"/audit?person={'Anna'}")))
    assert "No entry fits" in audi.get("/audit?person=Nobody+Nowhere").text


def test_words_are_looked_for_a_part_of_the_trail_at_a_time(incident, audi, service, anna, monkeypatch):
    monkeypatch.setattr(auditing, "LOOKED_THROUGH", 3)
    for number in range(3):
        incidents.open_incident(service, anna.person, WEB, f"Something else {number}")
    told = audi.get(f"/audit?words=checkout+of+{incident}")
    assert rows(told) == []
    assert "Looked for the words in entries" in told.text
    further = re.search(r'href="(/audit\?[^"]*before=\d+)">Look through', told.html)
    assert further
    assert "note.added" in rows(audi.get(further[1].replace("&amp;", "&")))[0]


def test_the_trail_is_searched_by_time_and_an_event_is_meant_by_its_whole_name(incident, audi):
    about = f"/audit?object=incident+{incident}"
    both = rows(audi.get(about))
    at = re.search(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d)", both[0])
    minute = f"{at[1]}T{at[2]}"
    assert rows(audi.get(f"{about}&since={minute}"))[0] == both[0]
    assert rows(audi.get(f"{about}&until={minute}")) == []
    assert f'name="until" type="datetime-local" value="{minute}"' in audi.get(f"{about}&until={minute}").html
    assert rows(audi.get(f"{about}&since=2999-01-01T00:00")) == []
    assert rows(audi.get(f"{about}&since=yesterday")) == both
    assert rows(audi.get(f"{about}&event=incident")) == []


def test_earlier_entries_keep_what_was_asked_for(story, audi, anna, service, monkeypatch):
    monkeypatch.setattr(page, "PAGE", 2)
    for number in range(3):
        incidents.open_incident(service, anna.person, WEB, f"Number {number}")
    first = audi.get("/audit?person=Anna+Weber&event=incident.opened")
    further = re.search(r'href="(/audit\?[^"]*)">Earlier', first.html)
    assert further
    then = rows(audi.get(further[1].replace("&amp;", "&")))
    assert len(rows(first)) == 2
    assert then
    assert not set(then) & set(rows(first))
    assert all("incident.opened" in row for row in then)


def test_the_trail_is_taken_along_and_verified_elsewhere(incident, audi, service, tmp_path):
    headers = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    got = audi.client.post("/audit/export", data={"csrf": audi.csrf}, headers=headers)
    assert got.status_code == 200
    assert re.search(r'attachment; filename="runbooks-trail-\d+\.jsonl"', got.headers["Content-Disposition"])
    lines = [json.loads(line) for line in got.get_data(as_text=True).splitlines()]
    assert (lines[-1]["event"], lines[-1]["actor"]["name"]) == ("audit.exported", "Audi Thor")
    assert lines[-1]["body"] == {"entries": len(lines) - 1, "head": lines[-2]["hash"]}
    assert verify(Entry.from_json(line) for line in lines).ok
    file = tmp_path / "trail.jsonl"
    file.write_bytes(got.data)
    command = [sys.executable, "-m", "runbooks_app.main", "audit", "verify", "--file", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == 0, said.stderr
    assert f"The trail holds: {len(lines)} entries, the last hash is {lines[-1]['hash']}" in " ".join(
        said.stdout.split()
    )
    file.write_bytes(got.data.replace(b"Checkout is slow", b"Checkout is fine", 1))
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 1


def test_only_auditors_take_it_along(story, anna, service):
    with reading(service.engine) as tx:
        before = tx.execute("SELECT count(*) FROM audit_entries WHERE event = 'audit.exported'").scalar_one()
    assert anna.post("/audit/export").status == 403
    assert anna.get("/audit/export").status in {404, 405}
    with reading(service.engine) as tx:
        after = tx.execute("SELECT count(*) FROM audit_entries WHERE event = 'audit.exported'").scalar_one()
    assert before == after


def test_the_page_says_what_there_is_not(story, audi):
    told = audi.get("/audit").text
    assert "There are no checkpoints and no witnesses yet" in told
    assert "runbooks audit verify --file" in told

"""Notes that are changed, and the prose of postmortems."""

from __future__ import annotations

import json
import re

import pytest

from runbooks_app.actions import incidents, writing
from runbooks_app.core.errors import Refused
from runbooks_app.core.people import Person, through
from runbooks_app.core.writing import Section
from runbooks_app.store.database import reading
from runbooks_app.web.pages import writing as pages

pytestmark = pytest.mark.pages
WEB = {"surface": "web", "auth_time": None}


@pytest.fixture
def incident(story, service, anna) -> int:
    return incidents.open_incident(service, anna.person, WEB, "Checkout is slow").id


@pytest.fixture
def note(incident, service, anna) -> str:
    written = incidents.add_note(service, anna.person, WEB, incident, "Rolled back to 4.1")
    return f"/incidents/{incident}/notes/{written.id}"


def write(browser, incident, name, text, version="0", **others):
    """Save one section; the texts of `others` go along, each from its version 0 unless it says another."""
    return browser.post(
        f"/incidents/{incident}/postmortem/{name}", **{f"text-{name}": text, f"version-{name}": version, **others}
    )


def typed(html, name) -> tuple[str, str]:
    """What stands in a section's field, and the version that it was made from."""
    version = re.search(rf'name="version-{name}" value="([^"]*)"', html)[1]
    return re.search(rf'<textarea id="text-{name}"[^>]*>\n([^<]*)</textarea>', html)[1], version


def entries(service, event, incident):
    with reading(service.engine) as tx:
        rows = tx.execute(
            "SELECT body FROM audit_entries WHERE event = :event AND objects::jsonb @> :about ORDER BY seq",
            event=event,
            about={"incident": incident},
        )
        return [json.loads(body) for body in rows.scalars()]


def test_who_wrote_a_note_changes_it_and_what_it_said_stays(note, incident, anna, vera, service):
    assert "Change it" in anna.get(note).text
    assert anna.post(note, text="Rolled back to 4.0,\r\nnot 4.1", version="1").status == 303
    assert anna.post(note, text="Rolled back to 3.9", version="2").status == 303
    told = vera.get(note)
    assert "Rolled back to 3.9" in told.text
    before = told.text[told.text.index("What it said before") :]
    assert before.index("Version 2") < before.index("Rolled back to 4.0, not 4.1") < before.index("Rolled back to 4.1")
    assert entries(service, "note.edited", incident) == [
        {"text": "Rolled back to 4.0,\nnot 4.1", "version": 2},
        {"text": "Rolled back to 3.9", "version": 3},
    ]
    page = vera.get(f"/incidents/{incident}")
    assert "Rolled back to 3.9" in page.text
    assert "Rolled back to 4" not in page.text
    assert re.search(r"note · Anna Weber · changed", page.text)


def test_of_a_note_that_was_changed_very_often_the_latest_versions_are_shown(note, anna, monkeypatch):
    monkeypatch.setattr(pages, "MOST_BEFORE", 2)
    for version in range(1, 5):
        anna.post(note, text=f"Rolled back {version} times", version=str(version))
    assert re.findall(r"Version (\d+)", anna.get(note).text) == ["4", "3"]


def test_what_an_agent_wrote_and_its_person_changed_bears_both_names(incident, anna, vera, service):
    agent = through(anna.person, "runbooks-agent", "claude-code")
    written = incidents.add_note(service, agent, WEB, incident, "Rolled back to 4.1")
    note = f"/incidents/{incident}/notes/{written.id}"
    anna.post(note, text="Rolled back to 4.0", version="1")
    anna.post(note, text="Rolled back to 3.9", version="2")
    told = vera.get(note).text
    by_agent = "Anna Weber through claude-code (agent)"
    assert re.search(rf"Written by {re.escape(by_agent)} \S+ .*?; changed by Anna Weber [^t]", told)
    before = told[told.index("What it said before") :]
    assert before.index("Version 2 · Anna Weber ·") < before.index(f"Version 1 · {by_agent} ·")
    assert f"note · {by_agent} · changed by Anna Weber" in vera.get(f"/incidents/{incident}").text
    with pytest.raises(Refused, match="Only Anna Weber may change this note"):
        writing.edit_note(service, agent, WEB, incident, written.id, 3, "Rolled back to 4.1")
    api = vera.client.get(f"/api/v1/incidents/{incident}/notes").json["notes"][0]
    assert (api["by"], api["edited_by"]) == (by_agent, "Anna Weber")


def test_nobody_changes_what_somebody_else_wrote(note, dev, vera, service):
    assert "Change it" not in dev.get(note).text
    told = dev.post(note, text="Never", version="1")
    assert told.status == 403
    assert "Only Anna Weber may change this note" in told.text
    assert vera.post(note, text="Never", version="1").status == 403
    assert "Never" not in vera.get(note).text


def test_what_somebody_pinned_is_not_changed(incident, anna, service):
    pinned = incidents.Pinned("C1:17.1", "Ben", "It is the index", "https://chat.example/1")
    written = incidents.pin(service, anna.person, WEB, incident, pinned)
    page = f"/incidents/{incident}/notes/{written.id}"
    assert "Change it" not in anna.get(page).text
    told = anna.post(page, text="It is not the index", version="1")
    assert told.status == 403
    assert "what Ben wrote in the chat" in told.text


def test_a_note_is_not_emptied_and_is_found_only_where_it_belongs(note, incident, anna, service):
    told = anna.post(note, text="  ", version="1")
    assert told.status == 422
    assert "Say in it why it does not hold" in told.text
    other = incidents.open_incident(service, anna.person, WEB, "Another").id
    assert anna.get(note.replace(f"/incidents/{incident}/", f"/incidents/{other}/")).status == 404


def test_two_who_change_a_note_at_once_see_both_texts(note, anna):
    anna.post(note, text="Rolled back to 4.0", version="1")
    told = anna.post(note, text="Rolled back to 3.8", version="1")
    assert told.status == 409
    assert "Rolled back to 4.0" in told.text
    assert "Rolled back to 3.8" in told.text
    assert told.field("version") == "2"
    assert anna.post(note, text="Rolled back to 3.8", version="2").status == 303


def test_a_line_of_the_timeline_keeps_its_address_when_its_note_is_changed(note, incident, anna):
    name = f"note-{note.rpartition('/')[2]}"
    assert f'id="{name}"' in anna.get(f"/incidents/{incident}").html
    anna.post(note, text="Rolled back", version="1")
    page = anna.get(f"/incidents/{incident}")
    assert f'<a class="when" href="#{name}">' in page.html
    ids = re.findall(r'<li id="([^"]+)">', page.html)
    assert len(ids) == len(set(ids))


def test_the_prose_is_written_in_sections_and_read_by_everybody(incident, anna, vera, service):
    page = f"/incidents/{incident}/postmortem"
    assert "Nobody has written it yet" in vera.get(page).text
    assert "<textarea" not in vera.get(page).html
    assert write(anna, incident, "impact", "**Half** of all <b>orders</b>").status == 303
    told = vera.get(page)
    assert "<strong>Half</strong> of all &lt;b&gt;orders&lt;/b&gt;" in told.html
    assert entries(service, "postmortem.edited", incident) == [
        {"section": "impact", "text": "**Half** of all <b>orders</b>", "version": 1}
    ]
    assert "impact by Anna Weber" in vera.get(f"/incidents/{incident}").text
    assert write(vera, incident, "impact", "None", "1").status == 403
    assert write(anna, incident, "blame", "You").status == 404


def test_who_was_slower_sees_both_texts_and_decides(incident, anna, dev):
    page = f"/incidents/{incident}/postmortem"
    write(dev, incident, "summary", "A lock was held.")
    told = write(anna, incident, "summary", "A migration held a lock.")
    assert told.status == 409
    assert "Dev Patel changed it since you opened it" in told.text
    assert "A lock was held." in told.text
    assert "A migration held a lock." in told.text
    assert write(anna, incident, "summary", "A migration held a lock.", "1").status == 303
    assert "What it said before Version 1 · Dev Patel" in dev.get(page).text


def test_saving_the_same_again_is_no_change(incident, anna, service):
    for _ in range(2):
        assert write(anna, incident, "summary", "A lock was held.").status == 303
    assert len(entries(service, "postmortem.edited", incident)) == 1


def test_too_long_a_text_is_shown_again_beside_what_is_wrong(incident, anna):
    told = write(anna, incident, "lessons", "x" * 50_001, "odd")
    assert told.status == 422
    assert "It has 50,001 characters; 50,000 are the most." in told.text
    assert "x" * 50_001 in told.html


def test_saving_one_section_keeps_what_was_typed_in_the_others(incident, anna, service):
    others = {f"{part}-{name}": said for name, text in (("impact", "Half of it"), ("lessons", "Set a timeout\r\n"))
              for part, said in (("text", text), ("version", "0"))}  # fmt: skip
    told = write(
        anna, incident, "summary", "A lock was held.", **others, **{"text-actions": "", "version-actions": "0"}
    )
    assert (told.status, told.text.count("What you typed here is not saved yet.")) == (200, 2)
    assert (typed(told.html, "summary"), typed(told.html, "impact")) == (("A lock was held.", "1"), ("Half of it", "0"))
    assert typed(told.html, "lessons")[0].strip() == "Set a timeout"
    assert [entry["section"] for entry in entries(service, "postmortem.edited", incident)] == ["summary"]
    del others["text-impact"]
    assert write(anna, incident, "impact", "Half of it", **others).status == 200
    assert write(anna, incident, "lessons", "Set a timeout").status == 303
    assert len(entries(service, "postmortem.edited", incident)) == 3


def test_what_was_typed_in_the_others_is_kept_also_where_one_cannot_be_saved(incident, anna, dev):
    write(dev, incident, "summary", "A lock was held.")
    others = {"text-impact": "Half of it", "version-impact": "0"}
    for text, status in (("Another lock", 409), ("x" * 50_001, 422)):
        told = write(anna, incident, "summary", text, **others)
        assert (told.status, typed(told.html, "impact")) == (status, ("Half of it", "0"))


def test_a_section_that_somebody_else_wrote_meanwhile_is_not_told_as_ones_own(incident, anna, dev):
    write(dev, incident, "impact", "Half of it")
    told = write(anna, incident, "summary", "A lock was held.", **{"text-impact": "", "version-impact": "0"})
    assert told.status == 303
    write(dev, incident, "impact", "All of it", "1")
    old = {"text-impact": "Half of it", "version-impact": "1"}
    assert write(anna, incident, "lessons", "Set a timeout", **old).status == 303


def test_what_was_typed_on_an_older_version_clashes_when_it_is_saved_itself(incident, anna, dev):
    write(dev, incident, "impact", "Half of it")
    told = write(anna, incident, "summary", "A lock", **{"text-impact": "A third of it", "version-impact": "0"})
    assert (told.status, typed(told.html, "impact")) == (200, ("A third of it", "0"))
    told = write(anna, incident, "impact", "A third of it")
    assert (told.status, "Dev Patel changed it since you opened it" in told.text) == (409, True)


@pytest.mark.parametrize("about", ["a note", "a section"])
def test_what_cannot_be_kept_still_clashes_with_what_somebody_wrote_meanwhile(incident, note, anna, about):
    """Else a text that was mended would take the place of one that its writer has not seen."""
    if about == "a note":
        anna.post(note, text="Rolled back to 4.0", version="1")
        told = anna.post(note, text="x" * 10_001, version="1")
        assert (told.status, told.field("version")) == (422, "1")
    else:
        write(anna, incident, "impact", "Half of it")
        told = write(anna, incident, "impact", "x" * 50_001)
        assert (told.status, typed(told.html, "impact")[1]) == (422, "0")


def test_every_export_tells_the_prose_with_the_entry_that_proves_it(incident, anna, service):
    writing.write_postmortem(service, anna.person, WEB, incident, Section.ACTIONS, 0, "Set a `lock_timeout`.")
    for kind in ("md", "html", "ipynb"):
        headers = {"Origin": "http://127.0.0.1:8080"}
        form = {"csrf": anna.csrf, "kind": kind}
        left = anna.client.post(f"/incidents/{incident}/postmortem", data=form, headers=headers).get_data(as_text=True)
        assert "Actions" in left
        assert "lock_timeout" in left
        assert re.search(r"Written by .{0,30}Anna Weber.{0,60}entry", left, re.DOTALL)


def test_only_those_who_may_note_write(incident, service):
    viewer = Person("https://id.example#vera", "Vera Lund", roles=frozenset({"viewer"}))
    with pytest.raises(Exception, match="may not note here"):
        writing.write_postmortem(service, viewer, WEB, incident, Section.SUMMARY, 0, "no")
    with pytest.raises(Exception, match="may not note here"):
        writing.edit_note(service, viewer, WEB, incident, 1, 1, "no")

"""`/runs/<id>/ask`, `/incidents/<id>/ask`: typing a question, its answer, its conclusion, a draft of several."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from runbooks_app.store import audit, incidents, runs
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.pages


@pytest.fixture
def run_id(story) -> str:
    return story.diagnosed()[0]


@pytest.fixture
def incident(run_id, service) -> str:
    with reading(service.engine) as tx:
        return f"/incidents/{runs.get(tx, run_id).incident_id}"


@pytest.fixture
def impatient():
    """Within `impatient(engine)` nothing waits for a lock for long."""

    @contextmanager
    def hurried(engine):
        def hurry(connection):
            connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")

        event.listen(engine, "begin", hurry)
        yield
        event.remove(engine, "begin", hurry)

    return hurried


def ask(browser, story, address: str, **typed: str) -> str:
    """The id of the run that answers; `typed` has a hypothesis."""
    told = browser.post(f"{address}/ask", **typed)
    assert told.status == 303, told.text
    asked = told.headers["Location"].rsplit("/", 1)[1]
    story.claim(asked)
    story.end(asked, "ask-2", outputs=[])
    story.finish(asked)
    return asked


def test_what_is_asked_of_a_run_leads_to_a_run_of_its_own(anna, story, run_id):
    assert "Ask something" in anna.get(f"/runs/{run_id}").text
    form = anna.get(f"/runs/{run_id}/ask").text
    assert "parameters and the setup of db-latency" in form
    assert "orders-db (postgres)" in form
    told = anna.post(f"/runs/{run_id}/ask", source="1 + 1", hypothesis="It is <b>two</b>")
    assert told.status == 303
    page = anna.get(told.headers["Location"])
    assert "It is <b>two</b>" in page.text
    assert "<b>two</b>" not in page.html
    assert "An ask: cells that only read, as they were typed" in page.text
    assert "Nobody has written" not in page.text


def test_what_was_typed_is_not_lost_where_the_incident_was_closed_meanwhile(anna, service):
    with transaction(service.engine) as tx:
        number = incidents.insert(tx, "Closed soon", "", {"kind": "person", "subject": "s", "name": "n"}).id
        incidents.close(tx, number, "a cause")
    page = anna.post(f"/incidents/{number}/ask", source="1 + 1", hypothesis="Why")
    assert page.status == 409
    assert f"Incident {number} is closed" in page.text
    assert "1 + 1</textarea>" in page.html
    assert page.field("hypothesis") == "Why"


def test_what_was_typed_is_not_lost_where_others_hold_the_run_for_too_long(anna, service, run_id, impatient):
    with transaction(service.engine) as tx:
        runs.get(tx, run_id, lock=True)
        with impatient(service.engine):
            page = anna.post(f"/runs/{run_id}/ask", source="1 + 1", hypothesis="Why")
    assert page.status == 503
    assert "Others change the same thing right now; nothing was changed. Try again." in page.text
    assert "1 + 1</textarea>" in page.html
    assert page.field("hypothesis") == "Why"


class TestWhereNobodyAsks:
    @pytest.fixture
    def settings(self):
        return {"ask": "off"}

    def test_what_was_typed_is_not_lost_and_the_refusal_is_entered(self, anna, service, run_id):
        page = anna.post(f"/runs/{run_id}/ask", source="1 + 1", hypothesis="Why")
        assert page.status == 403
        assert "RUNBOOKS_ASK=off" in page.text
        assert "1 + 1</textarea>" in page.html
        with reading(service.engine) as tx:
            last = audit.get(tx, audit.head(tx)[0])
        assert (last.event, "RUNBOOKS_ASK=off" in last.body) == ("access.refused", True)


def test_what_cannot_be_asked_stands_beside_its_field_and_nothing_is_lost(anna, run_id, incident):
    for address in (f"/runs/{run_id}", incident):
        page = anna.post(f"{address}/ask", source="if:", hypothesis="Why")
        assert page.status == 422
        assert "It cannot be read in cell 1, line 1: invalid syntax." in page.text
        assert "if:</textarea>" in page.html
        assert page.field("hypothesis") == "Why"
    page = anna.post(f"{incident}/ask", source='kit.http("nowhere")')
    assert (page.status, "nowhere is not configured" in page.text) == (422, True)


def test_a_conclusion_is_written_on_the_answers_page(anna, vera, story, incident):
    asked = ask(anna, story, incident, source="1", hypothesis="One")
    page = anna.get(f"/runs/{asked}")
    assert "Nobody has written it down yet" in page.text
    assert page.field("was") == ""
    assert "Write it down" not in vera.get(f"/runs/{asked}").text
    assert anna.post(f"/runs/{asked}/conclusion", conclusion="It is <i>one</i>", was="").status == 303
    page = anna.get(f"/runs/{asked}")
    assert page.field("was") == "It is <i>one</i>"
    assert "<i>one</i>" not in page.html
    for sent, was, status, told in (
        ("Two", "", 409, "Somebody wrote another conclusion meanwhile"),
        (" \r\n", "It is <i>one</i>", 422, "It is empty. Say what it showed, also where it showed nothing."),
        ("x" * 4001, "It is <i>one</i>", 422, "It has 4,001 characters; 4,000 are the most."),
    ):
        page = anna.post(f"/runs/{asked}/conclusion", conclusion=sent, was=was)
        assert page.status == status
        assert f'id="conclusion-error"><span aria-hidden="true">✗ </span>{told}' in page.html
        assert 'aria-describedby="conclusion-error"' in page.html
        assert sent.strip() in page.html
        assert page.field("was") == "It is <i>one</i>"
        assert "One" in page.title


def test_a_conclusion_comes_when_it_has_ended_and_only_to_an_ask(anna, story, incident, run_id):
    asked = anna.post(f"{incident}/ask", source="1").headers["Location"]
    page = anna.post(f"{asked}/conclusion", conclusion="One", was="")
    assert (page.status, "It still runs: what it shows is concluded when it has ended." in page.text) == (409, True)
    assert anna.post(f"/runs/{run_id}/conclusion", conclusion="One", was="").status == 404
    assert "is an ask: attach the run" in anna.post(f"{incident}/runs", run=asked.rsplit("/", 1)[1]).text


def test_an_ask_is_answered_and_not_diagnosed(anna, story, incident):
    going = anna.post(f"{incident}/ask", source="1", hypothesis="It grows").headers["Location"]
    asked = ask(anna, story, incident, source="1", hypothesis="It is full")
    page = anna.get(f"/runs/{asked}")
    assert page.title.startswith("◐ answered in part — It is full")
    story.claim(going.rsplit("/", 1)[1])
    assert "answering" in anna.get(going).text
    listed = anna.get(f"{incident}/ask")
    export = anna.post(f"{incident}/postmortem", kind="md")
    for text in (page.text, anna.get(going).text, export.html.partition("Ask 1")[2]):
        assert "iagnosed" not in text
        assert "iagnosis" not in text
    assert "◐ answered in part" in listed.text
    assert "diagnosed" not in listed.text


def test_earlier_ones_are_offered_with_their_code_and_make_a_draft(anna, dev, story, run_id, incident):
    asked = ask(anna, story, f"/runs/{run_id}", source="1 + 1", hypothesis="Two")
    page = anna.get(f"{incident}/ask")
    assert f'href="/runs/{run_id}/ask?again={asked}"' in page.html
    again = anna.get(f"/runs/{run_id}/ask?again={asked}")
    assert "1 + 1</textarea>" in again.html
    assert again.field("hypothesis") == "Two"
    assert again.field("again") == asked
    other = anna.post(f"/runs/{run_id}/ask", source="if:", again=asked)
    assert (other.status, other.field("again")) == (422, asked)
    repeated = anna.post(f"/runs/{run_id}/ask", source="1 + 2", again=asked)
    assert f'repeats <a href="/runs/{asked}">' in anna.get(repeated.headers["Location"]).html
    assert anna.post(f"{incident}/asks/draft", title="Two?").status == 422
    assert "The title" in anna.post(f"{incident}/asks/draft", title="", asks=asked).text
    assert dev.get(f"{incident}/ask").status == 403
    made = dev.post(f"{incident}/asks/draft", title="Is it two?", asks=asked)
    assert made.status == 200
    assert made.headers["Content-Disposition"] == 'attachment; filename="is-it-two.ipynb"'
    assert json.loads(made.html)["metadata"]["runbook"]["title"] == "Is it two?"


def test_a_draft_is_made_of_any_ask_however_many_came_after_it(anna, story, service, incident):
    asked = ask(anna, story, incident, source="1 + 1", hypothesis="Two")
    with transaction(service.engine) as tx:
        tx.execute(
            """WITH later AS (
                 INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object(
                   'id', r.id || n, 'requested_at', r.requested_at + make_interval(secs => n)))).*
                 FROM runs r, generate_series(1, 500) n WHERE r.id = :id RETURNING id)
               INSERT INTO asks (run_id, source) SELECT id, '2' FROM later""",
            id=asked,
        )
    assert anna.post(f"{incident}/asks/draft", title="Is it two?", asks=asked).status == 200


def test_of_a_closed_incident_nothing_is_asked(anna, incident, run_id):
    anna.post(f"{incident}/close", cause="solved")
    assert "is closed" in anna.get(f"{incident}/ask").text
    assert "Ask something" not in anna.get(f"/runs/{run_id}").text
    assert anna.post(f"{incident}/ask", source="1").status == 409


@pytest.mark.parametrize("kind", ["md", "html", "ipynb"])
def test_the_timeline_and_every_export_tell_what_was_asked_and_concluded(anna, story, incident, kind):
    asked = ask(anna, story, incident, source="6 * 7", hypothesis="It is 42")
    anna.post(f"/runs/{asked}/conclusion", conclusion="It is indeed", was="")
    told = anna.get(incident).text
    assert told.index("Asked: It is 42") < told.index("Concluded: It is indeed")
    assert f'href="/runs/{asked}"' in anna.get(incident).html
    export = anna.post(f"{incident}/postmortem", kind=kind)
    assert export.status == 200
    for part in ("Ask: It is 42", "6 * 7", "It is indeed", "Conclusion"):
        assert part in (export.text if kind == "html" else export.html), part

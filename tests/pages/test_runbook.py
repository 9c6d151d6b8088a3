"""`/runbooks/<name>`: what it does, and the form that starts it."""

from __future__ import annotations

import re

import pytest

from runbooks_app.store import incidents, runs
from runbooks_app.store.database import reading, transaction

GOOD = {
    "p.database": "orders-db",
    "p.slow_after": "0.5",
    "p.blocked_after": "2",
    "p.critical_from": "5",
    "p.idle_after": "300",
}


def test_it_tells_what_it_does_on_what_and_as_whom(anna):
    page = anna.get("/runbooks/db-latency")
    assert "Finds out why a PostgreSQL database answers slowly" in page.text
    assert "owned by database" in page.text
    assert "orders_reader" in page.text
    assert "once, after approval by database" in page.text


def test_cells_carry_their_stage_as_a_band_and_a_word(anna):
    page = anna.get("/runbooks/db-latency")
    assert re.search(r'class="cell read" id="cell-latency"', page.html)
    assert re.search(r'class="cell gated" id="cell-terminate-session"', page.html)
    assert "gated, high risk, runs only after approval" in page.text


def test_the_form_has_a_field_of_the_right_sort_for_each_parameter(anna):
    page = anna.get("/runbooks/db-latency")
    assert '<select id="field-p.database" name="p.database"' in page.html
    assert '<option value="orders-db" selected>' in page.html
    assert 'type="number" id="field-p.critical_from" name="p.critical_from" value="5"' in page.html
    assert "The database that is slow" in page.text


def test_starting_goes_to_the_run(anna, service):
    page = anna.post("/runbooks/db-latency", **GOOD)
    assert page.status == 303
    run_id = page.headers["Location"].rpartition("/")[2]
    with reading(service.engine) as tx:
        run = runs.get(tx, run_id)
    assert run.parameters["slow_after"] == 0.5
    assert run.requested_by["name"] == "Anna Weber"
    assert run.requested_by["signed_in"]["surface"] == "web"


def test_a_run_can_join_an_open_incident(anna, service, story):
    run_id = story.request()
    with reading(service.engine) as tx:
        incident_id = runs.get(tx, run_id).incident_id
    page = anna.post("/runbooks/db-latency", **GOOD, incident=str(incident_id))
    with reading(service.engine) as tx:
        assert runs.get(tx, page.headers["Location"].rpartition("/")[2]).incident_id == incident_id
    assert anna.post("/runbooks/db-latency", **GOOD, incident="<b>").status == 422


def test_a_runbook_that_is_looked_for_from_an_incident_is_run_for_that_one(anna, service, story):
    with reading(service.engine) as tx:
        number = runs.get(tx, story.request()).incident_id
    assert f'href="/?incident={number}"' in anna.get(f"/incidents/{number}").html
    home = anna.get(f"/?incident={number}")
    assert f'href="/runbooks/db-latency?incident={number}"' in home.html
    assert f'<input type="hidden" name="incident" value="{number}">' in home.html
    typed = anna.client.get(f"/?incident={number}&q=latency", headers={"HX-Target": "div#found"})
    assert f'href="/runbooks/db-latency?incident={number}"' in typed.text
    entered = anna.get(f"/?incident={number}&q=latency&open=only")
    assert entered.headers["Location"] == f"/runbooks/db-latency?incident={number}"
    assert f'<option value="{number}" selected>' in anna.get(entered.headers["Location"]).html
    assert anna.get("/?incident=999999").status == 404


def test_a_run_for_an_incident_that_was_closed_meanwhile_is_told_with_all_values_kept(anna, service, story):
    with transaction(service.engine) as tx:
        number = incidents.insert(tx, "Closed soon", "", {"kind": "person", "subject": "s", "name": "n"}).id
        incidents.close(tx, number, "a cause")
    page = anna.post("/runbooks/db-latency", **{**GOOD, "p.idle_after": "77"}, incident=str(number))
    assert page.status == 409
    assert f"Incident {number} is closed: run it for a new one." in page.text
    assert 'value="77"' in page.html


def test_what_cannot_be_used_stands_beside_its_field_with_all_values_kept(anna, service):
    with reading(service.engine) as tx:
        before = tx.execute("SELECT count(*) FROM runs").scalar_one()
    hostile = '"><script>alert(1)</script>'
    page = anna.post("/runbooks/db-latency", **{**GOOD, "p.critical_from": hostile, "p.idle_after": "77"})
    assert page.status == 422
    assert 'value="77"' in page.html
    assert "<script>alert" not in page.html
    assert "&#34;&gt;&lt;script&gt;" in page.html
    field = page.html[page.html.index('id="field-p.critical_from"') :]
    assert 'aria-invalid="true"' in field[: field.index(">")].replace("\n", " ") or "aria-invalid" in field[:400]
    assert "whole number" in field[: field.index("field-p.idle_after")]
    with reading(service.engine) as tx:
        assert tx.execute("SELECT count(*) FROM runs").scalar_one() == before


def test_a_missing_connection_is_told_at_its_field(anna):
    page = anna.post("/runbooks/db-latency", **{**GOOD, "p.database": ""})
    assert page.status == 422
    assert "field-p.database-error" in page.html


def test_a_link_may_bring_values_along(anna):
    assert 'name="p.slow_after" value="3"' in anna.get("/runbooks/db-latency?slow_after=3").html


def test_a_viewer_reads_and_finds_no_form(vera):
    page = vera.get("/runbooks/db-latency")
    assert page.status == 200
    assert "Start the diagnosis" not in page.text
    assert "takes the role responder" in page.text
    assert vera.post("/runbooks/db-latency", **GOOD).status == 403


def test_a_misspelt_name_is_answered_with_what_was_meant(anna):
    page = anna.get("/runbooks/db-latencx")
    assert page.status == 404
    assert "db-latency" in page.text


class TestWithAChannelForWhatIsStartedOnPages:
    @pytest.fixture
    def settings(self):
        return {"slack_channel": "C0HOUSE"}

    def test_the_form_says_which_incident_a_run_joins_and_a_new_one_is_new(self, anna, service, story):
        run_id = story.request()
        with reading(service.engine) as tx:
            joined = incidents.open_in(tx, service.settings.slack_channel)[0].id
            assert runs.get(tx, run_id).incident_id == joined
        assert f'<option value="{joined}" selected>' in anna.get("/runbooks/db-latency").html
        page = anna.post("/runbooks/db-latency", **GOOD, incident="new")
        with reading(service.engine) as tx:
            assert runs.get(tx, page.headers["Location"].rpartition("/")[2]).incident_id > joined

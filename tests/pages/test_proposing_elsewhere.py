"""`/runs/<id>/propose/<gate>` for a gate that takes a connection: the form offers those that the run reaches."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from notebooks import cell, write
from page_stories import ANNA, SURFACE

from runbooks_app.actions import running

pytestmark = pytest.mark.pages

END = """
where: Connection["postgres"]  # on which database
pid: int  # which session
kit.gate("end-session", "End session {pid} on {where}", target="{where}")
kit.postgres(where).execute("SELECT pg_terminate_backend(%s)", [pid])
"""


@pytest.fixture
def settings(tmp_path):
    folder = tmp_path / "runbooks"
    folder.mkdir()
    write(folder, "sessions", cell("look", "1", "diagnostic"), cell("end", END, "remediation"))
    return {"library": folder}


@pytest.fixture
def form(service, story):
    """Where to propose it from a run on orders-db; billing-db is configured beside it."""
    orders = service.connections["orders-db"]
    service.connections["billing-db"] = replace(orders, name="billing-db")
    service.connections["api"] = replace(orders, name="api", kind="http")
    run_id = running.request_run(service, ANNA, SURFACE, "sessions", {}).id
    story.diagnose(run_id)
    return f"/runs/{run_id}/propose/end-session"


def test_it_offers_what_the_run_reaches_and_no_other_database(anna, form):
    assert re.findall(r'<option[^>]*value="([^"]+)"', anna.get(form).html) == ["orders-db"]
    assert anna.post(form, **{"p.where": "orders-db", "p.pid": "7", "reason": "It blocks the till"}).status == 303


@pytest.mark.parametrize("other", ["billing-db", "api", "nowhere"])
def test_another_one_is_refused_beside_its_field_with_those_that_can_be_chosen(anna, form, other):
    page = anna.post(form, **{"p.where": other, "p.pid": "7", "reason": "It blocks the till"})
    assert page.status == 422
    assert f'"{other}" is no connection that can be used here. Choose one of orders-db.' in page.text
    assert page.field("p.pid") == "7"
    assert ">It blocks the till</textarea>" in page.html

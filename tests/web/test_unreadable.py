"""What ran is told also where its notebook can no longer be read: since the ceilings were lowered, say."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from slack_signing import SIGNING_SECRET
from web.conftest import SECRET_KEY, notebook

from runbooks_app.library import Library
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.web import live
from runbooks_app.web.app import create_app
from runbooks_app.worker.incidents import told_of_incident, told_of_postmortem

pytestmark = pytest.mark.pages


@pytest.fixture
def settings(settings):
    return {**settings, "environment": "ceilings"}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    hungry = notebook()
    hungry["metadata"]["runbook"]["limits"] = {"memory": "2GB"}
    (folder / "disk-full.ipynb").write_text(json.dumps(hungry))
    return Library(folder)


@pytest.fixture
def lowered(service, library):
    """The service after a restart with a lower ceiling."""
    return replace(service, library=Library(library.folder, {"memory": 1_000_000_000}))


@pytest.fixture
def anna(lowered, sign_in_as):
    app = create_app(lowered, secret_key=SECRET_KEY, slack_signing_secret=SIGNING_SECRET)
    somebody = sign_in_as("responder")
    client = app.test_client()
    client.set_cookie("runbooks", somebody.cookie)
    yield replace(somebody, client=client)
    live.close(app)


@pytest.fixture
def incident(service, diagnosed, anna):
    run_id, proposal_id = diagnosed(anna.person)
    anna.post(f"/api/v1/proposals/{proposal_id}/withdraw")
    with reading(service.engine) as tx:
        return runs.get(tx, run_id).incident_id


def test_an_incident_is_told_also_where_a_runbook_can_no_longer_be_read(incident, anna):
    page = anna.get(f"/incidents/{incident}")
    assert (page.status_code, "disk-full requested" in page.text) == (200, True)
    stream = anna.get(f"/incidents/{incident}/events", buffered=False)
    assert (stream.status_code, bool(next(stream.iter_encoded()))) == (200, True)
    stream.close()


@pytest.mark.parametrize("kind", ["ipynb", "html", "md"])
def test_its_postmortem_has_the_cells_as_they_were_stored(incident, anna, kind):
    left = anna.post(f"/api/v1/incidents/{incident}/exports", {"kind": kind})
    words = re.sub(r"<[^>]+>", "", left.text)
    assert (left.status_code, "rows = limit" in words, "End session 4711" in words) == (200, True, True)


def test_what_it_reached_nobody_can_say_so_it_stays_out_of_the_chat(incident, lowered):
    with reading(lowered.engine) as tx:
        assert told_of_incident(tx, lowered, str(incident))
        _, told = told_of_postmortem(tx, lowered, str(incident))
    document = told.file.data.decode()
    assert "End session 4711" in document
    assert "rows = limit" not in document

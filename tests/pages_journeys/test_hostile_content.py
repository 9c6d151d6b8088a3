"""Content that would like to act, in every place where somebody else's text stands on a page: none of it does.

What kernels print, names of people here and in Slack, titles, parameters, notes, findings, proposals and decisions each
hold every payload. A browser opens the pages; nothing may run, load from elsewhere, lead elsewhere or be refused by the
Content-Security-Policy: what a policy refuses had already come through the escaping.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from documents.documents_hostile import MIMES, WRITABLE
from notebooks import cell, notebook
from page_stories import ANNA, INPUTS, LIBRARY, SURFACE, bundle, stream
from pages_journeys import site as sites
from pages_journeys.watching import Watch

from runbooks_app.actions import deciding, incidents, running
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.people import Person
from runbooks_app.core.run import CellState
from runbooks_app.store import people
from runbooks_app.store.database import transaction
from runbooks_app.web import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

CELLS = ("latency", "activity", "blocking-tree", "longest-transactions", "locks", "chart", "what-would-help")


@pytest.fixture(scope="module")
def site(engine, tmp_path_factory, redis_server) -> Iterator[sites.Site]:
    """The service with a library in which every runbook's words are a payload."""
    folder = tmp_path_factory.mktemp("hostile")
    library = folder / "runbooks"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    for number, payload in enumerate(WRITABLE):
        line = " ".join(payload.split())
        hostile = notebook(
            cell("look", f"{payload!r}"),
            parameters=f"text: str = {payload!r}  # {line}",
            title=payload,
            owner=line,
            description=payload,
        )
        (library / f"hostile-{number}.ipynb").write_text(json.dumps(hostile))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "LIMITS", dict.fromkeys(limits.LIMITS, "1000000 per minute"))
        with sites.opened(engine, folder, redis_server, library=library) as running:
            yield running


@pytest.fixture
def watch(visit, site) -> Watch:
    """A window of Dev's, who may see and decide."""
    return Watch(visit(site.dev, "/connections"), site.address)


def printed(story, outputs: list[Any]) -> tuple[str, int]:
    """Ids of a run whose cells printed these, a share each, and of its attempt."""
    run_id = story.request(ANNA)
    attempt = story.claim(run_id).attempt.id
    share = len(outputs) // len(CELLS) + 1
    for place, name in enumerate(CELLS):
        story.end(run_id, name, CellState.OK, outputs=outputs[place * share : (place + 1) * share])
    story.finish(run_id)
    return run_id, attempt


def display(data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": data}


def test_the_watch_notes_what_runs_and_what_is_asked_for(visit, site):
    watch = Watch(visit(site.vera, "/connections"), site.address)
    watch.page.goto("about:blank")
    watch.page.set_content("<img src='https://evil.example/x.png' onerror='alert(1); document.title = `ran`'>")
    watch.page.wait_for_function("() => document.title === 'ran'")
    watch.page.evaluate("() => window.ran('last')")  # which is noted after all that came before it
    assert {"ran: alert1", "asked for https://evil.example/x.png"} <= set(watch.noted)


@pytest.mark.parametrize("mime", MIMES)
def test_no_form_of_an_output_acts(site, watch, mime):
    run_id, attempt = printed(site.story, [display({mime: p, "text/plain": p}) for p in WRITABLE])
    watch.open(f"/runs/{run_id}")
    for name in CELLS:
        watch.open(f"/runs/{run_id}/cells/{attempt}/{name}/full")


def test_nothing_acts_in_prints_errors_tables_and_json(site, watch):
    outputs: list[Any] = []
    for payload in WRITABLE:
        outputs += [
            stream(payload),
            stream(payload, "stderr"),
            {"output_type": "error", "ename": payload, "evalue": payload, "traceback": [payload]},
            display({"application/json": {payload: [payload, {payload: None}]}}),
            display({"application/vnd.plotly.v1+json": {payload: payload}, "text/html": payload}),
            display({"text/html": f'<table class="dataframe"><thead><tr><th>{payload}</th></tr></thead></table>'}),
        ]
    run_id, attempt = printed(site.story, outputs)
    watch.open(f"/runs/{run_id}")
    for name in CELLS:
        watch.open(f"/runs/{run_id}/cells/{attempt}/{name}/full")


def test_nothing_acts_in_findings_checks_and_kept_values(site, watch):
    outputs: list[Any] = []
    for payload in WRITABLE:
        table = {"kind": "table", "columns": [{"name": payload, "type": "text"}], "rows": [[payload]], "omitted": 0}
        outputs += [
            bundle("finding", severity="warning", summary=payload, evidence=table),
            bundle("finding", severity="info", summary="s", evidence={"kind": "text", "text": payload}),
            bundle("finding", severity="info", summary="s", evidence={"kind": "json", "value": {payload: payload}}),
            bundle("check", name=payload, ok=False, seconds=1, detail=payload),
            bundle("keep", values={"kept": payload}),
            bundle("proposal", gate=payload, inputs={payload: payload}, reason=payload),
        ]
    run_id, _ = printed(site.story, outputs)
    watch.open(f"/runs/{run_id}")


@pytest.mark.timeout(600)  # an approval page for each payload
def test_nothing_acts_in_proposals_and_decisions(site, watch):
    run_id, _ = site.story.diagnosed(ANNA)
    made = []
    for number, payload in enumerate(WRITABLE):
        inputs = {**INPUTS, "pid": 5_000 + number, "application": payload}
        with suppress(RunbooksError):  # what is refused stands on no page
            made.append(
                deciding.propose_by_hand(
                    site.story.service, ANNA, SURFACE, run_id, "terminate-session", inputs, payload
                )
            )
    assert len(made) > 60
    for number, proposal in enumerate(made):
        if number % 2:
            deciding.decide(
                site.story.service, site.dev, SURFACE, proposal.id, "deny", proposal.digest, proposal.reason
            )
        watch.open(f"/proposals/{proposal.id}")
    for path in ("/", f"/runs/{run_id}"):
        watch.open(path)


def test_nothing_acts_in_titles_notes_and_names_of_people_here_and_in_slack(site, watch, visit):
    service = site.story.service
    incident = incidents.open_incident(service, ANNA, SURFACE, "Names")
    count = 0
    for number, payload in enumerate(WRITABLE):
        person = Person(f"https://id.example#p{number}", payload, f"p{number}@example.com", frozenset({"responder"}))
        with transaction(service.engine) as tx:
            people.remember(tx, person)
        with suppress(RunbooksError):
            incidents.open_incident(service, person, SURFACE, payload)
        with suppress(RunbooksError):
            incidents.add_note(service, person, SURFACE, incident.id, payload)
            pinned = incidents.Pinned(f"C1:17000000{number:02}.000100", payload, payload, "https://x.slack.com/a")
            incidents.pin(service, person, SURFACE, incident.id, pinned)
            count += 1
    assert count > 60
    for path in ("/", "/incidents", f"/incidents/{incident.id}"):
        watch.open(path)
    assert "<script>alert(1)</script>" in watch.page.locator("main").inner_text()
    auditor = Watch(visit(site.audi, "/connections"), site.address)
    auditor.open("/audit")


def test_nothing_acts_in_runbooks_parameters_and_what_is_searched(site, watch):
    watch.open("/")
    for number, payload in enumerate(WRITABLE):
        watch.open(f"/runbooks/hostile-{number}")
        if number % 8 == 0:
            run = running.request_run(site.story.service, ANNA, SURFACE, f"hostile-{number}", {"text": payload})
            watch.open(f"/runs/{run.id}")
    page = watch.page
    for payload in WRITABLE[::6]:
        watch.open(f"/?q={quote(payload)}")
        with page.expect_response(lambda answer: "q=" in answer.url):
            page.fill("#search", f"runbook {' '.join(payload.split())}")
    watch.open("/")

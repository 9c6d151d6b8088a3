"""`/runs/<id>`: findings first, then every cell as what it was; outputs by themselves."""

from __future__ import annotations

import html
import re
from io import FileIO

import pytest
from page_stories import CRITICAL, SURFACE, bundle, chart, shown, stream

from runbooks_app.actions import incidents as acting
from runbooks_app.actions.recording import Whole
from runbooks_app.core.run import CellState
from runbooks_app.store import runs
from runbooks_app.store.database import reading


def attempt_of(service, run_id: str) -> int:
    with reading(service.engine) as tx:
        return runs.attempts(tx, run_id)[-1].id


def test_findings_come_first_and_the_worst_of_them_on_top(story, anna):
    run_id, _ = story.diagnosed()
    page = anna.get(f"/runs/{run_id}")
    assert page.text.index(CRITICAL) < page.text.index("Reads are slow") < page.text.index("Diagnosis")
    assert "▲ critical" in page.text


@pytest.mark.pages
def test_a_finding_has_an_address_to_which_timeline_and_trail_lead(story, anna, audi, service):
    run_id, _ = story.diagnosed()
    with reading(service.engine) as tx:
        finding, *_ = runs.findings(tx, run_id)
        incident = runs.get(tx, run_id).incident_id
    page = anna.get(f"/runs/{run_id}").html
    assert f'<article id="finding-{finding.id}"' in page
    assert f'href="#finding-{finding.id}" aria-label="Link to this finding: {html.escape(finding.summary)}"' in page
    address = f'href="/runs/{run_id}#finding-{finding.id}"'
    assert address in anna.get(f"/incidents/{incident}").html
    found = audi.get(f"/audit?event=finding.made&object={run_id}").html
    assert address in found
    entry = re.search(r'href="(/audit/\d+)"', found[: found.index(address)][-900:])[1]
    assert 'href="/runs/' in audi.get(entry).html


def test_proposals_stand_beside_the_evidence(story, anna):
    run_id, proposal_id = story.diagnosed()
    page = anna.get(f"/runs/{run_id}")
    assert f'href="/proposals/{proposal_id}"' in page.html
    assert "End session 4711 (deploy-migration) on orders-db" in page.text


def test_the_title_says_how_far_it_is(story, anna):
    run_id = story.request()
    assert anna.get(f"/runs/{run_id}").title == "○ queued — db-latency"
    story.claim(run_id)
    for cell in ("parameters", "setup", "latency", "activity"):
        story.end(run_id, cell)
    assert anna.get(f"/runs/{run_id}").title == "● 2 of 7 — db-latency"


def test_a_queued_run_says_what_it_waits_for(story, anna):
    assert "A worker will take this run in a moment" in anna.get(f"/runs/{story.request()}").text


def test_each_cell_is_told_as_what_it_was(story, anna):
    run_id = story.request()
    story.diagnose(
        run_id,
        wrong={
            "activity": (CellState.FAILED, "ZeroDivisionError: division by zero"),
            "blocking-tree": (CellState.TIMED_OUT, "It took longer than 60 s."),
            "locks": (CellState.SKIPPED, "It needs tree, which blocking-tree would have made."),
            "chart": (CellState.DIED, "The kernel ran out of memory."),
        },
    )
    page = anna.get(f"/runs/{run_id}")
    assert "diagnosed in part" in page.text
    for told in (
        "✗ failed",
        "✗ timed out",
        "skipped",
        "✗ died",
        "out of memory",
        "It needs tree",
        "division by zero",
    ):
        assert told in page.text


def test_without_script_a_page_that_moves_loads_itself_anew_and_one_at_rest_does_not(story, anna):
    going = anna.get(f"/runs/{story.request()}")
    assert '<noscript><meta http-equiv="refresh"' in going.html
    run_id, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.mend(proposal_id)
    assert "http-equiv" not in anna.get(f"/runs/{run_id}").html


def test_the_remediation_and_its_verification_are_shown_with_their_outputs(story, anna):
    run_id, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.mend(proposal_id)
    page = anna.get(f"/runs/{run_id}")
    assert "Remediation: End session 4711" in page.text
    assert "Session 4711 was told to end." in page.text
    assert "✓ held p99 is back" in page.text
    assert page.title == "✓ applied, verified — db-latency"


def test_what_a_cell_prints_is_text_and_nothing_else(story, anna):
    run_id = story.request()
    story.claim(run_id)
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    story.end(
        run_id,
        "latency",
        outputs=[
            stream(hostile),
            bundle("finding", severity="critical", summary=hostile, evidence={"kind": "text", "text": hostile}),
            shown("text/html", f"<b>fine</b>{hostile}", hostile),
            shown("text/markdown", f"[go](javascript:alert(3)) {hostile}"),
        ],
    )
    page = anna.get(f"/runs/{run_id}")
    assert "<script>alert" not in page.html
    assert "onerror=alert(2)>" not in page.html
    assert "javascript:" not in re.sub(r"\[go\]\(javascript:alert\(3\)\)", "", page.html)
    assert "<b>fine</b>" not in page.html


def test_html_is_served_to_a_sandboxed_frame_with_headers_that_let_nothing_run(story, anna, service):
    run_id, _ = story.diagnosed()
    address = f"/runs/{run_id}/cells/{attempt_of(service, run_id)}/activity/0/document"
    page = anna.get(f"/runs/{run_id}")
    frame = re.search(r"<iframe[^>]*>", page.html)
    assert frame is not None
    assert 'sandbox=""' in frame[0]
    assert f'src="{address}"' in frame[0]
    document = anna.get(address)
    assert document.status == 200
    assert document.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert document.headers["X-Content-Type-Options"] == "nosniff"
    assert document.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "<td>active</td>" in document.html
    assert "<script>" not in document.html


def test_an_image_is_served_as_what_its_bytes_say(story, anna, service):
    run_id, _ = story.diagnosed()
    address = f"/runs/{run_id}/cells/{attempt_of(service, run_id)}/chart/0/image"
    assert re.search(
        rf'<img src="{address}" width="700" height="260"[^>]*alt="reads rise', anna.get(f"/runs/{run_id}").html
    )
    image = anna.client.get(address)
    assert image.mimetype == "image/png"
    assert image.data.startswith(b"\x89PNG")
    assert image.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in image.headers["Content-Security-Policy"]


def test_long_output_is_folded_and_shown_whole_on_demand(story, anna, service):
    run_id, _ = story.diagnosed()
    page = anna.get(f"/runs/{run_id}")
    address = f"/runs/{run_id}/cells/{attempt_of(service, run_id)}/locks/0/full"
    assert f'href="{address}"' in page.html
    assert "AccessExclusiveLock 399" not in page.text
    assert "AccessExclusiveLock 399" in anna.get(address).text


def test_an_output_too_large_for_a_row_is_read_from_the_artifact_store(story, anna):
    run_id = story.request()
    story.claim(run_id)
    story.end(run_id, "latency", outputs=[stream("first line\n" + "x" * 300_000)])
    assert "first line" in anna.get(f"/runs/{run_id}").text


@pytest.mark.kernels
def test_the_whole_output_of_a_flood_is_linked_and_served_as_plain_text(story, anna, service, tmp_path):
    run_id = story.request()
    story.claim(run_id)
    text = "<script>alert(1)</script>\n" * 100_000
    (tmp_path / "whole").write_text(text)
    with FileIO(tmp_path / "whole") as file:
        whole = Whole(file, len(text), 7_000_000)
        story.end(run_id, "latency", outputs=[stream("first line\n" * 1000)], whole=whole)
    attempt = attempt_of(service, run_id)
    address = f"/runs/{run_id}/cells/{attempt}/latency/whole"
    page = anna.get(f"/runs/{run_id}")
    assert f'href="{address}"' in page.html
    assert "2.6 MB of text" in page.text
    assert "7.0 MB more were printed and are not kept" in page.text
    for place in (address, f"{address}?download=1", f"/api/v1{address}"):
        told = anna.client.get(place)
        assert told.data.decode() == text
        assert told.content_type == "text/plain; charset=utf-8"
        assert told.headers["X-Content-Type-Options"] == "nosniff"
        assert told.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert ("attachment" in told.headers.get("Content-Disposition", "")) is (place != address)
    assert anna.get(f"/runs/{run_id}/cells/{attempt}/locks/whole").status == 404
    (cell,) = [cell for cell in anna.client.get(f"/api/v1/runs/{run_id}").json["attempts"][0]["cells"] if cell["whole"]]
    assert cell["whole"] == {"bytes": len(text), "lost": 7_000_000, "href": f"/api/v1{address}"}


def test_an_artifact_that_is_gone_is_told_and_the_page_stands(story, anna, service, tmp_path):
    run_id = story.request()
    story.claim(run_id)
    story.end(run_id, "latency", outputs=[stream("y" * 300_000)])
    for file in (tmp_path / "artifacts").rglob("*"):
        if file.is_file():
            file.unlink()
    assert "is gone" in anna.get(f"/runs/{run_id}").text


def test_outputs_of_one_run_are_not_reached_through_another(story, anna, service):
    run_id, _ = story.diagnosed()
    other, _ = story.diagnosed()
    attempt = attempt_of(service, run_id)
    for rest in ("activity/0/document", "chart/0/image", "locks/0/full", "locks/full"):
        assert anna.get(f"/runs/{other}/cells/{attempt}/{rest}").status == 404
    for rest in ("activity/9/document", "latency/0/image", "chart/0/document", "nothing/full", "locks/7/full"):
        assert anna.get(f"/runs/{run_id}/cells/{attempt}/{rest}").status == 404


def test_the_time_bar_has_a_named_link_for_each_cell_that_ran(story, anna):
    run_id = story.request()
    story.diagnose(run_id, wrong={"locks": (CellState.NEVER_RAN, "The run was over.")})
    page = anna.get(f"/runs/{run_id}")
    bar = page.html[page.html.index('class="bar"') : page.html.index("</svg>")]
    assert bar.count("<rect") == 8
    assert "latency: ok, 1.5 s" in bar


def test_who_asked_can_stop_it_and_a_viewer_cannot(story, anna, vera):
    run_id = story.request()
    assert "Stop this run" in anna.get(f"/runs/{run_id}").text
    assert "Stop this run" not in vera.get(f"/runs/{run_id}").text
    assert vera.post(f"/runs/{run_id}/cancel").status == 403
    assert anna.post(f"/runs/{run_id}/cancel").status == 303
    assert "Cancelled by Anna Weber before it began" in anna.get(f"/runs/{run_id}").text


def test_running_it_again_keeps_parameters_and_everybody_who_asked(story, browser, service, anna):
    from page_stories import Person

    run_id, _ = story.diagnosed()
    other = browser(Person("https://id.example#olga", "Olga Ruiz", roles=frozenset({"responder"})))
    answer = other.post(f"/runs/{run_id}/again")
    assert answer.status == 303
    with reading(service.engine) as tx:
        again = runs.get(tx, answer.headers["Location"].rpartition("/")[2])
        first = runs.get(tx, run_id)
    assert again.rerun_of == run_id
    assert again.parameters == first.parameters
    assert again.incident_id == first.incident_id
    assert set(again.requesters) == {anna.person.subject, other.person.subject}


def test_running_again_after_the_incident_was_closed_opens_a_new_one(story, anna, service):
    run_id, _ = story.diagnosed()
    with reading(service.engine) as tx:
        incident_id = runs.get(tx, run_id).incident_id
    acting.close_incident(service, anna.person, SURFACE, incident_id, "a migration")
    answer = anna.post(f"/runs/{run_id}/again")
    with reading(service.engine) as tx:
        assert runs.get(tx, answer.headers["Location"].rpartition("/")[2]).incident_id != incident_id


def test_a_re_check_has_a_page_of_its_own_that_leads_back(story, anna):
    _, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    recheck = story.recheck(proposal_id)
    assert f'href="/runs/{recheck}"' in anna.get(f"/proposals/{proposal_id}").html
    page = anna.get(f"/runs/{recheck}")
    assert f'href="/proposals/{proposal_id}"' in page.html
    assert "once more, just before an approved action" in page.text
    assert "Run again" not in page.text


def test_what_a_run_could_not_use_is_told(story, anna):
    run_id = story.request()
    story.claim(run_id)
    for cell in ("parameters", "setup", "latency"):
        story.end(run_id, cell)
    story.end(run_id, "what-would-help", outputs=[bundle("proposal", gate="drop-database", inputs={}, reason="")])
    story.finish(run_id)
    assert "the runbook has no such gate" in anna.get(f"/runs/{run_id}").text


def test_charts_in_a_live_page_wait_for_their_cell(app):
    from runbooks_app.web.live import output

    with app.test_request_context():
        told = output("live-1-chart", chart())
    assert "it is shown when the cell ends" in told
    assert "<img" not in told

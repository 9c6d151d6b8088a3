"""A run of a thousand cells with much output: its page opens at once, and cells open on demand."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from page_stories import THOUSAND_CELLS, stream
from sqlalchemy import text as sql

from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.web import live
from runbooks_app.web.pages import evidence

pytestmark = pytest.mark.pages


def attempt_of(service, run_id: str) -> int:
    with reading(service.engine) as tx:
        return runs.attempts(tx, run_id)[0].id


@pytest.fixture
def long_run(story, service) -> tuple[str, int]:
    """Ids of a run with a thousand cells more, one of which failed; and of its attempt."""
    run_id, _ = story.diagnosed()
    attempt = attempt_of(service, run_id)
    with service.engine.begin() as connection:
        given = {"attempt": attempt, "state": "ok", "text": ("x" * 99 + "\n") * 50}
        connection.execute(sql(THOUSAND_CELLS), given)
    return run_id, attempt


def test_its_page_has_a_line_for_each_cell_and_stays_small(long_run, anna):
    run_id, attempt = long_run
    page = anna.get(f"/runs/{run_id}")
    assert len(page.html) < 300_000
    assert page.html.count('folded" id="cell-') > 990
    assert f'<a href="?cell={attempt}-many-999#cell-{attempt}-many-999">many-999</a>' in page.html
    assert "999 xxx" not in page.text


def test_what_went_wrong_is_open(long_run, anna):
    run_id, _ = long_run
    assert "500 xxx" in anna.get(f"/runs/{run_id}").text


def test_a_line_leads_to_the_page_with_that_cell_open(long_run, anna):
    run_id, attempt = long_run
    page = anna.get(f"/runs/{run_id}?cell={attempt}-many-999")
    assert "999 xxx" in page.text
    assert "998 xxx" not in page.text
    assert f'<a href="?cell={attempt}-many-999#' not in page.html


def test_the_script_is_sent_the_cell_alone(long_run, anna):
    run_id, attempt = long_run
    answer = anna.client.get(f"/runs/{run_id}?cell={attempt}-many-999", headers={"HX-Request": "true"}).text
    assert answer.strip().startswith(f'<article class="cell read" id="cell-{attempt}-many-999">')
    assert answer.strip().endswith("</article>")
    assert "999 xxx" in answer


@pytest.mark.parametrize("cell", ["", "-", "many-999", "1", "x-many-999", "9" * 30 + "-many-999", "٣-many-999"])
def test_what_names_no_cell_opens_none(long_run, anna, cell):
    run_id, _ = long_run
    assert anna.get(f"/runs/{run_id}?cell={cell}").status == 200


def test_a_cell_of_another_run_is_not_reached_through_this_one(long_run, story, anna):
    _, attempt = long_run
    other, _ = story.diagnosed()
    assert "999 xxx" not in anna.get(f"/runs/{other}?cell={attempt}-many-999").text
    alone = anna.client.get(f"/runs/{other}?cell={attempt}-many-999", headers={"HX-Request": "true"})
    assert alone.status_code == 404


def test_its_time_bar_has_a_hundred_slices_that_name_what_went_wrong(long_run, anna):
    run_id, attempt = long_run
    html = anna.get(f"/runs/{run_id}").html
    bar = html[html.index('class="bar"') : html.index("</svg>")]
    assert bar.count("<rect") <= 100
    (wrong,) = re.findall(r'<a href="#([^"]*)" aria-label="([^"]*failed[^"]*)"><rect class="bad"', bar)
    assert wrong[0] == f"cell-{attempt}-many-500"
    assert "1 failed" in wrong[1]


def test_large_outputs_of_a_short_run_are_folded_when_there_are_many(story, anna):
    run_id = story.request()
    story.claim(run_id)
    cells = ("latency", "activity", "blocking-tree", "longest-transactions", "locks", "chart", "what-would-help")
    for cell in cells:
        story.end(run_id, cell, outputs=[stream(f"first of {cell}\n" + "x" * 300_000)])
    text = anna.get(f"/runs/{run_id}").text
    shown = [cell for cell in cells if f"first of {cell}" in text]
    assert shown == list(cells[:6])


def since() -> int:
    return int(time.time() * 1000)


class TestLive:
    @pytest.fixture(autouse=True)
    def _quickly(self, monkeypatch) -> None:
        monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)

    @pytest.fixture
    def going(self, story, service) -> tuple[str, int]:
        run_id = story.request()
        story.claim(run_id)
        attempt = attempt_of(service, run_id)
        with service.engine.begin() as connection:
            connection.execute(sql(THOUSAND_CELLS), {"attempt": attempt, "state": "ok", "text": "x"})
        return run_id, attempt

    def test_a_cell_that_ends_under_the_readers_eyes_stays_open(self, going, story, anna):
        run_id, attempt = going
        story.begin(run_id, "latency")
        events = anna.stream(f"/runs/{run_id}/events?since={since()}")
        events.next()
        story.end(run_id, "latency", outputs=[stream("as it was seen\n")])
        _, told = events.until(lambda _, data: f'id="cell-{attempt}-latency"' in data)
        assert "as it was seen" in told
        story.begin(run_id, "activity")
        _, told = events.until(lambda _, data: f'id="cell-{attempt}-activity"' in data)
        assert f'id="cell-{attempt}-latency"' not in told
        events.close()

    def test_of_a_line_that_changes_the_line_is_sent(self, going, story, anna):
        run_id, attempt = going
        events = anna.stream(f"/runs/{run_id}/events?since={since()}")
        events.next()
        story.end(run_id, "latency", outputs=[stream("never seen\n")])
        _, told = events.until(lambda _, data: f'id="cell-{attempt}-latency"' in data)
        assert f'<a href="?cell={attempt}-latency#' in told
        assert "never seen" not in told
        events.close()

    def test_what_has_not_changed_is_not_read_again(self, going, story, anna, monkeypatch):
        read: list[str] = []
        whole = evidence.runs.cells_named

        def noted(tx: Any, attempt_id: int, cell_ids: Any) -> Any:
            read.extend(cell_ids)
            return whole(tx, attempt_id, cell_ids)

        run_id, attempt = going
        story.begin(run_id, "latency")
        events = anna.stream(f"/runs/{run_id}/events?since={since()}")
        events.next()
        monkeypatch.setattr(evidence.runs, "cells_named", noted)
        story.end(run_id, "latency", outputs=[stream("done\n")])
        story.begin(run_id, "activity")
        events.until(lambda _, data: f'id="cell-{attempt}-activity"' in data)
        story.end(run_id, "activity", outputs=[stream("done\n")])
        events.until(lambda _, data: f'id="cell-{attempt}-activity"' in data)
        events.close()
        assert read.count("latency") <= 2
        assert "many-500" not in read

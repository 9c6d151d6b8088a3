"""`/health`: what the service says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from runbooks_app.actions import running
from runbooks_app.actions.diagnosing import Said
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.core.run import CellState
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.pages


@dataclass
class Told:
    """The page of a window, as figures."""

    browser: Any

    def __call__(self, name: str, window: str = "24h") -> str:
        page = self.browser.get(f"/health?window={window}")
        found = re.search(rf"<dt>{name}</dt><dd>(.*?)</dd><dd[^>]*>(.*?)</dd>", page.html, re.DOTALL)
        assert found, name
        return re.sub("<[^>]+>", "", f"{found[1]}: {found[2]}")

    def counts(self, name: str) -> tuple[int, int]:
        few, of = re.search(r"([\d,]+) of ([\d,]+)", self(name)).groups()
        return int(few.replace(",", "")), int(of.replace(",", ""))


@pytest.fixture
def told(vera) -> Told:
    return Told(vera)


def test_cells_and_kernels_are_counted_by_how_they_ended(told, story):
    story.diagnosed()
    ok, cells = told.counts("Cell success")
    lived, kernels = told.counts("Kernel availability")
    run_id = story.request()
    claim = story.claim(run_id)
    first, second, third, *_ = [cell.id for cell in claim.cells]
    story.end(run_id, first)
    story.end(run_id, second, CellState.FAILED, "ZeroDivisionError")
    story.end(run_id, third, CellState.DIED, "killed")
    story.finish(run_id)
    assert told.counts("Cell success") == (ok + 1, cells + 3)
    assert told.counts("Kernel availability") == (lived, kernels + 1)
    assert re.match(r"[\d.]+ (ms|s)", told("Median cell"))
    assert "median" in told("First result")


def test_what_was_redacted_is_counted_with_the_cell_that_printed_it(told, story, service):
    before = int(told("Secrets redacted").split(":")[0].replace(",", ""))
    claim = story.claim(story.request())
    cell = claim.cells[0]
    record_cells(service, claim, [CellTold(cell.id, CellState.OK, None, None, (), 1, "", None, 3)], Said())
    record_cells(service, claim, [CellTold(cell.id, CellState.OK, None, None, (), 1, "", None, 2)], Said())
    assert told("Secrets redacted").startswith(f"{before + 5:,}:")
    with reading(service.engine) as tx:
        assert tx.execute("SELECT count(*) FROM service_counts WHERE name = 'secrets_redacted'").scalar_one() >= 1


def again_of(service, person, run_id):
    with reading(service.engine) as tx:
        given = runs.get(tx, run_id).parameters
    return running.request_run(service, person, {"surface": "web"}, "db-latency", given, rerun_of=run_id)


def test_a_repeated_run_that_finds_the_same_is_reproducible(told, story, service, anna):
    run_id, _ = story.diagnosed()
    same, every = told.counts("Reproducible runs")
    again = again_of(service, anna.person, run_id)
    story.diagnose(again.id)
    assert told.counts("Reproducible runs") == (same + 1, every + 1)
    other = again_of(service, anna.person, run_id)
    story.diagnose(other.id)
    with transaction(service.engine) as tx:
        tx.execute("DELETE FROM findings WHERE run_id = :id", id=other.id)
    assert told.counts("Reproducible runs") == (same + 1, every + 2)


def test_who_is_refused_is_counted(told, story, vera, anna):
    before = int(told("Refused accesses").split(":")[0].replace(",", ""))
    assert vera.post("/incidents", title="no").status == 403
    assert int(told("Refused accesses").split(":")[0].replace(",", "")) == before + 1


def test_each_chart_has_its_figures_as_a_table_and_each_window_its_steps(story, vera):
    story.diagnosed()
    for window, steps in (("24h", 25), ("7d", 29), ("30d", 31), ("odd", 25)):
        page = vera.get(f"/health?window={window}")
        table = re.search(r'aria-label="Runs, figures">(.*?)</table>', page.html, re.DOTALL)
        assert table
        assert table[1].count("<td>") == 2 * steps
        assert re.search(r"[1-9]\d* good, \d+ in part, \d+ not good", table[1])
        assert page.html.count('<svg class="columns"') == 2
        assert "style=" not in page.html


def test_runbooks_that_rot_and_teams_are_told(story, vera, service):
    story.diagnosed()
    page = vera.get("/health")
    owner = service.library.get("db-latency").owner
    assert owner in page.text[page.text.index("Use by team") :]
    with transaction(service.engine) as tx:
        moved = "UPDATE runs SET ended_at = ended_at - interval '40 days'"
        tx.execute(moved)
    assert "Its last good run is 40 days old" in vera.get("/health").text
    with transaction(service.engine) as tx:
        tx.execute(moved.replace("- interval", "+ interval"))


def test_it_is_in_the_frame_and_wants_a_session(vera, app):
    assert '<a href="/health" aria-current="page">' in vera.get("/health").html
    assert app.test_client().get("/health").status_code == 303

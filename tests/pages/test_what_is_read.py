"""How much is read for what is told: by bytes and statements, which no busy machine changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from page_stories import ANNA, SURFACE, THOUSAND_CELLS
from sqlalchemy import Engine, event
from sqlalchemy import text as sql

from runbooks_app.actions import incidents
from runbooks_app.actions.story import incident_story
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.worker import views

pytestmark = pytest.mark.pages


@dataclass
class Read:
    """What the database was asked, and the bytes that it answered with."""

    statements: list[str] = field(default_factory=list)
    sent: int = 0


@contextmanager
def watched(engine: Engine) -> Iterator[Read]:
    read = Read()

    def listen(connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        del connection
        read.statements.append(statement)
        found = cursor.pgresult
        for row in range(found.ntuples):
            read.sent += sum(len(found.get_value(row, column) or b"") for column in range(found.nfields))

    event.listen(engine, "after_cursor_execute", listen)
    try:
        yield read
    finally:
        event.remove(engine, "after_cursor_execute", listen)


@pytest.fixture
def long_run(story, service) -> str:
    """A run whose cells printed 20 MB, one of which failed."""
    run_id, _ = story.diagnosed()
    with reading(service.engine) as tx:
        attempt = runs.attempts(tx, run_id)[0].id
    with service.engine.begin() as connection:
        connection.execute(sql(THOUSAND_CELLS), {"attempt": attempt, "state": "ok", "text": "x" * 20_000})
    return run_id


def test_the_message_of_a_run_reads_nothing_that_its_cells_printed(service, long_run):
    with watched(service.engine) as read, reading(service.engine) as tx:
        told = views.run_told(tx, service, runs.get(tx, long_run))
    assert told.cells_total > 1000
    assert read.sent < 500_000


def test_its_thread_reads_what_went_wrong_and_what_it_draws(service, long_run):
    with watched(service.engine) as read, reading(service.engine) as tx:
        told = views.details_told(tx, service, runs.get(tx, long_run))
    assert "many-500" in {cell.cell_id for cell in told.cells}
    assert len(told.charts) == 1
    assert read.sent < 500_000


def test_an_incident_is_told_with_as_many_statements_however_many_runs_it_has(service, story):
    incident_id = incidents.open_incident(service, ANNA, SURFACE, "Everything is slow").id
    asked = []
    for many in (1, 4):
        for _ in range(many):
            story.diagnose(story.request(incident_id=incident_id))
        with watched(service.engine) as read, reading(service.engine) as tx:
            told = incident_story(tx, service, incident_id, outputs=False)
        asked.append(len(read.statements))
        assert len(told.runs) == len(told.proposals)
        assert not any("FROM cells" in statement for statement in read.statements)
    assert len(told.runs) == 5
    assert asked[0] == asked[1]

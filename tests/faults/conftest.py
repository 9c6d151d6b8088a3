"""Faults: real processes of the running demo, killed, frozen and starved. After each, `checker` has its say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults import checker
from faults.processes import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbooks_app.main.demo.stage import Stage


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="session")
def stage_settings() -> dict[str, Any]:
    """Work of a worker that is gone is soon taken over."""
    return {"lease": 5}


@pytest.fixture(scope="package")
def all_crews(stage: Stage) -> Iterator[Crew]:
    """In place of the stage's own worker, which gets its place back at the end."""
    stage.processes["worker"].stop()
    crew = Crew(stage)
    yield crew
    for worker in list(crew.workers):
        crew.dismiss(worker)
    stage.start_worker()


@pytest.fixture
def crew(all_crews: Crew, stage, drill) -> Iterator[Crew]:
    """Exactly one worker at the start; at the end everything that must always hold does."""
    all_crews.workers = [worker for worker in all_crews.workers if worker.poll() is None]
    for extra in all_crews.workers[1:]:
        all_crews.dismiss(extra)
    if not all_crews.workers:
        all_crews.hire()
    yield all_crews
    if not all_crews.workers:
        all_crews.hire()
    checker.check(stage, drill)
